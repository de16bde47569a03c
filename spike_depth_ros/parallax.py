"""What the moments before say of the one that depth is asked for, where odometry tells how the vehicle moves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from rclpy.node import Node

from spike_depth_core.inference.neighbours import Neighbours
from spike_depth_core.samples import DepthSample
from spike_depth_ros.batches import Batches
from spike_depth_ros.odometry import Odometry
from spike_depth_ros.reporter import Reporter
from spike_depth_ros.topic_watch import TopicWatch


class Parallax:
    """Subscribed to odometry as long as it exists. All else is the estimating thread's.

    Args:
        node: to subscribe with.
        reporter: is told what is wrong.
        transform: 4x4 `target_from_source` of two frames, where that is known.
        watch: of the node's topics.
        timeout_s: how long a moment waits for the pose after it.

    Attributes:
        unplaced: moments of which no pose was known in time.
    """

    def __init__(
        self,
        node: Node,
        reporter: Reporter,
        transform: Callable[[str, str], np.ndarray | None],
        watch: TopicWatch,
        timeout_s: float,
        batches: Batches | None = None,
    ):
        self.odometry = Odometry(node, reporter, transform, watch, batches)
        self.unplaced = 0
        self._timeout_s = timeout_s
        self._past = Neighbours()

    def before(self, sample: DepthSample, frame_ids: Mapping[str, str]) -> tuple[DepthSample, list[DepthSample]]:
        """The sample with its place, and the moments before that show it from another; none where it is not known."""
        self.odometry.poses.wait(sample.time_ns, self._timeout_s)
        placed = self.odometry.placed(sample, frame_ids)
        if placed.world_from_reference is None:
            self.unplaced += 1
            return sample, []
        before = self._past.of(placed)
        self._past.add(placed)
        return placed, before

    def close(self) -> None:
        """Unsubscribe."""
        self.odometry.close()
