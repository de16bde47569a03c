"""A network as ONNX graphs: one that encodes for each sensor, and one that fuses and decodes.

Any set of sensors may be there, and each may vanish at any time. A file for every set would be 15 files of four
sensors, each with the decoder again; one file with a mask for the missing would encode what is not there. So the graphs
are cut where the sensors meet: those present are encoded, their features stacked, and the decoder takes a stack of any
height.

    encode_SENSOR: image [1, C + 1, H, W], camera [1, 4], height [1]
        -> half [1, c, H / 2, W / 2], quarter, eighth, sixteenth
    decode: half [S, c, H / 2, W / 2], quarter, eighth, sixteenth, camera [1, 4], height [1]
        -> log_depth [1, H, W], log_scale [1, H, W]

H and W are any multiples of 32. What goes in is `networks.preprocess.NetworkInput`, what comes out
`networks.depth_network.Prediction`: the preparation of images and the way back to the reference are not in the graphs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spike_depth_core.extras import how_to_install
from spike_depth_core.networks.checkpoint import CheckpointInfo
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.networks.encoder import ray_maps
from spike_depth_core.networks.folding import folded
from spike_depth_core.networks.fusion import FeatureMean, SelectiveFusion
from spike_depth_core.networks.preprocess import CHANNELS, STRIDE
from spike_depth_core.whole_files import write_json, write_whole

OPSET = 17  # the first that has layer normalisation; what is newer, older runtimes on vehicles do not know
SCHEMA = 1
DESCRIPTION = "export.json"
LEVELS = ("half", "quarter", "eighth", "sixteenth")
RESULTS = ("log_depth", "log_scale")
DECODE = "decode"
# (height, width) at which an export is compared with its network: the shipped one's, a smaller one, a tall one.
CHECKED_SIZES = ((160, 256), (96, 160), (256, 64))


class ExportError(ValueError):
    """A network that cannot be exported, or an export that cannot be used; the message says which and why."""


def encoder_of(sensor: str) -> str:
    """The name of the graph that encodes a sensor."""
    return f"encode_{sensor}"


def require(package: str) -> Any:
    """Import a package that is only needed for ONNX. Raises ExportError, naming it, where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ExportError(
            f"ONNX needs the Python package {package!r}, which cannot be imported ({error}); {how_to_install('export')}"
        ) from error


def installed() -> bool:
    """Whether the packages are there that turn a network into ONNX and run it."""
    return all(importlib.util.find_spec(package) is not None for package in ("onnx", "onnxruntime"))


def check_exportable(architecture: Architecture) -> None:
    """Raise ExportError for a network that has no such graphs."""
    if architecture.stereo:
        raise ExportError("a stereo network cannot be exported to ONNX: its halves do not part sensor by sensor")
    if architecture.by_similarity:
        raise ExportError(
            f"a network with fusion {architecture.fusion!r} cannot be exported to ONNX: it looks twice, and warps "
            "features in between"
        )


def is_exportable(architecture: Architecture) -> bool:
    """Whether `export` would take a network of this architecture."""
    try:
        check_exportable(architecture)
    except ExportError:
        return False
    return True


class _Encode(nn.Module):
    def __init__(self, network: DepthNetwork, sensor: str):
        super().__init__()
        self.encoder, self.sensor = network.encoder, sensor

    def forward(self, image: Tensor, camera: Tensor, height: Tensor) -> tuple[Tensor, ...]:
        rays = ray_maps(camera, height, (image.shape[2], image.shape[3]), 4)
        return tuple(self.encoder(self.sensor, image, rays))


class _Decode(nn.Module):
    def __init__(self, network: DepthNetwork):
        super().__init__()
        self.network = network

    def forward(self, half: Tensor, quarter: Tensor, eighth: Tensor, sixteenth: Tensor, *place: Tensor) -> Any:
        stacks = (half, quarter, eighth, sixteenth)
        levels = [_fused(fusion, x) for fusion, x in zip(self.network.fusions, stacks, strict=True)]
        prediction = self.network.decode_levels(levels, *place)
        return prediction.log_depth, prediction.log_scale


def _fused(fusion: nn.Module, stack: Tensor) -> Tensor:
    """What a fusion makes of sensors' features, here stacked along the batch, of which there is one: [S, C, H, W]."""
    mean = stack.mean(dim=0, keepdim=True)
    if isinstance(fusion, FeatureMean):
        return mean
    assert isinstance(fusion, SelectiveFusion)
    weights = torch.softmax(fusion.score(torch.cat([stack, stack - mean], dim=1)), dim=0)
    return (weights * stack).sum(dim=0, keepdim=True)


def _open_axes(names: Iterable[str], first: str | None = None) -> dict[str, dict[int, str]]:
    """The axes of maps that are of any length: height and width, and the first one where it is named."""
    axes = {name: {2: f"height of {name}", 3: f"width of {name}"} for name in names}
    return axes if first is None else {name: {0: first} | others for name, others in axes.items()}


