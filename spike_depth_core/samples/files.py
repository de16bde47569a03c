"""Samples on disk: one uncompressed `.npz` a sample, written whole or not at all; or many of them in shards.

Spikes stay packed. Depth is kept as float16 (relative error below 0.0005, far under any sensor's). Reading takes
only the arrays asked for, so a training step that uses two sensors does not pay for the others.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from spike_depth_core.geometry import SensorRig
from spike_depth_core.samples.sample import DepthSample
from spike_depth_core.samples.shards import SHARD_SUFFIX, ShardMember, list_members
from spike_depth_core.sensors import IMAGES, modality
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.whole_files import write_json, write_whole

SUFFIX = ".npz"


def sample_path(folder: str | Path, index: int) -> Path:
    """Where sample number `index` of a folder lies."""
    return Path(folder) / f"{index:07d}{SUFFIX}"


def encode_sample(sample: DepthSample) -> memoryview:
    """One sample as the bytes of a file."""
    description: dict[str, Any] = {
        "rig": sample.rig.to_dict(),
        "time_ns": sample.time_ns,
        "meta": sample.meta,
    }
    if sample.world_from_reference is not None:
        description["world_from_reference"] = np.asarray(sample.world_from_reference, np.float64).tolist()
    if sample.offsets_ns:
        description["offsets_ns"] = sample.offsets_ns
    arrays: dict[str, np.ndarray] = {}
    for name in sample.images:
        image = getattr(sample, name)
        if modality(name) == "spikes":
            description[name] = {
                "width": image.width,
                "period_ns": image.period_ns,
                "start_ns": image.start_ns,
            }
            image = image.data
        arrays[name] = image
    stored: dict[int, str] = {}  # sensors behind one lens share one map
    description["depth"] = {s: stored.setdefault(id(depth), f"depth_{s}") for s, depth in sample.depth.items()}
    for sensor, name in description["depth"].items():
        if name not in arrays:
            with np.errstate(over="ignore"):  # beyond 65 km it is as good as the sky
                arrays[name] = sample.depth[sensor].astype(np.float16)
    arrays["description"] = np.frombuffer(json.dumps(description).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getbuffer()


def save_sample(path: str | Path, sample: DepthSample) -> None:
    """Write one sample. A kill at any moment leaves no half file behind under the sample's name."""
    write_whole(Path(path), encode_sample(sample))


def note_origin(note: Path, about: Mapping[str, Any], present: bool) -> None:
    """Note beside files what they were made of, so that none that were made otherwise come among them.

    Args:
        note: a JSON file, in their folder.
        about: what determines them, as JSON values.
        present: whether there are some already.

    Raises:
        ValueError: where those that are there are of something else, or of what is not known.
    """
    there = json.loads(note.read_text()) if note.exists() else None
    if there == about:
        return
    if there is not None or present:
        raise ValueError(f"{note.parent} has frames of {there or 'unknown origin'}, asked for those of {about}")
    write_json(note, about)


def load_sample(
    path: str | Path | ShardMember, sensors: Iterable[str] = IMAGES, depth: Iterable[str] = IMAGES
) -> DepthSample:
    """Read one sample, or part of it.

    Args:
        path: a file that `save_sample` wrote, or a sample in a shard.
        sensors: which images to read, of those there are; right-hand ones by their own names.
        depth: for which images to read the true depth.

    Raises:
        ValueError: naming the file, when it is not such a file or is damaged.
    """
    try:
        with opened(path) as stream, np.load(stream, allow_pickle=False) as file:
            description = json.loads(file["description"].tobytes())
            images: dict[str, Any] = {s: file[s] for s in sensors if s in file}
            known = description["depth"]
            truth = {s: file[known[s]].astype(np.float32) for s in depth if s in known}
        for name in images:
            if modality(name) == "spikes":
                about = description[name]
                images[name] = PackedSpikes(images[name], about["width"], about["period_ns"], about["start_ns"])
        pose = description.get("world_from_reference")
        return DepthSample(
            SensorRig.from_dict(description["rig"]),
            description["time_ns"],
            **images,
            depth=truth,
            meta=description["meta"],
            world_from_reference=None if pose is None else np.array(pose, np.float64),
            offsets_ns={s: ns for s, ns in description.get("offsets_ns", {}).items() if s in images},
        )
    except FileNotFoundError:
        raise
    except Exception as error:  # zip, JSON and array errors of a damaged file are of many types
        raise ValueError(f"{path} is not a readable sample file: {error}") from error


