"""`spike-depth train`: teach the network on streets of the procedural world, on data of bags, or on public data."""

from __future__ import annotations

import dataclasses
import itertools
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from spike_depth_core.cli.options import Device, Pixels, finite
from spike_depth_core.cli.paths import check_out


def train(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, the log and the state to resume from.")],
    recipe: Annotated[str, typer.Option(help="What to learn: the name of a recipe.")] = "supervised",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the recipe (docs/methods.md), several times; the value as in YAML: --set gate=false.",
        ),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR",
            help="What spike-depth extract has made of bags, or a folder whose train (and validation) spike-depth "
            "convert dataset has made; DOMAIN=DIR, several times, for a recipe that learns from several domains. Or a "
            "folder that streets are rendered into where they are missing. Default: OUT/data.",
        ),
    ] = None,
    frames: Annotated[int, typer.Option(min=8, help="Training samples to render, of each domain.")] = 2000,
    validation_frames: Annotated[int, typer.Option(min=4, help="Validation samples to render.")] = 96,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 6000,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples a step.")] = 8,
    learning_rate: Annotated[float, typer.Option(callback=finite, min=0.0, help="Peak of the learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and augmentation.")] = 0,
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, or bfloat16: faster on GPUs and on processors that have it.")
    ] = "float32",
    workers: Annotated[int, typer.Option(min=0, help="Reading processes; 0 reads in the training process.")] = 1,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 500,
    patience: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after so many validations in a row that were no better than the best."),
    ] = None,
    stop_after: Annotated[
        float | None,
        typer.Option(
            callback=finite, min=0.0, help="Minutes after which to stop; the same command goes on from there."
        ),
    ] = None,
    pixels: Pixels = None,
    init: Annotated[
        Path | None,
        typer.Option(help="Checkpoint to start from instead of random weights; `default`: the shipped one."),
    ] = None,
) -> None:
    """Train a network. Ends with OUT/checkpoint.safetensors and its JSON.

    They are the best weights by validation; the last where no sample for validation is labelled, or where a recipe must
    not look at labels.

    Interrupted at any moment, the same command goes on where the last state was saved, with the same result.
    """
    from spike_depth_core.cli.console import console, print_table, progress_bar
    from spike_depth_core.evaluation.baselines import RowPrior
    from spike_depth_core.inference.estimator import checked_device
    from spike_depth_core.networks.checkpoint import load_checkpoint
    from spike_depth_core.networks.depth_network import Architecture
    from spike_depth_core.recipes import RECIPES
    from spike_depth_core.recipes.settings import settings_of
    from spike_depth_core.resources import default_checkpoint
    from spike_depth_core.training import distributed
    from spike_depth_core.training.domain_needs import needs_of, streets_suffice
    from spike_depth_core.training.loop import LoopOptions
    from spike_depth_core.training.run import TrainingRun
    from spike_depth_core.training.sources import (
        domains_of,
        is_set,
        parse_data,
        rendered_domains,
        rendered_streets,
        sample_sets,
    )
    from spike_depth_core.training.stages import run_stages

    if recipe not in RECIPES:
        raise ValueError(f"there is no recipe {recipe!r}; there are {', '.join(sorted(RECIPES))}")
    check_out(out)
    chosen_device = checked_device(device)
    distributed.start(chosen_device)
    first = distributed.place()[0] == 0
    options = LoopOptions(
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed, precision=precision
    )
    start, parent, row_prior = None, None, {}
    if init is not None:
        start, about_parent = load_checkpoint(default_checkpoint() if str(init) == "default" else init)
        parent, row_prior = about_parent.sha256, about_parent.row_prior
    architecture = Architecture() if start is None else start.architecture
    if pixels is not None:
        architecture = dataclasses.replace(architecture, pixels=pixels)
    if start is not None:
        start.architecture = architecture
    chosen = settings_of(recipe, RECIPES[recipe], architecture, settings or ())
    try:
        stages = RECIPES[recipe](architecture, seed, **chosen)
    except TypeError as error:  # some are of one variant of a recipe alone
        raise ValueError(f"{recipe}: {', '.join(chosen)} do not go together: {error}") from error
    folders = parse_data(data or [str(out / "data")])
    if any(is_set(folder) for folder in folders.values()):
        source = sample_sets(folders, domains_of(stages))
    else:
        needs, folder = needs_of(stages), folders[""]
        streets = streets_suffice(needs)
        if first and not streets:
            console.print(f"{recipe} learns from " + "; ".join(f"{name}: {of}" for name, of in needs.items()))
        with progress_bar() as bar:
            tasks: dict[str, Any] = {}

            def rendered(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    if done < total:  # a --data that is mistyped shows here, not after hours
                        text = f"{folder} holds no data set: rendering {total - done:,} streets into it, {what}"
                        bar.console.print(text, highlight=False, soft_wrap=True)
                    tasks[what] = bar.add_task(f"rendering {what}", total=total)
                bar.update(tasks[what], completed=done, total=total)

            if streets:
                ready = rendered_streets(folder, frames, validation_frames, first, rendered)
            else:
                size = (architecture.pixels, frames, validation_frames)
                ready = rendered_domains(folder, needs, *size, first, rendered)
        distributed.barrier()
        source = ready()
    for line in source.check(stages):
        if first:
            console.print(line, highlight=False, soft_wrap=True)
    if patience is not None and not source.validations:
        raise ValueError("--patience counts validations, and there are no labelled samples for validation")
    labelled = ((sample.rig, *next(iter(sample.depth.items()))) for sample in source.labelled())
    truths = ((depth, rig.cameras[sensor]) for rig, sensor, depth in labelled)
    some = next(truths, None)
    run = TrainingRun(
        recipe=stages[0].recipe,
        options=options,
        data=source.data,
        validations=source.validations,
        out=out,
        device=chosen_device,
        workers=workers,
        validate_every=validate_every,
        patience=patience,
        time_limit_s=None if stop_after is None else 60 * stop_after,
        about={
            "command": shlex.join(["spike-depth", *sys.argv[1:]]),
            "processes": distributed.place()[1],
            **source.about,
        },
        row_prior=row_prior if some is None else RowPrior.fit(itertools.chain([some], truths)).to_dict(),
        start=start,
        parent=parent,
    )
    with progress_bar() as bar:
        task = bar.add_task("training", total=steps)

        def show(done: int, values: dict[str, float]) -> None:
            bar.update(task, completed=done)
            if values and not bar.disable:
                bar.update(task, description=" ".join(f"{k} {v:.3f}" for k, v in list(values.items())[:3]))

        finished = run_stages(stages, run, show)
    distributed.stop()
    if not first:
        return
    lines = [line for line in run.log_lines() if "validation" in line]
    if lines:
        best = min(lines, key=lambda line: line["mean"])
        print_table(
            "AbsRel in validation",
            ["sensors", f"best, step {best['step']}", f"last, step {lines[-1]['step']}"],
            [(k, f"{v:.4f}", f"{lines[-1]['validation'][k]:.4f}") for k, v in best["validation"].items()],
        )
    if run.skipped:
        console.print(f"{run.skipped:,} steps had no effect: their gradient was not finite", style="yellow")
    stopped = "stopped by --stop-after; the same command goes on"
    console.print(f"done: {out / 'checkpoint.safetensors'}" if finished else stopped)
