"""Frames that are fixed to one another, as `/tf_static` tells."""

from __future__ import annotations

from collections import deque

import numpy as np

from spike_depth_core.bags import types
from spike_depth_core.bags.messages import MessageError, transforms_from_message
from spike_depth_core.bags.reader import BagReader

_MOST_MESSAGES = 1000


class FrameTree:
    """Poses of frames to one another."""

    def __init__(self) -> None:
        self._steps: dict[str, dict[str, np.ndarray]] = {}

    def add(self, parent: str, child: str, parent_from_child: np.ndarray) -> None:
        """Take in a transform; one that was known before is replaced."""
        self._steps.setdefault(parent, {})[child] = parent_from_child
        self._steps.setdefault(child, {})[parent] = np.linalg.inv(parent_from_child)

    def transform(self, target: str, source: str) -> np.ndarray | None:
        """4x4 `target_from_source`; None where they are not connected."""
        target, source = target.lstrip("/"), source.lstrip("/")
        known = {target: np.eye(4)}
        waiting = deque([target])
        while waiting and source not in known:
            frame = waiting.popleft()
            for neighbour, step in self._steps.get(frame, {}).items():
                if neighbour not in known:
                    known[neighbour] = known[frame] @ step
                    waiting.append(neighbour)
        return known.get(source)


def static_frames(bag: BagReader) -> FrameTree:
    """The frames of a bag's `tf_static` topics. They are sent once, or again and again: then not all are read."""
    tree = FrameTree()
    topics = [topic for topic in bag.of_type(types.TRANSFORMS) if topic.endswith("tf_static")]
    if topics:
        for _, message in zip(range(_MOST_MESSAGES), bag.messages(topics), strict=False):
            try:
                for parent, child, matrix in transforms_from_message(message.decode()):
                    tree.add(parent, child, matrix)
            except MessageError:
                continue
    return tree
