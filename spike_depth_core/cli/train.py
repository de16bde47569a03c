"""`spike-depth train`: teach the network on streets of the procedural world, or on a folder of samples."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def train(
    out: Annotated[Path, typer.Option(help="Folder for the checkpoint, the log and the state to resume from.")],
    recipe: Annotated[str, typer.Option(help="What to learn: the name of a recipe.")] = "supervised",
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of samples; missing ones are rendered into it. Default: OUT/data."),
    ] = None,
    frames: Annotated[int, typer.Option(min=8, help="Training samples to render, each a street of its own.")] = 2000,
    validation_frames: Annotated[int, typer.Option(min=4, help="Validation samples to render.")] = 96,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 6000,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples a step.")] = 8,
    learning_rate: Annotated[float, typer.Option(min=0.0, help="Peak of the learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, or bfloat16: faster on GPUs and on processors that have it.")
    ] = "float32",
    workers: Annotated[int, typer.Option(min=0, help="Reading processes; 0 reads in the training process.")] = 1,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 500,
    stop_after: Annotated[
        float | None, typer.Option(help="Minutes after which to stop; the same command goes on from there.")
    ] = None,
    pixels: Annotated[
        int | None, typer.Option(min=1024, help="Image size the network works on; its own when left out.")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="Checkpoint to start from instead of random weights.")] = None,
) -> None:
    """Train a network. Ends with OUT/checkpoint.safetensors and its JSON, the best weights by validation.

    Interrupted at any moment, the same command goes on where the last state was saved, with the same result.
    """
    from spike_depth_core.cli.console import console, print_table, progress_bar
    from spike_depth_core.evaluation.baselines import RowPrior
    from spike_depth_core.inference.estimator import checked_device
    from spike_depth_core.networks.checkpoint import load_checkpoint
    from spike_depth_core.networks.depth_network import Architecture
    from spike_depth_core.recipes import RECIPES
    from spike_depth_core.samples.files import list_samples, load_sample
    from spike_depth_core.training import distributed
    from spike_depth_core.training.data import SampleFolders
    from spike_depth_core.training.loop import LoopOptions
    from spike_depth_core.training.run import TrainingRun
    from spike_depth_core.training.stages import run_stages
    from spike_depth_core.training.validation import Validation
    from spike_depth_core.training.world_data import (
        FORMATS,
        TRAIN_SEED,
        VALIDATION_SEED,
        render_samples,
    )

    if recipe not in RECIPES:
        raise ValueError(f"there is no recipe {recipe!r}; there are {', '.join(sorted(RECIPES))}")
    chosen_device = checked_device(device)
    distributed.start(chosen_device)
    first = distributed.place()[0] == 0
    data = data or out / "data"
    with progress_bar() as bar:
        splits = (("train", frames, TRAIN_SEED), ("validation", validation_frames, VALIDATION_SEED))
        for split, count, seed_of_split in splits if first else ():
            task = bar.add_task(f"rendering {split} samples", total=count)
            for done, total in render_samples(data / split, count, seed_of_split):
                bar.update(task, completed=done, total=total)
    distributed.barrier()
    folders = [data / "train" / f.name for f in FORMATS]

    def truths():
        for folder in folders:
            for path in list_samples(folder)[:500]:
                sample = load_sample(path, sensors=())
                for sensor, depth in sample.depth.items():
                    yield depth, sample.rig.cameras[sensor]
                    break

    options = LoopOptions(
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed, precision=precision
    )
    start, parent = None, None
    if init is not None:
        start, about_parent = load_checkpoint(init)
        parent = about_parent.sha256
    architecture = Architecture() if start is None else start.architecture
    if pixels is not None:
        architecture = dataclasses.replace(architecture, pixels=pixels)
    if start is not None:
        start.architecture = architecture
    stages = RECIPES[recipe](architecture, seed)
    run = TrainingRun(
        recipe=stages[0].recipe,
        options=options,
        data={"source": SampleFolders(folders, [f.weight for f in FORMATS])},
        validations={
            "vehicle": Validation(
                data / "validation" / "vehicle_small",
                [
                    ("spikes", "rgb", "nir", "thermal"),
                    ("spikes",),
                    ("rgb",),
                    ("thermal",),
                    ("spikes", "thermal"),
                ],
            ),
            "wide": Validation(data / "validation" / "wide_frames", [("rgb",)]),
        },
        out=out,
        device=chosen_device,
        workers=workers,
        validate_every=validate_every,
        time_limit_s=None if stop_after is None else 60 * stop_after,
        about={
            "command": shlex.join(["spike-depth", *sys.argv[1:]]),
            "processes": distributed.place()[1],
            "samples": frames,
            "formats": [dataclasses.asdict(f) for f in FORMATS],
            "scene_seeds": [TRAIN_SEED, TRAIN_SEED + frames - 1],
        },
        row_prior=RowPrior.fit(truths()).to_dict(),
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
            "AbsRel on validation streets",
            ["sensors", f"best, step {best['step']}", f"last, step {lines[-1]['step']}"],
            [(k, f"{v:.4f}", f"{lines[-1]['validation'][k]:.4f}") for k, v in best["validation"].items()],
        )
    state = "done" if finished else "stopped by --stop-after; the same command goes on"
    console.print(f"{state}: {out / 'checkpoint.safetensors'}")
