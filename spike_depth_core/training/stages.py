"""A training of several stages: each starts from the student that the one before has kept."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from spike_depth_core.networks.checkpoint import load_checkpoint
from spike_depth_core.recipes import Stage
from spike_depth_core.training import distributed
from spike_depth_core.training.loop import LoopOptions
from spike_depth_core.training.run import TrainingRun

SEED_STRIDE = 1_000
"""Between the seeds of two stages: more than anybody repeats a training with."""


def placed(stage: Stage, number: int, options: LoopOptions) -> tuple[Stage, LoopOptions]:
    """A stage as it is trained at its place: how long, how hard, and by which seed.

    All that a step draws is a function of the seed and the step's number, so a stage with its predecessor's seed would
    see the same samples in the same looks again.

    Args:
        stage: of a training.
        number: of the stages before it.
        options: of the whole training.
    """
    seed = options.seed + number * SEED_STRIDE
    recipe = copy.copy(stage.recipe)
    recipe.seed += number * SEED_STRIDE
    return replace(stage, recipe=recipe), replace(
        options,
        steps=max(1, round(stage.share * options.steps)),
        learning_rate=stage.learning_rate * options.learning_rate,
        seed=seed,
    )


def run_stages(
    stages: Sequence[Stage],
    run: TrainingRun,
    progress: Callable[[int, dict[str, float]], None] = lambda step, values: None,
) -> bool:
    """Train stage after stage; what is done already is not done again.

    Args:
        stages: what is learned, in order.
        run: everything else; its recipe, steps, learning rate, folder, `keep` and start are replaced stage by stage.
            Its `skipped` becomes that of all stages. Of several stages each writes into a folder of its own in
            `run.out`, `1_NAME`, `2_NAME`...; the last one's checkpoint is copied to `run.out`. The parent of a
            checkpoint is the stage before; the run's own parent is its `init`, under `training`.
        progress: called with the number of steps done in all stages, and figures to show.

    Returns:
        Whether the last stage came to its end, by its last step or by patience, within the time limit.
    """
    begin = time.monotonic()
    about = {**run.about, "init": run.parent} if run.parent else run.about
    start, parent, before = run.start, run.parent, 0
    for number, stage in enumerate(stages, 1):
        out = run.out if len(stages) == 1 else run.out / f"{number}_{stage.recipe.name}"
        stage, options = placed(stage, number - 1, run.options)
        if run.start is not None:
            stage.recipe.begin(run.start)
        left = None if run.time_limit_s is None else max(0.0, run.time_limit_s - (time.monotonic() - begin))
        offset = before
        part = replace(
            run,
            recipe=stage.recipe,
            options=options,
            out=out,
            keep=stage.keep,
            start=start,
            parent=parent,
            about=about,
            time_limit_s=left,
        )
        finished = part(lambda done, values, offset=offset: progress(offset + done, values))  # type: ignore[misc]
        run.skipped += part.skipped
        if not finished:
            return False
        start, info = load_checkpoint(out / "checkpoint.safetensors")
        parent, before = info.sha256, before + options.steps
    if len(stages) > 1 and distributed.place()[0] == 0:
        for suffix in (".safetensors", ".json"):
            shutil.copyfile(out / f"checkpoint{suffix}", run.out / f"checkpoint{suffix}")
    return True
