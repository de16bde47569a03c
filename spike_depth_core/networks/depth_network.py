"""The one network: any non-empty set of sensors to metric depth and its uncertainty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spike_depth_core.geometry.parallax import depth_from_beside, parallax_warp
from spike_depth_core.networks.blocks import HEADS, ConvNormAct, GlobalContext, Residual
from spike_depth_core.networks.decoder import DepthDecoder
from spike_depth_core.networks.encoder import RAY_CHANNELS, SensorEncoder, level_road, ray_maps
from spike_depth_core.networks.fusion import SIMILARITY, check_fusion, fusion_module
from spike_depth_core.networks.preprocess import CHANNELS, NetworkInput
from spike_depth_core.samples import RIGHT

LOG_RATIO_RANGE = (-5.0, 5.0)  # to the level road: keeps a wild weight from overflowing exp
LOG_SCALE_RANGE = (-5.0, 2.0)
LEAST_PIXELS = 32 * 32  # one position at the coarsest level
# Far beyond what anybody would drive with: what says more is damaged, and would fill the memory.
MOST_PIXELS, MOST_WIDTH, MOST_BLOCKS, MOST_STEPS = 1 << 25, 4096, 256, 256


@dataclass(frozen=True)
class Architecture:
    """Everything that fixes the network's shape; stored in the checkpoint.

    Attributes:
        sensors: which sensors have stems, in order.
        widths: channels at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
        trunk_blocks: pairs of a residual block and a `GlobalContext` at 1/16, after fusion.
        fusion: `selective`; `mean` for a network whose fusion module is left off; `similarity` for one that removes
            parallax first and selects by the features' shared halves, or `similarity:SENSOR` to trust one sensor, see
            `fusion.SimilarityFusion`.
        pixels: size of the image it works on; larger ones are scaled down to it.
        spiking_steps: steps of the spiking neurons in the stem of the spike camera, see `networks.spiking`; 0 for a
            plain stem.
        stereo: whether each sensor comes with its right-hand camera, see `stereo.StereoNetwork`.
    """

    sensors: tuple[str, ...] = ("spikes", "rgb", "nir", "thermal")
    widths: tuple[int, ...] = (16, 32, 64, 128, 192)
    trunk_blocks: int = 2
    fusion: str = "selective"
    pixels: int = 160 * 256
    spiking_steps: int = 0
    stereo: bool = False

    def __post_init__(self) -> None:
        if not self.sensors or set(self.sensors) - set(CHANNELS):
            raise ValueError(f"sensors must be some of {sorted(CHANNELS)}, found {self.sensors}")
        if len(self.widths) != 5:
            raise ValueError(f"widths are five numbers (1/2 to 1/32), found {self.widths}")
        for name, numbers, least, most in (
            ("widths", self.widths, 1, MOST_WIDTH),
            ("trunk_blocks", (self.trunk_blocks,), 0, MOST_BLOCKS),
            ("pixels", (self.pixels,), LEAST_PIXELS, MOST_PIXELS),
            ("spiking_steps", (self.spiking_steps,), 0, MOST_STEPS),
        ):
            for number in numbers:
                if type(number) is not int or not least <= number <= most:
                    raise ValueError(f"{name}: a whole number of {least} to {most} was expected, found {number!r}")
        if any(width % HEADS for width in self.widths[3:]):
            raise ValueError(
                f"widths at 1/16 and 1/32 are multiples of {HEADS}, the heads of their attention; found {self.widths}"
            )
        check_fusion(self.fusion, self.sensors)
        if self.by_similarity and any(width % 2 for width in self.widths[:4]):
            raise ValueError(f"features that have two halves are of even widths, found {self.widths}")
        if self.spiking_steps and self.widths[1] % 4:
            raise ValueError(f"with spiking_steps the width at 1/4 is a multiple of 4, found {self.widths[1]}")

    @property
    def by_similarity(self) -> bool:
        """Whether features are fused by `fusion.SimilarityFusion`, which asks where the sensors stand."""
        return self.fusion.startswith(SIMILARITY)

    def usable(self, images: Iterable[str]) -> tuple[str, ...]:
        """Of a sample's images those that a network of this shape can use, in the same order.

        They are the sensors it knows; where it is a stereo network, only whole pairs of them.
        """
        names = tuple(images)
        if not self.stereo:
            return tuple(name for name in names if name in self.sensors)
        pairs = {left: RIGHT[left] for left in self.sensors if left in names and RIGHT[left] in names}
        return tuple(name for name in names if name in pairs or name in pairs.values())

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
        self.fusions = nn.ModuleList(fusion_module(architecture.fusion, w, architecture.sensors) for w in widths[:4])
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
        found = {}
        for sensor in self.architecture.sensors:
            if sensor in inputs.images:
                own = rays
                if self.architecture.by_similarity and sensor in inputs.centres:  # each from its own place
                    height = inputs.height - inputs.centres[sensor][:, 1]
                    own = ray_maps(inputs.camera, height, (size[0], size[1]), 4)
                found[sensor] = self.encoder(sensor, inputs.images[sensor], own)
        return found

    def decode(
        self,
        features: Mapping[str, list[Tensor]],
        camera: Tensor,
        camera_height: Tensor,
        inputs: NetworkInput | None = None,
    ) -> Prediction:
        """Fuse what `encode` gave and decode it.

        Args:
            features: of any sensors, as `encode` gave them; one alone is not fused.
            camera, camera_height: those of the `NetworkInput`.
            inputs: where the sensors stand and what they see; fusion by similarity asks for it.
        """
        if self.architecture.by_similarity:
            return self.decode_levels(self._fused_by_similarity(features, inputs), camera, camera_height)
        levels = [
            fusion([of_sensor[level] for of_sensor in features.values()]) for level, fusion in enumerate(self.fusions)
        ]
        return self.decode_levels(levels, camera, camera_height)

    def decode_levels(self, levels: Sequence[Tensor], camera: Tensor, camera_height: Tensor) -> Prediction:
        """Decode features at 1/2, 1/4, 1/8 and 1/16 of one sensor, or fused."""
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

    def _fused_by_similarity(
        self, features: Mapping[str, list[Tensor]], inputs: NetworkInput | None
    ) -> Sequence[Tensor]:
        """Warp all sensors' features to the network camera by a first look's depth, and fuse them level by level."""
        sensors = tuple(features)
        if len(features) == 1 and (inputs is None or inputs.reference in (None, *sensors)):
            return features[sensors[0]]
        if inputs is None or inputs.reference is None or set(sensors) - set(inputs.centres):
            raise ValueError(f"fusion by similarity has to know where {sensors} stand: NetworkInput.centres, reference")
        depth = self._first_look(features, inputs)
        levels = []
        for level, fusion in enumerate(self.fusions):
            warped, seen = {}, {}
            for sensor in sensors:
                own = features[sensor][level]
                field_of_view = F.interpolate(inputs.images[sensor][:, -1:], own.shape[-2:], mode="area")
                if sensor == inputs.reference:
                    warped[sensor], seen[sensor] = own, field_of_view[:, 0] > 0.5
                    continue
                # In float32 whatever came before: bfloat16 cannot tell neighbouring pixels of a wide picture apart.
                both, visible = parallax_warp(
                    torch.cat([own.float(), field_of_view], dim=1), depth, inputs.camera, inputs.centres[sensor]
                )
                warped[sensor], seen[sensor] = both[:, :-1].to(own.dtype), visible & (both[:, -1] > 0.5)
            levels.append(fusion(warped, seen))
        return levels

    @torch.no_grad()
    def _first_look(self, features: Mapping[str, list[Tensor]], inputs: NetworkInput) -> Tensor:
        """Depth [B, H, W] of the network camera by one sensor alone: the reference, or without it the first."""
        sensor = inputs.reference if inputs.reference in features else next(iter(features))
        assert sensor is not None
        centre = inputs.centres[sensor]
        depth = self.decode_levels(features[sensor], inputs.camera, inputs.height - centre[:, 1]).depth
        return depth if sensor == inputs.reference else depth_from_beside(depth, inputs.camera, centre)

    def forward(self, inputs: NetworkInput) -> Prediction:
        return self.decode(self.encode(inputs), inputs.camera, inputs.height, inputs)


def with_fusion(network: DepthNetwork, fusion: str) -> DepthNetwork:
    """A copy of a network with another kind of fusion, whose weights are new: what one sensor alone gives stays."""
    other = DepthNetwork(replace(network.architecture, fusion=fusion))
    kept = {name: value for name, value in network.state_dict().items() if not name.startswith("fusions.")}
    kept |= {name: value for name, value in other.state_dict().items() if name.startswith("fusions.")}
    other.load_state_dict(kept)
    return other