def _graph(
    module: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], axes: Mapping[str, Mapping[int, str]]
) -> bytes:
    """Trace a module into a graph."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder, "graph.onnx")
        # The exporter that begins with torch.export takes half a minute for a sensor, and a compiler of its own; this
        # one a fraction of a second. What it warns of, sizes that were baked in, `check` looks for.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes=axes,
            do_constant_folding=False,  # so that weights keep their names; the runtime folds
        )
        return path.read_bytes()


@lru_cache(maxsize=2)
def _traced(architecture: Architecture) -> dict[str, bytes]:
    """The graphs of an architecture, with weights that mean nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = folded(DepthNetwork(architecture))
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter))  # or tensors that are alike would become one
        place = {"camera": torch.tensor([[60.0, 60.0, 48.0, 32.0]]), "height": torch.tensor([1.5])}
        graphs, features = {}, []
        for sensor in architecture.sensors:
            encode = _Encode(network, sensor)
            image = torch.randn(1, CHANNELS[sensor] + 1, 2 * STRIDE, 3 * STRIDE)
            features = encode(image, **place)
            graphs[encoder_of(sensor)] = _graph(
                encode, {"image": image} | place, LEVELS, _open_axes(["image", *LEVELS])
            )
        stacks = {level: torch.cat([x, x]) for level, x in zip(LEVELS, features, strict=True)}
        axes = _open_axes(LEVELS, "sensors") | {name: {1: "height", 2: "width"} for name in RESULTS}
        graphs[DECODE] = _graph(_Decode(network), stacks | place, RESULTS, axes)
    return graphs


def _filled(graph: bytes, weights: Mapping[str, Tensor]) -> bytes:
    """A graph with other weights, by their names."""
    onnx = require("onnx")
    model = onnx.load_model_from_string(graph)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(onnx.numpy_helper.from_array(weights[tensor.name].numpy(), tensor.name))
    onnx.checker.check_model(model)
    return model.SerializeToString()


def export(network: DepthNetwork) -> dict[str, bytes]:
    """The ONNX graphs of a network, by name: `encode_SENSOR` for each of its sensors, and `decode`.

    An architecture is traced once; other networks of it only bring other weights.

    Raises:
        ExportError: for a network that has no such graphs, or where the package `onnx` is missing.
    """
    check_exportable(network.architecture)
    require("onnx")
    # How large a picture may be is not in the graphs.
    traced = _traced(replace(network.architecture, pixels=Architecture.pixels))
    plain = folded(network).cpu().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    found = {}
    for name, graph in traced.items():
        whole = name == DECODE
        part: nn.Module = _Decode(plain) if whole else _Encode(plain, name.removeprefix(encoder_of("")))
        found[name] = _filled(graph, part.state_dict())
    return found


def save_export(folder: Path, graphs: Mapping[str, bytes], info: CheckpointInfo, check: Mapping[str, Any]) -> None:
    """Write graphs as `<name>.onnx`, and `export.json`: of what network, each file's sha256, how they were checked."""
    files = {
        name: {"file": f"{name}.onnx", "sha256": hashlib.sha256(graph).hexdigest()} for name, graph in graphs.items()
    }
    for name, graph in graphs.items():
        write_whole(folder / f"{name}.onnx", graph)
    description = {"schema": SCHEMA, "opset": OPSET, "network": info.to_dict(), "graphs": files, "check": dict(check)}
    write_json(folder / DESCRIPTION, description)


def load_export(folder: Path) -> tuple[dict[str, bytes], CheckpointInfo]:
    """Read what `save_export` wrote; hashes are checked.

    Raises:
        ExportError: naming the file and what is wrong with it.
    """
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text())
        if description["schema"] != SCHEMA:
            raise ValueError(f"schema {SCHEMA} expected, found {description['schema']!r}")
        info = CheckpointInfo.from_dict(description["network"])
        files = {str(name): (str(entry["file"]), entry["sha256"]) for name, entry in description["graphs"].items()}
    except OSError as error:
        raise ExportError(
            f"cannot read {path}: {error.strerror}; a folder that `spike-depth export` wrote has it"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ExportError(f"{path} does not describe an export: {type(error).__name__}: {error}") from error
    needed = {DECODE, *map(encoder_of, info.architecture.sensors)}
    if set(files) != needed:
        raise ExportError(f"{path}: the graphs {', '.join(sorted(needed))} expected, found {', '.join(sorted(files))}")
    graphs = {}
    for name, (file, digest) in files.items():
        if Path(file).name != file:
            raise ExportError(f"{path} names {file!r}, which is not a file of its folder")
        try:
            graphs[name] = (folder / file).read_bytes()
        except OSError as error:
            raise ExportError(f"cannot read {folder / file}: {error.strerror}") from error
        found = hashlib.sha256(graphs[name]).hexdigest()
        if found != digest:
            raise ExportError(f"{folder / file}: sha256 {digest} expected from {DESCRIPTION}, found {found}")
    return graphs, info
