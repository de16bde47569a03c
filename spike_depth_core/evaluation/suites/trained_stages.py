"""The stages of a suite's trainings: what rows have in common is trained once, and known by what determines it.

A stage's key is a hash of its recipe with all settings, the options of its training, the samples it learns from, what
its weights are chosen by, and the key of the stage before it. Rows whose trainings begin alike have equal keys up to
where they part; a row with a changed setting has another key from there on. The code is not part of it: whoever
changes what a recipe does deletes the folder.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from spike_depth_core.networks.checkpoint import load_checkpoint
from spike_depth_core.recipes import Stage
from spike_depth_core.recipes.recipe import description
from spike_depth_core.training.loop import LoopOptions
from spike_depth_core.training.run import TrainingRun
from spike_depth_core.training.stages import placed
from spike_depth_core.whole_files import write_json


@dataclass(frozen=True)
class PlannedStage:
    """A stage at its place in a training.

    Attributes:
        stage: what is done.
        options: of its part of the training.
        key: hash of all that determines the weights it ends with.
        name: of its folder.
    """

    stage: Stage
    options: LoopOptions
    key: str

    @property
    def name(self) -> str:
        return f"{self.stage.recipe.name}_{self.key[:12]}"


def plan(
    stages: Sequence[Stage], options: LoopOptions, data: Mapping[str, str], chosen_by: Any
) -> tuple[PlannedStage, ...]:
    """The stages of a training with their keys.

    Args:
        stages: in order.
        options: of the whole training.
        data: by domain, a digest of its training samples.
        chosen_by: JSON value that says on what validation chooses weights; only stages that keep the best ask for it.
    """
    planned: list[PlannedStage] = []
    for stage in stages:
        stage, own = placed(stage, len(planned), options)
        about = {
            "after": planned[-1].key if planned else None,
            "recipe": description(stage.recipe),
            "options": asdict(own),
            "keep": stage.keep,
            "data": {domain: data[domain] for domain in sorted(stage.recipe.domains)},
            "chosen_by": chosen_by if stage.keep == "best" else None,
        }
        planned.append(PlannedStage(stage, own, digest(about)))
    return tuple(planned)


def digest(value: Any) -> str:
    """Of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def samples_digest(folder: str | Path) -> str:
    """Of the samples in a folder: what its files are called and how large they are, which is the same on all machines;
    what they hold may differ between two in a last bit."""
    return digest(sorted([file.name, file.stat().st_size] for file in Path(folder).iterdir() if file.is_file()))


def train_stages(
    planned: Sequence[PlannedStage],
    run: TrainingRun,
    folder: Path,
    progress: Callable[[int, dict[str, float]], None] = lambda step, values: None,
) -> tuple[list[dict[str, Any]], Path]:
    """Train those stages that are not done yet, each in `folder/NAME`; a stage that was interrupted goes on.

    Args:
        planned: of one training.
        run: everything else, see `training.stages.run_stages`.
        folder: of the stages of all trainings with one seed.
        progress: called with the number of steps done in all of this training's stages, and figures to show.

    Returns:
        What was kept of each stage: its key, folder, steps, seconds of training and the sha256 of its checkpoint; and
        the last one's checkpoint.
    """
    start, parent, before, found = None, None, 0, []
    checkpoint = folder
    for number, part in enumerate(planned):
        out = folder / part.name
        checkpoint, record = out / "checkpoint.safetensors", out / "stage.json"
        if not record.exists():
            if number and start is None:
                start, about = load_checkpoint(folder / planned[number - 1].name / "checkpoint.safetensors")
                parent = about.sha256
            begin, offset = time.monotonic(), before
            replace(
                run,
                recipe=part.stage.recipe,
                options=part.options,
                out=out,
                keep=part.stage.keep,
                validate_every=max(1, part.options.steps // 2),
                start=start,
                parent=parent,
            )(lambda done, values, offset=offset: progress(offset + done, values))  # type: ignore[misc]
            _, about = load_checkpoint(checkpoint)
            write_json(
                record,
                {
                    "key": part.key,
                    "recipe": part.stage.recipe.name,
                    "folder": part.name,
                    "steps": part.options.steps,
                    "seconds": round(time.monotonic() - begin, 1),
                    "sha256": about.sha256,
                },
            )
            (out / "state.safetensors").unlink()  # only a run that is not done needs it
        found.append(json.loads(record.read_text()))
        start, before = None, before + part.options.steps
    return found, checkpoint
