"""What the adaptation node has in common with the depth node: what is heard, and how it is paired.

Launch files use this too, in a Python that need not have PyTorch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from spike_depth_ros.topics import IMAGES

SHARED = (
    "rig",
    "use_tf",
    "device",
    "threads",
    "sensors",
    "alive",
    *(
        f"{sensor}.{name}"
        for sensor in ("spikes", *IMAGES)
        for name in ("offset", "noise_window", "timeout", "compressed")
        if (sensor, name) != ("spikes", "compressed")
    ),
    "jump",
    "spike_history",
)
# What a node computes with is its own affair.
_OWN = ("device", "threads")


def handed_over(path: str | Path, node: str) -> dict[str, Any]:
    """What a parameter file of the depth node has to say to the adaptation node.

    Args:
        path: YAML, as `--params-file` takes it.
        node: full name of the depth node.

    Returns:
        Values by name: the checkpoint, what both nodes have to agree on, and the quality of service of what is heard.

    Raises:
        OSError, yaml.YAMLError: the file cannot be read.
    """
    values: dict[str, Any] = {}
    for name, entry in _entries(yaml.safe_load(Path(path).read_text()) or {}):
        if re.fullmatch(name.replace("/*", r"(/\w+)"), node):  # rclpy's rule; of several the last one has its way
            values |= _flat(entry or {})
    wanted = {"checkpoint", *SHARED} - {*_OWN}
    return {name: value for name, value in values.items() if name in wanted or name.startswith("qos_overrides.")}


def _entries(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Names of nodes, which may hold wildcards, and what there is for them."""
    for key, below in tree.items():
        if key == "ros__parameters":
            yield above, below
        else:
            yield from _entries(below, f"{above}/{key.strip('/')}")


def _flat(tree: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Levels joined by dots."""
    values: dict[str, Any] = {}
    for key, below in tree.items():
        values |= _flat(below, f"{above}{key}.") if isinstance(below, Mapping) else {f"{above}{key}": below}
    return values
