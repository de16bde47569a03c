"""Whether the paired test of two checkpoints keeps its promise, on drives of which the truth is known.

    python benchmarks/paired.py --out docs/results

writes `paired.json` and `paired.md`. The difference of two methods at a frame is drawn to be like that of frames
some seconds away, exp(-t / alike) (an autoregressive process of order 1), around a mean that is known. Beside the
test stands what a test over frames would have said of the same drives. A minute or two.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from spike_depth_core.cli.console import print_table, track
from spike_depth_core.evaluation.results import markdown_table
from spike_depth_core.metrics.paired import compare_blocks
from spike_depth_core.whole_files import write_json

RATE_HZ = 10
# Drives, seconds of each, seconds for which frames are alike, mean difference in spreads of a frame.
CASES = (
    (1, 60, 1.0, 0.0),
    (1, 60, 3.0, 0.0),
    (1, 60, 6.0, 0.0),
    (1, 300, 1.0, 0.0),
    (1, 300, 6.0, 0.0),
    (1, 1800, 6.0, 0.0),
    (3, 120, 3.0, 0.0),
    (8, 60, 3.0, 0.0),
    (30, 60, 3.0, 0.0),
    (1, 600, 1.0, 0.3),
    (8, 60, 3.0, 0.3),
    (30, 60, 3.0, 0.3),
)


def differences(trials: int, drives: int, seconds: float, alike_s: float, rng: np.random.Generator) -> np.ndarray:
    """Of mean 0 and spread 1, [trials, drives, frames]."""
    kept = np.exp(-1 / (RATE_HZ * alike_s))
    found = rng.standard_normal((round(seconds * RATE_HZ), trials, drives))
    for before, now in itertools.pairwise(found):
        now *= np.sqrt(1 - kept**2)
        now += kept * before
    return np.moveaxis(found, 0, -1)


def measure(trials: int, drives: int, seconds: float, alike_s: float, shift: float) -> dict[str, Any]:
    """What is said of so many sets of drives."""
    drawn = differences(trials, drives, seconds, alike_s, np.random.default_rng(0)) + shift
    times = np.arange(drawn.shape[-1]) * (10**9 // RATE_HZ)
    tests = [compare_blocks([(times, one) for one in trial]) for trial in drawn]
    told = [test for test in tests if test.enough]
    frames = drawn.reshape(trials, -1)
    margin = 1.96 * frames.std(axis=1, ddof=1) / frames.shape[1] ** 0.5
    return {
        "drives": drives,
        "seconds": seconds,
        "alike_s": alike_s,
        "difference": shift,
        "over_frames_told_apart": float(np.mean(np.abs(frames.mean(axis=1)) > margin)),
        "over_frames_holds": float(np.mean(np.abs(frames.mean(axis=1) - shift) < margin)),
        "told": len(told) / trials,
        "told_apart": float(np.mean([test.p < 0.05 for test in tests])),
        "holds": float(np.mean([test.low < shift < test.high for test in told])) if told else None,
    }


def main(
    out: Annotated[Path, typer.Option(help="Folder for paired.json and paired.md.")] = Path("out"),
    trials: Annotated[int, typer.Option(min=10, help="Sets of drives of each kind.")] = 1000,
) -> None:
    """Draw drives and test them."""
    rows = [measure(trials, *case) for case in track(CASES, "cases")]
    columns = [
        "drives",
        "alike for",
        "difference",
        "over frames: told apart",
        "its interval holds",
        "something is told",
        "told apart, of all",
        "interval holds, where told",
    ]
    cells = [
        [
            f"{row['drives']} of {row['seconds']} s",
            f"{row['alike_s']:g} s",
            f"{row['difference']:g}",
            *(
                "" if row[key] is None else f"{100 * row[key]:.1f} %"
                for key in ("over_frames_told_apart", "over_frames_holds", "told", "told_apart", "holds")
            ),
        ]
        for row in rows
    ]
    command = f"python benchmarks/paired.py --trials {trials} --out docs/results"
    chance = 5 + 200 * (0.05 * 0.95 / trials) ** 0.5
    text = (
        "# The paired test, where the truth is known\n\n"
        f"`{command}`, seed 0: {trials} sets of drives of each kind, {RATE_HZ} frames a second. The difference of two "
        "methods at one frame is like that of frames some seconds away; its mean is given in spreads of a frame. Where "
        f"there is none, 5 % of the sets at most should be told apart (by chance it may be {chance:.1f} %); the "
        "interval should hold the truth in 95 %.\n\n" + markdown_table(columns, cells)
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "paired.md").write_text(text)
    write_json(out / "paired.json", {"command": command, "seed": 0, "trials": trials, "cases": rows})
    print_table("paired test", columns, cells)


if __name__ == "__main__":
    typer.run(main)
