"""The unified network: by kind of teacher, against the same network taught by truth alone, for every set of sensors."""

from __future__ import annotations

import functools

from spike_depth_core.evaluation.suites.domains import MOMENTS, SENSORS
from spike_depth_core.evaluation.suites.suite import Finding, Row, Scores, Suite, View, at_least
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import Recipe, Stage, Supervised, Unified
from spike_depth_core.recipes.teaching import Teaching

STEPS, SECOND_RATE = 0.5, 0.5
"""Of the preset's steps, of either half of a training; and of its learning rate, in the second."""
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
VIEWS = (
    *(View("+".join(subset), "source", subset) for subset in SUBSETS),
    View("spikes, target", "target", ("spikes",)),
    View("all, target", "target", SUBSETS[-1]),
    View("spikes, night", "target", ("spikes",), condition="night"),
)


def _halves(second: Recipe | None, architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    """A training whose first half is supervised, the same for all rows, and whose second is told, or goes on so."""
    supervised = Supervised(architecture, seed=seed)
    return Stage(supervised, STEPS), Stage(second or supervised, STEPS, learning_rate=SECOND_RATE)


def _supervised(architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    return _halves(None, architecture, seed)


def _specialist(sensor: str, architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    specialist = Supervised(architecture, seed=seed, single=1.0, prefer=_only(sensor))
    return Stage(specialist, STEPS), Stage(specialist, STEPS, learning_rate=SECOND_RATE)


def _only(sensor: str) -> dict[str, float]:
    return {s: float(s == sensor) for s in SENSORS}


def _unified(mode: str, unlabelled: bool, architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    return _halves(Unified(architecture, seed=seed, teaching=Teaching(mode), unlabelled=unlabelled), architecture, seed)


def compare(found: Scores) -> list[Finding]:
    """Not worse than the specialist of a sensor, and better where it matters: spikes alone at night."""
    taught, alone = found["unified, own teacher, target unlabelled"], found["spikes only"]

    def gain(view: str) -> Finding:
        relative = (alone[view] - taught[view]) / alone[view]
        return at_least(f"share off the specialist's AbsRel, {view}", relative, 0.0)

    return [gain(view) for view in ("spikes", "spikes, target", "spikes, night")]


SUITE = Suite(
    name="unified",
    title="The unified network: every subset of sensors",
    rows=(
        Row("supervised", _supervised),
        Row(
            "spikes only",
            functools.partial(_specialist, "spikes"),
            views=tuple(view.name for view in VIEWS if view.sensors == ("spikes",)),
        ),
        Row("rgb only", functools.partial(_specialist, "rgb"), views=("rgb",)),
        Row("unified, own teacher", functools.partial(_unified, "online", False)),
        Row("unified, mutual", functools.partial(_unified, "mutual", False)),
        Row("unified, averaged teacher", functools.partial(_unified, "ema", False)),
        Row("unified, frozen teacher", functools.partial(_unified, "frozen", False)),
        Row("unified, own teacher, target unlabelled", functools.partial(_unified, "online", True)),
    ),
    views=VIEWS,
    findings=compare,
    domains=MOMENTS,
)
