"""Checks once in a while, beside the estimates, that the sensors are where the rig has them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping

from spike_depth_core.inference import DepthEstimate
from spike_depth_core.inference.alignment import AlignmentMonitor, Misalignment
from spike_depth_core.samples import DepthSample

# What is known of a sensor is forgotten when it was part of no moment for so many periods, and at least for so long: it
# may come back elsewhere.
GONE_PERIODS, GONE_NS = 5, 1_000_000_000


class AlignmentWatch:
    """A thread of low priority that is given a moment now and then, and forgets those that it has no time for.

    Attributes:
        found: by sensor, what the rig has wrong about it as far as is known.
        failure: why it could not be checked, or empty.
    """

    def __init__(self) -> None:
        self.found: Mapping[str, Misalignment] = {}
        self.failure = ""
        self._monitor = AlignmentMonitor()
        self._next: tuple[DepthSample, DepthEstimate] | None = None
        self._period_ns = self._taken_ns = 0
        self._seen_ns: dict[str, int] = {}  # when a sensor was last part of a moment
        self._forget = self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="alignment", daemon=True)
        self._thread.start()

    def check_every(self, period_s: float) -> None:
        """How often a moment is looked at; 0 for never, and then nothing is known either."""
        with self._changed:
            self._period_ns = round(period_s * 1e9)
            if not period_s:
                self.forget()

    def offer(self, sample: DepthSample, estimate: DepthEstimate) -> None:
        """Give it a moment; it is taken where the last one was taken a period ago."""
        now = time.monotonic_ns()
        with self._changed:
            self._seen_ns |= dict.fromkeys(estimate.sensors, now)
            if not self._period_ns or now - self._taken_ns < self._period_ns:
                return
            self._taken_ns = now
            self._next = (sample, estimate)
            self._changed.notify()

    def forget(self) -> None:
        """Begin anew: the sensors are elsewhere, or believed to be."""
        with self._changed:
            self._forget, self._next, self.found, self.failure = True, None, {}, ""

    def close(self) -> None:
        """End for good."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        with contextlib.suppress(OSError):  # depth goes first: on Linux a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while True:
            with self._changed:
                while self._next is None and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return
                moment, self._next = self._next, None
                gone_ns = self._taken_ns - max(GONE_PERIODS * self._period_ns, GONE_NS)
                seen_ns, self._forget = {} if self._forget else self._seen_ns, False
                self._monitor.clear(present=[sensor for sensor, ns in seen_ns.items() if ns > gone_ns])
            try:
                self._monitor.add(*moment)
                found = self._monitor.report()
                self.failure = ""
            except Exception as error:  # a check that fails must not take the depth with it
                self.failure = f"{type(error).__name__}: {error}"
                continue
            with self._changed:
                if not self._forget:
                    self.found = found
