"""Poses of what moves, as they come, and where it was between them."""

from __future__ import annotations

import math
import threading
from collections import deque

import numpy as np

from spike_depth_core.geometry.rig import pose, quaternion_from_rotation

_WAIT_NS = 500_000_000  # a pose that comes later is not waited for
_HELD = 1000


class Poses:
    """Remembers the last poses. One thread may add them while another asks.

    Args:
        most_apart_ns: poses further apart are not interpolated between.
    """

    def __init__(self, most_apart_ns: int = 250_000_000):
        self._most_apart_ns = most_apart_ns
        self._held: deque[tuple[int, np.ndarray]] = deque(maxlen=_HELD)
        self._lock = threading.Condition()

    def add(self, time_ns: int, matrix: np.ndarray) -> bool:
        """Take in a pose, 4x4 `world_from_body` in metres; returns False, and leaves it, when it is late. One that is
        very late means that time has jumped back: the others are forgotten."""
        with self._lock:
            if self._held and time_ns <= self._held[-1][0]:
                if time_ns > self._held[-1][0] - self._most_apart_ns:
                    return False
                self._held.clear()
            self._held.append((time_ns, matrix))
            self._lock.notify_all()
            return True

    def is_settled(self, time_ns: int, now_ns: int) -> bool:
        """Whether no pose that is yet to come matters to a moment, at the time `now_ns`."""
        with self._lock:
            return (len(self._held) > 1 and self._held[-1][0] >= time_ns) or now_ns - time_ns > _WAIT_NS

    def wait(self, time_ns: int, timeout_s: float) -> bool:
        """Wait for a pose at or after a moment; returns whether there is one. Where the poses have ended before, longer
        ago than what is interpolated over, there is no wait."""

        def passed() -> bool:
            return bool(self._held) and self._held[-1][0] >= time_ns

        with self._lock:
            if not self._held or self._held[-1][0] < time_ns - self._most_apart_ns:
                return False
            return self._lock.wait_for(passed, timeout_s)

    def pose(self, time_ns: int) -> np.ndarray | None:
        """4x4 `world_from_body` at a moment, in metres; None where no poses lie close around it."""
        around = self._around(time_ns)
        if around is None:
            return None
        (before_ns, before), (after_ns, after) = around
        return interpolated(before, after, (time_ns - before_ns) / (after_ns - before_ns))

    def speed(self, time_ns: int) -> float | None:
        """Metres a second at a moment; None where no poses lie close around it."""
        around = self._around(time_ns)
        if around is None:
            return None
        (before_ns, before), (after_ns, after) = around
        return float(np.linalg.norm(after[:3, 3] - before[:3, 3])) / (1e-9 * (after_ns - before_ns))

    def _around(self, time_ns: int) -> tuple[tuple[int, np.ndarray], tuple[int, np.ndarray]] | None:
        """The last pose before and the first at or after a moment; the first two for a moment at the very first."""
        with self._lock:
            held = self._held
            index = next((i for i in range(len(held) - 1, -1, -1) if held[i][0] < time_ns), None)
            if index is None:
                index = 0 if held and held[0][0] == time_ns else len(held)
            if index + 1 >= len(held) or held[index + 1][0] - held[index][0] > self._most_apart_ns:
                return None
            return held[index], held[index + 1]


def interpolated(before: np.ndarray, after: np.ndarray, share: float) -> np.ndarray:
    """A pose 4x4 between two: along the line, and along the great arc of the rotations (Shoemake, SIGGRAPH 1985)."""
    one = np.array(quaternion_from_rotation(before[:3, :3]))
    other = np.array(quaternion_from_rotation(after[:3, :3]))
    cosine = float(one @ other)
    if cosine < 0:
        other, cosine = -other, -cosine
    angle = math.acos(min(1.0, cosine))
    if angle < 1e-6:
        mixed = (1 - share) * one + share * other
    else:
        mixed = (math.sin((1 - share) * angle) * one + math.sin(share * angle) * other) / math.sin(angle)
    x, y, z = ((1 - share) * before[:3, 3] + share * after[:3, 3]).tolist()
    qx, qy, qz, qw = mixed.tolist()
    return pose((x, y, z), (qx, qy, qz, qw))
