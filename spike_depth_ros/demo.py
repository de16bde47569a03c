"""The live demonstration: `python -m spike_depth_ros.demo --seconds 20`.

Only the command line is here. What takes seconds to import comes afterwards, so that help is quick and Ctrl-C is heard
from the start.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from spike_depth_ros.interrupt import Interrupt


def demo(
    seconds: Annotated[float, typer.Option(min=1.0, max=299.0, help="Length of the drive.")] = 20.0,
    seed: Annotated[int, typer.Option(min=0, max=899_999, help="Which street is driven.")] = 700_000,
    condition: Annotated[str, typer.Option(metavar="day|dusk|night", help="Light.")] = "day",
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A .safetensors checkpoint; the shipped one by default.")
    ] = None,
    planes_per_packet: Annotated[int, typer.Option(min=1, max=1024, help="Spike planes in a packet.")] = 64,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the network.")] = 1,
    parallax: Annotated[
        bool, typer.Option("--parallax", help="Correct depth by the moments before, by the vehicle's odometry.")
    ] = False,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Learn on the road as well, in a third process; what is kept goes to DIR.")
    ] = False,
    prepare_spikes: Annotated[
        bool,
        typer.Option("--prepare-spikes", help="Make the spikes beforehand, for slow cores: 250 MB a second of drive."),
    ] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results go.")] = Path("out/demo"),
) -> None:
    """Play a street through a live ROS 2 graph: spikes and frames in, depth out, measured against the truth.

    Writes metrics.json, a side-by-side video and report.html.
    """
    interrupt = Interrupt()
    from spike_depth_ros.demo_graph import run_demo

    try:
        if interrupt:
            raise KeyboardInterrupt
        run_demo(
            interrupt, seconds, seed, condition, checkpoint, planes_per_packet, threads, out, adapt, parallax,
            prepare_spikes,
        )  # fmt: skip
    except KeyboardInterrupt:
        print("Interrupted.")


def main() -> int:
    """Run the demonstration; returns the exit status: 0 when it was interrupted, 1 when it could not be done."""
    try:
        typer.run(demo)
    except SystemExit as end:
        return int(end.code or 0)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
