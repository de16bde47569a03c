"""In whose frame there is depth while sensors come and go."""

from __future__ import annotations

import pytest

from spike_depth_core.streams import Policy
from spike_depth_core.streams.policy import Verdict

ORDER = ("spikes", "rgb", "thermal")
PATIENCE = 1000


class Judge:
    """A policy, a clock, and sensors that somebody publishes."""

    def __init__(self, *expected: str, reference: str | None = None):
        self.now = 0
        self.expected = set(expected)
        self.policy = Policy(ORDER, lambda: self.now, PATIENCE, reference)

    def __call__(self, *present: str) -> Verdict:
        return self.policy.judge(present, self.expected.__contains__)


def test_the_first_in_the_order_that_delivers_is_the_reference():
    judge = Judge("spikes", "rgb", "thermal")
    assert judge("thermal", "spikes") == Verdict("spikes")
    assert judge.policy.reference == "spikes"
    assert Judge()("thermal", "rgb") == Verdict("rgb")


def test_the_reference_is_kept_when_its_sensor_falls_silent():
    judge = Judge("spikes", "rgb")
    judge("spikes", "rgb")
    judge.now += 100 * PATIENCE
    assert judge("rgb") == Verdict("spikes")


def test_a_preferred_sensor_that_is_expected_is_waited_for_at_the_beginning():
    judge = Judge("spikes", "rgb")
    assert judge("rgb") == Verdict(None, "waiting_for_spikes")
    judge.now += PATIENCE - 1
    assert judge("rgb") == Verdict(None, "waiting_for_spikes")
    judge.now += 1
    assert judge("rgb") == Verdict("rgb")
    assert judge("rgb", "thermal") == Verdict("rgb")
    assert judge("rgb", "spikes") == Verdict("spikes")
    assert judge("rgb") == Verdict("spikes")


def test_a_sensor_that_nobody_publishes_is_not_waited_for():
    judge = Judge("thermal")
    assert judge("thermal") == Verdict("thermal")
    judge.expected.add("rgb")  # somebody does now, but there is depth already
    assert judge("thermal") == Verdict("thermal")


def test_a_reference_that_is_named_is_the_reference():
    judge = Judge("spikes", reference="thermal")
    assert judge("spikes") == Verdict("thermal")
    assert judge.policy.reference == "thermal"


@pytest.mark.parametrize("reference", [None, "rgb"])
def test_without_a_required_sensor_there_is_no_depth(reference):
    judge = Judge(reference=reference)
    judge.policy.required = ("thermal",)
    assert judge("spikes", "rgb") == Verdict(None, "no_thermal")
    assert judge("spikes", "thermal").reference == (reference or "spikes")
    judge.policy.required = ()
    assert judge("rgb").reference == (reference or "spikes")


@pytest.mark.parametrize("reference", [None, "rgb"])
def test_with_nothing_there_is_nothing(reference):
    judge = Judge(reference=reference)
    assert judge() == Verdict(None, "no_sensor")
    assert judge("spikes").reference is not None
    assert judge() == Verdict(None, "no_sensor")  # in whose frame it would be is no reason to ask
