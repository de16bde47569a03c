"""The page of a training run: command, data, time, learning curve. `python benchmarks/learning_curve.py RUN --out DIR`

RUN is what `spike-depth train --out` wrote (its checkpoint's JSON and `log.jsonl`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import typer

from spike_depth_core.evaluation.results import markdown_table


def main(
    run: Annotated[Path, typer.Argument(help="Folder of the training run.")],
    out: Annotated[Path, typer.Option(help="Folder for training.md and training.png.")] = Path("docs/results"),
    hardware: Annotated[str, typer.Option(help="What it ran on, for the page.")] = "not stated",
) -> None:
    about = json.loads((run / "checkpoint.json").read_text())
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [line for line in lines if "loss" in line]
    validations = [line for line in lines if "validation" in line]
    out.mkdir(parents=True, exist_ok=True)

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    left.plot([v["step"] for v in losses], [v["l1"] for v in losses], lw=0.8)
    left.set(xlabel="step", ylabel="L1 on log-depth, training", yscale="log")
    for name in validations[0]["validation"]:
        right.plot([v["step"] for v in validations], [v["validation"][name] for v in validations], label=name)
    right.set(xlabel="step", ylabel="AbsRel, validation streets", yscale="log")
    right.legend(fontsize=7)
    for axis in (left, right):
        axis.grid(alpha=0.3, which="both")
    figure.tight_layout()
    figure.savefig(out / "training.png", dpi=110)

    training = about["training"]
    options = training["options"]
    kept = training["validation_abs_rel"]
    rows = [
        ("recipe", training["recipe"]),
        ("command", f"`{training['command']}`"),
        ("seed", str(options["seed"])),
        ("training samples", f"{training['samples']}, scene seeds {training['scene_seeds']}"),
        ("steps x batch", f"{options['steps']} x {options['batch_size']}"),
        ("time of the steps", f"{losses[-1]['seconds'] / 60:.1f} min (rendering the samples not counted)"),
        ("processes", str(training["processes"])),
        ("hardware", hardware),
        ("kept", f"step {training['step']}, best mean AbsRel on validation streets"),
        ("steps skipped (gradient not finite)", str(losses[-1]["skipped"])),
        ("sha256 of the weights", f"`{about['sha256']}`"),
    ]
    page = [
        "# How the default checkpoint was trained",
        "",
        markdown_table(["", "value"], rows),
        "",
        "AbsRel on validation streets (scene seeds 500,000 and up; none trained or tested on) of the weights "
        "that were kept:",
        "",
        markdown_table(["sensors", "AbsRel"], [(name, f"{value:.4f}") for name, value in kept.items()]),
        "",
        "![learning curve](training.png)",
        "",
        "This page is written by `python benchmarks/learning_curve.py RUN --out docs/results`.",
    ]
    (out / "training.md").write_text("\n".join(page) + "\n")


if __name__ == "__main__":
    typer.run(main)
