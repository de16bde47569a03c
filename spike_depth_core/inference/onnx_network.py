"""A network that ONNX Runtime computes on the CPU, in the place of one of PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
import torch

from spike_depth_core.geometry.rig import NOMINAL_HEIGHT
from spike_depth_core.inference.onnx_export import DECODE, LEVELS, ExportError, encoder_of, require
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork, Prediction
from spike_depth_core.networks.preprocess import CHANNELS, NetworkInput

# Of log-depth and of the logarithm of its scale: a thousandth of the depth.
TOLERANCE = 1e-3


class OnnxNetwork:
    """Called as a `DepthNetwork` is, for one sample.

    Args:
        graphs: as `onnx_export.export` makes them.
        architecture: of the network that they are of.
        threads: of the computation.

    Raises:
        ExportError: where the package `onnxruntime` is missing, or does not take a graph.
    """

    def __init__(self, graphs: Mapping[str, bytes], architecture: Architecture, threads: int = 1):
        runtime = require("onnxruntime")
        self.architecture = architecture
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        # Threads that wait by spinning take the processor from those that receive.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._sessions = {}
        for name, graph in graphs.items():
            try:
                self._sessions[name] = runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # its exceptions have no type of their own
                raise ExportError(f"ONNX Runtime {runtime.__version__} does not take {name!r}: {error}") from error

    def __call__(self, inputs: NetworkInput) -> Prediction:
        """Log-depth and the logarithm of its scale; features stay inside.

        Raises:
            ValueError: for a sensor that the network does not know, and for a batch.
        """
        unknown = set(inputs.images) - set(self.architecture.sensors)
        if unknown or not inputs.images:
            raise ValueError(f"this network knows {self.architecture.sensors}, found {sorted(inputs.images)}")
        if len(inputs.camera) != 1:
            raise ValueError(f"one sample at a time, found {len(inputs.camera)}")
        place = {"camera": inputs.camera.numpy(), "height": inputs.height.numpy()}
        found = [
            self._sessions[encoder_of(sensor)].run(LEVELS, {"image": inputs.images[sensor].numpy()} | place)
            for sensor in self.architecture.sensors
            if sensor in inputs.images
        ]
        stacks = {
            level: np.concatenate(features) if len(features) > 1 else features[0]
            for level, features in zip(LEVELS, zip(*found, strict=True), strict=True)
        }
        log_depth, log_scale = self._sessions[DECODE].run(None, stacks | place)
        return Prediction(torch.from_numpy(log_depth), torch.from_numpy(log_scale), features=[])


def random_inputs(architecture: Architecture, size: tuple[int, int], seed: int = 0) -> NetworkInput:
    """What all sensors of an architecture might see: standard normal, half of it outside the field of view."""
    random = torch.Generator().manual_seed(seed)
    height, width = size
    images = {}
    for sensor in architecture.sensors:
        seen = (torch.rand(1, 1, height, width, generator=random) > 0.5).float()
        picture = torch.randn(1, CHANNELS[sensor], height, width, generator=random)
        images[sensor] = torch.cat([picture * seen, seen], dim=1)
    camera = torch.tensor([[0.8 * width, 0.8 * width, 0.5 * width, 0.4 * height]])
    return NetworkInput(images, camera, torch.tensor([NOMINAL_HEIGHT]))


def subsets(sensors: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Every set of sensors but the empty one."""
    for count in range(1, len(sensors) + 1):
        yield from combinations(sensors, count)


@torch.inference_mode()
def largest_difference(
    network: DepthNetwork, exported: OnnxNetwork, sensors: tuple[str, ...], size: tuple[int, int], seed: int = 0
) -> dict[str, float]:
    """By how much an exported network differs from what it was made of, on random images of some sensors.

    Returns:
        Largest absolute differences of `log_depth` and `log_scale` over the pixels.
    """
    inputs = random_inputs(network.architecture, size, seed)
    inputs.images = {sensor: inputs.images[sensor] for sensor in sensors}
    one, other = network(inputs), exported(inputs)
    return {name: float((getattr(one, name) - getattr(other, name)).abs().max()) for name in ("log_depth", "log_scale")}
