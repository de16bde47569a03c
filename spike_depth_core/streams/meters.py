"""Rates and latencies of a running stream, over a window that moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np


class RateMeter:
    """Events a second over the last seconds.

    Args:
        clock: steady time in nanoseconds.
        window_s: the seconds looked back on.

    Attributes:
        total: all events since the start.
    """

    def __init__(self, clock: Callable[[], int], window_s: float = 5.0):
        self._clock = clock
        self._window_ns = int(window_s * 1e9)
        self._start_ns = clock()
        self._events: deque[tuple[int, int]] = deque()
        self._recent = 0
        self.total = 0

    def add(self, count: int = 1) -> None:
        """Count events that happen now."""
        self._events.append((self._clock(), count))
        self._recent += count
        self.total += count
        self._forget()

    def rate_hz(self) -> float:
        """Events a second; over the time since the start while that is shorter than the window."""
        self._forget()
        elapsed_ns = min(self._window_ns, self._clock() - self._start_ns)
        return self._recent / (elapsed_ns / 1e9) if elapsed_ns > 0 else 0.0

    def _forget(self) -> None:
        oldest = self._clock() - self._window_ns
        while self._events and self._events[0][0] <= oldest:
            self._recent -= self._events.popleft()[1]


class Percentiles:
    """Percentiles of the last values."""

    def __init__(self, size: int = 512):
        self._values: deque[float] = deque(maxlen=size)

    def add(self, value: float) -> None:
        self._values.append(value)

    def __call__(self, percent: float) -> float:
        """A percentile of the values held, interpolated; NaN without any."""
        return float(np.percentile(self._values, percent)) if self._values else float("nan")
