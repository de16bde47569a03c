"""Poses of the vehicle in a bag, by its odometry messages."""

from __future__ import annotations

from collections import Counter

from spike_depth_core.bags import types
from spike_depth_core.bags.messages import MessageError, pose_from_odometry, stamp_ns
from spike_depth_core.bags.reader import BagMessage, BagReader
from spike_depth_core.streams import Poses


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


class OdometryTopic(Poses):
    """Poses of a topic, as they come.

    Args:
        topic: of odometry messages.

    Attributes:
        child_frame: the frame that moves, as the last message has it.
        damaged: messages that could not be used, by reason.
    """

    def __init__(self, topic: str):
        super().__init__()
        self.topic = topic
        self.child_frame = ""
        self.damaged: Counter[str] = Counter()

    def take(self, event: BagMessage) -> None:
        """Take in a message of the topic."""
        try:
            message = event.decode()
            time_ns, matrix = stamp_ns(message), pose_from_odometry(message)
        except MessageError as error:
            self.damaged[error.reason] += 1
            return
        if not message.child_frame_id:  # it is not said what moves
            self.damaged["child_frame_id"] += 1
            return
        if self.add(time_ns, matrix):
            self.child_frame = message.child_frame_id.lstrip("/")
        else:
            self.damaged["late"] += 1
