"""Learning takes so much processor time a second and no more, however long one piece of it takes."""

from __future__ import annotations

from collections.abc import Callable


class Budget:
    """Time that accrues, and is spent in pieces of whatever length.

    A piece may be begun as soon as nothing is owed, and what it took is then owed: so the long-run share is kept where
    one piece takes longer than a second's worth.

    Args:
        share: seconds that accrue a second.
        clock: seconds, steady.
        saved_s: the most that is saved up while there is nothing to do.
    """

    def __init__(self, share: float, clock: Callable[[], float], saved_s: float = 0.5):
        self._clock, self._saved_s = clock, saved_s
        self._share = share
        self._credit_s, self._last_s = 0.0, clock()
        self.spent_s = 0.0

    @property
    def share(self) -> float:
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        self._accrue()
        self._share = share

    def wait_s(self) -> float:
        """How long until something may be begun: 0 for now."""
        self._accrue()
        if self._credit_s >= 0:
            return 0.0
        return -self._credit_s / self._share if self._share > 0 else float("inf")

    def spend(self, seconds: float) -> None:
        """Something took so long."""
        self._credit_s -= seconds  # before it accrues, or what came in meanwhile would be cut off as saved up
        self._accrue()
        self.spent_s += seconds

    def _accrue(self) -> None:
        now = self._clock()
        self._credit_s = min(self._credit_s + (now - self._last_s) * self._share, self._saved_s * self._share)
        self._last_s = now
