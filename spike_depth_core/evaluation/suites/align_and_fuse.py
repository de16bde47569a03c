"""Align and fuse: one network for every sensor, aligned, then fused, against one for each; with sensors missing."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from spike_depth_core.evaluation.suites.suite import Finding, Row, Scores, Suite, View, at_least
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import RECIPES, Stage
from spike_depth_core.samples import SENSORS

CONDITIONS = ("day", "dusk", "night", "rain")
ALL = "+".join(SENSORS)
REFERENCE = "spikes"
STEPS = 0.5
"""Of the preset's, of either half of a training without the fusion module; both see every sensor of each sample."""
FUSION_STEPS = 0.25
PUBLISHED = {"rgb": 0.07, "nir": 0.10, "thermal": 0.02}
"""What fusion takes off the AbsRel of the aligned network with one sensor, on MS2 with MiDaS, by the authors' table."""


def _view(sensors: tuple[str, ...], condition: str | None = None) -> View:
    name = "+".join(sensors) + (f", {condition}" if condition else "")
    # Each set of sensors is asked in the frame that its network was trained for, and scored in the frame of the spikes'
    # camera at the points that all four see: asked in another's frame a sensor alone would also be scored by how well
    # it removes parallax, and lose by that.
    return View(name, "conditions", sensors, REFERENCE, condition, SENSORS)


def _without(sensor: str) -> tuple[str, ...]:
    return tuple(s for s in SENSORS if s != sensor)


VIEWS = (
    *(_view((s,)) for s in SENSORS),
    _view(SENSORS),
    *(_view(_without(s)) for s in SENSORS),
    *(_view(sensors, c) for c in CONDITIONS for sensors in (*((s,) for s in SENSORS), SENSORS)),
)


def _halves(second: dict[str, Any], architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    """A training in two halves, the first without alignment, the second as it is told."""
    parts = ({"align_weight": 0.0}, second)
    first, then = (
        RECIPES["align_and_fuse"](architecture, seed, learn_from=("conditions",), fuse_share=0.0, align=align)[0]
        for align in parts
    )
    return replace(first, share=STEPS), replace(then, share=STEPS, learning_rate=0.5)


def _separate(sensor: str, architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    return _halves({"align_weight": 0.0}, replace(architecture, sensors=(sensor,)), seed)


def _fused(second: dict[str, Any], architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    (fuse,) = RECIPES["align_and_fuse"](architecture, seed, learn_from=("conditions",), fuse_share=1.0)
    return (*_halves(second, architecture, seed), replace(fuse, share=FUSION_STEPS))


def compare(found: Scores) -> list[Finding]:
    """Fused against each sensor, against the best of them by condition, and against the best that remains when one is
    lost."""
    fused, aligned = found["aligned and fused"], found["aligned"]

    def best(sensors: tuple[str, ...], suffix: str = "") -> np.ndarray:
        return np.min([fused[f"{s}{suffix}"] for s in sensors], axis=0)

    findings = []
    for sensor, published in PUBLISHED.items():
        gain = (aligned[sensor] - fused[ALL]) / aligned[sensor]
        findings.append(at_least(f"share off the AbsRel of aligned {sensor} by fusion", gain, published))
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
        Row("shared, not aligned", functools.partial(_halves, {"align_weight": 0.0})),
        Row("aligned", functools.partial(_halves, {})),
        # Fusion selects by halves that alignment has drawn together: what that is worth is the difference of these.
        Row("not aligned, fused", functools.partial(_fused, {"align_weight": 0.0})),
        Row("aligned and fused", functools.partial(_fused, {})),
    ),
    views=VIEWS,
    findings=compare,
    sensors=SENSORS,
    domains={"conditions": {"sensors": SENSORS, "frames": 1}},
    shown=(*SENSORS, ALL),
)
