"""Rates and latencies of a running stream, over a window that moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from statistics import median

import numpy as np


class RateMeter:
    """Events a second over the last seconds. One thread may count while another reads.

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
        self.total = 0

    def add(self, count: int = 1) -> None:
        """Count events that happen now."""
        now = self._clock()
        self._events.append((now, count))
        self.total += count
        while self._events[0][0] <= now - self._window_ns:
            self._events.popleft()

    def rate_hz(self) -> float:
        """Events a second; over the time since the start while that is shorter than the window."""
        now = self._clock()
        elapsed_ns = min(self._window_ns, now - self._start_ns)
        recent = sum(count for time_ns, count in list(self._events) if time_ns > now - self._window_ns)
        return recent / (elapsed_ns / 1e9) if elapsed_ns > 0 else 0.0


class Percentiles:
    """Percentiles of the last values."""

    def __init__(self, size: int = 512):
        self._values: deque[float] = deque(maxlen=size)

    def add(self, value: float) -> None:
        self._values.append(value)

    def __call__(self, percent: float) -> float:
        """A percentile of the values held, interpolated; NaN without any."""
        values = list(self._values)  # another thread may clear them
        return float(np.percentile(values, percent)) if values else float("nan")

    def clear(self) -> None:
        """Forget all values."""
        self._values.clear()


class JitterMeter:
    """How evenly something happens: each step from one event to the next against the usual one.

    Args:
        outlier_share: a step is an outlier where it is off by more than this share of the usual step.
        size: steps of which the usual one is the median.

    Attributes:
        outliers: steps that were outliers.
        not_increasing: events at the time of the one before, or earlier. They make no step.
    """

    def __init__(self, outlier_share: float = 0.5, size: int = 101):
        self.outliers = self.not_increasing = 0
        self._share = outlier_share
        self._steps_ns: deque[int] = deque(maxlen=size)
        self._last_ns: int | None = None

    def add(self, time_ns: int) -> None:
        """Note an event."""
        last_ns, self._last_ns = self._last_ns, time_ns
        if last_ns is None:
            return
        step_ns = time_ns - last_ns
        if step_ns <= 0:
            self.not_increasing += 1
            return
        usual_ns = self.usual_ns()
        if usual_ns and abs(step_ns - usual_ns) > self._share * usual_ns:
            self.outliers += 1
        self._steps_ns.append(step_ns)

    def begin_anew(self) -> None:
        """Let the next event make no step, after a break that is known of."""
        self._last_ns = None

    def usual_ns(self) -> float:
        """The median step, or 0 without any."""
        # Asked for at every packet of spikes: NumPy takes ten times as long for so few.
        return float(median(self._steps_ns)) if self._steps_ns else 0.0

    def recent(self) -> tuple[int, int]:
        """How many of the steps that make the usual one are outliers, and how many these steps are."""
        usual_ns = self.usual_ns()
        return sum(abs(step - usual_ns) > self._share * usual_ns for step in self._steps_ns), len(self._steps_ns)

    def deviation_ns(self) -> tuple[float, float]:
        """Mean and largest deviation of the steps from the usual one."""
        if not self._steps_ns:
            return 0.0, 0.0
        deviations = np.abs(np.asarray(self._steps_ns) - self.usual_ns())
        return float(deviations.mean()), float(deviations.max())
