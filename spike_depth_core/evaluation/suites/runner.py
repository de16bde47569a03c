"""Running a suite: train each row, measure it, keep its result; what is there already is not done again.

Rows whose trainings begin alike share those stages, see `trained_stages`.
"""

from __future__ import annotations

import functools
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.evaluation.common_points import APART, Answer, answer_of, common_truth
from spike_depth_core.evaluation.evaluate import NETWORK, ROW_PRIOR, Evaluation, truth_of
from spike_depth_core.evaluation.suites.suite import ROW_PRIOR_ROW, Preset, Row, Suite, View
from spike_depth_core.evaluation.suites.trained_stages import PlannedStage, digest, plan, samples_digest, train_stages
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.samples import DepthSample
from spike_depth_core.samples.files import list_samples, load_sample
from spike_depth_core.training.data import SampleFolders
from spike_depth_core.training.loop import LoopOptions
from spike_depth_core.training.run import TrainingRun
from spike_depth_core.training.validation import Validation
from spike_depth_core.whole_files import write_json

PRIOR_FRAMES = 500
Answers = Iterator[tuple[DepthSample, Answer]]


def slug(name: str) -> str:
    """A row's name as that of a folder."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


@dataclass
class SuiteRun:
    """One suite at one preset.

    Attributes:
        suite, preset: what is run and how large.
        data: by domain, a folder with `train`, `validation` and `test` of samples.
        out: results go to `out/seed_K/ROW/`, trained stages to `out/seed_K/stages/`.
        device: where to train and measure.
        workers: processes that read samples ahead of training.
    """

    suite: Suite
    preset: Preset
    data: Mapping[str, Path]
    out: Path
    device: str = "cpu"
    workers: int = 0

    @property
    def labelled(self) -> str:
        """The domain with labels."""
        return next(iter(self.suite.domains))

    def result_path(self, seed: int, row: str) -> Path:
        """Where a row's result lies."""
        return self.out / f"seed_{seed}" / slug(row) / "result.json"

    def run_seed(self, seed: int, progress: Callable[[str, int, int], None] = lambda row, done, steps: None) -> None:
        """Train and measure all rows with one seed.

        Args:
            seed: of weights, draws and augmentation; the samples are the same for all seeds.
            progress: called with a row's name, its steps done, and its steps.
        """
        of = self._of((), self.suite.views)
        if not self._is_done(seed, ROW_PRIOR_ROW, of):
            self._keep(seed, ROW_PRIOR_ROW, of, {"views": self._scores(self.suite.views, self._prior_told, ROW_PRIOR)})
        for row in self.suite.rows:
            self._run_row(seed, row, progress)

    def join(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
        """Take results that another run has told in its page, of trainings and samples that are the same as here.

        Args:
            rows: of the page's JSON.

        Returns:
            Those left out, as `row, seed K`: there is no such row, or it is of another training or other samples.
        """
        left_out = []
        views = {ROW_PRIOR_ROW: self.suite.views} | {row.name: self.suite.views_of(row) for row in self.suite.rows}
        for name, results in rows.items():
            for result in results:
                seed = int(result["seed"])
                keys = [part.key for part in self.planned(seed).get(name, ())]
                of = self._of(keys, views[name]) if name in views else None
                if of is None or digest(of) != result.get("of"):
                    left_out.append(f"{name}, seed {seed}")
                elif not self._is_done(seed, name, of):
                    self._keep(seed, name, of, {k: v for k, v in result.items() if k not in ("row", "seed", "of")})
        return left_out

    def planned(self, seed: int) -> dict[str, tuple[PlannedStage, ...]]:
        """By row, the stages of its training."""
        settings: dict[str, Any] = {"sensors": self.suite.sensors, "widths": self.preset.widths}
        architecture = Architecture(**(settings | dict(self.suite.architecture)), pixels=self.preset.pixels)
        options = LoopOptions(
            steps=self.preset.steps,
            batch_size=self.preset.batch_size,
            learning_rate=self.preset.learning_rate,
            seed=seed,
        )
        return {
            row.name: plan(row.stages(architecture, seed), options, self._digests, self._chosen_by(row))
            for row in self.suite.rows
        }

    def steps(self) -> tuple[int, int]:
        """Optimiser steps of a seed: those that are trained, and how many they would be if no rows shared any."""
        parts = [part for row in self.planned(0).values() for part in row]
        once = {part.key: part.options.steps for part in parts}
        return sum(once.values()), sum(part.options.steps for part in parts)

    @functools.cached_property
    def _digests(self) -> dict[str, str]:
        return {domain: samples_digest(self.data[domain] / "train") for domain in self.suite.domains}

    def _chosen_by(self, row: Row) -> list[Any]:
        """What chooses a row's weights where the best are kept: sensors, samples, and how many of them."""
        subsets = list(dict.fromkeys(view.sensors for view in self.suite.views_of(row)))
        return [subsets, samples_digest(self.data[self.labelled] / "validation"), self.preset.validation_frames]

    def row_prior(self) -> RowPrior:
        """Fitted to the labelled training samples, kept beside the data."""
        path = self.data[self.labelled] / "row_prior.json"
        if path.exists():
            return RowPrior.from_dict(json.loads(path.read_text()))

        def truths() -> Any:
            for file in list_samples(self.data[self.labelled] / "train")[:PRIOR_FRAMES]:
                sample = load_sample(file, sensors=())
                sensor, depth = next(iter(sample.depth.items()))
                yield depth, sample.rig.cameras[sensor]

        prior = RowPrior.fit(truths())
        write_json(path, prior.to_dict())
        return prior

    def _run_row(self, seed: int, row: Row, progress: Callable[[str, int, int], None]) -> None:
        planned = self.planned(seed)
        parts, views = planned[row.name], self.suite.views_of(row)
        of = self._of([part.key for part in parts], views)
        if self._is_done(seed, row.name, of):
            return
        begin, steps = time.monotonic(), sum(part.options.steps for part in parts)
        run = TrainingRun(
            recipe=parts[0].stage.recipe,
            options=parts[0].options,
            data={
                domain: SampleFolders([self.data[domain] / "train"])
                for domain in sorted({domain for part in parts for domain in part.stage.recipe.domains})
            },
            # Labels of the domain that a method does without are not looked at to choose its weights either.
            validations={
                self.labelled: Validation(
                    self.data[self.labelled] / "validation",
                    list(dict.fromkeys(view.sensors for view in views)),
                    limit=self.preset.validation_frames,
                )
            },
            out=self.out,
            device=torch.device(self.device),
            workers=self.workers,
            row_prior=self.row_prior().to_dict(),
            about={"suite": self.suite.name, "row": row.name, "preset": asdict(self.preset)},
        )
        stages, checkpoint = train_stages(
            parts, run, self.out / f"seed_{seed}" / "stages", lambda done, values: progress(row.name, done, steps)
        )
        estimator = DepthEstimator.load(checkpoint, self.device)
        rows_with = {
            stage["key"]: [name for name, others in planned.items() if stage["key"] in {o.key for o in others}]
            for stage in stages
        }
        result = {
            "sha256": estimator.info.sha256,
            "checkpoint": str(checkpoint.relative_to(self.out)),
            "steps": steps,
            "stages": [{**stage, "rows": rows_with[stage["key"]]} for stage in stages],
            "views": self._scores(views, lambda view: self._estimated(view, estimator), NETWORK),
        }
        self._keep(seed, row.name, of, {**result, "seconds": round(time.monotonic() - begin, 1)})

    def _of(self, keys: Sequence[str], views: Sequence[View]) -> dict[str, Any]:
        """What a result is of: the training, and how and on what it is measured."""
        return {
            "trained": list(keys),
            "measured": json.loads(json.dumps([asdict(v) | ({"apart": APART} if v.points else {}) for v in views])),
            "samples": {name: samples_digest(self.data[name] / "test") for name in sorted({v.domain for v in views})},
        }

    def _is_done(self, seed: int, row: str, of: Mapping[str, Any]) -> bool:
        try:
            return json.loads(self.result_path(seed, row).read_text())["of"] == of
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            return False  # not there, or not whole: it is made again

    def _keep(self, seed: int, row: str, of: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        write_json(self.result_path(seed, row), {"row": row, "seed": seed, **result, "of": of})

    def _scores(self, views: Sequence[View], answers: Callable[[View], Answers], method: str) -> dict[str, Any]:
        """Scores by view. Views that differ in which samples they take alone share one pass over them.

        Raises:
            ValueError: when a view takes no sample of the domain.
        """
        prior = self.row_prior()
        evaluations = {view.name: Evaluation(prior) for view in views}
        alike: dict[View, list[View]] = {}
        for view in views:
            alike.setdefault(replace(view, name="", condition=None, faster_than=None), []).append(view)
        for whole, group in alike.items():
            for sample, answer in answers(whole):
                for view in group:
                    if view.takes(sample.meta):
                        evaluations[view.name].add(
                            answer.depth,
                            answer.truth,
                            answer.camera,
                            answer.uncertainty,
                            condition=str(sample.meta.get("condition", "")),
                        )
        for view in views:
            if not evaluations[view.name].frames:
                raise ValueError(f"view {view.name!r}: no sample of {view.domain} is {view.taken}")
        return {
            name: {
                **evaluation.mean(method),
                "median_scaled": evaluation.mean(method, "median")["abs_rel"],
                "certain_half_ratio": evaluation.certain_half_ratio,
                "hard_half_abs_rel": evaluation.hard_half_abs_rel,
                "by_condition": evaluation.by_condition(),
            }
            for name, evaluation in evaluations.items()
        }

    def _samples(self, view: View) -> Iterator[DepthSample]:
        for path in list_samples(self.data[view.domain] / "test"):
            yield load_sample(path, (*view.sensors, view.frame), {view.frame, *(view.points or ())})

    def _estimated(self, view: View, estimator: DepthEstimator) -> Answers:
        for sample in self._samples(view):
            yield sample, answer_of(estimator, sample, view.sensors, view.frame, view.points)

    def _prior_told(self, view: View) -> Answers:
        prior = self.row_prior()
        for sample in self._samples(view):
            camera, truth = sample.rig.cameras[view.frame], truth_of(sample, view.frame)
            if view.points is not None:
                truth = common_truth(sample, view.frame, view.points)
            yield sample, Answer(prior.predict(camera), None, truth, camera)

    def results(self, seeds: int) -> dict[str, list[dict[str, Any]]]:
        """By row, the results of the seeds that are done, in the table's order."""
        found = {}
        for row in (ROW_PRIOR_ROW, *(row.name for row in self.suite.rows)):
            paths = [self.result_path(seed, row) for seed in range(seeds)]
            found[row] = [json.loads(path.read_text()) for path in paths if path.exists()]
        return found
