"""Whether a moment is fit for an estimate, and in whose frame: what a user relies on while sensors come and go."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

NO_SENSOR = "no_sensor"


@dataclass(frozen=True)
class Verdict:
    """What to do with a moment.

    Attributes:
        reference: the sensor in whose frame depth is to be given, or None when there is to be no depth.
        reason: then, why: a short key for counting.
    """

    reference: str | None
    reason: str = ""


class Policy:
    """Chooses the frame of the depth and keeps it.

    The reference is the first sensor, in the order of preference, that has delivered. It is kept when that sensor falls
    silent: a depth image that changes its frame for a few lost messages is of no use to anybody. When it begins, a
    sensor that is expected but has not delivered yet is waited for; when a preferred one comes later, depth goes over
    to it, once.

    Args:
        order: sensors, the preferred first.
        clock: steady time in nanoseconds.
        patience_ns: how long a preferred sensor that is expected is waited for at the beginning.
        reference: a sensor to take for the reference whatever there is; None to choose.

    Attributes:
        required: sensors without which there is no depth.
    """

    def __init__(
        self,
        order: Sequence[str],
        clock: Callable[[], int],
        patience_ns: int = 1_000_000_000,
        reference: str | None = None,
    ):
        self.required: Collection[str] = ()
        self._order = tuple(order)
        self._clock = clock
        self._patience_ns = patience_ns
        self._fixed = reference
        self._chosen: str | None = None
        self._begin_ns: int | None = None

    @property
    def reference(self) -> str | None:
        """The reference at present."""
        return self._fixed or self._chosen

    def judge(self, present: Collection[str], expected: Callable[[str], bool]) -> Verdict:
        """Decide on a moment.

        Args:
            present: the sensors that it has.
            expected: whether somebody publishes a sensor.
        """
        for sensor in self._order:
            if sensor in self.required and sensor not in present:
                return Verdict(None, f"no_{sensor}")
        if not present:
            return Verdict(None, NO_SENSOR)
        if self._fixed:
            return Verdict(self._fixed)
        if self._begin_ns is None:
            self._begin_ns = self._clock()
        for sensor in self._order:
            if sensor == self._chosen:
                break
            if sensor in present:
                self._chosen = sensor
                break
            if self._chosen is None and expected(sensor) and self._clock() - self._begin_ns < self._patience_ns:
                return Verdict(None, f"waiting_for_{sensor}")
        return Verdict(self._chosen, "" if self._chosen else NO_SENSOR)
