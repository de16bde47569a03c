"""Counts as `/diagnostics` (REP 107): few, stable statuses, values as strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def status(name: str, level: bytes, message: str, values: Mapping[str, Any], hardware: str = "") -> DiagnosticStatus:
    """One status. Numbers with a fraction are given with three digits."""
    texts = {key: f"{value:.3f}" if isinstance(value, float) else str(value) for key, value in values.items()}
    return DiagnosticStatus(
        level=level,
        name=name,
        message=message,
        hardware_id=hardware,
        values=[KeyValue(key=key, value=text) for key, text in texts.items()],
    )


def flatten(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Nested counts as keys joined by a slash: {"dropped": {"late": 2}} is {"dropped/late": 2}."""
    flat: dict[str, Any] = {}
    for key, value in counts.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}/{inner}": entry for inner, entry in flatten(value).items()})
        else:
            flat[key] = value
    return flat


# Reasons of the ledger that are in the nature of the thing: an estimate looks at some inputs, the latest, not at all.
_HARMLESS = {"unused", "repeated"}


class StreamReport:
    """Says how one input stream is doing, compared with the report before.

    Args:
        name: of the sensor.
        topic: what it is subscribed to, to be named when nothing arrives.
    """

    def __init__(self, name: str, topic: str):
        self.name = name
        self.topic = topic
        self._before: dict[str, Any] = {}

    def __call__(self, counts: Mapping[str, Any], publishers: int) -> tuple[bytes, str]:
        """Level and message for the counts of a `Ledger` and the number of publishers of the topic."""
        flat = flatten(counts)
        new = {key: value - self._before.get(key, 0) for key, value in flat.items()}
        self._before = flat
        if new["received"] == 0:
            if publishers == 0:
                return (WARN, f"no publisher on {self.topic}") if flat["received"] else (OK, "not connected")
            return WARN, f"{publishers} publisher(s) on {self.topic}, but nothing arrives: compare QoS and type"
        troubles = [f"{new['lost']} lost"] if new["lost"] else []
        troubles += ["time jumped back"] if new["resets"] else []
        for key, count in new.items():
            reason = key.removeprefix("dropped/")
            if reason != key and reason not in _HARMLESS and count:
                troubles.append(f"{count} dropped ({reason})")
        return (WARN, ", ".join(troubles)) if troubles else (OK, "receiving")
