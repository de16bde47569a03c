"""A whole training run: data in, checkpoint and learning curve out, resumed where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from spike_depth_core.networks.checkpoint import CheckpointInfo, save_checkpoint
from spike_depth_core.networks.depth_network import DepthNetwork
from spike_depth_core.recipes import Recipe
from spike_depth_core.training import distributed
from spike_depth_core.training.data import Draws, SampleFolders, load_batches
from spike_depth_core.training.journal import Journal, read_log, validations_since_best
from spike_depth_core.training.loop import LoopOptions, Trainer, learning_rate
from spike_depth_core.training.validation import Validation, answer_of

LOG_EVERY = 50


@dataclass
class TrainingRun:
    """Where a run reads, writes and when it stops.

    Attributes:
        recipe: what is learned.
        options: how long and how hard.
        data: training samples by the domain that the recipe asks for.
        validations: by name, fixed samples that choose the weights that are kept; without any, the last are. Never
            test data.
        out: gets `state.safetensors` (to resume from), `log.jsonl` (the learning curve; for TensorBoard too, where
            that is installed) and `checkpoint.safetensors` with its JSON (averaged weights).
        device: where to train.
        workers: processes that read samples ahead.
        validate_every: steps between validations, after which the state is saved too.
        keep: `best` keeps the weights that score best in validation, `last` the last.
        patience: stop when so many validations in a row were no better than the best; None: never.
        time_limit_s: stop after this long with the state saved; the same call then goes on. None: to the end.
        about: JSON values for the checkpoint's `training` field: the command, the data.
        row_prior: for the checkpoint, see there.
        start: weights to start from instead of random ones, and their sha256 as `parent`.
        skipped: steps without effect so far, see `Trainer`.
    """

    recipe: Recipe
    options: LoopOptions
    data: Mapping[str, SampleFolders]
    validations: dict[str, Validation]
    out: Path
    device: torch.device
    workers: int = 2
    validate_every: int = 1000
    keep: str = "best"
    patience: int | None = None
    time_limit_s: float | None = None
    about: dict[str, Any] = field(default_factory=dict)
    row_prior: dict[str, Any] = field(default_factory=dict)
    start: DepthNetwork | None = None
    parent: str | None = None
    skipped: int = field(default=0, init=False)

    def __call__(self, progress: Callable[[int, dict[str, float]], None] = lambda step, values: None) -> bool:
        """Train until the last step, the end of patience, or the time limit; returns whether that was not the limit.

        Args:
            progress: called after each step with the number of steps done and, now and then, figures to show.

        Raises:
            ValueError: when at a validation no step had had an effect.
        """
        begin = time.monotonic()
        self.out.mkdir(parents=True, exist_ok=True)
        state = self.out / "state.safetensors"
        samples = {domain: {f.folder.name: len(f.paths) for f in data.folders} for domain, data in self.data.items()}
        digests = {domain: {f.folder.name: f.digest for f in data.folders} for domain, data in self.data.items()}
        origin = {"parent": self.parent, "samples": samples, "digests": digests}
        trainer = Trainer(self.recipe, self.options, self.device, self.start, origin)
        first = distributed.place()[0] == 0  # the one process that logs, validates and writes
        if state.exists():
            trainer.load(state)
        self.skipped = trainer.skipped
        journal = Journal(self.out, trainer.next_step, first)
        distributed.barrier()  # the others read the log that the first has put in order
        draws = Draws(self.data, self.recipe, self.options.batch_size, self.options.steps, self.options.seed)
        lines = self.log_lines()
        best = min((line["mean"] for line in lines if "mean" in line), default=float("inf"))
        spent = max((line.get("seconds", 0.0) for line in lines), default=0.0)  # by earlier calls of the same run
        if self._is_out_of_patience(lines):
            journal.close()
            return True
        batches = load_batches(draws, trainer.next_step, self.workers, pin=self.device.type == "cuda")
        for step, requests, drawn in batches:
            skipped = trainer.skipped
            losses = trainer.step(drawn, requests)
            for name, value in losses.items() if trainer.skipped == skipped else ():
                summed = torch.stack([value.float(), torch.ones_like(value, dtype=torch.float32)])
                trainer.sums[name] = trainer.sums[name] + summed if name in trainer.sums else summed
            done = step + 1
            shown: dict[str, float] = {}
            if done % LOG_EVERY == 0 and first:
                sums = {name: summed.tolist() for name, summed in trainer.sums.items()}
                shown = {name: round(total / count, 5) for name, (total, count) in sums.items()}
                trainer.sums = {}
                rate = learning_rate(step, self.options)
                seconds = round(spent + time.monotonic() - begin, 1)
                journal.write(
                    {"step": done, "seconds": seconds, "learning_rate": rate, "skipped": trainer.skipped, **shown}
                )
            over_time = self.time_limit_s is not None and distributed.any_process(
                time.monotonic() - begin > self.time_limit_s
            )
            last = done == self.options.steps
            validated = done % self.validate_every == 0 or last
            impatient = False
            self.skipped = trainer.skipped
            if validated and self.skipped == done:
                journal.close()
                raise ValueError(
                    f"{self.out}: nothing was learned, as in all {done:,} steps the loss or its gradient was not finite"
                )
            if validated and first:
                scores = self._validate(trainer.average.network)
                mean = sum(scores.values()) / max(1, len(scores))
                if scores:
                    journal.write({"step": done, "validation": scores, "mean": mean})
                    shown |= {"validation": round(mean, 4)}
                if mean < best or self.keep == "last" or not scores:
                    best = mean
                    self._keep(trainer.average.network, done, scores)
                impatient = self._is_out_of_patience(self.log_lines())
            if (validated or over_time) and first:
                trainer.save(state)  # after the validation: a run that is killed in it repeats it
            progress(done, shown)
            if over_time and not last:
                break
            if self.patience is not None and validated and distributed.any_process(impatient):
                distributed.barrier()
                journal.close()
                return True
        distributed.barrier()  # nobody leaves before the first process has written everything
        journal.close()
        return trainer.next_step == self.options.steps

    def _is_out_of_patience(self, lines: list[dict[str, Any]]) -> bool:
        return self.patience is not None and validations_since_best(lines) >= self.patience

    def _validate(self, network: DepthNetwork) -> dict[str, float]:
        return {
            f"{name}/{subset}": round(value, 5)
            for name, validation in self.validations.items()
            for subset, value in validation.score(network, self.device, answer_of(self.recipe.calibrated)).items()
        }

    def _keep(self, network: DepthNetwork, step: int, scores: dict[str, float]) -> None:
        info = CheckpointInfo(
            architecture=network.architecture,
            row_prior=self.row_prior,
            depth_range=self.recipe.depth_range,
            calibrated=self.recipe.calibrated,
            training={
                "recipe": self.recipe.name,
                "options": asdict(self.options),
                "step": step,
                "validation_abs_rel": scores,
                **self.about,
            },
            parent=self.parent,
        )
        save_checkpoint(self.out / "checkpoint.safetensors", network, info, compact=True)

    def log_lines(self) -> list[dict[str, Any]]:
        """The learning curve so far: training losses every `LOG_EVERY` steps, and validations."""
        return read_log(self.out)
