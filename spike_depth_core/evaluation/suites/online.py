"""Online distillation through changes of domain: what it gains where it is new, and what it loses where it was.

A drive begins in a domain the checkpoint knows, goes on in another for five minutes, and returns. At each moment depth
is taken from the frozen checkpoint and from the network in service, before anything is learned from that moment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from spike_depth_core.adaptation import AdaptationEngine, AdaptationOptions
from spike_depth_core.adaptation.lessons import Lesson, from_truth
from spike_depth_core.adaptation.originals import rendered_originals, scaled_rig
from spike_depth_core.evaluation.plots import timeline
from spike_depth_core.evaluation.results import markdown_table, write_json
from spike_depth_core.geometry import SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.metrics import frame_metrics
from spike_depth_core.networks.checkpoint import CheckpointInfo
from spike_depth_core.samples import DepthSample
from spike_depth_core.world import World

TEST_SEED = 700_000
WINDOW_S = 20.0
WITH_ALL_EVERY = 2  # moments to one of which depth is taken with all sensors, too
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


SCENARIOS = (
    Scenario("dusk to night", {"condition": "night"}),
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


def drive(scenario: Scenario, preset: OnlinePreset, seed: int) -> Iterator[tuple[str, DepthSample]]:
    """(phase, sample) along the whole drive: `before`, `new`, `after`. Times go on from phase to phase."""
    told = scaled_rig(preset.scale)
    offset = 0.0
    phases = (("before", preset.before_s, False), ("new", preset.new_s, True), ("after", preset.after_s, False))
    for number, (phase, seconds, new) in enumerate(phases):
        options = dict(scenario.world) if new else {"condition": "dusk" if "dusk" in scenario.name else "day"}
        rig = turned(told, scenario.turned_deg) if new and scenario.turned_deg else told
        world = World(seed + 10 * number, rig=rig, supersample=1, **options)
        if new:
            spikes = world.suite.spikes
            changes = {**scenario.spikes, "gain": scenario.spikes.get("gain", 1.0) * spikes.parameters.gain}
            world.suite = replace(world.suite, spikes=replace(spikes, parameters=replace(spikes.parameters, **changes)))
        for k in range(round(seconds * preset.rate_hz)):
            sample = world.sample(1.0 + k / preset.rate_hz)
            shift = round(offset * 1e9)
            moved = replace(sample.spikes, start_ns=sample.spikes.start_ns + shift) if sample.spikes else None
            # What the vehicle believes of its rig, not what is so.
            yield phase, replace(sample, rig=told, time_ns=sample.time_ns + shift, spikes=moved)
        offset += seconds


class TaughtByTruth(AdaptationEngine):
    """The same adaptation with true depth for labels: what the stream could teach at best, by the same schedule."""

    def lesson(self, sample: DepthSample, said: Lesson) -> Lesson:
        return from_truth(sample, self.reference, said.sensors, self.pixels, self.depth_range, self.device)


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

    def learn(self, sample: DepthSample, steps: int) -> None:
        self.engine.observe(sample)
        for _ in range(steps):
            self.engine.step()


def run_scenario(
    scenario: Scenario,
    preset: OnlinePreset,
    estimator: DepthEstimator,
    network: Any,
    seed: int = TEST_SEED,
    options: AdaptationOptions | None = None,
    progress: Callable[[int], None] = lambda moment: None,
) -> dict[str, Any]:
    """Drive a scenario once.

    Args:
        scenario, preset: what and how long.
        estimator: the frozen checkpoint in service.
        network: the same weights, not folded, to begin learning from.
        seed: of the streets.
        options: of the adaptation; by default spikes alone are taught, one step a moment.

    Returns:
        `moments`: phase, time, and AbsRel of each: of the student `frozen`, `adapted`, and adapted `by_truth`; of some
        with all sensors, too: of the `teacher`, and `fused`, of the adapted network. `status`: of the engine at the
        end. And what `findings` says.
    """
    options = options or AdaptationOptions(students=(("spikes",),))
    originals = list(rendered_originals(preset.original, preset.scale))
    drivers = {
        name: _Driver(kind(network, originals, estimator.info.depth_range, options), estimator.info)
        for name, kind in (("adapted", AdaptationEngine), ("by_truth", TaughtByTruth))
    }
    student, teacher = options.students[0], options.teacher_sensors
    moments = []
    for index, (phase, sample) in enumerate(drive(scenario, preset, seed)):
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
            driver.learn(sample, preset.steps)
        progress(index + 1)
    engine = drivers["adapted"].engine
    return {
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
        `worst`, with all sensors, against the teacher, which is the frozen checkpoint with them. `windows`: start of
        each, and in it the mean of each of `SERIES`; NaN of what was not asked.
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
    windows, rises, fused_rises = [], [], []
    first = moments[0]["time_s"]
    for k in range(int((moments[-1]["time_s"] - first) / WINDOW_S) + 1):
        inside = [m for m in moments if k <= (m["time_s"] - first) / WINDOW_S < k + 1]
        if inside:
            windows.append({"start_s": first + k * WINDOW_S, **{name: mean(inside, name) for name in SERIES}})
            rises.append(rise(inside, "adapted"))
            fused_rises.append(rise(inside, "fused", "teacher"))
    return {
        "gain": -rise(last, "adapted"),
        "teacher_gain": -rise(last, "teacher"),
        "truth_gain": -rise(last, "by_truth"),
        "fused_gain": -rise(last, "fused", "teacher"),
        "loss": rise(after, "adapted"),
        "worst": max(rises),
        "fused_worst": float(np.nanmax(fused_rises)),
        "windows": windows,
    }


def write_online_page(results: list[dict[str, Any]], out: Path, command: str) -> None:
    """Write `online.md`, `online.json` and a chart for each scenario."""
    rows = []
    lines = ["# Online distillation through changes of domain", "", f"`{command}`", ""]
    lines += [
        "AbsRel of depth from spikes alone, over the whole drive. Gain: share off the frozen checkpoint's error in the "
        "last minute of the new domain; beside it how much less the teacher errs there, the same checkpoint with every "
        "sensor, and what the same schedule gains with true depth for labels. Loss: rise over the frozen checkpoint "
        f"after the return. Worst: largest rise in any {WINDOW_S:.0f} s. Wanted of gain, loss and worst: 30 % or more, "
        "2 % or less, 2 % or less. With all: gain and worst of the adapted checkpoint with every sensor, as it runs by "
        "day, against the frozen one with them.",
        "",
    ]
    charts = []
    for number, result in enumerate(results):
        windows = result["windows"]
        status = result["status"]
        rows.append(
            [
                result["scenario"]["name"],
                *(f"{np.mean([m[name] for m in result['moments']]):.3f}" for name in ("frozen", "adapted")),
                f"{result['gain']:+.1%}",
                f"{result['teacher_gain']:+.1%}",
                f"{result['truth_gain']:+.1%}",
                f"{result['loss']:+.1%}",
                f"{result['worst']:+.1%}",
                f"{result['fused_gain']:+.1%}",
                f"{result['fused_worst']:+.1%}",
                str(status["swaps"]),
                str(status["rollbacks"]),
            ]
        )
        changes = [
            (next(m["time_s"] for m in result["moments"] if m["phase"] == phase), phase) for phase in ("new", "after")
        ]
        starts = np.array([window["start_s"] for window in windows])
        means = {name: np.array([window[name] for window in windows], float) for name in SERIES}  # null becomes NaN
        series = {text: (starts, means[name]) for name, text in SERIES.items()}
        figure = timeline(result["scenario"]["name"], series, "AbsRel", changes)
        out.mkdir(parents=True, exist_ok=True)
        figure.savefig(out / f"online_{number}.png", dpi=110)
        charts += [f"![{result['scenario']['name']}](online_{number}.png)", ""]
    columns = ["scenario", "frozen", "adapted", "gain", "teacher", "by truth", "loss", "worst"]
    columns += ["with all: gain", "with all: worst", "swaps", "roll-backs"]
    lines += [markdown_table(columns, rows), *charts]
    (out / "online.md").write_text("\n".join(lines))
    write_json(out / "online.json", {"command": command, "results": json.loads(json.dumps(results))})
