"""Running a suite: train each row, measure it, keep its result; what is there already is not done again."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.evaluation.evaluate import NETWORK, ROW_PRIOR, Evaluation
from spike_depth_core.evaluation.results import write_json
from spike_depth_core.evaluation.suites.suite import ROW_PRIOR_ROW, Preset, Row, Suite, View
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.networks.checkpoint import load_checkpoint
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.samples import DepthSample
from spike_depth_core.samples.files import list_samples, load_sample
from spike_depth_core.training.data import SampleFolders
from spike_depth_core.training.loop import LoopOptions
from spike_depth_core.training.run import TrainingRun
from spike_depth_core.training.stages import run_stages
from spike_depth_core.training.validation import Validation

PRIOR_FRAMES = 500


def slug(name: str) -> str:
    """A row's name as that of a folder."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


@dataclass
class SuiteRun:
    """One suite at one preset.

    Attributes:
        suite, preset: what is run and how large.
        data: folder with `DOMAIN/{train,validation,test}` of samples.
        out: results go to `out/seed_K/ROW/`.
        device: where to train and measure.
        workers: processes that read samples ahead of training.
    """

    suite: Suite
    preset: Preset
    data: Path
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
        prior = self.row_prior()
        if not self._is_done(seed, ROW_PRIOR_ROW):
            self._keep(seed, ROW_PRIOR_ROW, {"views": {v.name: self._prior_scores(v, prior) for v in self.suite.views}})
        for row in self.suite.rows:
            if not self._is_done(seed, row.name):
                self._run_row(seed, row, prior, progress)

    def _is_done(self, seed: int, row: str) -> bool:
        path = self.result_path(seed, row)
        return path.exists() and json.loads(path.read_text())["preset"] == _plain_preset(self.preset)

    def row_prior(self) -> RowPrior:
        """Fitted to the labelled training samples, kept beside the data."""
        path = self.data / "row_prior.json"
        if path.exists():
            return RowPrior.from_dict(json.loads(path.read_text()))

        def truths() -> Any:
            for file in list_samples(self.data / self.labelled / "train")[:PRIOR_FRAMES]:
                sample = load_sample(file, sensors=())
                sensor, depth = next(iter(sample.depth.items()))
                yield depth, sample.rig.cameras[sensor]

        prior = RowPrior.fit(truths())
        write_json(path, prior.to_dict())
        return prior

    def _run_row(self, seed: int, row: Row, prior: RowPrior, progress: Callable[[str, int, int], None]) -> None:
        begin = time.monotonic()
        out = self.result_path(seed, row.name).parent
        settings: dict[str, Any] = {"sensors": self.suite.sensors, "widths": self.preset.widths}
        architecture = Architecture(**(settings | dict(self.suite.architecture)), pixels=self.preset.pixels)
        stages = row.stages(architecture, seed)
        steps = max(len(stages), round(row.steps * self.preset.steps))
        options = LoopOptions(
            steps=steps,
            batch_size=self.preset.batch_size,
            learning_rate=self.preset.learning_rate,
            seed=seed,
        )
        start, parent = None, None
        if row.start is not None:
            start, about = load_checkpoint(self.result_path(seed, row.start).parent / "checkpoint.safetensors")
            parent = about.sha256
        views = self.suite.views_of(row)
        domains = sorted({domain for stage in stages for domain in stage.recipe.domains})
        run = TrainingRun(
            recipe=stages[0].recipe,
            options=options,
            data={domain: SampleFolders([self.data / domain / "train"]) for domain in domains},
            # Labels of the domain that a method does without are not looked at to choose its weights either.
            validations={
                "source": Validation(
                    self.data / self.labelled / "validation",
                    list(dict.fromkeys(v.sensors for v in views)),
                    limit=self.preset.validation_frames,
                )
            },
            out=out,
            device=torch.device(self.device),
            workers=self.workers,
            validate_every=max(1, steps // 2),
            row_prior=prior.to_dict(),
            start=start,
            parent=parent,
            about={"suite": self.suite.name, "row": row.name, "preset": asdict(self.preset)},
        )
        run_stages(stages, run, lambda done, values: progress(row.name, done, steps))
        estimator = DepthEstimator.load(out / "checkpoint.safetensors", self.device)
        result = {
            "views": {view.name: self._scores(view, estimator, prior) for view in views},
            "sha256": estimator.info.sha256,
            "seconds": round(time.monotonic() - begin, 1),
            "steps": steps,
        }
        for state in out.rglob("state.safetensors"):  # only a run that is not done needs it
            state.unlink()
        self._keep(seed, row.name, result)

    def _samples(self, view: View) -> Iterator[DepthSample]:
        """The test samples of a view. Raises ValueError when none has its condition."""
        paths = list_samples(self.data / view.domain / "test")
        about = ((path, load_sample(path, sensors=(), depth=()).meta) for path in paths)
        chosen = [p for p, meta in about if view.condition in (None, meta.get("condition"), meta.get("weather"))]
        if not chosen:
            raise ValueError(
                f"view {view.name!r}: none of {len(paths)} samples of {view.domain} is of {view.condition}"
            )
        return (load_sample(path, view.sensors, {view.reference or view.sensors[0]}) for path in chosen)

    def _scores(self, view: View, estimator: DepthEstimator, prior: RowPrior) -> dict[str, Any]:
        evaluation = Evaluation(prior).run(self._samples(view), estimator, view.sensors, view.reference)
        scores = {**evaluation.mean(NETWORK), "median_scaled": evaluation.mean(NETWORK, "median")["abs_rel"]}
        hard = evaluation.certain_half_ratio
        return {**scores, "certain_half_ratio": hard, "by_condition": evaluation.by_condition()}

    def _prior_scores(self, view: View, prior: RowPrior) -> dict[str, Any]:
        evaluation = Evaluation(prior)
        for sample in self._samples(view):
            reference = view.reference or view.sensors[0]
            truth, camera = sample.depth[reference], sample.rig.cameras[reference]
            evaluation.add(prior.predict(camera), truth, camera, condition=str(sample.meta.get("condition", "")))
        scaled = evaluation.mean(ROW_PRIOR, "median")["abs_rel"]
        return {**evaluation.mean(ROW_PRIOR), "median_scaled": scaled, "by_condition": evaluation.by_condition()}

    def _keep(self, seed: int, row: str, result: Mapping[str, Any]) -> None:
        path = self.result_path(seed, row)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"row": row, "seed": seed, "preset": _plain_preset(self.preset), **result})

    def results(self, seeds: int) -> dict[str, list[dict[str, Any]]]:
        """By row, the results of the seeds that are done, in the table's order."""
        found = {}
        for row in (ROW_PRIOR_ROW, *(row.name for row in self.suite.rows)):
            paths = [self.result_path(seed, row) for seed in range(seeds)]
            found[row] = [json.loads(path.read_text()) for path in paths if path.exists()]
        return found


def _plain_preset(preset: Preset) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(preset)))
