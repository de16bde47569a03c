"""R2SDepth: depth from spikes without labels, by view synthesis alone and taught by the branch that carries RGB."""

from __future__ import annotations

import functools
from typing import Any

from spike_depth_core.evaluation.suites.suite import Finding, Row, Scores, Suite, View, at_least
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import RECIPES, Stage, Supervised
from spike_depth_core.recipes.r2sdepth import SelfDistillation

SPIKES = "spikes"
NOTHING = {"feature_weight": 0.0, "activation_weight": 0.0, "depth_weight": 0.0}


def _branch(branch: str, architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    return RECIPES["r2sdepth"](architecture, seed, branch=branch)


def _distilled(settings: dict[str, Any], architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    return (Stage(SelfDistillation(architecture, seed=seed, **settings), keep="last"),)


def _supervised(architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    return (Stage(Supervised(architecture, seed=seed, single=1.0, prefer={"spikes": 1.0, "rgb": 0.0})),)


def _row(name: str, **settings: Any) -> Row:
    return Row(name, functools.partial(_distilled, settings), start="fused", views=(SPIKES,))


def compare(found: Scores) -> list[Finding]:
    """What distillation takes off the error of spikes by view synthesis alone, trained as long as both stages."""
    alone, taught = found["spikes by view synthesis"][SPIKES], found["+ distillation, all terms"][SPIKES]
    return [at_least("share off the AbsRel of view synthesis alone", (alone - taught) / alone, 0.10)]


SUITE = Suite(
    name="r2sdepth",
    title="R2SDepth: depth without labels",
    rows=(
        Row("spikes by view synthesis", functools.partial(_branch, "spikes"), steps=2.0, views=(SPIKES,)),
        Row("RGB by view synthesis", functools.partial(_branch, "rgb"), steps=2.0, views=("RGB",)),
        Row("fused", functools.partial(_branch, "fused"), views=("spikes + RGB",)),
        _row("+ distillation of features", **NOTHING | {"feature_weight": 0.1}),
        _row("+ distillation of activations", **NOTHING | {"activation_weight": 0.1}),
        _row("+ distillation of depth", **NOTHING | {"depth_weight": 1.0}),
        _row("+ distillation, all terms, no gate", gate=False),
        _row("+ distillation, all terms"),
        Row("supervised", _supervised, views=(SPIKES,)),
    ),
    views=(
        View(SPIKES, "source", ("spikes",)),
        View("RGB", "source", ("rgb",)),
        View("spikes + RGB", "source", ("spikes", "rgb")),
    ),
    findings=compare,
    sensors=("spikes", "rgb"),
    domains={"source": {"sensors": ("spikes", "rgb")}},
)
