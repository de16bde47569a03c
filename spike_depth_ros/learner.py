"""The thread that learns: moments in, weights on disk out, within its budget and at a low priority."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from spike_depth_core.adaptation import ACCEPTED, AdaptationSession, Budget
from spike_depth_core.samples import DepthSample

DISABLED, PREPARING, WATCHING, LEARNING, BACKING_OFF, FAILED = range(6)
STATES = ("disabled", "preparing", "watching", "learning", "backing off", "failed")
_GLANCES = 5  # moments in a row that are looked at for others to be compared with
_LOOK_S = 0.2  # how long a command may have to wait while no moment comes


@dataclass(frozen=True)
class Progress:
    """What another thread may know.

    Attributes:
        state: one of the numbers above, those of AdaptationStatus.
        reason: why nothing is learned, what was refused or failed; empty when all is well.
        moments: looked at.
        values: of `AdaptationSession.status`; empty before there is a session.
        known: hashes of the weights that this adaptation begins with or has kept.
        spent_s: processor time so far.
    """

    state: int = DISABLED
    reason: str = ""
    moments: int = 0
    values: dict[str, Any] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    spent_s: float = 0.0


class Learner:
    """Runs a session. All of it happens on one thread; what others ask for is done between two steps.

    Args:
        make: makes the session; called at the first use, and again at the next where it fails.
        original: yields examples of the original training, one by one.
        sample: waits so many seconds for the next moment; None where there is none, or nothing is heard.
        budget: of processor time.
        spent: seconds that what was done on this thread took, from its beginning.
        steps: for each moment; may be changed at any time.
        interval_s: least time between two moments that are learned from, by their stamps.
        niceness: of the thread, on Linux; depth goes first.
    """

    def __init__(
        self,
        make: Callable[[], AdaptationSession],
        original: Callable[[], Iterator[DepthSample]],
        sample: Callable[[float], DepthSample | None],
        budget: Budget,
        spent: Callable[[], float] = time.thread_time,
        steps: int = 1,
        niceness: int = 10,
        interval_s: float = 0.0,
    ):
        self._interval_ns = round(interval_s * 1e9)
        self._make, self._original, self._sample = make, original, sample
        self.budget, self._spent, self.steps, self._niceness = budget, spent, steps, niceness
        self.progress = Progress()
        self._session: AdaptationSession | None = None
        self._originals: Iterator[DepthSample] | None = None
        self._examples: list[DepthSample] = []
        self._commands: queue.SimpleQueue[tuple[Callable[[AdaptationSession], str], Future[str]]] = queue.SimpleQueue()
        self._enabled = self._closed = False
        self._failure = ""
        self._verdict = ""
        self._moments = self._owed_steps = self._glances = 0
        self._observed_ns: int | None = None
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._work, name="learn", daemon=True)
        self._thread.start()

    def enable(self, enabled: bool) -> None:
        """Learn, or do not. What failed is tried again."""
        self._enabled = enabled
        self._failure = ""
        self._wake.set()

    def ask(self, command: Callable[[AdaptationSession], str]) -> Future[str]:
        """Do something with the session between two steps; its answer, or its error, is the future's."""
        future: Future[str] = Future()
        self._commands.put((command, future))
        self._wake.set()
        return future

    def wake(self) -> None:
        """Look again at what it waits for: the budget has changed."""
        self._wake.set()

    def close(self) -> None:
        """End for good, after the step under way."""
        self._closed = True
        self._wake.set()
        self._thread.join()

    # On a thread of its own

    def _work(self) -> None:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
        while not self._closed:
            self._wake.clear()
            self._answer()
            if not self._enabled or self._failure:
                self._tell()
                self._wake.wait()
                continue
            try:
                self._learn()
            except Exception as error:  # whatever it is: depth does not depend on it, and the node says so
                known = isinstance(error, ValueError | OSError)
                self._failure = str(error) if known else f"{type(error).__name__}: {error}"
            self._tell()
        self._answer()

    def _answer(self) -> None:
        while True:
            try:
                command, future = self._commands.get_nowait()
            except queue.Empty:
                return
            try:
                future.set_result(command(self._begun()))
            except Exception as error:
                future.set_exception(error)
            self._tell()

    def _begun(self) -> AdaptationSession:
        if self._session is None:
            self._session = self._make()
        return self._session

    def _learn(self) -> None:
        """One piece of work, or a wait that anybody may end."""
        session = self._begun()
        if session.engine is None:
            self._prepare(session)
            return
        wait_s = self.budget.wait_s()
        if wait_s > 0:
            self._wake.wait(min(wait_s, 3600.0))
            return
        sample = None if self._owed_steps else self._sample(_LOOK_S)
        if sample is None and not self._owed_steps:
            return  # looking for a moment is not learning: of a budget of none it would take the first
        begin = self._spent()  # by the wall, where it is a GPU's time: the wait for a moment is not spent
        if self._owed_steps:
            self._owed_steps -= 1
            session.step()
        elif sample is not None and not self._is_due(session, sample):
            session.remember(sample)
        elif sample is not None:
            self._moments += 1
            self._observed_ns = sample.time_ns
            self._verdict = session.observe(sample)
            self._owed_steps = self.steps if self._verdict == ACCEPTED else 0
        self.budget.spend(self._spent() - begin)

    def _is_due(self, session: AdaptationSession, sample: DepthSample) -> bool:
        """Whether to learn from a moment: after the interval, and where it has a place in the world, once there are
        others to compare it with. Who stands still has none."""
        if self._observed_ns is not None and 0 <= sample.time_ns - self._observed_ns < self._interval_ns:
            return False
        alone = sample.world_from_reference is not None and not session.has_neighbours(sample)
        self._glances = self._glances + 1 if alone and self._glances < _GLANCES else 0
        return not self._glances

    def _prepare(self, session: AdaptationSession) -> None:
        if self._originals is None:
            self._originals, self._examples = self._original(), []
        try:
            self._examples.append(next(self._originals))
        except StopIteration:
            session.begin(self._examples)
            self._originals, self._examples = None, []
        except Exception:
            self._originals = None
            raise

    def _tell(self) -> None:
        session = self._session
        values = {} if session is None else session.status()
        known = self.progress.known
        if session is not None and values["service_sha256"] != self.progress.values.get("service_sha256"):
            known |= {values["first_sha256"], values["service_sha256"]}
            with contextlib.suppress(OSError):  # a folder that cannot be read: the session says so when it writes
                known |= set(session.snapshots.hashes())
        state, reason = self._state(session, values)
        self.progress = Progress(state, reason, self._moments, values, known, self.budget.spent_s)

    def _state(self, session: AdaptationSession | None, values: dict[str, Any]) -> tuple[int, str]:
        if self._failure:
            return FAILED, self._failure
        if not self._enabled:
            return DISABLED, ""
        if session is None or session.engine is None:
            return PREPARING, ""
        if values["failure"]:
            return LEARNING, values["failure"]
        if self._verdict != ACCEPTED:
            return WATCHING, self._verdict or "no moment yet"
        if values["waiting_reviews"]:
            return BACKING_OFF, "; ".join(values["refused"])
        return LEARNING, ""
