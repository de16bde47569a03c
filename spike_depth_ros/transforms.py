"""Where the sensors are to one another, as tf2 has it, where it is installed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from spike_depth_core.geometry import SensorRig
from spike_depth_core.geometry.rig import pose

try:
    import tf2_ros
except ImportError:
    tf2_ros = None


class SensorTransforms:
    """Listens to tf.

    Args:
        node: to subscribe with.
        places: whether it takes the place of the rig file's poses; else it is only looked up in.

    Attributes:
        source: where the pose of each sensor is from: `tf`, or `rig`.
    """

    def __init__(self, node: Node, places: bool = True):
        self._places = places
        self.source: dict[str, str] = {}
        self._listener: Any = None
        if tf2_ros is None:
            node.get_logger().info("tf is not listened to: its package tf2_ros_py is not installed")
        else:
            # Given a node the buffer would serve its frames and watch the clock, and nothing in tf2_ros ends these two.
            self._buffer = tf2_ros.Buffer()
            self._listener = tf2_ros.TransformListener(self._buffer, node, spin_thread=False)
            backwards = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True)
            self._jumps = node.get_clock().create_jump_callback(backwards, post_callback=lambda _: self._buffer.clear())

    @property
    def available(self) -> bool:
        """Whether tf2_ros is installed."""
        return self._listener is not None

    def close(self) -> None:
        """Unsubscribe."""
        if self._listener is not None:
            self._jumps.unregister()
            self._listener.unregister()
            self._listener = None

    def refined(self, rig: SensorRig, frame_ids: Mapping[str, str]) -> SensorRig:
        """The rig with the poses that tf knows.

        Args:
            rig: as in its file.
            frame_ids: the frame of each sensor.
        """
        poses = {sensor: rig.reference_from(sensor) for sensor in rig.cameras}
        self.source = dict.fromkeys(rig.cameras, "rig")
        frames = {sensor: frame_ids[sensor] for sensor in (rig.reference, *rig.cameras) if frame_ids.get(sensor)}
        if not self._places or not frames:
            return rig
        target = next(iter(frames))  # where the reference has no frame, another stays where the rig has it
        for sensor, frame in frames.items():
            found = self.lookup(frames[target], frame) if sensor != target else None
            if found is not None:
                poses[sensor], self.source[sensor] = rig.reference_from(target) @ found, "tf"
        return dataclasses.replace(rig, poses=poses)

    def lookup(self, target: str, source: str) -> np.ndarray | None:
        """4x4 `target_from_source`, the latest that is known; None where it is not, or tf2_ros is not installed."""
        if not self.available:
            return None
        try:
            transform = self._buffer.lookup_transform(target, source, Time()).transform
        except tf2_ros.TransformException:
            return None
        t, q = transform.translation, transform.rotation
        try:
            found = pose((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
        except ValueError:  # a rotation that is none
            return None
        return found if np.isfinite(found).all() else None
