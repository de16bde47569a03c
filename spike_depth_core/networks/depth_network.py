"""The one network: any non-empty set of sensors to metric depth and its uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from spike_depth_core.networks.blocks import ConvNormAct, GlobalContext, Residual
from spike_depth_core.networks.decoder import DepthDecoder
from spike_depth_core.networks.encoder import RAY_CHANNELS, SensorEncoder, level_road, ray_maps
from spike_depth_core.networks.fusion import FeatureMean, SelectiveFusion
from spike_depth_core.networks.preprocess import CHANNELS, NetworkInput

LOG_RATIO_RANGE = (-5.0, 5.0)  # to the level road: keeps a wild weight from overflowing exp
LOG_SCALE_RANGE = (-5.0, 2.0)


@dataclass(frozen=True)
class Architecture:
    """Everything that fixes the network's shape; stored in the checkpoint.

    Attributes:
        sensors: which sensors have stems, in order.
        widths: channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
        trunk_blocks: pairs of a residual block and a `GlobalContext` at 1/16, after fusion.
        fusion: `selective`, or `mean` for a network whose fusion module is left off.
        pixels: size of the image it works on; larger ones are scaled down to it.
        spiking_steps: steps of the spiking neurons in the stem of the spike camera, see `networks.spiking`; 0 for a
            plain stem.
    """

    sensors: tuple[str, ...] = ("spikes", "rgb", "nir", "thermal")
    widths: tuple[int, ...] = (16, 32, 64, 128, 192)
    trunk_blocks: int = 2
    fusion: str = "selective"
    pixels: int = 160 * 256
    spiking_steps: int = 0

    def __post_init__(self) -> None:
        if not self.sensors or set(self.sensors) - set(CHANNELS):
            raise ValueError(f"sensors must be some of {sorted(CHANNELS)}, found {self.sensors}")
        if len(self.widths) != 5:
            raise ValueError(f"widths are five numbers (1/2 to 1/32), found {self.widths}")
        if self.fusion not in ("selective", "mean"):
            raise ValueError(f"fusion is 'selective' or 'mean', found {self.fusion!r}")
        if self.spiking_steps < 0 or (self.spiking_steps and self.widths[1] % 4):
            raise ValueError(
                "spiking_steps is 0 or more, and the width at 1/4 then a multiple of 4; "
                f"found {self.spiking_steps} and {self.widths[1]}"
            )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Architecture:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**values)


@dataclass
class Prediction:
    """Log-depth and its uncertainty, in the network camera.

    Attributes:
        log_depth: natural logarithm of metres along the optical axis, [B, H, W].
        log_scale: logarithm of the scale b of a Laplace distribution of the log-depth error, [B, H, W].
        features: the fused features at 1/2, 1/4, 1/8, 1/16, 1/32, for the recipes that distil them.
    """

    log_depth: Tensor
    log_scale: Tensor
    features: list[Tensor]

    @property
    def depth(self) -> Tensor:
        """Metres [B, H, W]."""
        return self.log_depth.exp()

    @property
    def uncertainty(self) -> Tensor:
        """Relative standard deviation [B, H, W]: sqrt(2) b for a Laplace distribution."""
        return 2**0.5 * self.log_scale.exp()


class DepthNetwork(nn.Module):
    """Stem and shared encoder by sensor, selective fusion by level, one trunk and decoder.

    Depth is predicted as a departure from a level road, see `encoder.level_road`.
    """

    def __init__(self, architecture: Architecture | None = None):
        super().__init__()
        self.architecture = architecture = architecture or Architecture()
        widths = architecture.widths
        self.encoder = SensorEncoder(
            {s: CHANNELS[s] + 1 for s in architecture.sensors}, widths[:4], architecture.spiking_steps
        )
        self.fusions = nn.ModuleList(
            SelectiveFusion(w) if architecture.fusion == "selective" else FeatureMean() for w in widths[:4]
        )
        self.rays = nn.Conv2d(RAY_CHANNELS, widths[3], 1)
        self.trunk = nn.Sequential(
            *(part(widths[3]) for _ in range(architecture.trunk_blocks) for part in (Residual, GlobalContext))
        )
        self.to_coarsest = ConvNormAct(widths[3], widths[4], stride=2)
        self.coarsest = nn.Sequential(Residual(widths[4]), GlobalContext(widths[4]))
        self.decoder = DepthDecoder(widths)

    def encode(self, inputs: NetworkInput) -> dict[str, list[Tensor]]:
        """Each sensor's own features at 1/2, 1/4, 1/8 and 1/16, before fusion."""
        unknown = set(inputs.images) - set(self.architecture.sensors)
        if unknown:
            raise ValueError(f"this network knows {self.architecture.sensors}, not {sorted(unknown)}")
        if not inputs.images:
            raise ValueError("the network needs at least one sensor")
        size = next(iter(inputs.images.values())).shape[-2:]
        rays = ray_maps(inputs.camera, inputs.height, (size[0], size[1]), 4)
        return {s: self.encoder(s, inputs.images[s], rays) for s in self.architecture.sensors if s in inputs.images}

    def decode(self, features: dict[str, list[Tensor]], camera: Tensor, camera_height: Tensor) -> Prediction:
        """Fuse what `encode` gave and decode it; `camera` and `camera_height` are those of the `NetworkInput`."""
        levels = [
            fusion([of_sensor[level] for of_sensor in features.values()]) for level, fusion in enumerate(self.fusions)
        ]
        height, width = levels[0].shape[-2] * 2, levels[0].shape[-1] * 2
        sixteenth = self.trunk(levels[3] + self.rays(ray_maps(camera, camera_height, (height, width), 16)))
        coarsest = self.coarsest(self.to_coarsest(sixteenth))
        levels = [*levels[:3], sixteenth, coarsest]
        out = self.decoder(levels).float()
        return Prediction(
            log_depth=level_road(camera, camera_height, (height, width)) + out[:, 0].clamp(*LOG_RATIO_RANGE),
            log_scale=out[:, 1].clamp(*LOG_SCALE_RANGE),
            features=levels,
        )

    def forward(self, inputs: NetworkInput) -> Prediction:
        return self.decode(self.encode(inputs), inputs.camera, inputs.height)
