"""Readers of public data sets by name: each is a sequence of `DepthSample`s. See `docs/datasets.md`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from spike_depth_core.samples.readers.dataset import Dataset, Frame
from spike_depth_core.samples.readers.dense_spike import DenseSpike
from spike_depth_core.samples.readers.driving_stereo import DrivingStereo
from spike_depth_core.samples.readers.kitti_object import KittiObject
from spike_depth_core.samples.readers.kitti_raw import KittiRaw
from spike_depth_core.samples.readers.ms2 import Ms2
from spike_depth_core.samples.readers.outdoor_spike import OutdoorSpike
from spike_depth_core.samples.readers.pku_spike_stereo import PkuSpikeStereo
from spike_depth_core.samples.readers.respike import Respike
from spike_depth_core.samples.readers.spike_kitti import SpikeKitti
from spike_depth_core.samples.readers.virtual_kitti import VirtualKitti

READERS: dict[str, type[Dataset]] = {
    reader.name: reader
    for reader in (
        KittiRaw,
        KittiObject,
        VirtualKitti,
        DrivingStereo,
        Ms2,
        SpikeKitti,
        DenseSpike,
        OutdoorSpike,
        Respike,
        PkuSpikeStereo,
    )
}

__all__ = ["READERS", "Dataset", "Frame", "open_dataset"]


def open_dataset(name: str, root: str | Path, split: str | None = None, **options: Any) -> Dataset:
    """One split of a data set.

    Args:
        name: one of `READERS`.
        root: the folder that it was unpacked to.
        split: which split; may be left out where there is only one.
        options: the reader's own, such as `partial=True`.

    Raises:
        ValueError: naming what there is, for a name, a split or an option that there is not.
    """
    if name not in READERS:
        raise ValueError(f"data sets are {', '.join(READERS)}; found {name!r}")
    reader = READERS[name]
    known = {f.name for f in dataclasses.fields(reader) if f.init} - {"root", "split"}
    unknown = set(options) - known
    if unknown:
        raise ValueError(f"{name} has the options {', '.join(sorted(known)) or '(none)'}; found {', '.join(unknown)}")
    if split is None:
        if len(reader.splits) > 1:
            raise ValueError(f"{name} has the splits {', '.join(reader.splits)}: say which")
        split = reader.splits[0]
    return reader(Path(root), split, **options)
