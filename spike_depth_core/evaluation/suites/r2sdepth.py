"""R2SDepth: depth from spikes without labels, by view synthesis alone and taught by the branch that carries RGB."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from spike_depth_core.evaluation.suites.suite import Finding, Row, Scores, Suite, View, at_least
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import RECIPES, Stage, Supervised
from spike_depth_core.recipes.r2sdepth import SelfDistillation
from spike_depth_core.recipes.teaching import Teaching

SPIKES = "spikes"
TERMS = ("feature_weight", "activation_weight", "depth_weight", "uncertainty_weight")
NOTHING = dict.fromkeys(TERMS, 0.0)
FIRST, SECOND = 1.0, 0.5
"""Of the preset's steps, before distillation and in it: a teacher that has learned for as short a time as it then
teaches knows less than its student would know alone."""
SPIKING_STEPS = 5
Stages = Callable[[Architecture, int], tuple[Stage, ...]]
ODOMETRY: dict[str, Any] = {"motion": "odometry"}
"""A network that learns the motion is not handed from stage to stage: it would have to be learned again in each."""


def _branch(
    branch: str, share: float, settings: dict[str, Any], architecture: Architecture, seed: int
) -> tuple[Stage, ...]:
    (stage,) = RECIPES["r2sdepth"](architecture, seed, branch=branch, **settings)
    return (replace(stage, share=share),)


ALONE: Stages = functools.partial(_branch, "spikes", FIRST + SECOND, ODOMETRY)
"""For as long as the two stages of the rows with distillation."""


def _distilled(settings: dict[str, Any], architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    taught = SelfDistillation(architecture, seed=seed, **ODOMETRY, **settings)
    return (*_branch("fused", FIRST, ODOMETRY, architecture, seed), Stage(taught, SECOND, "last", learning_rate=0.5))


@dataclass
class SupervisedMedian(Supervised):
    """The bound answers as the rows without labels do, which know no error to draw an answer from: by the median."""

    calibrated: ClassVar[bool] = False


def _supervised(architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    bound = SupervisedMedian(architecture, seed=seed, single=1.0, prefer={"spikes": 1.0, "rgb": 0.0})
    return (Stage(bound, FIRST + SECOND),)


def _spiking(stages: Stages, architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    """A training with adaptive leaky integrate-and-fire neurons in the stems, as published."""
    return stages(replace(architecture, spiking_steps=SPIKING_STEPS), seed)


def _row(name: str, **settings: Any) -> Row:
    return Row(name, functools.partial(_distilled, settings), views=(SPIKES,))


def compare(found: Scores) -> list[Finding]:
    """What distillation takes off the error of spikes by view synthesis alone, trained as long as both stages; and off
    that of the same two stages without it."""

    def off(name: str, taught: str, than: str, bound: float) -> Finding:
        before, after = (found[row][SPIKES] for row in (than, taught))
        return at_least(f"share off the AbsRel of {name}", (before - after) / before, bound)

    taught, spiking = "+ distillation, all terms", "spiking encoder + distillation, all terms"
    return [
        off("view synthesis alone", taught, "spikes by view synthesis", 0.10),
        off("the same stages, nothing distilled", taught, "fused, then spikes, nothing distilled", 0.0),
        off("view synthesis alone, spiking encoder", spiking, "spiking encoder by view synthesis", 0.10),
    ]


SUITE = Suite(
    name="r2sdepth",
    title="R2SDepth: depth without labels",
    rows=(
        Row("spikes by view synthesis", ALONE, views=(SPIKES,)),
        Row("RGB by view synthesis", functools.partial(_branch, "rgb", FIRST, ODOMETRY), views=("RGB",)),
        Row("fused", functools.partial(_branch, "fused", FIRST, ODOMETRY), views=("spikes + RGB",)),
        # Also begins with both sensors and ends with one: what distillation adds is the difference to this.
        _row("fused, then spikes, nothing distilled", **NOTHING),
        _row("+ distillation, all terms"),
        _row("+ distillation of features", **NOTHING | {"feature_weight": 0.1}),
        _row("+ distillation of activations", **NOTHING | {"activation_weight": 0.1}),
        _row("+ distillation of depth", **NOTHING | {"depth_weight": 1.0}),
        # How sure to be is told by layers that depth comes from, too: the term moves depth, if little.
        _row("+ likelihood of the teacher's depth", **NOTHING | {"uncertainty_weight": 0.1}),
        _row("+ distillation, all terms, no gate", gate=False),
        # A frozen teacher has learned for two thirds of the steps, and stays behind a student that goes on.
        _row("+ distillation, all terms, teacher learning", teaching=Teaching("online")),
        Row("supervised", _supervised, views=(SPIKES,)),
        Row("spiking encoder by view synthesis", functools.partial(_spiking, ALONE), views=(SPIKES,)),
        Row(
            "spiking encoder + distillation, all terms",
            functools.partial(_spiking, functools.partial(_distilled, {})),
            views=(SPIKES,),
        ),
        Row("motion by a network", functools.partial(_branch, "spikes", FIRST + SECOND, {}), views=(SPIKES,)),
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
