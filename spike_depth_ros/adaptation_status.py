"""What the adaptation node says of itself: its status, and two statuses of the diagnostics."""

from __future__ import annotations

import math
import time
from typing import Any

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from spike_depth.msg import AdaptationStatus

from spike_depth_ros.deployment import Deployment
from spike_depth_ros.diagnostics import ERROR, OK, WARN, Findings, flatten, status
from spike_depth_ros.learner import FAILED, STATES, Progress
from spike_depth_ros.odometry import ODOMETRY
from spike_depth_ros.reception import Reception

SILENT_NS = 5_000_000_000
_OF_MESSAGE = ("steps", "skipped_steps", "reviews", "swaps", "rollbacks")


class AdaptationReport:
    """Puts a learner's progress into messages.

    Args:
        name: of the node, with its namespace.
    """

    def __init__(self, name: str):
        self._name = name
        self._spent: list[tuple[float, float]] = []  # when, and processor time by then

    def message(self, progress: Progress, deployment: Deployment | None, stamp: Time) -> AdaptationStatus:
        """The status."""
        values = progress.values
        counts = {name: int(values.get(name, 0)) for name in _OF_MESSAGE}
        message = AdaptationStatus(
            state=progress.state,
            reason=progress.reason,
            moments=progress.moments,
            accepted=int(values.get("moments", {}).get("accepted", 0)),
            measured=int(values.get("measured_moments", 0)),
            loss=float(values.get("loss", math.nan)),
            kept_share=float(values.get("kept", math.nan)),
            live_improvement=1.0 - float(values.get("live_ratio", math.nan)),
            original_improvement=1.0 - float(values.get("original_ratio", math.nan)),
            total_improvement=float(values.get("gain", 0.0)),
            spent_ms=self._spent_ms(progress.spent_s),
            first_sha256=values.get("first_sha256", ""),
            service_sha256=values.get("service_sha256", ""),
            running_sha256=_running(deployment),
            service=values.get("service", ""),
            **counts,
        )
        message.header.stamp = stamp
        return message

    def _spent_ms(self, spent_s: float) -> float:
        """Processor time in the last second, or a little more where statuses are rarer."""
        now = time.monotonic()
        self._spent.append((now, spent_s))
        while len(self._spent) > 2 and now - self._spent[1][0] >= 1.0:
            self._spent.pop(0)
        (then, before), elapsed = self._spent[0], now - self._spent[0][0]
        return 1e3 * (spent_s - before) / max(elapsed, 1.0) if now > then else 0.0

    def adaptation(self, progress: Progress, deployment: Deployment | None) -> DiagnosticStatus:
        """State, counts and hashes; ERROR when it cannot go on, WARN when what was learned is not kept or not taken."""
        findings = Findings()
        values = progress.values
        if progress.state == FAILED:
            findings.add(ERROR, progress.reason)
        elif values.get("failure"):
            findings.add(WARN, values["failure"])
        if deployment is not None and values and deployment.note:
            findings.add(WARN, deployment.note)
        shown: dict[str, Any] = {
            "state": STATES[progress.state],
            "reason": progress.reason,
            "looked_at": progress.moments,
            "spent_s": progress.spent_s,
            "running_sha256": _running(deployment),
        }
        shown |= {key: value for key, value in flatten(values).items() if not isinstance(value, list)}
        return status(f"{self._name}: adaptation", findings.level, findings.message(STATES[progress.state]), shown)

    def inputs(self, reception: Reception | None) -> DiagnosticStatus:
        """What is heard of each sensor; WARN where nothing usable is."""
        if reception is None:
            return status(f"{self._name}: inputs", OK, "not subscribed", {})
        values: dict[str, Any] = {}
        counts, findings = reception.sync.counts(), Findings()
        ages_ns = [reception.inputs.age_ns(sensor) for sensor in reception.inputs.sensors]
        listened = reception.listened_ns > SILENT_NS
        if listened and not any(age_ns is not None and age_ns <= SILENT_NS for age_ns in ages_ns):
            findings.add(WARN, "no sensor delivers")
        for sensor in reception.inputs.sensors:
            values[f"{sensor}/topic"] = reception.inputs.watch.topic(sensor)
            values[f"{sensor}/rate_hz"] = reception.inputs.rates[sensor].rate_hz()
            for key in ("received", "used", "lost"):
                values[f"{sensor}/{key}"] = counts[sensor][key]
            values |= {f"{sensor}/dropped/{reason}": n for reason, n in counts[sensor]["dropped"].items()}
        values["odometry/topic"] = reception.odometry.topic
        values["odometry/child_frame"] = reception.odometry.child_frame or "nothing heard"
        values["odometry/unrelated"] = reception.odometry.unrelated
        for name in (*reception.inputs.sensors, ODOMETRY):
            if listened and (trouble := reception.inputs.watch.trouble(name, SILENT_NS)):
                findings.add(WARN, trouble)
        return status(f"{self._name}: inputs", findings.level, findings.message("receiving"), values)


def _running(deployment: Deployment | None) -> str:
    return deployment.running.sha256 if deployment is not None and deployment.running is not None else ""
