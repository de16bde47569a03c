"""Examples of the original training, to be learned along against forgetting and asked before every swap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from spike_depth_core.geometry import SensorRig
from spike_depth_core.samples import DepthSample
from spike_depth_core.samples.files import list_samples, load_sample
from spike_depth_core.world import CONDITIONS, World, vehicle_rig

COUNT = 30
"""How many there are where nobody says otherwise."""


SCALE = 0.5
"""Of the pictures of those that are rendered: a learner's time is better spent on learning."""


def originals(folder: str | Path | None, count: int) -> Iterator[DepthSample]:
    """Those of a folder, or rendered ones where none is named."""
    return stored_originals(folder, count) if folder else rendered_originals(count, SCALE)


def scaled_rig(scale: float) -> SensorRig:
    """The default rig with smaller pictures."""
    rig = vehicle_rig()
    cameras = {s: c.resized(round(c.width * scale / 8) * 8, round(c.height * scale)) for s, c in rig.cameras.items()}
    return replace(rig, cameras=cameras)


def rendered_originals(
    count: int, scale: float = 1.0, first_seed: int = 0, conditions: Sequence[str] = CONDITIONS
) -> Iterator[DepthSample]:
    """Samples of rendered streets such as the shipped checkpoint was trained on.

    Args:
        count: how many.
        scale: of the cameras' size.
        first_seed: of the streets; those of training are below 700,000.
        conditions: of light, in turn; for a checkpoint that has seen fewer than the shipped one.
    """
    rig = scaled_rig(scale)
    for i in range(count):
        world = World(first_seed + i, rig=rig, supersample=1, condition=conditions[i % len(conditions)])
        yield world.sample(5.0 + i % 7)


def stored_originals(folder: str | Path, count: int) -> Iterator[DepthSample]:
    """Sample files of a folder, evenly over it.

    Raises:
        ValueError: the folder has none, or one of them is damaged.
    """
    paths = list_samples(folder)
    for index in np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int):
        yield load_sample(paths[index])