def opened(path: str | Path | ShardMember) -> BinaryIO:
    """A sample's file, or its part of a shard."""
    return path.open() if isinstance(path, ShardMember) else open(path, "rb")


def has_samples(folder: str | Path) -> bool:
    """Whether there are samples in a folder, in files or shards, and not in folders of its own."""
    return any(path.suffix in (SUFFIX, SHARD_SUFFIX) for path in Path(folder).glob("*"))


def list_samples(folder: str | Path) -> Sequence[Path | ShardMember]:
    """The samples of a folder in order: its sample files, or those in its shards.

    Raises:
        ValueError: when there is none, or a shard cannot be read.
    """
    paths: Sequence[Path | ShardMember] = sorted(Path(folder).glob(f"*{SUFFIX}"))
    if not paths:
        paths = [m for shard in sorted(Path(folder).glob(f"*{SHARD_SUFFIX}")) for m in list_members(shard)]
    if not paths:
        inner = ", ".join(str(path) for path in sorted(Path(folder).glob("*/")) if has_samples(path))
        raise ValueError(
            f"no sample files (*{SUFFIX}) or shards (*{SHARD_SUFFIX}) in {folder}"
            + (f"; there are in {inner}" if inner else "")
        )
    return paths


@dataclass(frozen=True)
class SampleSummary:
    """What a sample has, without its arrays.

    Attributes:
        meta: of the sample.
        depth: for which images the true depth is known.
        posed: whether its pose is known.
        arrays: by name, the bytes of each array of a file, and before them the width and height of a picture; None of
            a sample in a shard, where all of a folder are alike.
        checksums: the CRC-32 that a file holds of each of its arrays, its description among them; none in a shard.
    """

    meta: Mapping[str, Any]
    depth: frozenset[str]
    posed: bool
    arrays: Mapping[str, tuple[int, ...]] | None = field(default=None, compare=False)
    checksums: tuple[int, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, sample: DepthSample) -> SampleSummary:
        """Of a sample at hand."""
        return cls(sample.meta, frozenset(sample.depth), sample.world_from_reference is not None)

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a shard."""
        return {"meta": self.meta, "depth": sorted(self.depth), "posed": self.posed}


def summary_of(path: str | Path | ShardMember) -> SampleSummary:
    """What a sample has: of a shard, what stands beside it there; of a file, by its heads, without reading its arrays.
    Raises ValueError for a damaged file."""
    if isinstance(path, ShardMember) and {"meta", "depth", "posed"} <= path.about.keys():
        return SampleSummary(path.about["meta"], frozenset(path.about["depth"]), bool(path.about["posed"]))
    try:
        with opened(path) as stream, np.load(stream, allow_pickle=False) as file:
            description = json.loads(file["description"].tobytes())
            stored = {member.filename.removesuffix(".npy"): member for member in file.zip.infolist()}
        checksums = tuple(member.CRC for member in stored.values())
        del stored["description"]
        cameras = description["rig"]["sensors"]
        sizes = {name: (cameras[name]["width"], cameras[name]["height"]) for name in stored if name in IMAGES}
        return SampleSummary(
            description["meta"],
            frozenset(description["depth"]),
            description.get("world_from_reference") is not None,
            {name: (*sizes.get(name, ()), member.file_size) for name, member in stored.items()},
            checksums,
        )
    except FileNotFoundError:
        raise
    except Exception as error:  # as in load_sample
        raise ValueError(f"{path} is not a readable sample file: {error}") from error
