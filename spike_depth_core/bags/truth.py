"""True depth of a bag, image or LiDAR points, for the moments that it belongs to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spike_depth_core.bags import types
from spike_depth_core.bags.lidar import points_from_message
from spike_depth_core.bags.messages import MessageError, depth_image, stamp_ns
from spike_depth_core.bags.reader import BagMessage, BagReader
from spike_depth_core.bags.transforms import FrameTree
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.projection import carry_depth, depth_of_points

TOLERANCE_NS = 20_000_000
_WAIT_NS = 500_000_000  # by the bag's clock: the truth of a moment that comes later is not waited for
_KEPT_NS = _WAIT_NS + 400_000_000  # besides the tolerance: moments wait from when their sensors have delivered


@dataclass(frozen=True)
class Truth:
    """One true depth, not yet brought into a camera.

    Attributes:
        time_ns: of the measurement.
        frame_id: in which it is.
        message: `Image` or `PointCloud2`.
    """

    time_ns: int
    frame_id: str
    message: Any


class TruthTopic:
    """The true depths of a topic, as they come.

    Args:
        bag: that is played.
        topic: of depth images or points.
        tolerance_ns: the most that a truth may be from the moment it belongs to.

    Attributes:
        damaged: messages that could not be used, by reason.
    """

    def __init__(self, bag: BagReader, topic: str, tolerance_ns: int = TOLERANCE_NS):
        self.topic = topic
        self.damaged: Counter[str] = Counter()
        self._are_points = bag.topics[topic].kind == types.POINT_CLOUD
        self._tolerance_ns = tolerance_ns
        self._held: list[Truth] = []

    def take(self, event: BagMessage) -> None:
        """Take in a message of the topic."""
        try:
            message = event.decode()
            truth = Truth(stamp_ns(message), message.header.frame_id.lstrip("/"), message)
        except MessageError as error:
            self.damaged[error.reason] += 1
            return
        kept_ns = _KEPT_NS + self._tolerance_ns
        self._held = [other for other in self._held if abs(other.time_ns - truth.time_ns) <= kept_ns]
        self._held.append(truth)

    def is_settled(self, time_ns: int, now_ns: int) -> bool:
        """Whether no better truth can come for a moment, `now_ns` being what its stamps would tell now."""
        return bool(self._held and self._held[-1].time_ns >= time_ns) or now_ns - time_ns > _WAIT_NS

    def nearest(self, time_ns: int) -> Truth | None:
        """The truth of a moment; None where none is near enough in time."""
        nearest = min(self._held, key=lambda truth: abs(truth.time_ns - time_ns), default=None)
        return None if nearest is None or abs(nearest.time_ns - time_ns) > self._tolerance_ns else nearest

    def depth(self, truth: Truth, frame_id: str, camera: PinholeCamera, frames: FrameTree) -> np.ndarray:
        """A truth as float32 [H, W] in a camera's frame: metres; NaN where unknown, +inf where there is nothing.

        Args:
            truth: of this topic.
            frame_id: of the camera.
            camera: its intrinsics.
            frames: tell how the points' frame lies to the camera's.

        Raises:
            MessageError: where it cannot be brought there, or is damaged.
        """
        frame_id = frame_id.lstrip("/")
        if self._are_points:
            camera_from_points = frames.transform(frame_id, truth.frame_id)
            if camera_from_points is None:
                raise MessageError(
                    "frame",
                    f"/tf_static does not say how {truth.frame_id!r} lies to {frame_id!r}, where the depth is",
                )
            return depth_of_points(points_from_message(truth.message), camera_from_points, camera)
        if truth.frame_id and frame_id and truth.frame_id != frame_id:
            raise MessageError("frame", f"it is in {truth.frame_id}, the depth in {frame_id}")
        depth = depth_image(truth.message)
        if depth.shape != (camera.height, camera.width):
            raise MessageError("size", f"it is of {depth.shape}, the depth of {camera.height, camera.width} pixels")
        return depth

    def labels(
        self,
        truth: Truth,
        sensors: Collection[str],
        cameras: Mapping[str, PinholeCamera],
        frame_ids: Mapping[str, str],
        rig: SensorRig,
        frames: FrameTree,
    ) -> dict[str, np.ndarray]:
        """A truth as seen from several sensors.

        A depth image is that of the sensor whose frame it is in, rectified; for the others it is carried over, and what
        that sensor does not see is unknown to them. Points go to each sensor by themselves.

        Args:
            truth: of this topic.
            sensors: for which it is wanted.
            cameras: intrinsics that are known, by sensor.
            frame_ids: frames that are known, by sensor.
            rig: tells how the sensors lie to one another; one it does not have is taken to sit at its reference.
            frames: tell how the points' frame lies to one of them.

        Returns:
            By sensor, float32 [H, W] at the pixels of its image, distorted as that is.

        Raises:
            MessageError: where it cannot be brought there, or is damaged.
        """

        def place(sensor: str) -> np.ndarray:
            return rig.reference_from(sensor) if sensor in rig.cameras else np.eye(4)

        if self._are_points:
            connected = {s: frames.transform(frame, truth.frame_id) for s, frame in frame_ids.items()}
            known = {s: matrix for s, matrix in connected.items() if matrix is not None}
            if not known:
                raise MessageError(
                    "frame",
                    f"/tf_static does not say how {truth.frame_id!r} lies to any of {sorted(frame_ids.values())}",
                )
            points = points_from_message(truth.message)
            first, from_points = next(iter(known.items()))
            return {
                s: depth_of_points(
                    points,
                    known[s] if s in known else np.linalg.inv(place(s)) @ place(first) @ from_points,
                    cameras[s],
                )
                for s in sensors
            }
        own = next((s for s, frame in frame_ids.items() if frame.lstrip("/") == truth.frame_id), None)
        if own is None and not truth.frame_id:
            own = rig.reference
        if own is None or own not in cameras:
            raise MessageError("frame", f"it is in {truth.frame_id}, the sensors in {sorted(frame_ids.values())}")
        camera = replace(cameras[own], distortion=())
        depth = self.depth(truth, truth.frame_id, camera, frames)
        return {
            s: depth
            if cameras[s] == camera and s == own
            else carry_depth(depth, camera, cameras[s], np.linalg.inv(place(s)) @ place(own))
            for s in sensors
        }
