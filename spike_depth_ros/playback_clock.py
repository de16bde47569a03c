"""The time of a recording that is being played: it runs at a rate, stands still, and is waited for."""

from __future__ import annotations

import threading
import time


class PlaybackClock:
    """A clock to be paused and sped up. Its methods may be called from any thread.

    Args:
        rate: seconds of the recording in a second.
        paused: whether it stands still at first.
    """

    def __init__(self, rate: float = 1.0, paused: bool = False):
        self._rate, self._paused = rate, paused
        self._changed = threading.Condition()
        self._base_ns = 0  # the recording's time at ...
        self._since_ns = time.monotonic_ns()  # ... this one of the steady clock
        self._closed = False

    def now_ns(self) -> int:
        """The recording's time."""
        with self._changed:
            return self._now_ns()

    def _now_ns(self) -> int:
        if self._paused:
            return self._base_ns
        return self._base_ns + int((time.monotonic_ns() - self._since_ns) * self._rate)

    def set(self, now_ns: int | None = None, rate: float | None = None, paused: bool | None = None) -> None:
        """Change what is given, from now on."""
        with self._changed:
            self._base_ns = self._now_ns() if now_ns is None else now_ns
            self._since_ns = time.monotonic_ns()
            self._rate = self._rate if rate is None else rate
            self._paused = self._paused if paused is None else paused
            self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def wait_until(self, time_ns: int, at_most_s: float) -> bool:
        """Wait for a time of the recording, but no longer than so many seconds. Whether it has come."""
        end = time.monotonic() + at_most_s
        with self._changed:
            while not self._closed and (self._paused or self._now_ns() < time_ns):
                left = end - time.monotonic()
                if left <= 0:
                    return False
                due = left if self._paused else (time_ns - self._now_ns()) / 1e9 / self._rate
                self._changed.wait(min(left, due))
            return not self._closed
