"""The page of a training: commands, data, time, learning curve. `python benchmarks/learning_curve.py RUN... --out DIR`

Each RUN is what `spike-depth train --out` wrote (its checkpoint's JSON and `log.jsonl`); of several, each has started
from the one before (`--init`).
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from matplotlib.figure import Figure

from spike_depth_core.evaluation.results import markdown_table


def read_run(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(what the checkpoint's JSON says, the log's lines) of a run."""
    about = json.loads((folder / "checkpoint.json").read_text())
    return about, [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def draw(logs: list[list[dict[str, Any]]]) -> Figure:
    """Training loss and validation over the steps of all runs, one after the other."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    first = 0
    named: set[str] = set()
    for number, lines in enumerate(logs):
        losses = [line for line in lines if "loss" in line]
        validations = [line for line in lines if "validation" in line]
        left.plot([first + v["step"] for v in losses], [v["l1"] for v in losses], lw=0.8, color="C0")
        right.set_prop_cycle(None)  # a sensor keeps its colour from run to run
        for name in validations[0]["validation"]:
            steps = [first + v["step"] for v in validations]
            label = None if name in named else name
            right.plot(steps, [v["validation"][name] for v in validations], label=label, marker=".")
            named.add(name)
        first += losses[-1]["step"]
        if number < len(logs) - 1:
            for axis in (left, right):
                axis.axvline(first, color="grey", lw=0.8, ls="--")
    left.set(xlabel="step", ylabel="L1 on log-depth, training", yscale="log")
    right.set(xlabel="step", ylabel="AbsRel, validation streets", yscale="log")
    right.legend(fontsize=7)
    for axis in (left, right):
        axis.grid(alpha=0.3, which="both")
    return figure


def _seeds(ranges: dict[str, list[int]] | list[int]) -> str:
    """The first and the last scene seed, by format where each has its own."""
    if isinstance(ranges, list):
        return str(ranges)
    return ", ".join(f"{name} {first} to {last}" for name, (first, last) in ranges.items())


def facts(about: dict[str, Any], lines: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What there is to know of a run, for the page."""
    training = about["training"]
    options = training["options"]
    losses = [line for line in lines if "loss" in line]
    done, planned = losses[-1]["step"], options["steps"]
    return [
        ("recipe", training["recipe"]),
        ("command", f"`{training['command']}`"),
        ("started from", f"`{about['parent']}`" if about["parent"] else "random weights"),
        ("seed", str(options["seed"])),
        ("training samples", f"{training['samples']}, scene seeds {_seeds(training['scene_seeds'])}"),
        ("share of the draws", ", ".join(f"{f['name']} {f['weight']:g}" for f in training["formats"])),
        ("size of the network's picture", f"{about['architecture']['pixels']} pixels"),
        ("steps x batch", f"{planned} x {options['batch_size']}" + ("" if done == planned else f", stopped at {done}")),
        ("time of the steps", f"{losses[-1]['seconds'] / 60:.1f} min (rendering the samples not counted)"),
        ("processes", str(training["processes"])),
        ("kept", f"step {training['step']}, best mean AbsRel on validation streets"),
        ("steps skipped (gradient not finite)", str(losses[-1]["skipped"])),
        ("sha256 of the weights", f"`{about['sha256']}`"),
    ]


def blended(about: dict[str, Any]) -> list[str]:
    """The part of the page on how far the last run was followed."""
    blend = about["training"]["blend"]
    means = [(share, f"{mean:.4f}") for share, mean in blend["validation_mean"].items()]
    return [
        "## Between the last run and what was there before",
        "",
        "The weights that were kept lie on the straight line between those of the last run and those of "
        f"`{blend['of'][0]}` (WiSE-FT, CVPR 2022).",
        "",
        markdown_table(["share of the last run", "mean AbsRel on validation streets"], means),
        "",
        markdown_table(["", "value"], [("command", f"`{blend['command']}`"), ("sha256", f"`{about['sha256']}`")]),
        "",
    ]


def main(
    runs: Annotated[list[Path], typer.Argument(help="Folders of the training runs, the first one first.")],
    out: Annotated[Path, typer.Option(help="Folder for the page and its chart.")] = Path("docs/results"),
    page: Annotated[str, typer.Option(help="Their name, without a suffix.")] = "training",
    hardware: Annotated[str, typer.Option(help="What it ran on, for the page.")] = "hardware that is not stated",
    code: Annotated[
        list[str] | None, typer.Option(help="Commit of the repository that each run was made with, in their order.")
    ] = None,
    blend: Annotated[
        Path | None, typer.Option(help="What `spike-depth blend` made of the last run and the one before it.")
    ] = None,
) -> None:
    """Write the page."""
    read = [read_run(folder) for folder in runs]
    if code and len(code) != len(runs):
        raise ValueError(f"--code names {len(code)} commits for {len(runs)} runs")
    for (before, _), (about, _) in itertools.pairwise(read):
        if about["parent"] != before["sha256"]:
            raise ValueError(f"{about['sha256'][:8]} did not start from {before['sha256'][:8]}: {about['parent']}")
    out.mkdir(parents=True, exist_ok=True)
    draw([lines for _, lines in read]).savefig(out / f"{page}.png", dpi=110)
    text = ["# How the default checkpoint was trained", "", f"On {hardware}.", ""]
    for number, (about, lines) in enumerate(read, 1):
        text += [f"## Run {number} of {len(read)}", ""] if len(read) > 1 else []
        made_with = [("commit of the code", f"`{code[number - 1]}`")] if code else []
        text += [markdown_table(["", "value"], facts(about, lines) + made_with), ""]
    last = read[-1][0]
    if blend is not None:
        last = json.loads((blend / "checkpoint.json").read_text())
        if last["parent"] != read[-1][0]["sha256"]:
            raise ValueError(f"{blend} is not of the last run's {read[-1][0]['sha256'][:8]}: {last['parent']}")
        text += blended(last)
    kept = last["training"]["validation_abs_rel"]
    text += [
        "AbsRel on validation streets (scene seeds 500,000 and up; none trained or tested on) of the weights "
        "that were kept:",
        "",
        markdown_table(["sensors", "AbsRel"], [(name, f"{value:.4f}") for name, value in kept.items()]),
        "",
        f"![learning curve]({page}.png)",
        "",
        "Each command gives its weights with the code of its commit, under `torchrun` with as many processes.",
        "",
        "This page is written by `python benchmarks/learning_curve.py RUN... --out docs/results`.",
    ]
    (out / f"{page}.md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    typer.run(main)
