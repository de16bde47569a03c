"""Online distillation through changes of domain: what it gains where it is new, and what it loses where it was.

A drive begins in a domain the checkpoint knows, goes on in another for five minutes, and returns. At each moment depth
is taken from the frozen checkpoint and from the network in service, before anything is learned from that moment. The
vehicle knows how it moves, and compares each moment with two just before it. Two checkpoints are driven: one to which
every other domain is new, see `newcomer`, and the package's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from spike_depth_core.adaptation import AdaptationEngine, AdaptationOptions
from spike_depth_core.adaptation.lessons import from_truth
from spike_depth_core.adaptation.originals import rendered_originals, scaled_rig
from spike_depth_core.evaluation.plots import timeline
from spike_depth_core.evaluation.results import markdown_table
from spike_depth_core.evaluation.suites.runner import slug
from spike_depth_core.evaluation.suites.table import with_spread
from spike_depth_core.geometry import SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.inference.motion_stereo import Evidence
from spike_depth_core.metrics import frame_metrics
from spike_depth_core.networks.checkpoint import CheckpointInfo, load_checkpoint
from spike_depth_core.networks.depth_network import DepthNetwork, Prediction
from spike_depth_core.networks.preprocess import NetworkInput
from spike_depth_core.samples import DepthSample
from spike_depth_core.training.world_data import TEST_SEED
from spike_depth_core.whole_files import write_json
from spike_depth_core.world import CONDITIONS, World

WINDOW_S = 20.0
GLANCES_S = (0.25, 0.1)  # before each moment, to compare it with
WITH_ALL_EVERY = 2  # moments to one of which depth is taken with all sensors, too
SURE = -10.0  # log scale of an error: less than any network tells
SERIES = {
    "frozen": "frozen",
    "adapted": "adapted",
    "by_truth": "adapted by truth",
    "teacher": "teacher",
    "fused": "adapted, all sensors",
}
"""What is compared, by its name in a result: how charts call it."""


@dataclass(frozen=True)
class Scenario:
    """A change of domain.

    Attributes:
        name: for the table.
        world: options of `World` in the new domain.
        spikes: fields of the spike camera's `SpikeCameraParameters` that differ in the new domain; `gain` is a factor
            on the one there is.
        turned_deg: by how much the rig's other sensors are turned about the vertical, while the rig file says not.
    """

    name: str
    world: Mapping[str, Any] = field(default_factory=dict)
    spikes: Mapping[str, float] = field(default_factory=dict)
    turned_deg: float = 0.0

    def enter(self, told: SensorRig, seed: int) -> World:
        """A street of the new domain, for a vehicle that believes in this rig."""
        rig = turned(told, self.turned_deg) if self.turned_deg else told
        world = World(seed, rig=rig, supersample=1, **self.world)
        spikes = world.suite.spikes
        changes = {**self.spikes, "gain": self.spikes.get("gain", 1.0) * spikes.parameters.gain}
        world.suite = replace(world.suite, spikes=replace(spikes, parameters=replace(spikes.parameters, **changes)))
        return world


KNOWN = Scenario("by day", {"condition": "day"})
SCENARIOS = (
    Scenario("into the night", {"condition": "night"}),
    Scenario("another town", {"condition": "day", "town": "second"}),
    Scenario("into the rain", {"condition": "day", "weather": "rain"}),
    Scenario(
        "a worn spike camera: a quarter of the gain, 20 % between pixels, 5 % dead, 1 % hot",
        {"condition": "day"},
        spikes={"gain": 0.25, "gain_spread": 0.2, "dead_fraction": 0.05, "hot_fraction": 0.01},
    ),
    Scenario("rig turned by a degree", {"condition": "day"}, turned_deg=1.0),
)


@dataclass(frozen=True)
class OnlinePreset:
    """How long and how large.

    Attributes:
        before_s, new_s, after_s: seconds in the known domain, in the new one, and back in the known one.
        rate_hz: moments a second.
        steps: optimiser steps a moment.
        scale: of the cameras' size.
        original: examples of the original training.
    """

    before_s: float = 40.0
    new_s: float = 290.0
    after_s: float = 60.0
    rate_hz: float = 2.0
    steps: int = 1
    scale: float = 0.5
    original: int = 100


PRESETS = {
    "smoke": OnlinePreset(2.0, 4.0, 2.0, 2.0, 1, 0.25, 4),
    "small": OnlinePreset(),
    "full": OnlinePreset(steps=4, scale=1.0, rate_hz=4.0),
}


def turned(rig: SensorRig, degrees: float) -> SensorRig:
    """Every sensor but the reference turned about the vertical."""
    half = np.radians(degrees) / 2
    turn = pose(quaternion=(0.0, float(np.sin(half)), 0.0, float(np.cos(half))))
    poses = {s: rig.reference_from(s) @ (turn if s != rig.reference else np.eye(4)) for s in rig.cameras}
    return replace(rig, poses=poses)


def shifted(sample: DepthSample, told: SensorRig, by_ns: int) -> DepthSample:
    """A sample at a later time, with what the vehicle believes of its rig, not what is so."""
    spikes = sample.spikes and replace(sample.spikes, start_ns=sample.spikes.start_ns + by_ns)
    return replace(sample, rig=told, time_ns=sample.time_ns + by_ns, spikes=spikes)


def drive(scenario: Scenario, preset: OnlinePreset, seed: int) -> Iterator[tuple[str, DepthSample, list[DepthSample]]]:
    """(phase, moment, those just before it) along the drive: `before`, `new`, `after`. Times go on over phases."""
    told = scaled_rig(preset.scale)
    offset = 0.0
    phases = (("before", preset.before_s, False), ("new", preset.new_s, True), ("after", preset.after_s, False))
    for number, (phase, seconds, new) in enumerate(phases):
        world = (scenario if new else KNOWN).enter(told, seed + 10 * number)
        shift = round(offset * 1e9)
        for k in range(round(seconds * preset.rate_hz)):
            time_s = 1.0 + k / preset.rate_hz
            yield (
                phase,
                shifted(world.sample(time_s), told, shift),
                [shifted(world.sample(time_s - ago), told, shift) for ago in GLANCES_S],
            )
        offset += seconds


@dataclass(frozen=True)
class Learner:
    """A checkpoint that goes on such drives.

    Attributes:
        name: for the page.
        estimator: of the checkpoint as it is.
        network: the same weights, not folded, to begin learning from.
        conditions: of light, that its original training held.
    """

    name: str
    estimator: DepthEstimator
    network: DepthNetwork
    conditions: tuple[str, ...] = CONDITIONS

    @classmethod
    def load(cls, name: str, checkpoint: str | Path, conditions: tuple[str, ...] = CONDITIONS) -> Learner:
        """From a checkpoint's file; errors are those of `load_checkpoint`."""
        network, info = load_checkpoint(checkpoint)
        return cls(name, DepthEstimator(network, info), network, conditions)

    @property
    def sha256(self) -> str:
        """Hash of the weights it begins with."""
        return self.estimator.info.sha256


