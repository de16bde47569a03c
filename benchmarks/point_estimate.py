"""Which bound on the scale of the error makes the best depth out of the network's distribution.

    python benchmarks/point_estimate.py

answers validation streets (seeds 500,000 and up) with the depth of least relative error under each bound on the scale,
`WIDEST` of `spike_depth_core/inference/point_estimate.py`, and writes `docs/results/point_estimate.md`: the relative
error that is left, the share of pixels within a quarter of the truth, and how much of the sky the bound brings down to
the street, which neither of them sees. About three minutes on two cores.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from spike_depth_core.cli.console import console, print_table, track
from spike_depth_core.evaluation.evaluate import NETWORK, SKY_FROM_M, Evaluation
from spike_depth_core.evaluation.frames import StoredFrames, WorldFrames, store
from spike_depth_core.evaluation.results import markdown_table
from spike_depth_core.evaluation.sheets import sensor_names
from spike_depth_core.inference import DepthEstimator, point_estimate
from spike_depth_core.training.world_data import VALIDATION_SEED

ROOT = Path(__file__).resolve().parents[1]
BOUNDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MEASURES = ("AbsRel", "δ < 1.25", "near sky")
SUBSETS: tuple[tuple[str, ...], ...] = (("spikes", "rgb", "nir", "thermal"), ("spikes",), ("rgb",))


def main(
    frames: Annotated[int, typer.Option(min=2, help="Streets.")] = 60,
    checkpoint: Annotated[Path | None, typer.Option(help="The shipped one by default.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep the rendered streets here.")] = None,
    out: Annotated[Path, typer.Option(help="Where the results go.")] = ROOT / "docs" / "results",
) -> None:
    """Make the table."""
    estimator = DepthEstimator.load(checkpoint)
    subsets = [subset for subset in SUBSETS if set(subset) <= set(estimator.sensors)]
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = cache or Path(temporary)
        source = WorldFrames(VALIDATION_SEED, frames, None, tuple(estimator.sensors), estimator.spike_planes)
        for _ in track(store(source, folder), f"rendering {frames} streets", frames):
            pass
        for bound in track(BOUNDS, "bounds", len(BOUNDS)):
            point_estimate.WIDEST = bound
            cells = [f"{bound:g}"]
            for subset in subsets:
                evaluation = Evaluation().run(StoredFrames(folder, subset), estimator, subset)
                mean = evaluation.mean(NETWORK)
                cells += [f"{mean['abs_rel']:.4f}", f"{mean['a1']:.3f}", f"{evaluation.near_sky_share:.1%}"]
            rows.append(cells)
    columns = ["bound", *(f"{what}, {sensor_names(s)}" for s in subsets for what in MEASURES)]
    command = shlex.join(["python", "benchmarks/point_estimate.py", *sys.argv[1:]])
    page = [
        "# The bound of the point estimate\n",
        f"Made by `{command}` with the checkpoint of sha256 `{estimator.info.sha256[:16]}…`: "
        f"{frames} validation streets, scene seeds from {VALIDATION_SEED}. *Near sky*: share of the sky's pixels told "
        f"nearer than {SKY_FROM_M:g} m. A bound of 0 is the median.\n",
        markdown_table(columns, rows),
    ]
    (out / "point_estimate.md").write_text("\n".join(page), encoding="utf-8")
    print_table("point estimate", columns, rows)
    console.print(f"wrote {out / 'point_estimate.md'}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
