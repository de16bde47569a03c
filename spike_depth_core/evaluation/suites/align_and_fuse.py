"""Align and fuse: one network for every sensor, aligned, then fused, against one for each; with sensors missing."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from spike_depth_core.evaluation.suites.suite import Finding, Row, Scores, Suite, View, at_least
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import RECIPES, Stage

SENSORS = ("spikes", "rgb", "nir", "thermal")
CONDITIONS = ("day", "dusk", "night", "rain")
ALL = "+".join(SENSORS)
BOTH = ("source", "target")


def _view(sensors: tuple[str, ...], condition: str | None = None) -> View:
    name = "+".join(sensors) + (f", {condition}" if condition else "")
    # All are compared in the frame of the spikes' camera where they have it, else in that of their first.
    return View(name, "target", sensors, condition=condition)


def _without(sensor: str) -> tuple[str, ...]:
    return tuple(s for s in SENSORS if s != sensor)


VIEWS = (
    *(_view((s,)) for s in SENSORS),
    _view(SENSORS),
    *(_view(_without(s)) for s in SENSORS),
    *(_view(sensors, c) for c in CONDITIONS for sensors in (*((s,) for s in SENSORS), SENSORS)),
)


def _stages(settings: dict[str, Any], architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    return RECIPES["align_and_fuse"](architecture, seed, learn_from=BOTH, **settings)


def _separate(sensor: str, architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    return _stages({"fuse_share": 0.0}, replace(architecture, sensors=(sensor,)), seed)


def compare(found: Scores) -> list[Finding]:
    """Fused against the best single sensor, by condition; and against the best that remains when one is lost."""
    fused = found["aligned and fused"]

    def best(sensors: tuple[str, ...], suffix: str = "") -> np.ndarray:
        return np.min([fused[f"{s}{suffix}"] for s in sensors], axis=0)

    findings = []
    for condition in CONDITIONS:
        single = best(SENSORS, f", {condition}")
        gain = (single - fused[f"{ALL}, {condition}"]) / single
        findings.append(at_least(f"share off the best single sensor's AbsRel, {condition}", gain, 0.0))
    for sensor in SENSORS:
        remaining = best(_without(sensor))
        gain = (remaining - fused["+".join(_without(sensor))]) / remaining
        findings.append(at_least(f"the same without {sensor}", gain, -0.05))
    return findings


SUITE = Suite(
    name="align_and_fuse",
    title="Align and fuse: every sensor alone, and any of them together",
    rows=(
        *(
            Row(
                f"separate, {s}",
                functools.partial(_separate, s),
                views=tuple(v.name for v in VIEWS if v.sensors == (s,)),
            )
            for s in SENSORS
        ),
        Row("shared, not aligned", functools.partial(_stages, {"fuse_share": 0.0, "align": {"align_weight": 0.0}})),
        Row("aligned", functools.partial(_stages, {"fuse_share": 0.0})),
        Row("aligned and fused", functools.partial(_stages, {"fuse_share": 1.0}), start="aligned", steps=0.5),
    ),
    views=VIEWS,
    findings=compare,
    sensors=SENSORS,
    domains={domain: {"sensors": SENSORS, "frames": 1} for domain in BOTH},
)