class TaughtByTruth(AdaptationEngine):
    """The same adaptation with true depth where parallax has its say: what the stream could teach at best, by the same
    schedule."""

    def corrected(
        self, sample: DepthSample, inputs: NetworkInput, told: Prediction, neighbours: Sequence[DepthSample]
    ) -> tuple[Prediction, Evidence]:
        truth = from_truth(sample, self.reference, (self.reference,), self.pixels, self.depth_range, self.device)
        known = truth.log_depth.masked_fill(~truth.mask, torch.nan)
        sure = Prediction(known, torch.full_like(told.log_scale, SURE), told.features)
        away = torch.tensor([-1.0, 0.0, 1.0], device=known.device)[:, None, None]
        return sure, Evidence(known, away, away.abs().expand(-1, *known.shape[1:]), truth.mask)


class _Driver:
    """An engine, and the estimator of what it has in service."""

    def __init__(self, engine: AdaptationEngine, info: CheckpointInfo):
        self.engine, self._info = engine, info
        self._service = engine.service
        self._estimator = DepthEstimator(engine.service, info)

    def estimator(self) -> DepthEstimator:
        if self.engine.service is not self._service:
            self._service = self.engine.service
            self._estimator = DepthEstimator(self._service, self._info)
        return self._estimator

    def learn(self, sample: DepthSample, steps: int, before: Sequence[DepthSample] = ()) -> None:
        for earlier in before:
            self.engine.remember(earlier)
        self.engine.observe(sample)
        for _ in range(steps):
            self.engine.step()


