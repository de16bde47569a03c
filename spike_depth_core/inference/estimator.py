"""The estimator: sensors in, metric depth and uncertainty out. Nodes and offline tools call this one object."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.geometry.resample import infinity_grid, sample_at
from spike_depth_core.inference.motion_stereo import LIVE, corrected
from spike_depth_core.inference.neighbours import NeighbourOptions, other_moments
from spike_depth_core.inference.onnx_export import export, installed, is_exportable, load_export
from spike_depth_core.inference.onnx_network import OnnxNetwork
from spike_depth_core.inference.point_estimate import least_relative_error
from spike_depth_core.networks.checkpoint import CheckpointInfo, load_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.networks.folding import folded
from spike_depth_core.networks.preprocess import NetworkInput, network_camera, prepare, reference_of
from spike_depth_core.resources import default_checkpoint
from spike_depth_core.samples import DepthSample
from spike_depth_core.samples.batch import collate
from spike_depth_core.spikes.windows import NETWORK_WINDOW


@dataclass(frozen=True)
class DepthEstimate:
    """What the estimator says of one moment.

    Attributes:
        depth: float32 [H, W], metres along the optical axis of the reference sensor, of the least expected relative
            error where the uncertainty is learned, else the median; NaN where there is no estimate.
        uncertainty: float32 [H, W], relative standard deviation of the depth.
        camera: the camera the maps belong to: the reference sensor's, rectified.
        reference: the sensor in whose frame the maps are.
        sensors: the sensors that were used.
        time_ns: the moment of the sample.
        measured: share of the picture where parallax between moments has had a say.
    """

    depth: np.ndarray
    uncertainty: np.ndarray
    camera: PinholeCamera
    reference: str
    sensors: tuple[str, ...]
    time_ns: int
    measured: float = 0.0


PREPARED = 16
"""Moments that are kept as the network has seen them: at 30 a second those of half a second."""
# What computes the network. `auto` is ONNX Runtime where it is installed, can take the network, and the device is the
# CPU, where it is the faster one (docs/results/inference.md); else PyTorch.
AUTO, TORCH, ONNX_RUNTIME = BACKENDS = ("auto", "torch", "onnxruntime")


class DepthEstimator:
    """A network in service.

    Args:
        network: any `DepthNetwork`, of which a copy, made for inference, goes into service; or an `OnnxNetwork`.
        info: its checkpoint's description.
        device: where it runs.
    """

    def __init__(self, network: DepthNetwork | OnnxNetwork, info: CheckpointInfo, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.network: DepthNetwork | OnnxNetwork
        if isinstance(network, OnnxNetwork):
            self.network = network
        else:
            copy = folded(network).to(self.device)
            self.network = copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.info = info
        # Moments whose place is known, for those that are compared with them.
        self._prepared: deque[tuple[DepthSample, NetworkInput]] = deque(maxlen=PREPARED)

    @classmethod
    def load(
        cls,
        checkpoint: str | Path | None = None,
        device: torch.device | str = "cpu",
        backend: str | None = None,
        pixels: int | None = None,
    ) -> DepthEstimator:
        """Load a checkpoint; the one shipped with the package when none is named.

        Args:
            checkpoint: a checkpoint, or a folder that `spike-depth export` wrote.
            device: see `checked_device`; "auto" is the CPU where ONNX Runtime is to compute.
            backend: one of `BACKENDS`; None is PyTorch for a checkpoint, ONNX Runtime for a folder. ONNX Runtime uses
                as many threads as PyTorch is set to.
            pixels: size of the picture that the network works on; the checkpoint's own when None. Fewer take less time.

        Raises:
            CheckpointError, ExportError: naming the file, or the package that is missing, and what is wrong.
            ValueError: for a device this machine does not have or the backend does not use, and for a picture that is
                too small. There is no silent fall back to the CPU.
        """
        if backend not in (None, *BACKENDS):
            raise ValueError(f"unknown backend {backend!r}; use one of {', '.join(BACKENDS)}")
        path = Path(checkpoint or default_checkpoint())
        exported = path.is_dir()
        if exported and backend == TORCH:
            raise ValueError(
                f"{path} is a folder, as of ONNX graphs, which the backend {TORCH} does not run; leave the backend out"
            )
        by_onnx = exported or backend == ONNX_RUNTIME
        place = checked_device("cpu" if by_onnx and device == AUTO else device)
        if place.type != "cpu" and by_onnx:
            raise ValueError(f"the backend {ONNX_RUNTIME} runs on the CPU, but the device is {str(device)!r}")
        threads = torch.get_num_threads()
        if exported:
            graphs, info = load_export(path)
            architecture = info.architecture if pixels is None else replace(info.architecture, pixels=pixels)
            return cls(OnnxNetwork(graphs, architecture, threads), info)
        network, info = load_checkpoint(path)
        architecture = info.architecture if pixels is None else replace(info.architecture, pixels=pixels)
        network.architecture = architecture
        if backend == AUTO:
            able = place.type == "cpu" and installed() and is_exportable(info.architecture)
            backend = ONNX_RUNTIME if able else TORCH
        if backend in (None, TORCH):
            return cls(network, info, place)
        return cls(OnnxNetwork(export(network), architecture, threads), info)

    @classmethod
    def untrained(cls, seed: int = 0, architecture: Architecture | None = None) -> DepthEstimator:
        """Random weights, for tests that need no accuracy."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = DepthNetwork(architecture)
        return cls(network, CheckpointInfo(network.architecture))

    @property
    def sensors(self) -> tuple[str, ...]:
        """The sensors this network can use."""
        return self.network.architecture.sensors

    @property
    def pixels(self) -> int:
        """Size of the picture that the network works on; larger ones are scaled down to it."""
        return self.network.architecture.pixels

    @property
    def backend(self) -> str:
        """What computes the network: `torch` or `onnxruntime`."""
        return ONNX_RUNTIME if isinstance(self.network, OnnxNetwork) else TORCH

    @property
    def spike_planes(self) -> int:
        """How many trailing spike planes it looks at."""
        return NETWORK_WINDOW

    @torch.inference_mode()
    def estimate(
        self,
        sample: DepthSample,
        reference: str | None = None,
        sensors: tuple[str, ...] | None = None,
        before: Sequence[DepthSample] = (),
    ) -> DepthEstimate:
        """Depth and uncertainty in the frame of one sensor.

        Args:
            sample: any non-empty set of sensors.
            reference: the sensor in whose frame depth is given; the first present of spikes, rgb, nir, thermal when
                None. It has to be in the sample, and need not be among `sensors`.
            sensors: which of the sample's sensors to use; all this network knows when None. A stereo network uses
                pairs: `rgb` and `rgb_right`.
            before: moments just before, as `Neighbours.of` gives them, whose pictures correct the depth by parallax.
                Poses of all are known.

        Raises:
            ValueError: when no sensor is left to use, or the reference or a sensor asked for is not there.
        """
        used = self.network.architecture.usable(s for s in sample.images if sensors is None or s in sensors)
        if not used or (sensors is not None and set(sensors) - set(used)):
            raise ValueError(f"the sample has {sample.sensors}, the network knows {self.sensors}, asked for {sensors}")
        reference = reference or reference_of(used)
        if reference not in sample.sensors:
            raise ValueError(f"the reference {reference!r} is not in the sample, which has {sample.sensors}")
        batch = collate([sample]).to(self.device)
        height, width = sample.size(reference)
        pixels = self.network.architecture.pixels
        camera, size = network_camera(batch.cameras[reference], height, width, pixels)
        inputs = prepare(batch, reference, used, camera, size)
        if self.backend == TORCH:
            inputs.images = {s: x.contiguous(memory_format=torch.channels_last) for s, x in inputs.images.items()}
        prediction, measured = self.network(inputs), 0.0
        if before:

            def prepared(other: DepthSample, shared: tuple[str, ...]) -> NetworkInput:
                known = self._known(other, inputs, shared)
                return known or prepare(collate([other]).to(self.device), reference, shared, camera, size)

            others = other_moments(sample, before, reference, used[: LIVE.sensors], prepared, NeighbourOptions().skew)
            prediction, evidence = corrected(prediction, inputs, others, LIVE)
            measured = float(evidence.said.float().mean())
        if sample.world_from_reference is not None:
            self._prepared.append((sample, inputs))
        log_depth = prediction.log_depth
        if self.info.calibrated:
            log_depth = least_relative_error(log_depth, prediction.log_scale)
        maps = torch.stack([log_depth, prediction.uncertainty], dim=1)
        maps = self._to_reference(maps, batch.cameras[reference], sample.size(reference), inputs.camera)
        near, far = self.info.depth_range
        depth, uncertainty = maps[0, 0].exp().clamp(near, far), maps[0, 1]
        seen_by = sample.rig.cameras[reference]
        return DepthEstimate(
            depth=depth.cpu().numpy(),
            uncertainty=uncertainty.cpu().numpy(),
            camera=replace(seen_by, distortion=()),
            reference=reference,
            sensors=used,
            time_ns=sample.time_ns,
            measured=measured,
        )

    def _known(self, other: DepthSample, like: NetworkInput, sensors: tuple[str, ...]) -> NetworkInput | None:
        """Another moment's pictures as they were prepared when it was asked for itself, where that was alike."""
        for sample, inputs in self._prepared:
            same = sample is other and inputs.reference == like.reference and set(sensors) <= set(inputs.images)
            if same and torch.equal(inputs.camera, like.camera):
                return replace(inputs, images={sensor: inputs.images[sensor] for sensor in sensors})
        return None

    @staticmethod
    def _to_reference(
        maps: torch.Tensor, camera: torch.Tensor, size: tuple[int, int], canvas: torch.Tensor
    ) -> torch.Tensor:
        """From the network's canvas back to the reference image: a crop, or a resampling where it was scaled."""
        if torch.equal(camera[:, :2], canvas[:, :2]):
            left, top = (int(v) for v in (canvas - camera)[0, 2:].round())
            return maps[..., top : top + size[0], left : left + size[1]]
        pixels, _ = infinity_grid(canvas, camera, size)
        return sample_at(maps, pixels)


def checked_device(device: torch.device | str) -> torch.device:
    """The device, or ValueError when this machine does not have it; `auto` takes CUDA where there is one."""
    if str(device) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    unknown = f"unknown device {str(device)!r}; use cpu, cuda, cuda:N or auto"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(unknown) from error
    if chosen.type not in ("cpu", "cuda"):  # PyTorch knows more, on which nothing here has been tried
        raise ValueError(unknown)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but this machine offers no CUDA")
    if chosen.type == "cuda" and (chosen.index or 0) >= (count := torch.cuda.device_count()):
        raise ValueError(f"device {device!r} was asked for, but this machine has {count} CUDA devices")
    return chosen
