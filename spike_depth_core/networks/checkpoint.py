"""Checkpoints: `<name>.safetensors` for the weights, `<name>.json` for everything else. Nothing pickled.

A file that is wrong in any way is refused with a message that names it.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.networks.stereo import build_network
from spike_depth_core.whole_files import write_json, write_whole

SCHEMA = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and what is wrong with it."""


@dataclass
class CheckpointInfo:
    """The JSON beside the weights.

    Attributes:
        architecture: what `networks.stereo.build_network` builds from.
        row_prior: the row prior of the training set, the baseline that every accuracy table shows.
        depth_range: (nearest, farthest) metres of the training truth; estimates are cut to it.
        training: what it was trained on and how: plain JSON values.
        calibrated: whether the uncertainty was learned, so that an answer may be drawn from it.
        parent: sha256 of the weights it was trained from, or None.
        sha256: of the safetensors file.
    """

    architecture: Architecture
    row_prior: dict[str, Any] = field(default_factory=dict)
    depth_range: tuple[float, float] = (0.5, 120.0)
    training: dict[str, Any] = field(default_factory=dict)
    calibrated: bool = True
    parent: str | None = None
    sha256: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "architecture": self.architecture.to_dict(),
            "depth_range": list(self.depth_range),
            "row_prior": self.row_prior,
            "training": self.training,
            "calibrated": self.calibrated,
            "parent": self.parent,
            "sha256": self.sha256,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CheckpointInfo:
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else data
            raise ValueError(f"schema {SCHEMA} expected, found {found!r}")
        for name in ("row_prior", "training"):
            if not isinstance(data.get(name, {}), dict):
                raise ValueError(f"{name} has to be a mapping, found {data[name]!r}")
        near, far = (float(v) for v in data["depth_range"])
        if not 0 < near < far < math.inf:
            raise ValueError(f"depth_range is (nearest, farthest) in metres, 0 < nearest < farthest; found {near, far}")
        return cls(
            architecture=Architecture.from_dict(data["architecture"]),
            row_prior=data.get("row_prior", {}),
            depth_range=(near, far),
            training=data.get("training", {}),
            calibrated=bool(data.get("calibrated", True)),
            parent=data.get("parent"),
            sha256=data["sha256"],
        )


def save_checkpoint(
    path: str | Path, network: DepthNetwork, info: CheckpointInfo, compact: bool = False
) -> CheckpointInfo:
    """Write weights and JSON; returns the info with the sha256 filled in.

    Args:
        path: of the safetensors file; the JSON goes beside it.
        network: whose weights to write.
        info: the rest.
        compact: matrices and kernels as float16, half the size. Vectors (biases, statistics) stay float32.
    """
    path = Path(path).with_suffix(".safetensors")
    tensors = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    if compact:
        tensors = {k: v.half() if v.dim() > 1 and v.is_floating_point() else v for k, v in tensors.items()}
    content = save_tensors(tensors)
    info = CheckpointInfo(**{**vars(info), "sha256": hashlib.sha256(content).hexdigest()})
    write_whole(path, content)
    write_json(path.with_suffix(".json"), info.to_dict())
    return info


def read_info(path: str | Path) -> CheckpointInfo:
    """The JSON of a checkpoint, without its weights.

    Raises:
        CheckpointError: naming the file, whatever keeps it from being read.
    """
    given, path = Path(path), Path(path).with_suffix(".json")
    try:
        if given.suffix not in (".safetensors", ".json") and given.is_file():
            told = f"{given}: a checkpoint is a .safetensors with its .json beside it"
        elif any(known.exists() for known in (given, path, path.with_suffix(".safetensors"))):
            told = ""
        else:
            told = f"there is no checkpoint {given}"
        content = b"" if told else path.read_bytes()
    except OSError as error:  # a folder that may not be entered, a name that is too long
        told = f"cannot read the checkpoint's description {path}: {error.strerror}"
    if told:
        raise CheckpointError(told)
    try:
        return CheckpointInfo.from_dict(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a checkpoint description: {error}") from error


def read_weights(path: str | Path) -> tuple[dict[str, torch.Tensor], CheckpointInfo]:
    """The tensors of a checkpoint by name, and its description; the hash and finiteness are checked.

    Raises:
        CheckpointError: naming the file, what was expected and what was found.
    """
    info = read_info(path)
    path = Path(path).with_suffix(".safetensors")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != info.sha256:
        raise CheckpointError(f"{path}: sha256 {info.sha256} expected from its JSON, found {digest}")
    try:
        tensors = load_tensors(content)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error
    broken = [k for k, v in tensors.items() if not torch.isfinite(v).all()]
    if broken:
        raise CheckpointError(f"{path} holds values that are not finite, first in {broken[0]}")
    return tensors, info


def verify_checkpoint(path: str | Path, architecture: Architecture | None = None) -> CheckpointInfo:
    """What can be said of a checkpoint in milliseconds, without building its network.

    Args:
        path: of the safetensors file.
        architecture: what it has to be of, but for the size of the picture; anything when None.

    Raises:
        CheckpointError: as `load_checkpoint`, and for another architecture.
    """
    _, info = read_weights(path)
    alike = None if architecture is None else replace(architecture, pixels=info.architecture.pixels)
    if alike is not None and info.architecture != alike:
        expected, found = alike.to_dict(), info.architecture.to_dict()
        differing = [
            f"{key} {expected[key]} expected, found {found[key]}" for key in expected if expected[key] != found[key]
        ]
        raise CheckpointError(f"{path} is of another architecture: {'; '.join(differing)}")
    return info


def load_checkpoint(path: str | Path) -> tuple[DepthNetwork, CheckpointInfo]:
    """Read a checkpoint: hash, shapes and finiteness are checked before the network is handed out.

    Returns:
        The network in evaluation mode, on the CPU, and the info.

    Raises:
        CheckpointError: naming the file, what was expected and what was found.
    """
    tensors, info = read_weights(path)
    try:
        network = build_network(info.architecture)
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{Path(path).with_suffix('.json')} describes no network: {error}") from error
    expected = network.state_dict()
    wrong = sorted(set(expected) ^ set(tensors)) or sorted(k for k in expected if expected[k].shape != tensors[k].shape)
    if wrong:
        path = Path(path).with_suffix(".safetensors")
        raise CheckpointError(f"{path} does not fit its architecture: {len(wrong)} tensors differ, first {wrong[0]}")
    network.load_state_dict(tensors)
    return network.eval(), info
