"""`spike-depth extract`: bags become training data."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from spike_depth_core.cli.options import finite, parse_sensors, parse_topics
from spike_depth_core.sensors import SENSORS


class Split(StrEnum):
    """What goes to one split as a whole."""

    drive = "drive"
    block = "block"


def extract(
    bags: Annotated[list[Path], typer.Argument(metavar="BAGS...", help="rosbag2 bags: folders, .mcap or .db3 files.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the data set.")],
    rate: Annotated[
        float, typer.Option(callback=finite, min=0.0, help="The most samples in a second of a bag; 0 for one a moment.")
    ] = 10.0,
    planes: Annotated[int, typer.Option(min=1, help="Spike planes of a sample; the network looks at 256.")] = 256,
    sensors: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Sensors that each sample must have, such as spikes,rgb. All by default."),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(metavar="SENSOR=TOPIC", help="Which topic is a sensor, where names do not tell."),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(
            metavar="TOPIC",
            help="True depth: images or LiDAR points, as of replay. Of a simulated drive its own by default.",
        ),
    ] = None,
    truth_tolerance: Annotated[
        float, typer.Option(callback=finite, min=0.0, help="The most seconds that a truth may be from its moment.")
    ] = 0.02,
    odometry: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Poses of the vehicle; the only odometry there is by default.")
    ] = None,
    rig: Annotated[
        Path | None,
        typer.Option(help="YAML with the sensors' places; by default the bag's, or config/rigs/vehicle.yaml."),
    ] = None,
    split: Annotated[
        Split, typer.Option(help="Whether drives go to training, validation or test as a whole, or blocks of them.")
    ] = Split.drive,
    shares: Annotated[str, typer.Option(help="Of training, validation and test.")] = "80,10,10",
    assign: Annotated[
        list[str] | None,
        typer.Option(metavar="SPLIT=NAME", help="What a drive is for, such as test=night; the others are drawn."),
    ] = None,
    block: Annotated[
        float, typer.Option(callback=finite, min=0.1, help="Seconds of a block; drives are worked on in such parts.")
    ] = 20,
    gap: Annotated[
        float, typer.Option(callback=finite, min=0.0, help="Seconds left out between blocks of different splits.")
    ] = 2.0,
    seed: Annotated[int, typer.Option(help="Of the order in which drives are drawn.")] = 0,
    max_sync_error: Annotated[
        float,
        typer.Option(callback=finite, min=0.0, help="The most seconds that what a sensor saw may be from its moment."),
    ] = 0.02,
    max_clipped: Annotated[
        float,
        typer.Option(
            callback=finite, min=0.0, max=1.0, help="The most of an image's pixels that are black or white; 1: any."
        ),
    ] = 0.95,
    min_speed: Annotated[
        float,
        typer.Option(callback=finite, min=0.0, help="Metres a second that the vehicle must drive, by its odometry."),
    ] = 0.0,
    min_change: Annotated[
        float,
        typer.Option(
            callback=finite,
            min=0.0,
            help="How much the first sensor's picture must have changed, as a share of brightness.",
        ),
    ] = 0.0,
    shard_mb: Annotated[
        float, typer.Option(callback=finite, min=0.001, help="Size at which a new shard is begun.")
    ] = 512.0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="A Ray cluster to run on instead: auto, host:port, or local for one of this machine. Bags and the "
            "folder must have the same paths everywhere.",
        ),
    ] = None,
) -> None:
    """Make training data of bags: samples as the node would pair them, with truth and poses, in shards.

    Killed at any moment, the same command goes on with the parts that are missing. The same bags give the same bytes.
    Writes manifest.json, units/ with what became of each part, and train/, validation/ and test/ with shards: tars in
    the layout of WebDataset, checksummed in units/. `spike-depth info DIR` looks inside, `spike-depth train --data DIR`
    learns from them.

    spike-depth extract drives/*.mcap --out data
    """
    from spike_depth_core.cli.console import console, print_facts, print_table, progress_bar
    from spike_depth_core.training.extracted import ExtractedSet, rows_of
    from spike_depth_core.training.extraction import extract_unit, is_done, only_one, plan_extraction
    from spike_depth_core.training.filters import Limits
    from spike_depth_core.training.manifest import ExtractionOptions
    from spike_depth_core.training.splits import parse_shares
    from spike_depth_core.workers import run_jobs

    options = ExtractionOptions(
        planes=planes,
        rate_hz=rate,
        sensors=parse_sensors(sensors, SENSORS),
        topics=parse_topics(topic),
        truth=truth,
        odometry=odometry,
        truth_tolerance_s=truth_tolerance,
        rig=None if rig is None else str(rig),
        limits=Limits(max_sync_error, max_clipped, min_speed, min_change),
        split=split.value,
        shares=parse_shares(shares),
        block_s=block,
        gap_s=gap,
        assigned=parse_assigned(assign),
        seed=seed,
        shard_mb=shard_mb,
    )
    unreadable: list[str] = []
    jobs = plan_extraction(bags, out, options, unreadable.append)
    for text in unreadable:
        console.print(f"left out: {text}", style="yellow", highlight=False, soft_wrap=True)
    failed = []
    with only_one(out), progress_bar() as bar:
        left = [job for job in jobs if not is_done(job)]
        task = bar.add_task("Extracting", total=len(jobs), completed=len(jobs) - len(left))
        for outcome in run_jobs(extract_unit, left, workers, ray):
            bar.advance(task)
            if outcome.error is not None:
                failed.append(outcome.fault or outcome.error)
    found = ExtractedSet(out)
    for text in found.complaints():
        console.print(text, style="yellow", highlight=False, soft_wrap=True)
    columns, rows = rows_of(found)
    print_table(f"{out}", columns, rows)
    if found.dropped():
        print_facts("Moments left out", [(reason, f"{n:,}") for reason, n in found.dropped().most_common()])
    wrong = [f"{len(failed)} of {len(jobs)} parts failed; the same command tries again: {failed[0]}"] if failed else []
    if unreadable:
        wrong.append(f"{len(unreadable)} of {len(bags)} bags cannot be read: {'; '.join(unreadable)}")
    if wrong:
        raise ValueError("\n".join(wrong))
    if not rows:
        raise ValueError(f"nothing was kept of {len(bags)} bags: {dict(found.dropped()) or 'they have no moments'}")


def parse_assigned(given: list[str] | None) -> dict[str, str]:
    """`test=night` and the like as splits by drive. Raises ValueError for what is not."""
    found = {}
    for text in given or ():
        split, equals, name = text.partition("=")
        if not equals or not split or not name:
            raise ValueError(f"--assign takes SPLIT=NAME, found {text!r}")
        found[name] = split
    return found
