"""Troubles in the log, each once: a sensor that sends nonsense does so thirty times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

EVERY_NS = 300_000_000_000
_KEPT = 200


def cause(error: BaseException) -> str:
    """What an error says, with its type where it was not raised to be read."""
    return str(error) if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {error}"


class Reporter:
    """Logs a trouble when it is new, or has not been logged for five minutes.

    Args:
        logger: of the node.
        clock: steady time in nanoseconds.
    """

    def __init__(self, logger: Any, clock: Callable[[], int] = time.monotonic_ns):
        self._logger = logger
        self._clock = clock
        self._logged_ns: dict[str, int] = {}

    def warn(self, text: str, key: str | None = None) -> None:
        """Log as a warning. Texts of one key are the same trouble, though their numbers differ."""
        if self._is_due(key or text):
            self._logger.warning(text)

    def error(self, text: str, key: str | None = None) -> None:
        """Log as an error."""
        if self._is_due(key or text):
            self._logger.error(text)

    def forget(self, key: str) -> None:
        """The trouble is over: the next time it is new again."""
        self._logged_ns.pop(key, None)

    def _is_due(self, key: str) -> bool:
        now = self._clock()
        if now - self._logged_ns.get(key, -EVERY_NS) < EVERY_NS:
            return False
        if len(self._logged_ns) >= _KEPT:  # texts with numbers in them must not pile up
            self._logged_ns.clear()
        self._logged_ns[key] = now
        return True
