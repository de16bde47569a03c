"""`spike-depth convert spike-kitti` and `convert dataset`: sets of data out of other sets of data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spike_depth_core.cli.convert import Camera


def convert_spike_kitti(
    kitti: Annotated[Path, typer.Option(metavar="DIR", help="Root of KITTI raw: the folder with 2011_09_26.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Root of the set; that of KITTI itself adds to it.")],
    split: Annotated[
        str, typer.Option(help="Whose drives: all, eigen_train, eigen_test, ..., or a published list of frames.")
    ] = "all",
    frames: Annotated[int | None, typer.Option(min=2, help="Of each drive, use only the first so many.")] = None,
    planes: Annotated[int, typer.Option(min=4, help="Planes from frame to frame, a multiple of 4.")] = 128,
    width: Annotated[int, typer.Option(min=8, help="Columns of the planes.")] = 640,
    height: Annotated[int, typer.Option(min=8, help="Rows of the planes.")] = 192,
    camera: Annotated[Camera, typer.Option(help="Simulate with or without noise.")] = Camera.ideal,
    seed: Annotated[int, typer.Option(min=0, help="Of the camera's noise.")] = 0,
) -> None:
    """Make the Spike-KITTI set out of KITTI raw: spikes of both colour cameras, frame by frame.

    The planes between two frames go to DATE/DRIVE/image_04/data/spike/r128/ (left) and image_05 (right), as .npy of
    zeros and ones; what KITTI has is linked to. At 192x640 a frame takes 16 MB a camera: start with --frames, or one
    split. Interrupted, the same command goes on.
    """
    from spike_depth_core.cli.console import console, track
    from spike_depth_core.samples.readers.kitti_raw import KittiRaw
    from spike_depth_core.samples.simulated_spikes import SpikeKittiMaker
    from spike_depth_core.spikes import SpikeCameraParameters
    from spike_depth_core.spikes.video import VIDEO_GAIN

    parameters = SpikeCameraParameters(gain=VIDEO_GAIN) if camera is Camera.physical else None
    drives = KittiRaw(kitti, split, depth="none", partial=True)
    maker = SpikeKittiMaker(drives, out, planes, width, height, frames, parameters, seed)
    if not len(maker):
        raise ValueError(f"{kitti}: no drive of split {split} has two frames that follow one another")
    for _ in track(maker(), "frames", len(maker)):
        pass
    console.print(f"{out}: {len(maker)} frames of {planes} planes, {len(maker.drives)} drives", highlight=False)


def convert_dataset(
    dataset: Annotated[str, typer.Option(metavar="NAME", help="Which data set: see docs/datasets.md.")],
    root: Annotated[Path, typer.Option(metavar="DIR", help="Where it was unpacked.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Gets one sample file a frame.")],
    split: Annotated[str | None, typer.Option(help="Which split, where it has more than one.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Make do with the parts that are there.")] = False,
    size: Annotated[
        str | None, typer.Option(metavar="WxH", help="Resize pictures, as 640x192: a training batch needs equal sizes.")
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 takes all cores.")] = 1,
) -> None:
    """Make sample files of a public data set, which train, evaluate --samples and info read.

    Frames of a recording follow one another, as a training that looks at neighbours needs them. Interrupted, the same
    command goes on.
    """
    from spike_depth_core.cli.console import console, track
    from spike_depth_core.evaluation.frames import DatasetFrames, store
    from spike_depth_core.samples.readers import open_dataset

    options: dict[str, Any] = {"partial": True} if partial else {}
    frames = DatasetFrames(open_dataset(dataset, root, split, **options), parse_size(size))
    for _ in track(store(frames, out, workers), "samples", len(frames)):
        pass
    console.print(f"{out}: {len(frames)} samples", highlight=False)


def parse_size(text: str | None) -> tuple[int, int] | None:
    """`640x192` as (width, height); None for None. Raises ValueError for anything else."""
    if text is None:
        return None
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ValueError(f"--size is WIDTHxHEIGHT, such as 640x192; found {text!r}")
    return int(width), int(height)
