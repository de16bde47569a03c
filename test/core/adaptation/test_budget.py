"""Time is spent as it accrues, however long one piece takes."""

from __future__ import annotations

import pytest

from spike_depth_core.adaptation import Budget


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(("share", "piece_s"), [(0.15, 0.5), (0.15, 0.01), (0.5, 3.0)])
def test_in_the_long_run_the_share_is_kept(share, piece_s):
    clock = Clock()
    budget = Budget(share, clock)
    while clock.now < 1100.0:
        wait_s = budget.wait_s()
        if wait_s:
            clock.now += wait_s
            assert budget.wait_s() == pytest.approx(0.0, abs=1e-6)
        clock.now += piece_s  # it takes its time by the clock too
        budget.spend(piece_s)
    assert budget.spent_s / 1000.0 == pytest.approx(share, rel=0.02)


def test_little_is_saved_up_and_the_share_may_change():
    clock = Clock()
    budget = Budget(0.1, clock, saved_s=2.0)
    clock.now += 3600.0
    assert budget.wait_s() == 0.0
    budget.spend(0.2)
    assert budget.wait_s() == pytest.approx(0.0)  # two seconds' worth
    budget.spend(0.1)
    assert budget.wait_s() == pytest.approx(1.0)
    budget.share = 0.2
    assert budget.wait_s() == pytest.approx(0.5)
    budget.share = 0.0
    assert budget.wait_s() == float("inf")


def test_time_before_a_change_accrues_at_the_share_that_there_was():
    clock = Clock()
    budget = Budget(0.1, clock)
    budget.spend(1.0)
    clock.now += 5.0
    budget.share = 0.2
    assert budget.wait_s() == pytest.approx(2.5)  # half a second is still owed
