"""`spike-depth convert`: spike recordings from one format to another, and videos to spikes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from spike_depth_core.bags.storage import SUFFIXES as BAGS
from spike_depth_core.bags.storage import is_bag
from spike_depth_core.cli.console import console, track
from spike_depth_core.cli.options import typed
from spike_depth_core.cli.paths import check_file
from spike_depth_core.spikes import PackedSpikes, SpikeCameraParameters
from spike_depth_core.spikes.formats import SUFFIXES, read_spikes, write_dat, write_spikes
from spike_depth_core.spikes.video import PLANES_PER_FRAME, VIDEO_GAIN, read_video, spikes_from_frames

_VIDEOS = (".mp4", ".avi", ".mkv", ".mov", ".webm")


class Layout(StrEnum):
    """How a `.dat` lies in its file: see `spikes/formats.py`."""

    camera = "camera"
    upright = "upright"
    with_head = "with_head"
    sps100 = "sps100"


class Camera(StrEnum):
    """Which camera is simulated on a video."""

    ideal = "ideal"
    physical = "physical"


def convert(
    context: typer.Context,
    source: Annotated[
        Path, typer.Argument(help="A recording (.dat, .npy, .npz), a bag (.mcap, .db3) or a video (.mp4, .avi, ...).")
    ],
    target: Annotated[Path, typer.Argument(help="What to write: .dat, .npy, .npz, or a bag: .mcap or .db3.")],
    height: Annotated[int | None, typer.Option(help="Rows of a .dat (250), or to resize a video to.", min=1)] = None,
    width: Annotated[int | None, typer.Option(help="Columns of a .dat (400), or to resize a video to.", min=1)] = None,
    layout: Annotated[Layout, typer.Option(help="Layout of a .dat that is read.")] = Layout.camera,
    target_layout: Annotated[Layout, typer.Option(help="Layout of a .dat that is written.")] = Layout.camera,
    first: Annotated[int, typer.Option(help="First plane (of a video: frame) to take.", min=0)] = 0,
    count: Annotated[
        int | None, typer.Option(help="How many planes (of a video: frames) to take; all if left out.", min=1)
    ] = None,
    period_ns: Annotated[
        int | None,
        typer.Option(help="Nanoseconds from plane to plane, whatever the file, bag or video says.", min=1),
    ] = None,
    planes_per_frame: Annotated[
        int, typer.Option(help="Of a video: planes from frame to frame.", min=4)
    ] = PLANES_PER_FRAME,
    camera: Annotated[Camera, typer.Option(help="Of a video: simulate with or without noise.")] = Camera.ideal,
    seed: Annotated[int, typer.Option(help="Of a video: seed of the pixels' first charges and of noise.", min=0)] = 0,
) -> None:
    """Convert spike recordings between formats, or simulate spikes from a video.

    .dat is the camera's own format: bits without a header, so size and layout must be known. .npy and .npz hold
    planes: uint8 [T, H, W] of zeros and ones, rows top down; .npz keeps the times too. A bag has the planes as packets
    on one topic. A video becomes what a spike camera would have seen, with light that changes linearly from frame to
    frame.
    """
    if target.suffix.lower() not in (*SUFFIXES, *BAGS):
        raise ValueError(f"{target}: spikes are written to {', '.join((*SUFFIXES, *BAGS))}")
    if source.resolve() == target.resolve():
        raise ValueError(f"{target} is the recording itself: choose another name for the result")
    video, dat = source.suffix.lower() in _VIDEOS, source.suffix.lower() == ".dat"
    bag = source.is_dir() or is_bag(source)
    for has_effect, what, names in (
        (video, "a video that is read", ("planes_per_frame", "camera", "seed")),
        (not bag, "a file of planes or a video that is read", ("height", "width")),
        (dat, "a .dat that is read", ("layout",)),
        (target.suffix.lower() == ".dat", "a .dat that is written", ("target_layout",)),
    ):
        if not has_effect and (stray := typed(context, *names)):
            raise ValueError(f"{', '.join(stray)}: only of {what}, found {source} to {target}")
    if video:
        rate, frames = read_video(source, height, width)
        taken = itertools.islice(frames, first, None if count is None else first + count)
        parameters = SpikeCameraParameters(gain=VIDEO_GAIN) if camera is Camera.physical else None
        parts = spikes_from_frames(taken, rate, planes_per_frame, parameters, seed)
        summary = _write_parts(target, _read(source, track(_every(period_ns, parts), "frames")), target_layout)
    elif bag:
        from spike_depth_core.bags import BagReader
        from spike_depth_core.bags.recording import spikes_of_bag

        reader = BagReader(source)
        parts = _planes_between(_every(period_ns, spikes_of_bag(reader)), first, count)
        summary = _write_parts(target, _read(source, track(parts, "packets")), target_layout)
        for damage in reader.damage:
            console.print(str(damage), style="yellow", highlight=False, soft_wrap=True)
    else:
        check_file(source)
        spikes = read_spikes(source, height, width, layout.value, period_ns)
        last = len(spikes) if count is None else first + count
        if not first < last <= len(spikes):
            raise ValueError(f"{source} has {len(spikes)} planes: there are no planes {first} to {last - 1}")
        summary = _write_parts(target, [spikes.slice(first, last)], target_layout)
    console.print(f"{target}: {summary}", highlight=False, soft_wrap=True)


def _write_parts(target: Path, parts: Iterable[PackedSpikes], layout: Layout) -> str:
    """Write parts one after another; a .dat as they come, so that it may be larger than the memory."""
    parts = iter(parts)
    first = next(parts, None)
    if first is None:
        raise ValueError("there are no planes: a video must have two frames at least, a bag a packet in the range")
    parts = itertools.chain([first], parts)
    if target.suffix.lower() in BAGS:
        from spike_depth_core.bags import BagWriter
        from spike_depth_core.bags.recording import record_spikes

        with BagWriter(target) as bag:
            planes = record_spikes(parts, bag)
    elif target.suffix.lower() == ".dat":
        planes = write_dat(target, parts, layout.value)
    else:
        whole = PackedSpikes.concatenate(list(parts))
        write_spikes(target, whole)
        planes = len(whole)
    return f"{planes} planes of {first.width}x{first.height} pixels, {1e9 / first.period_ns:,.0f} planes/s"


def _read(source: Path, parts: Iterable[PackedSpikes]) -> Iterator[PackedSpikes]:
    """The parts of a file that is read while another is written: where that fails, it is this one that is named."""
    try:
        yield from parts
    except OSError as error:
        raise ValueError(f"{source} cannot be read: {error}") from error


def _every(period_ns: int | None, parts: Iterable[PackedSpikes]) -> Iterator[PackedSpikes]:
    """Parts that follow one another, with another time from plane to plane; their own where that is None."""
    start_ns: int | None = None
    for part in parts:
        if period_ns is not None:
            start_ns = part.start_ns if start_ns is None else start_ns
            part = replace(part, period_ns=period_ns, start_ns=start_ns)
            start_ns += len(part) * period_ns
        yield part


def _planes_between(parts: Iterable[PackedSpikes], first: int, count: int | None) -> Iterator[PackedSpikes]:
    """Planes [first, first + count) of parts that follow one another; to the end where `count` is None."""
    at = 0
    for part in parts:
        begin, end = max(first - at, 0), len(part) if count is None else min(first + count - at, len(part))
        at += len(part)
        if begin < end:
            yield part.slice(begin, end)
        if count is not None and at >= first + count:
            return
