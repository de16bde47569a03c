"""The frames of one camera that may still be paired with something."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.streams.ledger import Ledger
from spike_depth_core.streams.spike_ring import LATE, UNUSED

REPEATED = "repeated"
MOST = 64
"""Frames that are held of a camera at the most, however long they might be asked for: 2 megapixels are 6 MB."""


@dataclass(frozen=True)
class Frame:
    """One image of a camera.

    Attributes:
        time_ns: acquisition, by the camera's stamp.
        image: pixels, [H, W] or [H, W, 3].
        camera: its intrinsics.
    """

    time_ns: int
    image: np.ndarray
    camera: PinholeCamera


@dataclass(slots=True)
class Held:
    """A frame that waits.

    Attributes:
        frame: the frame, its time corrected.
        arrived_ns: the clock's time at which it came.
        used: whether it has gone into a moment.
    """

    frame: Frame
    arrived_ns: int
    used: bool = False


class FrameCollector:
    """The newest frames of a camera, in the order of time.

    Args:
        capacity: frames held in any case, of which the oldest make room.
        ledger: where frames are counted.
    """

    def __init__(self, capacity: int = 8, ledger: Ledger | None = None):
        if capacity < 1:
            raise ValueError(f"a collector holds at least one frame, found a capacity of {capacity}")
        self.capacity = capacity
        self.ledger = ledger if ledger is not None else Ledger()
        self.held: list[Held] = []
        self._period_ns: int | None = None

    @property
    def is_full(self) -> bool:
        """Whether the next frame costs the oldest one, asked for or not."""
        return len(self.held) >= max(MOST, self.capacity)

    def add(self, frame: Frame, arrived_ns: int, span_ns: int = 0) -> bool:
        """Take in a frame. False when it is dropped: of a time that has been, or overtaken by a newer one.

        Of the frames before it those of the last `span_ns` stay beyond the capacity, up to `MOST` in all.
        """
        self.ledger.received += 1
        if self.held and frame.time_ns <= self.held[-1].frame.time_ns:
            repeated = any(held.frame.time_ns == frame.time_ns for held in self.held)
            self.ledger.dropped[REPEATED if repeated else LATE] += 1
            return False
        if self.held:
            self._period_ns = frame.time_ns - self.held[-1].frame.time_ns
        self.held.append(Held(frame, arrived_ns))
        while len(self.held) > self.capacity and (
            len(self.held) > MOST or self.held[0].frame.time_ns < frame.time_ns - span_ns
        ):
            self._let_go(UNUSED)
        return True

    def has_passed(self, time_ns: int, newest_ns: int, noise_ns: int) -> bool:
        """Whether no frame that is yet to come can be nearer to a time than those that have, of which the last was at
        `newest_ns`."""
        nearer = noise_ns if self._period_ns is None else min(noise_ns, self._period_ns // 2)
        return newest_ns >= time_ns - nearer

    def nearest(self, time_ns: int, noise_ns: int) -> Frame | None:
        """The frame nearest to a time, now used; None when none is within the noise window."""
        held = min(self.held, key=lambda held: abs(held.frame.time_ns - time_ns), default=None)
        if held is None or abs(held.frame.time_ns - time_ns) > noise_ns:
            return None
        if not held.used:
            held.used = True
            self.ledger.used += 1
        return held.frame

    def clear(self, reason: str) -> None:
        """Let go of everything."""
        while self.held:
            self._let_go(reason)
        self._period_ns = None

    def _let_go(self, reason: str) -> None:
        if not self.held.pop(0).used:
            self.ledger.dropped[reason] += 1
