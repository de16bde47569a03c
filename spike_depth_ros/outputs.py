"""What the depth node publishes. Nothing is computed for topics that nobody hears."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from stereo_msgs.msg import DisparityImage

from spike_depth_core.evaluation.pictures import colorize_depth, spike_image
from spike_depth_core.geometry import SensorRig
from spike_depth_core.inference import DepthEstimate
from spike_depth_core.inference.products import colours_of, disparity, millimetres, points_of
from spike_depth_core.streams import Moment
from spike_depth_ros import qos
from spike_depth_ros.depth_parameters import Settings
from spike_depth_ros.messages import (
    camera_to_message,
    disparity_to_message,
    image_to_message,
    points_to_message,
)

DEPTH = "~/depth/image_rect"
CAMERA = "~/depth/camera_info"
UNCERTAINTY = "~/depth/uncertainty"
POINTS = "~/depth/points"
MILLIMETRES = "~/depth/image_raw"
DISPARITY = "~/depth/disparity"
DEBUG_DEPTH = "~/debug/depth"
DEBUG_SPIKES = "~/debug/spikes"

KINDS: dict[str, type] = {
    DEPTH: Image,
    CAMERA: CameraInfo,
    UNCERTAINTY: Image,
    POINTS: PointCloud2,
    MILLIMETRES: Image,
    DISPARITY: DisparityImage,
    DEBUG_DEPTH: Image,
    DEBUG_SPIKES: Image,
}


def offered(settings: Settings) -> tuple[str, ...]:
    """The topics that there are to be."""
    optional = {
        MILLIMETRES: settings.millimetres,
        DISPARITY: settings.disparity,
        DEBUG_DEPTH: settings.debug,
        DEBUG_SPIKES: settings.debug,
    }
    return tuple(topic for topic in KINDS if optional.get(topic, True))


@dataclass(frozen=True)
class Result:
    """What is known of a moment after the estimate.

    Attributes:
        moment: the inputs.
        estimate: depth, within the limits asked for.
        rig: the cameras and places of the sensors.
        frame_id: of the depth.
        spikes_frame_id: of the spike camera.
    """

    moment: Moment
    estimate: DepthEstimate
    rig: SensorRig
    frame_id: str
    spikes_frame_id: str


class Outputs:
    """Publishers that come and go with the settings.

    Args:
        node: to publish with.
    """

    def __init__(self, node: LifecycleNode):
        self._node = node
        self._publishers: dict[str, LifecyclePublisher] = {}
        self._lock = threading.Lock()  # a publisher must not be withdrawn while another thread publishes with it

    @property
    def publishers(self) -> tuple[LifecyclePublisher, ...]:
        return tuple(self._publishers.values())

    def offer(self, settings: Settings, active: bool) -> None:
        """Advertise the topics of the settings and no others."""
        wanted = offered(settings)
        with self._lock:
            for topic in set(self._publishers) - set(wanted):
                self._node.destroy_lifecycle_publisher(self._publishers.pop(topic))
            for topic in wanted:
                if topic not in self._publishers:
                    publisher = self._node.create_lifecycle_publisher(
                        KINDS[topic], topic, qos.image_publisher(), qos_overriding_options=qos.overridable()
                    )
                    if active:
                        publisher.on_activate(None)
                    self._publishers[topic] = publisher

    def close(self) -> None:
        """Withdraw all topics."""
        with self._lock:
            while self._publishers:
                self._node.destroy_lifecycle_publisher(self._publishers.popitem()[1])

    def heard(self) -> set[str]:
        """The topics that somebody subscribes to."""
        with self._lock:
            return {topic for topic, publisher in self._publishers.items() if publisher.get_subscription_count()}

    def publish(self, result: Result, settings: Settings, heard: set[str]) -> None:
        """Publish what is heard, the depth first."""
        estimate = result.estimate
        time_ns, frame_id, camera = estimate.time_ns, result.frame_id, estimate.camera

        def image(pixels: np.ndarray, encoding: str) -> Image:
            return image_to_message(pixels, encoding, time_ns, frame_id)

        def cloud() -> PointCloud2:
            points = points_of(estimate.depth, camera, settings.points_stride)
            colours = None
            rgb = result.moment.frames.get("rgb")
            if rgb is not None:
                transform = result.rig.transform("rgb", estimate.reference)
                colours = colours_of(points, rgb.image, rgb.camera, transform)
            return points_to_message(points, colours, time_ns, frame_id)

        def stereo() -> DisparityImage:
            baseline = settings.disparity_baseline
            pixels = disparity(estimate.depth, camera.fx, baseline)
            return disparity_to_message(pixels, camera.fx, baseline, time_ns, frame_id)

        def spikes() -> Image | None:
            if result.moment.spikes is None:
                return None
            picture = np.ascontiguousarray(spike_image(result.moment.spikes)[:, :, 0])
            return image_to_message(picture, "mono8", time_ns, result.spikes_frame_id)

        make = {
            DEPTH: lambda: image(estimate.depth, "32FC1"),
            CAMERA: lambda: camera_to_message(camera, time_ns, frame_id),
            UNCERTAINTY: lambda: image(estimate.uncertainty, "32FC1"),
            MILLIMETRES: lambda: image(millimetres(estimate.depth), "16UC1"),
            DISPARITY: stereo,
            POINTS: cloud,
            DEBUG_DEPTH: lambda: image(colorize_depth(estimate.depth), "rgb8"),
            DEBUG_SPIKES: spikes,
        }
        for topic in make:
            message = make[topic]() if topic in heard else None
            with self._lock:
                publisher = self._publishers.get(topic)
                if publisher is not None and message is not None:
                    publisher.publish(message)
