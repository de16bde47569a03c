"""Learning on the road, offline: beside a replay the same engine learns from the same moments, and is measured.

Each moment is estimated before it is learned from, by the weights that the replay began with and by those in service.
Steps are counted, not timed, so the same bag, checkpoint and settings give the same weights and the same depth.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spike_depth_core.adaptation import ACCEPTED, AdaptationSession
from spike_depth_core.evaluation.replay import ReplayedFrame
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.metrics import frame_metrics

WINDOW_S = 10.0


@dataclass
class View:
    """Errors of one set of sensors over time.

    Attributes:
        sensors: joined by +.
        times_ns: of the moments with a truth.
        frozen, adapted: AbsRel of each.
    """

    sensors: str
    times_ns: list[int] = field(default_factory=list)
    frozen: list[float] = field(default_factory=list)
    adapted: list[float] = field(default_factory=list)

    def windows(self, seconds: float = WINDOW_S) -> list[tuple[float, float, float]]:
        """(start since the first moment, mean frozen, mean adapted) of each window that has moments."""
        times = (np.array(self.times_ns, np.int64) - (self.times_ns[0] if self.times_ns else 0)) / 1e9
        found = []
        for number in sorted({int(time // seconds) for time in times}):
            inside = times // seconds == number
            errors = [float(np.mean(np.array(values)[inside])) for values in (self.frozen, self.adapted)]
            found.append((number * seconds, *errors))
        return [(start, before, after) for start, before, after in found]

    def summary(self) -> dict[str, Any]:
        """Means, and how the worst window compares."""
        windows = self.windows()
        frozen, adapted = float(np.mean(self.frozen)), float(np.mean(self.adapted))
        return {
            "moments": len(self.times_ns),
            "frozen": frozen,
            "adapted": adapted,
            "gain": 1 - adapted / frozen if frozen else float("nan"),
            "gain_in_the_last_window": 1 - windows[-1][2] / windows[-1][1] if windows[-1][1] else float("nan"),
            "worst_window": max((after / before - 1 for _, before, after in windows if before), default=float("nan")),
            "windows": windows,
        }


class ReplayAdaptation:
    """Learns from the frames of a replay as they pass.

    Args:
        session: begun.
        estimator: of the replay, with the weights that the session begins with.
        steps: for each moment that is learned from.
        interval_s: least time between two moments that are learned from; those between are compared with them.

    Attributes:
        views: by sensors: those that the replay used, and those of the first student.
        changes: time of the moment at which other weights went into service, and their hash.
    """

    def __init__(self, session: AdaptationSession, estimator: DepthEstimator, steps: int = 1, interval_s: float = 0.5):
        self.session, self._frozen, self.steps = session, estimator, steps
        self.views: dict[str, View] = {}
        self.changes: list[tuple[int, str]] = []
        self._interval_ns = round(interval_s * 1e9)
        self._student = session.options.students[0]
        self._served = session.service.sha256
        self._serving = estimator
        self._looked_ns: int | None = None
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 of all depths of the weights in service, in order."""
        return self._hash.hexdigest()

    def watch(self, frames: Iterable[ReplayedFrame]) -> Iterator[ReplayedFrame]:
        """The same frames, each estimated and learned from before it is handed on."""
        for frame in frames:
            self._estimate(frame)
            self._learn(frame)
            yield frame

    def _estimate(self, frame: ReplayedFrame) -> None:
        used = frame.estimate.sensors
        views = {used: frame.estimate.depth}
        if set(self._student) < set(used):
            frozen = self._frozen.estimate(frame.sample, frame.estimate.reference, self._student)
            views[self._student] = frozen.depth
        for sensors, before in views.items():
            after = self._serving.estimate(frame.sample, frame.estimate.reference, sensors).depth
            self._hash.update(np.ascontiguousarray(after).data)
            if frame.truth is None or frame.abs_rel is None:
                continue  # no truth, or none in range
            errors = [frame_metrics(depth, frame.truth)["abs_rel"] for depth in (before, after)]
            if np.isfinite(errors).all():
                view = self.views.setdefault("+".join(sensors), View("+".join(sensors)))
                view.times_ns.append(frame.estimate.time_ns)
                view.frozen.append(errors[0])
                view.adapted.append(errors[1])

    def _learn(self, frame: ReplayedFrame) -> None:
        now = frame.estimate.time_ns
        session = self.session
        if self._looked_ns is not None and 0 <= now - self._looked_ns < self._interval_ns:
            session.remember(frame.sample)
            return
        self._looked_ns = now
        if session.observe(frame.sample) == ACCEPTED:
            for _ in range(self.steps):
                session.step()
        if session.service.sha256 != self._served:
            self._served = session.service.sha256
            self.changes.append((now, self._served))
            assert session.engine is not None
            self._serving = DepthEstimator(session.engine.service, session.service, self._frozen.device)

    def figures(self) -> dict[str, Any]:
        """Everything measured, as plain values."""
        return {
            "steps_a_moment": self.steps,
            "views": {name: view.summary() for name, view in self.views.items()},
            "changes": [{"time_ns": time_ns, "sha256": sha256} for time_ns, sha256 in self.changes],
            "depth_sha256": self.digest,
            "status": self.session.status(),
        }


def rows_of(figures: dict[str, Any]) -> list[list[str]]:
    """The headline figures as (measured, value)."""
    status = figures["status"]
    rows = []
    for name, view in figures["views"].items():
        text = f"{view['frozen']:.3f} frozen, {view['adapted']:.3f} adapted ({view['gain']:+.1%})"
        last = f"last {WINDOW_S:.0f} s {view['gain_in_the_last_window']:+.1%}, worst {WINDOW_S:.0f} s"
        rows.append([f"AbsRel with {name}", f"{text}; {last} {-view['worst_window']:+.1%}"])
    learned = status["moments"].get(ACCEPTED, 0)
    rows.append(["moments learned from", f"{learned} of {sum(status['moments'].values())}; {status['steps']} steps"])
    if measured := status["measured_moments"]:
        rows.append(["of these measured by parallax", str(measured)])
    rows.append(["swaps, roll-backs", f"{status['swaps']}, {status['rollbacks']}"])
    refused = {reason: n for reason, n in status["moments"].items() if reason != ACCEPTED and n}
    if refused:
        rows.append(["moments not learned from", ", ".join(f"{n} ({reason})" for reason, n in refused.items())])
    rows.append(["weights in service", status["service_sha256"][:16]])
    return rows
