"""Counts as `/diagnostics` (REP 107): few, stable statuses, values as strings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.node import Node

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def full_name(node: Node) -> str:
    """What the names of a node's statuses begin with: `/diagnostics` is shared by nodes of all namespaces."""
    return node.get_fully_qualified_name().strip("/")


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


class Findings:
    """The worst level of several findings, and all that is above OK in one line."""

    def __init__(self) -> None:
        self.level = OK
        self._texts: list[str] = []

    def add(self, level: bytes, text: str) -> None:
        self.level = max(self.level, level)
        self._texts.append(text)

    def message(self, well: str) -> str:
        """All findings, or a word for when there are none."""
        return "; ".join(self._texts) or well