def run_scenario(
    scenario: Scenario,
    preset: OnlinePreset,
    learner: Learner,
    seed: int = TEST_SEED,
    options: AdaptationOptions | None = None,
) -> dict[str, Any]:
    """Drive a scenario once.

    Args:
        scenario, preset: what and how long.
        learner: who drives.
        seed: of the streets.
        options: of the adaptation; by default spikes alone are taught, one step a moment.

    Returns:
        `moments`: phase, time, and AbsRel of each: of the student `frozen`, `adapted`, and adapted `by_truth`; of some
        with all sensors, too: of the `teacher`, and `fused`, of the adapted network. `status`: of the engine at the
        end. And what `findings` says.
    """
    options = options or AdaptationOptions(students=(("spikes",),))
    originals = list(rendered_originals(preset.original, preset.scale, conditions=learner.conditions))
    estimator = learner.estimator
    drivers = {
        name: _Driver(kind(learner.network, originals, estimator.info.depth_range, options), estimator.info)
        for name, kind in (("adapted", AdaptationEngine), ("by_truth", TaughtByTruth))
    }
    student, teacher = options.students[0], options.teacher_sensors
    moments = []
    for index, (phase, sample, before) in enumerate(drive(scenario, preset, seed)):
        asked = {
            "frozen": (estimator, student),
            **{name: (driver.estimator(), student) for name, driver in drivers.items()},
        }
        if index % WITH_ALL_EVERY == 0:
            sensors = tuple(s for s in teacher if s in sample.sensors)
            asked |= {"teacher": (estimator, sensors), "fused": (drivers["adapted"].estimator(), sensors)}
        truth = sample.depth[student[0]]
        errors = {
            name: frame_metrics(one.estimate(sample, student[0], sensors).depth, truth)["abs_rel"]
            for name, (one, sensors) in asked.items()
        }
        moments.append({"phase": phase, "time_s": sample.time_ns / 1e9, **errors})
        for driver in drivers.values():
            driver.learn(sample, preset.steps, before)
    engine = drivers["adapted"].engine
    return {
        "learner": learner.name,
        "sha256": learner.sha256,
        "scenario": asdict(scenario),
        "preset": asdict(preset),
        "seed": seed,
        "moments": moments,
        "status": engine.status(),
        **findings(moments),
    }


def findings(moments: list[dict[str, Any]]) -> dict[str, Any]:
    """What a drive says.

    Returns:
        `gain`: share taken off the frozen AbsRel in the last minute of the new domain; `teacher_gain` and `truth_gain`:
        the same for the teacher and for the student taught by truth. `loss`: rise of AbsRel over the frozen one's after
        the return. `worst`: the largest rise in any window of `WINDOW_S`. `fused_gain`, `fused_worst`: as `gain` and
        `worst`, with all sensors, against the teacher, which is the frozen checkpoint with them. `abs_rel`: of each of
        `SERIES` over the whole drive. `windows`, for the chart, one after the other: start of each, and in it the mean
        of each of `SERIES`; NaN of what was not asked. `begins_s`: of the phases `new` and `after`.
    """

    def mean(chosen: list[dict[str, Any]], who: str) -> float:
        found = [m[who] for m in chosen if who in m]
        return float(np.mean(found)) if found else float("nan")

    def rise(chosen: list[dict[str, Any]], who: str, over: str = "frozen") -> float:
        both = [m for m in chosen if who in m]
        return mean(both, who) / mean(both, over) - 1

    new = [m for m in moments if m["phase"] == "new"]
    last = [m for m in new if m["time_s"] > new[-1]["time_s"] - 60.0]
    after = [m for m in moments if m["phase"] == "after"]
    windows = []
    first, end = moments[0]["time_s"], moments[-1]["time_s"]
    for k in range(int((end - first) / WINDOW_S) + 1):
        inside = [m for m in moments if k <= (m["time_s"] - first) / WINDOW_S < k + 1]
        if inside:
            windows.append({"start_s": first + k * WINDOW_S, **{name: mean(inside, name) for name in SERIES}})
    # Of a drive shorter than a window, all of it.
    until = end + 1.5 * (end - first) / max(1, len(moments) - 1) - WINDOW_S
    starts = [m["time_s"] for m in moments if m["time_s"] < until] or [first]
    sliding = [[m for m in moments if start <= m["time_s"] < start + WINDOW_S] for start in starts]
    return {
        "gain": -rise(last, "adapted"),
        "teacher_gain": -rise(last, "teacher"),
        "truth_gain": -rise(last, "by_truth"),
        "fused_gain": -rise(last, "fused", "teacher"),
        "loss": rise(after, "adapted"),
        "worst": max(rise(inside, "adapted") for inside in sliding),
        "fused_worst": max(rise(inside, "fused", "teacher") for inside in sliding),
        "abs_rel": {name: mean(moments, name) for name in SERIES},
        "windows": windows,
        "begins_s": {"new": new[0]["time_s"], "after": after[0]["time_s"]},
    }


