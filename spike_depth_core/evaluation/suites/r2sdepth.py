"""R2SDepth: depth from spikes without labels, by view synthesis alone and taught by the branch that carries RGB."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from spike_depth_core.evaluation.suites.suite import Finding, Row, Scores, Suite, View, at_least
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import RECIPES, Stage, Supervised
from spike_depth_core.recipes.r2sdepth import SelfDistillation

SPIKES = "spikes"
NOTHING = {"feature_weight": 0.0, "activation_weight": 0.0, "depth_weight": 0.0}


STEPS = 0.6
"""Of the preset's, of either stage."""
ODOMETRY: dict[str, Any] = {"motion": "odometry"}
"""A network that learns the motion is not handed from stage to stage: it would have to be learned again in each."""


def _branch(
    branch: str, stages: int, settings: dict[str, Any], architecture: Architecture, seed: int
) -> tuple[Stage, ...]:
    (stage,) = RECIPES["r2sdepth"](architecture, seed, branch=branch, **settings)
    return (replace(stage, share=stages * STEPS),)


def _distilled(settings: dict[str, Any], architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    taught = SelfDistillation(architecture, seed=seed, **ODOMETRY, **settings)
    return (*_branch("fused", 1, ODOMETRY, architecture, seed), Stage(taught, STEPS, "last", learning_rate=0.5))


def _supervised(architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    return (Stage(Supervised(architecture, seed=seed, single=1.0, prefer={"spikes": 1.0, "rgb": 0.0}), 2 * STEPS),)


def _row(name: str, **settings: Any) -> Row:
    return Row(name, functools.partial(_distilled, settings), views=(SPIKES,))


def compare(found: Scores) -> list[Finding]:
    """What distillation takes off the error of spikes by view synthesis alone, trained as long as both stages; and off
    that of the same two stages without it."""
    taught = found["+ distillation, all terms"][SPIKES]
    alone, twice = (found[row][SPIKES] for row in ("spikes by view synthesis", "fused, then spikes, nothing distilled"))
    return [
        at_least("share off the AbsRel of view synthesis alone", (alone - taught) / alone, 0.10),
        at_least("share off that of the same stages, nothing distilled", (twice - taught) / twice, 0.0),
    ]


SUITE = Suite(
    name="r2sdepth",
    title="R2SDepth: depth without labels",
    rows=(
        Row("spikes by view synthesis", functools.partial(_branch, "spikes", 2, ODOMETRY), views=(SPIKES,)),
        Row("the same, motion by a network", functools.partial(_branch, "spikes", 2, {}), views=(SPIKES,)),
        Row("RGB by view synthesis", functools.partial(_branch, "rgb", 1, ODOMETRY), views=("RGB",)),
        Row("fused", functools.partial(_branch, "fused", 1, ODOMETRY), views=("spikes + RGB",)),
        # Also begins with both sensors and ends with one: what distillation adds is the difference to this.
        _row("fused, then spikes, nothing distilled", **NOTHING),
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
    train_frames=2,  # of three frames view synthesis explains the middle one, and none where the rig stands
)
