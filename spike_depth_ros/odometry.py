"""Where the vehicle is: poses from a topic, for the moments that sensors are paired into."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.node import Node

from spike_depth_core.inference.moments import pose_of_reference
from spike_depth_core.samples import DepthSample
from spike_depth_core.streams import Poses
from spike_depth_ros import qos
from spike_depth_ros.batches import Batches
from spike_depth_ros.messages import MessageError, pose_from_odometry
from spike_depth_ros.reporter import Reporter
from spike_depth_ros.time import from_stamp
from spike_depth_ros.topic_watch import TopicWatch

ODOMETRY = "odometry"  # what the subscription is called where topics are watched
PATIENCE = 10
"""Moments before it is said that nobody tells how odometry and sensors lie to one another: tf, and the sensor that the
odometry may be of, need not be there from the first."""


class Odometry:
    """Subscribed as long as it exists, to `~/input/odometry`. Messages come on the executor's thread; any may ask.

    Args:
        node: to subscribe with.
        reporter: is told what is wrong.
        transform: 4x4 `target_from_source` of two frames, where that is known.
        watch: is told of the subscription, as `ODOMETRY`, and of what comes.
        batches: take the messages, where they need not be taken at once.

    Attributes:
        poses: those that have come.
        child_frame: what they are of; empty before the first.
        unrelated: moments in a row of which it was not known how the child lies to any sensor.
    """

    def __init__(
        self,
        node: Node,
        reporter: Reporter,
        transform: Callable[[str, str], np.ndarray | None],
        watch: TopicWatch,
        batches: Batches | None = None,
    ):
        self.poses = Poses()
        self.child_frame = ""
        self.unrelated = 0
        self._node, self._reporter, self._transform, self._watch = node, reporter, transform, watch
        self._subscription = node.create_subscription(
            OdometryMessage,
            "~/input/odometry",
            self._on_odometry,
            qos.odometry_subscription(),
            callback_group=None if batches is None else batches.group,
            qos_overriding_options=qos.overridable(),
        )
        watch.add(ODOMETRY, self._subscription)

    @property
    def topic(self) -> str:
        """Its name in the graph."""
        return self._subscription.topic_name

    @property
    def heard(self) -> bool:
        """Whether any pose has come."""
        return bool(self.child_frame)

    def placed(self, sample: DepthSample, frame_ids: Mapping[str, str]) -> DepthSample:
        """The sample with its place in the world, where that is known.

        Args:
            sample: of a moment for which poses are settled.
            frame_ids: of its sensors, as far as they are known.
        """
        world_from_child = self.poses.pose(sample.time_ns)
        if world_from_child is None:
            return sample
        pose = pose_of_reference(world_from_child, self.child_frame, sample.rig, frame_ids, self._relation)
        self.unrelated = 0 if pose is not None else self.unrelated + 1
        if self.unrelated >= PATIENCE:
            frames = ", ".join(sorted(frame for frame in tuple(frame_ids.values()) if frame))
            self._reporter.warn(f"{self.topic}: tf does not say how {self.child_frame!r} lies to any of {frames}")
        return dataclasses.replace(sample, world_from_reference=pose)

    def close(self) -> None:
        """Unsubscribe."""
        self._node.destroy_subscription(self._subscription)
        self._watch.remove(ODOMETRY)

    def _relation(self, target: str, source: str) -> np.ndarray | None:
        same = target == source.lstrip("/")
        return np.eye(4) if same else self._transform(target, source)

    def _on_odometry(self, message: OdometryMessage) -> None:
        self._watch.arrived(ODOMETRY)
        try:
            pose = pose_from_odometry(message)
        except MessageError as error:
            self._reporter.warn(f"{self.topic}: {error}", key=f"{self.topic} {error.reason}")
            return
        if not message.child_frame_id:
            self._reporter.warn(f"{self.topic}: child_frame_id is empty: it is not said what moves")
            return
        if self.poses.add(from_stamp(message.header.stamp), pose):
            self.child_frame = message.child_frame_id.lstrip("/")
