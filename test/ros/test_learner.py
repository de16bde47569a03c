"""The thread that learns: what its budget counts, and what ends its waits."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from spike_depth_core.adaptation import Budget
from spike_depth_ros.learner import Learner
from test.ros.harness import TIMEOUT_S


class Time:
    """A clock that goes on only where something takes its time."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


class Session:
    """Looks at moments, each of which takes so long, and learns from none."""

    engine = object()
    snapshots = SimpleNamespace(hashes=list)

    def __init__(self, clock, takes_s):
        self.clock, self.takes_s = clock, takes_s
        self.looked = threading.Semaphore(0)

    def observe(self, sample):
        self.clock.now_s += self.takes_s
        self.looked.release()
        return "nothing moves"

    def status(self):
        return {"service_sha256": "first", "first_sha256": "first", "failure": "", "waiting_reviews": 0}


class Watched(Budget):
    """A budget that tells when it has made somebody wait."""

    def __init__(self, share, clock):
        super().__init__(share, clock)
        self.waited_for = threading.Event()

    def wait_s(self):
        found = super().wait_s()
        if found > 0:
            self.waited_for.set()
        return found


@pytest.fixture
def learn():
    learners = []

    def make(session, sample, budget):
        learner = Learner(lambda: session, lambda: iter(()), sample, budget, session.clock, niceness=0)
        learners.append(learner)
        learner.enable(True)
        return learner

    yield make
    for learner in learners:
        learner.close()


def test_a_budget_that_is_raised_is_used_at_once(learn):
    clock = Time()
    session, budget = Session(clock, takes_s=0.1), Watched(0.0, clock)
    learner = learn(session, lambda _: object(), budget)
    assert budget.waited_for.wait(TIMEOUT_S)  # the first piece may be begun; what it took is owed
    assert session.looked.acquire(timeout=TIMEOUT_S)
    budget.share = 1.0
    clock.now_s += 1.0
    learner.wake()
    assert session.looked.acquire(timeout=TIMEOUT_S)


def test_waiting_for_a_moment_is_not_spent(learn):
    clock, heard = Time(), [None, None, object()]
    session, budget = Session(clock, takes_s=0.25), Budget(1.0, clock)
    done, go_on = threading.Event(), threading.Event()

    def sample(timeout_s):
        if not heard:
            done.set()
            assert go_on.wait(TIMEOUT_S)
            return None
        clock.now_s += 4.0
        return heard.pop(0)

    learn(session, sample, budget)
    assert done.wait(TIMEOUT_S)
    spent_s = budget.spent_s
    go_on.set()
    assert spent_s == 0.25


class Ticking(Time):
    """Time that goes on whenever it is asked."""

    def __call__(self):
        self.now_s += 1e-6
        return self.now_s


def test_looking_in_vain_does_not_use_up_a_budget_of_none(learn):
    heard = [None, None, object()]
    session = Session(Ticking(), takes_s=0.1)
    learn(session, lambda _: heard.pop(0) if heard else None, Budget(0.0, Time()))
    assert session.looked.acquire(timeout=TIMEOUT_S)
