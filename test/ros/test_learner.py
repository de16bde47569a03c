"""The thread that learns: what its budget counts, and what ends its waits."""

from __future__ import annotations

import itertools
import threading
from types import SimpleNamespace

import pytest

from spike_depth_core.adaptation import Budget
from spike_depth_ros.learner import FAILED, Learner
from test.ros.harness import TIMEOUT_S


class Time:
    """A clock that goes on only where something takes its time."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


def moment(time_s=0.0, place=None):
    return SimpleNamespace(time_ns=round(time_s * 1e9), world_from_reference=place)


class Session:
    """Looks at moments, each of which takes so long, and learns from none."""

    engine = object()
    snapshots = SimpleNamespace(hashes=list)

    def __init__(self, clock, takes_s):
        self.clock, self.takes_s = clock, takes_s
        self.looked = threading.Semaphore(0)
        self.heard = []

    def remember(self, sample):
        self.heard.append(("remembered", sample.time_ns / 1e9))

    def has_neighbours(self, sample):
        return sum(sample.time_ns / 1e9 - 1.0 <= time_s < sample.time_ns / 1e9 for _, time_s in self.heard) >= 2

    def observe(self, sample):
        self.heard.append(("observed", sample.time_ns / 1e9))
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
        learner = Learner(lambda: session, lambda: iter(()), sample, budget, session.clock, niceness=0, interval_s=0.5)
        learners.append(learner)
        learner.enable(True)
        return learner

    yield make
    for learner in learners:
        learner.close()


def test_a_budget_that_is_raised_is_used_at_once(learn):
    clock = Time()
    session, budget = Session(clock, takes_s=0.1), Watched(0.0, clock)
    times_s = itertools.count()
    learner = learn(session, lambda _: moment(next(times_s)), budget)
    assert budget.waited_for.wait(TIMEOUT_S)  # the first piece may be begun; what it took is owed
    assert session.looked.acquire(timeout=TIMEOUT_S)
    budget.share = 1.0
    clock.now_s += 1.0
    learner.wake()
    assert session.looked.acquire(timeout=TIMEOUT_S)


def test_waiting_for_a_moment_is_not_spent(learn):
    clock, heard = Time(), [None, None, moment()]
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


def test_what_was_in_service_stays_known_and_a_folder_that_cannot_be_read_ends_nothing(learn):
    clock = Time()
    session, budget = Session(clock, takes_s=0.1), Watched(1.0, clock)
    kept = [["first", "second"], ["third"], OSError(13, "Permission denied")]
    serving = iter(("first", "second", "third", "fourth"))
    now = ["first"]

    def hashes():
        found = kept.pop(0) if kept else []
        if isinstance(found, OSError):
            raise found
        return found

    def observe(sample):
        now[0] = next(serving, "fourth")
        return Session.observe(session, sample)

    session.snapshots = SimpleNamespace(hashes=hashes)
    session.observe = observe
    session.status = lambda: Session.status(session) | {"service_sha256": now[0]}
    times_s = itertools.count()
    learner = learn(session, lambda _: moment(next(times_s)), budget)
    for _ in range(8):
        assert session.looked.acquire(timeout=TIMEOUT_S)
    assert learner.progress.known == {"first", "second", "third", "fourth"}
    assert learner.progress.state != FAILED


class Ticking(Time):
    """Time that goes on whenever it is asked."""

    def __call__(self):
        self.now_s += 1e-6
        return self.now_s


def test_looking_in_vain_does_not_use_up_a_budget_of_none(learn):
    heard = [None, None, moment()]
    session = Session(Ticking(), takes_s=0.1)
    learn(session, lambda _: heard.pop(0) if heard else None, Budget(0.0, Time()))
    assert session.looked.acquire(timeout=TIMEOUT_S)


def heard_of(learn, moments):
    """What the session is told of moments, in order."""
    session, done = Session(Time(), takes_s=0.0), threading.Event()

    def sample(timeout_s):
        if not moments:
            done.set()
            return None
        return moments.pop(0)

    learn(session, sample, Budget(1.0, session.clock))
    assert done.wait(TIMEOUT_S)
    return session.heard


def test_moments_are_learned_from_once_in_the_interval(learn):
    heard = heard_of(learn, [moment(0.1 * k) for k in range(12)])
    assert [time_s for what, time_s in heard if what == "observed"] == [0.0, 0.5, 1.0]


def test_with_a_place_in_the_world_it_looks_around_before_it_learns(learn):
    heard = heard_of(learn, [moment(0.1 * k, "somewhere") for k in range(4)])
    assert heard == [("remembered", 0.0), ("remembered", 0.1), ("observed", 0.2), ("remembered", 0.3)]


def test_who_has_nothing_to_compare_with_learns_nevertheless(learn):
    heard = heard_of(learn, [moment(2.0 * k, "somewhere") for k in range(7)])  # each too long after the last
    assert [what for what, _ in heard] == ["remembered"] * 5 + ["observed", "remembered"]
