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
        self._taken_ns = 0
        self._forget = self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="alignment", daemon=True)
        self._thread.start()

    def offer(self, sample: DepthSample, estimate: DepthEstimate, period_s: float) -> None:
        """Give it a moment; it is taken where the last one was taken a period ago. 0 is never."""
        now = time.monotonic_ns()
        if not period_s or now - self._taken_ns < period_s * 1e9:
            return
        with self._changed:
            self._taken_ns = now
            self._next = (sample, estimate)
            self._changed.notify()

    def forget(self) -> None:
        """Begin anew: the sensors are elsewhere, or believed to be."""
        with self._changed:
            self._forget, self._next, self.found = True, None, {}

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
                if self._forget:
                    self._forget = False
                    self._monitor.clear()
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
