"""ADU-Depth: what each part of the distillation from a stereo teacher gives a student with one eye."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from spike_depth_core.evaluation.suites.domains import MOMENTS
from spike_depth_core.evaluation.suites.suite import HARD, Finding, Row, Scores, Suite, View, at_least
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import AduDepth, Stage
from spike_depth_core.recipes.adu_depth import ResponseFromTruth, StereoTeacher

ONE_EYE, TWO_EYES = "RGB", "stereo RGB"
ALONE, BY_TRUTH = "student alone", "student alone, focal response from the truth"
TEACHER_STEPS, STUDENT_STEPS = 1.5, 0.6
"""Of the preset's. A teacher is worth its lead, and it is trained once; students are many."""


def _teacher(architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    # Students cannot look through two eyes: what the teacher keeps must not depend on the views of a row.
    return (Stage(StereoTeacher(architecture, seed=seed), TEACHER_STEPS, "last"),)


def _student(settings: dict[str, Any], architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    # Students who learn from no teacher come after its stage as well: they then begin with the same weights as those
    # who do, and see the same batches.
    student = AduDepth(architecture, seed=seed, **settings)
    return (*_teacher(architecture, seed), Stage(student, STUDENT_STEPS))


def _alone(architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    return _student({"response": 0, "features": 0}, architecture, seed)


def _by_truth(architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    return (*_teacher(architecture, seed), Stage(ResponseFromTruth(architecture, seed=seed), STUDENT_STEPS))


def _row(name: str, **settings: Any) -> Row:
    return Row(name, functools.partial(_student, settings), views=(ONE_EYE,))


def compare(found: Scores) -> list[Finding]:
    """What distillation takes off the error of the student alone, off that of the half that is hard, and off that of
    the student whose truth is weighted as its teacher would be."""

    def off(view: str, row: str = ALONE) -> np.ndarray:
        before, taught = found[row][view], found["all"][view]
        return (before - taught) / before

    return [
        at_least("share off the student's AbsRel, all", off(ONE_EYE), 0.05),
        at_least("share off the hard half's, less that off the whole", off(ONE_EYE + HARD) - off(ONE_EYE), 0.0),
        at_least("share off the AbsRel of the focal response from the truth", off(ONE_EYE, BY_TRUTH), 0.0),
    ]


SUITE = Suite(
    name="adu_depth",
    title="ADU-Depth: from two eyes to one",
    rows=(
        Row("teacher", _teacher, views=(TWO_EYES,)),
        Row(ALONE, _alone, views=(ONE_EYE,)),
        # The weighting of pixels with nobody to learn from: what a teacher adds is the difference to this.
        Row(BY_TRUTH, _by_truth, views=(ONE_EYE,)),
        _row("+ response, plain", features=0, focal="none", guide_response=0),
        _row("+ focal", features=0, guide_response=0),
        _row("+ uncertainty in response", features=0),
        _row("+ features, plain", response=0, adapter="none", guide_features=0),
        _row("+ attention", response=0, guide_features=0),
        _row("+ uncertainty in features", response=0),
        _row("all"),
    ),
    views=(View(ONE_EYE, "source", ("rgb",)), View(TWO_EYES, "source", ("rgb", "rgb_right"))),
    findings=compare,
    sensors=("rgb",),
    domains={"source": MOMENTS["source"]},
)
