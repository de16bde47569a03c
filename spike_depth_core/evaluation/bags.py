"""Many bags in one table: what each has come to, kept a file a bag and checkpoint, and put together.

A bag is one job, run where there is room for it (`workers`). What it came to is written at once, under a name made of
all that it depends on: the bag's files, the checkpoint, the options, the rig. So the same command goes on where it was
interrupted, and measures again only what has changed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spike_depth_core import __version__
from spike_depth_core.bags import BagReader
from spike_depth_core.bags.playback import rig_of_bag
from spike_depth_core.bags.reader import files_of_bag
from spike_depth_core.bags.recording import about_drive
from spike_depth_core.bags.sensors import find_sensors, find_truth
from spike_depth_core.bags.truth import TOLERANCE_NS
from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.evaluation.evaluate import NETWORK, ROW_PRIOR, Evaluation
from spike_depth_core.evaluation.replay import Replay
from spike_depth_core.evaluation.replay_report import figures_of
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.metrics import METRICS
from spike_depth_core.metrics.paired import PairedTest, compare_blocks, compare_drives
from spike_depth_core.whole_files import write_json
from spike_depth_core.workers import Outcome, run_jobs

CHECKPOINTS = ("A", "B")


@dataclass(frozen=True)
class BagOptions:
    """How bags are measured, as of `Replay`.

    Attributes:
        truth: topic of the true depth, images or LiDAR points; that of a simulated drive when None.
        topics: by sensor, where their names do not tell.
        rig: a file with the places of the sensors.
        sensors: that may be used; all that the network knows when None.
        reference: in whose frame depth is compared.
        rate_hz: the most frames in a second of a bag; 0 for all.
        truth_tolerance_ns: the most that a truth may be from its moment.
        device: where the network runs.
        pixels: size of the picture it works on; the checkpoint's own when None.
    """

    truth: str | None = None
    topics: dict[str, str] = field(default_factory=dict)
    rig: str | None = None
    sensors: tuple[str, ...] | None = None
    reference: str | None = None
    rate_hz: float = 0.0
    truth_tolerance_ns: int = TOLERANCE_NS
    device: str = "cpu"
    pixels: int | None = None


@dataclass(frozen=True)
class BagJob:
    """One bag and one checkpoint.

    Attributes:
        bag: its path.
        checkpoint: path of its file, or of a folder of `export`; the shipped one when None.
        label: which of `CHECKPOINTS` it is.
        sha256: of the checkpoint's weights.
        options: see there.
        threads: of PyTorch; 0 leaves them as they are.
        backend: what computes the network, as of `DepthEstimator.load`.
    """

    bag: str
    checkpoint: str | None
    label: str
    sha256: str
    options: BagOptions
    threads: int = 0
    backend: str | None = None


@dataclass(frozen=True)
class BagResult:
    """What a bag came to with a checkpoint.

    Attributes:
        bag: its path.
        label: of the checkpoint.
        condition: of the drive, or "".
        times_ns: of the frames that were scored, int64 [n].
        scores: float64 [n] by method (`network`, `row prior`) and metric.
        figures: everything else that a replay measures.
    """

    bag: str
    label: str
    condition: str
    times_ns: np.ndarray
    scores: dict[str, dict[str, np.ndarray]]
    figures: dict[str, Any]


def evaluate_bag(job: BagJob) -> dict[str, Any]:
    """Replay a bag against its truth; plain values, for `BagStore`.

    Raises:
        ValueError, OSError: naming the bag, and what is wrong; or that there is no frame to score.
    """
    if job.threads:
        import torch

        torch.set_num_threads(job.threads)
    options = job.options
    bag = BagReader(job.bag)
    estimator = DepthEstimator.load(job.checkpoint, options.device, job.backend, options.pixels)
    if estimator.info.sha256 != job.sha256:
        raise ValueError(f"{job.checkpoint or 'the shipped checkpoint'} is not what it was: its sha256 has changed")
    topics = find_sensors(bag, options.topics)
    truth = find_truth(bag, options.truth)
    if truth is None:
        raise ValueError(f"{job.bag} has no true depth of a simulated drive; say which topic it is on")
    prior = RowPrior.of(estimator.info)
    condition = str(about_drive(bag).get("condition", ""))
    run = Replay(
        bag,
        estimator,
        topics,
        rig_of_bag(bag, options.rig),
        truth=truth,
        evaluation=Evaluation(prior),
        rate_hz=options.rate_hz,
        sensors=options.sensors,
        reference=options.reference,
        truth_tolerance_ns=options.truth_tolerance_ns,
        condition=condition,
    )
    for _ in run.frames():
        pass
    frames = run.evaluation.frames
    if not frames:
        why = {**run.unscored, **run.skipped} or "no truth is in range"
        raise ValueError(f"no depth of {job.bag} could be compared with {truth}: {why}")
    methods = [NETWORK] + ([ROW_PRIOR] if prior else [])
    return {
        "bag": job.bag,
        "condition": condition,
        "times_ns": [frame.meta["time_ns"] for frame in frames],
        "scores": {m: {key: [f.scores[m, "none"][key] for f in frames] for key in METRICS} for m in methods},
        "figures": figures_of(run, sum(run.timeline.inference_ms) / 1e3) | {"complaints": run.complaints()},
    }


class BagStore:
    """Results of jobs, a file each.

    Args:
        folder: in which they lie.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, job: BagJob) -> Path:
        """Where the result of a job is or will be. Raises OSError where the bag or the rig is not there."""
        rig = None if job.options.rig is None else hashlib.sha256(Path(job.options.rig).read_bytes()).hexdigest()
        options = asdict(job.options) | {"rig": rig}  # its content, whatever the file is called
        exported = job.checkpoint is not None and Path(job.checkpoint).is_dir()  # equal weights, other arithmetic
        about = [__version__, fingerprint(Path(job.bag)), job.sha256, options, job.backend, exported]
        digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{Path(job.bag).stem}-{digest[:16]}.json"

    def load(self, job: BagJob) -> BagResult | None:
        """The result of a job, if there is one."""
        try:
            found = json.loads(self.path(job).read_text())
            scores = {
                method: {key: np.array(values, np.float64) for key, values in by_metric.items()}
                for method, by_metric in found["scores"].items()
            }
            times = np.array(found["times_ns"], np.int64)
            return BagResult(job.bag, job.label, found["condition"], times, scores, found["figures"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None  # not there, or not whole: it is made again

    def save(self, job: BagJob, result: dict[str, Any]) -> None:
        """Keep a result: whole, or not at all."""
        write_json(self.path(job), result)


def fingerprint(bag: Path) -> list[Any]:
    """What tells a bag from another one, without reading it: its place, and size and time of its files."""
    files = [(p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files_of_bag(bag)]
    return [str(bag.resolve()), files]


def evaluate_bags(
    jobs: Sequence[BagJob], store: BagStore, workers: int = 1, ray: str | None = None, gpus: float = 0.0
) -> Iterator[Outcome[BagJob, dict[str, Any]]]:
    """Run the jobs that have no result yet, and keep their results; gives what came of each.

    Args:
        jobs: that shall have results.
        store: that has them, or gets them.
        workers, ray, gpus: as of `run_jobs`.
    """
    for outcome in run_jobs(evaluate_bag, [job for job in jobs if store.load(job) is None], workers, ray, gpus):
        if outcome.result is not None:
            store.save(outcome.job, outcome.result)
        yield outcome


# Put together


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: a condition, a bag, or "all".
        bags, frames: how many it is the mean of.
        scores: means over frames, of each checkpoint by method and metric.
        difference: in AbsRel, of B less A over the frames that both have; None without B.
    """

    name: str
    bags: int
    frames: int
    scores: dict[str, dict[str, dict[str, float]]]
    difference: float | None


class BagTable:
    """The results of many bags.

    Args:
        results: of bags and checkpoints.
        block_s: what counts as one moment to the paired test over blocks, seconds.
        labels: of checkpoints that have columns, with a result or without; those of the results when None.
    """

    def __init__(self, results: Sequence[BagResult], block_s: float = 2.0, labels: Sequence[str] | None = None):
        self.results: dict[str, dict[str, BagResult]] = {}
        for result in results:
            self.results.setdefault(result.bag, {})[result.label] = result
        wanted = {result.label for result in results} if labels is None else labels
        self.labels = [label for label in CHECKPOINTS if label in wanted]
        self._block_s = block_s
        self._paired = {bag: pair for bag, found in self.results.items() if (pair := _differences(found)) is not None}

    def rows(self) -> tuple[list[Row], list[Row], Row]:
        """Rows by condition (none where there are not two), by bag, and that of everything."""
        by_condition: dict[str, list[str]] = {}
        for bag, found in self.results.items():
            by_condition.setdefault(next(iter(found.values())).condition or "unknown", []).append(bag)
        conditions = [self._row(name, bags) for name, bags in sorted(by_condition.items())]
        names = _short_names(list(self.results))
        bags = [self._row(names[bag], [bag]) for bag in self.results]
        return conditions if len(conditions) > 1 else [], bags, self._row("all", list(self.results))

    def tests(self) -> tuple[PairedTest, PairedTest] | None:
        """The paired tests of AbsRel over blocks and over bags; None without two checkpoints."""
        drives = list(self._paired.values())
        return (compare_blocks(drives, self._block_s), compare_drives(drives)) if drives else None

    def unpaired(self) -> int:
        """Frames that one checkpoint alone was scored on."""
        if len(self.labels) < 2:
            return 0
        scored = sum(result.times_ns.size for found in self.results.values() for result in found.values())
        return scored - 2 * sum(times.size for times, _ in self._paired.values())

    def summary(self) -> dict[str, Any]:
        """Everything, as plain values for `metrics.json`."""
        conditions, bags, everything = self.rows()
        tests = self.tests()
        return {
            "all": _plain(everything),
            "by_condition": {row.name: _plain(row) for row in conditions},
            "by_bag": {
                path: _plain(row) | {"replays": {label: r.figures for label, r in found.items()}}
                for row, (path, found) in zip(bags, self.results.items(), strict=True)
            },
            "paired": None if tests is None else {"blocks": asdict(tests[0]), "bags": asdict(tests[1])},
            "unpaired_frames": self.unpaired(),
        }

    def _row(self, name: str, bags: list[str]) -> Row:
        scores: dict[str, dict[str, dict[str, float]]] = {}
        frames = 0
        for label in self.labels:
            found = [self.results[bag][label] for bag in bags if label in self.results[bag]]
            frames = frames or sum(r.times_ns.size for r in found)
            methods = [m for m in (NETWORK, ROW_PRIOR) if found and all(m in r.scores for r in found)]
            scores[label] = {
                m: {key: float(np.concatenate([r.scores[m][key] for r in found]).mean()) for key in METRICS}
                for m in methods
            }
        paired = [self._paired[bag][1] for bag in bags if bag in self._paired]
        return Row(name, len(bags), frames, scores, float(np.concatenate(paired).mean()) if paired else None)


def _differences(found: Mapping[str, BagResult]) -> tuple[np.ndarray, np.ndarray] | None:
    """(times [n], AbsRel of B less that of A [n]) of the moments that both have; None without any."""
    if not set(CHECKPOINTS) <= set(found):
        return None
    a, b = (found[label] for label in CHECKPOINTS)
    times, in_a, in_b = np.intersect1d(a.times_ns, b.times_ns, return_indices=True)
    errors = [r.scores[NETWORK]["abs_rel"][where] for r, where in ((a, in_a), (b, in_b))]
    return (times, errors[1] - errors[0]) if times.size else None


def _short_names(paths: Sequence[str]) -> dict[str, str]:
    """Names of bags, with as many of the folders that they are in as it takes to tell them apart."""
    parts = {path: Path(path).parts for path in paths}
    for length in range(1, max((len(p) for p in parts.values()), default=1)):
        names = {path: "/".join(p[-length:]) for path, p in parts.items()}
        if len(set(names.values())) == len(names):
            return names
    return {path: path for path in paths}


def _plain(row: Row) -> dict[str, Any]:
    return {key: value for key, value in asdict(row).items() if key != "name"}
