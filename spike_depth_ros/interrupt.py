"""Ctrl-C as a wish. Imports nothing that takes time, so that it can be listened for from the start."""

from __future__ import annotations

import signal
from typing import Any


class Interrupt:
    """Ctrl-C and SIGTERM: the first is a wish to end in order, to be looked at between steps; any other ends at once.

    Attributes:
        at_once: set it where there is no order to keep: the first signal then raises KeyboardInterrupt too.
    """

    def __init__(self) -> None:
        self._wished = self.at_once = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._wish)

    def _wish(self, *_: Any) -> None:
        if self.at_once:
            raise KeyboardInterrupt
        self._wished = self.at_once = True

    def __bool__(self) -> bool:
        return self._wished
