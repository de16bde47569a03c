"""Poses of the vehicle in a bag, for the moments between its odometry messages."""

from __future__ import annotations

import math
from collections import Counter, deque

import numpy as np

from spike_depth_core.bags import types
from spike_depth_core.bags.messages import MessageError, pose_from_odometry, stamp_ns
from spike_depth_core.bags.reader import BagMessage, BagReader
from spike_depth_core.geometry.rig import pose, quaternion_from_rotation

_WAIT_NS = 500_000_000  # by the bag's clock: a pose that comes later is not waited for
_HELD = 1000


def find_odometry(bag: BagReader, given: str | None = None) -> str | None:
    """The topic of the odometry: the one given, or the only one, or None.

    Raises:
        ValueError: when the one given is not there, or several could be meant.
    """
    there = bag.of_type(types.ODOMETRY)
    if given is not None and given not in there:
        raise ValueError(f"{bag.path} has no odometry on {given}; it has {', '.join(there) or 'none'}")
    if given is None and len(there) > 1:
        raise ValueError(f"{bag.path}: odometry could be any of {', '.join(there)}; say which")
    return given or next(iter(there), None)


class OdometryTopic:
    """Poses of a topic, as they come.

    Args:
        topic: of odometry messages.
        most_apart_ns: poses further apart are not interpolated between.

    Attributes:
        child_frame: the frame that moves, as the last message has it.
        damaged: messages that could not be used, by reason.
    """

    def __init__(self, topic: str, most_apart_ns: int = 250_000_000):
        self.topic = topic
        self.child_frame = ""
        self.damaged: Counter[str] = Counter()
        self._most_apart_ns = most_apart_ns
        self._held: deque[tuple[int, np.ndarray]] = deque(maxlen=_HELD)

    def take(self, event: BagMessage) -> None:
        """Take in a message of the topic."""
        try:
            message = event.decode()
            time_ns, matrix = stamp_ns(message), pose_from_odometry(message)
        except MessageError as error:
            self.damaged[error.reason] += 1
            return
        if self._held and time_ns <= self._held[-1][0]:
            if time_ns > self._held[-1][0] - self._most_apart_ns:
                self.damaged["late"] += 1
                return
            self._held.clear()  # time has jumped back
        self.child_frame = message.child_frame_id.lstrip("/")
        self._held.append((time_ns, matrix))

    def is_settled(self, time_ns: int, now_ns: int) -> bool:
        """Whether no pose that is yet to come matters to a moment, `now_ns` being the bag's clock."""
        return (len(self._held) > 1 and self._held[-1][0] >= time_ns) or now_ns - time_ns > _WAIT_NS

    def pose(self, time_ns: int) -> np.ndarray | None:
        """4x4 `world_from_child` at a moment, in metres; None where no poses lie close around it."""
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
