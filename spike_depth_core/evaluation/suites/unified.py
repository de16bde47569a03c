"""The unified network: by kind of teacher, against the same network taught by truth alone, for every set of sensors."""

from __future__ import annotations

import functools

from spike_depth_core.evaluation.suites.domains import MOMENTS
from spike_depth_core.evaluation.suites.suite import Finding, Row, Scores, Suite, View, at_least
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import Recipe, Stage, Supervised, Unified
from spike_depth_core.recipes.teaching import Teaching
from spike_depth_core.samples import SENSORS

FIRST, SECOND, SECOND_RATE = 1.5, 0.5, 0.5
"""Of the preset's steps, of either part of a training for all sensors, and of its learning rate, in the second."""
AVERAGE = 0.994
"""Decay of the averaged teacher, over about a fifth of the second part's steps as BiCross's."""
SPECIALIST = 0.5
"""Of the preset's steps, of either part of a specialist's: all four together take twice what the one network takes that
stands in for them."""
SUBSETS = (
    ("spikes",),
    ("rgb",),
    ("nir",),
    ("thermal",),
    ("spikes", "rgb"),
    ("spikes", "thermal"),
    ("rgb", "thermal"),
    ("spikes", "rgb", "nir", "thermal"),
)
FAST = 15.0
"""Metres a second from which a view is of fast driving."""
VIEWS = (
    *(View("+".join(subset), "source", subset) for subset in SUBSETS),
    View("all, target", "target", SUBSETS[-1]),
    *(View(f"{s}, target", "target", (s,)) for s in ("spikes", "rgb")),
    *(View(f"{s}, night", "target", (s,), condition="night") for s in ("spikes", "rgb")),
    *(View(f"{s}, fast", "target", (s,), faster_than=FAST) for s in ("spikes", "rgb")),
)


def _then(second: Recipe | None, architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    """A training whose first part is supervised, the same for all rows, and whose second is told, or goes on so."""
    supervised = Supervised(architecture, seed=seed)
    return Stage(supervised, FIRST), Stage(second or supervised, SECOND, learning_rate=SECOND_RATE)


def _supervised(architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    return _then(None, architecture, seed)


def _specialist(sensor: str, architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    specialist = Supervised(architecture, seed=seed, single=1.0, prefer=_only(sensor))
    return Stage(specialist, SPECIALIST), Stage(specialist, SPECIALIST, learning_rate=SECOND_RATE)


def _only(sensor: str) -> dict[str, float]:
    return {s: float(s == sensor) for s in SENSORS}


def _specialist_row(sensor: str) -> str:
    return f"{sensor} only"


def _views_of(sensor: str) -> tuple[str, ...]:
    return tuple(view.name for view in VIEWS if view.sensors == (sensor,))


def _unified(mode: str, unlabelled: bool, architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    return _then(
        Unified(architecture, seed=seed, teaching=Teaching(mode, AVERAGE), unlabelled=unlabelled), architecture, seed
    )


def _without_teacher(architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    """As many answers a step as the unified rows are asked for, by truth alone."""
    return _then(
        Unified(architecture, seed=seed, response_weight=0.0, feature_weight=0.0, align_weight=0.0), architecture, seed
    )


def compare(found: Scores) -> list[Finding]:
    """Not worse than the specialist of any sensor, and better where it matters: spikes alone at night and at speed."""
    taught = found["unified, own teacher"]
    findings = []
    for sensor in SENSORS:
        alone = found[_specialist_row(sensor)]
        for view in _views_of(sensor):
            gain = (alone[view] - taught[view]) / alone[view]
            findings.append(at_least(f"share off the specialist's AbsRel, {view}", gain, 0.0))
    return findings


SUITE = Suite(
    name="unified",
    title="The unified network: every subset of sensors",
    rows=(
        Row("supervised", _supervised),
        *(Row(_specialist_row(s), functools.partial(_specialist, s), views=_views_of(s)) for s in SENSORS),
        Row("unified, no teacher", _without_teacher),
        Row("unified, own teacher", functools.partial(_unified, "online", False)),
        Row("unified, mutual", functools.partial(_unified, "mutual", False)),
        Row("unified, averaged teacher", functools.partial(_unified, "ema", False)),
        Row("unified, frozen teacher", functools.partial(_unified, "frozen", False)),
        Row("unified, own teacher, target unlabelled", functools.partial(_unified, "online", True)),
    ),
    views=VIEWS,
    findings=compare,
    domains=MOMENTS,
    shown=("spikes", "rgb", "spikes, night"),
)