COLUMNS = {
    "gain": "gain",
    "teacher_gain": "teacher",
    "truth_gain": "by truth",
    "loss": "loss",
    "worst": "worst",
    "fused_gain": "with all: gain",
    "fused_worst": "with all: worst",
}
"""Of the page's tables, by their names in a result."""


def summary(results: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """(columns, rows) of one checkpoint's results: a row a scenario, mean and standard deviation over its drives."""
    rows = []
    for scenario, drives in _by_scenario(results).items():
        errors = (with_spread(np.array([drive["abs_rel"][who] for drive in drives])) for who in ("frozen", "adapted"))
        shares = (_percent([drive[name] for drive in drives]) for name in COLUMNS)
        counts = (str(sum(drive["status"][name] for drive in drives)) for name in ("swaps", "rollbacks"))
        rows.append([scenario, *errors, *shares, *counts])
    return ["scenario", "frozen", "adapted", *COLUMNS.values(), "swaps", "roll-backs"], rows


def _percent(values: list[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.1%}" if len(values) > 1 else ""
    return f"{np.mean(values):+.1%}{spread}"


def write_online_page(results: list[dict[str, Any]], out: Path, command: str) -> None:
    """Write `online.md`, `online.json`, and a chart of each drive."""
    out.mkdir(parents=True, exist_ok=True)
    lines = ["# Online distillation through changes of domain", "", f"`{command}`", ""]
    lines += [
        "AbsRel of depth from spikes alone, over the whole drive. Gain: share off the frozen checkpoint's error in the "
        "last minute of the new domain; beside it how much less the teacher errs there, the same checkpoint with every "
        "sensor, and what the same schedule gains with true depth for labels. Loss: rise over the frozen checkpoint "
        f"after the return. Worst: largest rise in any {WINDOW_S:.0f} s. Wanted of gain, loss and worst: 30 % or more, "
        "2 % or less, 2 % or less. With all: gain and worst of the adapted checkpoint with every sensor, as it runs by "
        "day, against the frozen one with them. Swaps and roll-backs are of all drives together. The motion of the "
        "vehicle is known exactly.",
        "",
    ]
    for number, learner in enumerate(dict.fromkeys((result["learner"], result["sha256"]) for result in results)):
        driven = [result for result in results if (result["learner"], result["sha256"]) == learner]
        lines += [f"## {learner[0]}", "", f"Weights {learner[1][:8]}.", "", markdown_table(*summary(driven))]
        for scenario, drives in _by_scenario(driven).items():
            chart = f"online_{number}_{slug(scenario.split(':')[0])}.png"
            _chart(f"{learner[0]}: {scenario.split(':')[0]}", drives).savefig(out / chart, dpi=110)
            lines += [f"![{scenario}]({chart})", ""]
    (out / "online.md").write_text("\n".join(lines))
    told = [{name: value for name, value in result.items() if name != "moments"} for result in results]
    write_json(out / "online.json", {"command": command, "results": told})


def _by_scenario(results: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    names = dict.fromkeys(result["scenario"]["name"] for result in results)
    return {name: [result for result in results if result["scenario"]["name"] == name] for name in names}


def _chart(title: str, drives: list[dict[str, Any]]) -> Figure:
    """AbsRel over time, by windows, in the mean over drives."""
    changes = [(begin_s, phase) for phase, begin_s in drives[0]["begins_s"].items()]
    starts = np.array([window["start_s"] for window in drives[0]["windows"]])
    means = {
        name: np.mean([[window[name] for window in drive["windows"]] for drive in drives], axis=0, dtype=float)
        for name in SERIES
    }
    return timeline(title, {text: (starts, means[name]) for name, text in SERIES.items()}, "AbsRel", changes)
