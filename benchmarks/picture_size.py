"""What a smaller or larger picture for the network costs and gives.

    python benchmarks/picture_size.py

answers validation streets (seeds 500,000 and up) with pictures of several sizes and the same weights, and writes
`docs/results/picture_size.md`: the relative error that is left, and the processor's time of an estimate on one thread,
as a ratio to that of the size that the checkpoint was trained for. About six minutes on two cores.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
import typer

from spike_depth_core.cli.console import console, print_table, track
from spike_depth_core.evaluation.evaluate import NETWORK, Evaluation
from spike_depth_core.evaluation.frames import StoredFrames, WorldFrames, store
from spike_depth_core.evaluation.results import machine, markdown_table
from spike_depth_core.evaluation.sheets import sensor_names
from spike_depth_core.geometry import SensorRig
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.networks.preprocess import network_size
from spike_depth_core.resources import config_path
from spike_depth_core.samples import DepthSample
from spike_depth_core.training.world_data import VALIDATION_SEED

ROOT = Path(__file__).resolve().parents[1]
SIZES = (12_000, 16_000, 23_000, 28_000, 33_000, 40_000, 52_000)
SUBSETS: tuple[tuple[str, ...], ...] = (("spikes", "rgb", "nir", "thermal"), ("spikes",), ("rgb",))
TIMED = ("spikes", "rgb", "thermal")


def quickest(estimators: Mapping[int, DepthEstimator], sample: DepthSample, turns: int) -> dict[int, float]:
    """The least processor time of an estimate by each, in seconds; they take turns."""
    least = dict.fromkeys(estimators, float("inf"))
    for _ in range(turns):
        for size, estimator in estimators.items():
            begin = time.thread_time()
            estimator.estimate(sample)
            least[size] = min(least[size], time.thread_time() - begin)
    return least


def main(
    frames: Annotated[int, typer.Option(min=2, help="Streets.")] = 60,
    turns: Annotated[int, typer.Option(min=1, help="Of each size, of which the quickest counts.")] = 30,
    checkpoint: Annotated[Path | None, typer.Option(help="The shipped one by default.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep the rendered streets here.")] = None,
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = ROOT / "docs" / "results",
) -> None:
    """Make the table."""
    torch.set_num_threads(1)
    own = DepthEstimator.load(checkpoint)
    sizes = sorted({own.pixels, *SIZES})
    estimators = {size: DepthEstimator.load(checkpoint, pixels=size) for size in sizes}
    camera = SensorRig.load(config_path("rigs/vehicle.yaml")).cameras["spikes"]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = cache or Path(temporary)
        source = WorldFrames(VALIDATION_SEED, frames, None, tuple(own.sensors), own.spike_planes)
        for _ in track(store(source, folder), f"rendering {frames} streets", frames):
            pass
        times = quickest(estimators, StoredFrames(folder, TIMED)[0], turns)
        for size, estimator in track(estimators.items(), "sizes", len(estimators)):
            height, width, _ = network_size(camera.height, camera.width, size)
            cells = [f"{size:,}" + (", its own" if size == own.pixels else ""), f"{width}x{height}"]
            for subset in SUBSETS:
                mean = Evaluation().run(StoredFrames(folder, subset), estimator, subset).mean(NETWORK)
                cells += [f"{mean['abs_rel']:.4f}", f"{mean['a1']:.3f}"]
            rows.append([*cells, f"{times[size] / times[own.pixels]:.2f}"])
    columns = ["pixels", "canvas", *(f"{what}, {sensor_names(s)}" for s in SUBSETS for what in ("AbsRel", "δ < 1.25"))]
    columns.append("time of an estimate")
    command = shlex.join(["python", "benchmarks/picture_size.py", *sys.argv[1:]])
    page = [
        "# The size of the network's picture\n",
        f"Made by `{command}` with the checkpoint of sha256 `{own.info.sha256[:16]}…`, which was trained for "
        f"{own.pixels:,} pixels: {frames} validation streets, scene seeds from {VALIDATION_SEED}, seen by "
        f"`config/rigs/vehicle.yaml`. The time is the processor's, of {sensor_names(TIMED)} on one thread, as a ratio "
        f"to that of the checkpoint's own size, by PyTorch, the least of {turns} turns, on {machine()}.\n",
        markdown_table(columns, rows),
        "\n`pixels` of the depth node and `--pixels` of `infer`, `evaluate` and `replay` choose it; the weights stay "
        "as they are. Pictures that are smaller already are not enlarged.\n",
    ]
    (out / "picture_size.md").write_text("\n".join(page), encoding="utf-8")
    print_table("size of the picture", columns, rows)
    console.print(f"wrote {out / 'picture_size.md'}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
