"""`depth_node`: spikes and frames in, metric depth and its uncertainty out.

Receiving and estimating are two threads. The executor's thread turns messages into views and hands them to the
synchronizer, which takes no time; a thread of its own asks for the latest moment, has its depth estimated and
publishes it. A slow network thus costs depth images, never packets.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from spike_depth.msg import SpikePacket

from spike_depth_core.evaluation.pictures import spike_image
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.inference import DepthEstimate, DepthEstimator
from spike_depth_core.inference.moments import sample_from_moment
from spike_depth_core.resources import config_path
from spike_depth_core.samples import DepthSample
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.streams import Frame, Moment, Percentiles, RateMeter, SensorTiming, Synchronizer, Timing
from spike_depth_ros import diagnostics, qos
from spike_depth_ros.messages import (
    MessageError,
    camera_from_message,
    camera_to_message,
    image_to_message,
    sensor_image,
    spikes_from_message,
)
from spike_depth_ros.parameters import DEPTH_NODE, SENSORS, declare
from spike_depth_ros.process import run_node
from spike_depth_ros.time import from_stamp, to_stamp

REPORT_EVERY_NS = 5_000_000_000  # the same trouble is logged at most this often


class DepthNode(Node):
    """See docs/ros.md for topics, parameters and diagnostics.

    Args:
        estimator: used instead of the one that the parameters name.
    """

    def __init__(self, estimator: DepthEstimator | None = None, **options):
        super().__init__("depth_node", **options)
        self.parameters = declare(self, DEPTH_NODE)
        self._estimator = estimator
        self._reported: dict[str, int] = {}
        self._configure()
        self._activate()

    # Life

    def _configure(self) -> None:
        """Load what is to be loaded and advertise what will be published."""
        p = self.parameters
        torch.set_num_threads(p.threads)
        self._rig = SensorRig.load(Path(p.rig) if p.rig else config_path("rigs/vehicle.yaml"))
        if self._estimator is None:
            self._estimator = DepthEstimator.load(p.checkpoint or None, p.device)
        self._warm_up()
        matching = SensorTiming(noise_ns=int(p.tolerance * 1e9), timeout_ns=int(p.wait * 1e9))
        timing = Timing(
            interval_ns=int(1e9 / p.max_rate) if p.max_rate else 0,
            alive_ns=int(p.alive * 1e9),
            sensors=dict.fromkeys(p.sensors, matching),
        )
        self._sync = Synchronizer(
            self._estimator.spike_planes,
            p.sensors,
            timing,
            time.monotonic_ns,
            capacity=p.spike_history,
            jump_ns=int(p.jump_back * 1e9),
        )
        self._cameras: dict[str, PinholeCamera] = {}
        self._frame_ids: dict[str, str] = {}
        self._planes = RateMeter(time.monotonic_ns)
        self._depths = RateMeter(time.monotonic_ns)
        self._latency_ms, self._inference_ms = Percentiles(), Percentiles()
        self._published = self._skipped = self._failures = 0
        self._failure = ""

        def publisher(kind: type, topic: str):
            return self.create_publisher(kind, topic, qos.IMAGE_PUBLISHER, qos_overriding_options=qos.overridable())

        self._depth_publisher = publisher(Image, "~/depth/image_rect")
        self._camera_publisher = publisher(CameraInfo, "~/depth/camera_info")
        self._uncertainty_publisher = publisher(Image, "~/depth/uncertainty")
        self._spike_image_publisher = publisher(Image, "~/debug/spikes")
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)

    def _warm_up(self) -> None:
        """Estimate once on nothing: what is compiled or allocated at the first use must not delay the first depth."""
        cameras = {s: self._rig.cameras[s] for s in self.parameters.sensors if s in self._rig.cameras}
        images: dict[str, Any] = {s: np.zeros((c.height, c.width), np.uint16) for s, c in cameras.items()}
        if "rgb" in cameras:
            images["rgb"] = np.zeros((*images["rgb"].shape, 3), np.uint8)
        if "spikes" in cameras:
            camera = cameras["spikes"]
            packed = np.zeros((self._estimator.spike_planes, camera.height, (camera.width + 7) // 8), np.uint8)
            images["spikes"] = PackedSpikes(packed, camera.width)
        if images:
            self._estimator.estimate(DepthSample(SensorRig(cameras, self._rig.poses, next(iter(cameras))), **images))

    def _activate(self) -> None:
        """Begin to receive and to estimate."""
        self._topics: dict[str, str] = {}
        for sensor in self.parameters.sensors:
            self._subscribe(sensor)
        self._reference_seen_ns = dict.fromkeys(self._topics, time.monotonic_ns())
        self._reports = {s: diagnostics.StreamReport(s, topic) for s, topic in self._topics.items()}
        self._worker = threading.Thread(target=self._work, name="estimate", daemon=True)
        self._worker.start()
        # Diagnostics are about this process, so they follow its own clock even where time is simulated.
        period = 1.0 / self.parameters.diagnostics_rate
        self._timer = self.create_timer(period, self._diagnose, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _subscribe(self, sensor: str) -> None:
        if sensor == "spikes":
            kind, profile, callback = SpikePacket, qos.SPIKES_SUBSCRIPTION, self._on_spikes
        else:
            kind, profile = Image, qos.IMAGE_SUBSCRIPTION

            def callback(message: Image) -> None:
                self._on_image(sensor, message)

        options = {"qos_overriding_options": qos.overridable()}
        subscription = self.create_subscription(kind, f"~/input/{sensor}", callback, profile, **options)
        self._topics[sensor] = subscription.topic_name
        self.create_subscription(
            CameraInfo,
            camera_info_topic(self, f"~/input/{sensor}"),
            lambda message: self._on_camera(sensor, message),
            qos.IMAGE_SUBSCRIPTION,
            **options,
        )

    def destroy_node(self) -> None:
        self._sync.close()
        self._worker.join()
        super().destroy_node()

    # Inputs, on the executor's thread

    def _on_spikes(self, message: SpikePacket) -> None:
        try:
            spikes = spikes_from_message(message)
            self._check_camera("spikes", spikes.width, spikes.height)
        except MessageError as error:
            self._reject("spikes", error, message.seq)
            return
        self._frame_ids["spikes"] = message.header.frame_id
        self._planes.add(len(spikes))
        self._sync.add_spikes(spikes, message.seq)

    def _on_image(self, sensor: str, message: Image) -> None:
        try:
            image = sensor_image(sensor, message)
            camera = self._check_camera(sensor, image.shape[1], image.shape[0])
        except MessageError as error:
            self._reject(sensor, error)
            return
        self._frame_ids[sensor] = message.header.frame_id
        self._sync.add_frame(sensor, Frame(from_stamp(message.header.stamp), image, camera))

    def _on_camera(self, sensor: str, message: CameraInfo) -> None:
        try:
            self._cameras[sensor] = camera_from_message(message)
        except MessageError as error:
            self._cameras.pop(sensor, None)
            self._report(f"{sensor} camera_info: {error}")

    def _check_camera(self, sensor: str, width: int, height: int) -> PinholeCamera:
        camera = self._cameras.get(sensor)
        if camera is None:
            raise MessageError("no_camera_info", "there has been no valid camera_info yet")
        if (camera.width, camera.height) != (width, height):
            raise MessageError(
                "camera_info_size",
                f"the image is {width}x{height}, but its camera_info says {camera.width}x{camera.height}",
            )
        return camera

    def _reject(self, sensor: str, error: MessageError, seq: int | None = None) -> None:
        self._sync.reject(sensor, error.reason, seq)
        if error.reason == "no_camera_info" and self._sync.counts()[sensor]["received"] < 100:
            return  # at the start the first packets overtake it
        self._report(f"{sensor}: dropped: {error}")

    def _report(self, text: str) -> None:
        now = time.monotonic_ns()
        if now - self._reported.get(text, -REPORT_EVERY_NS) >= REPORT_EVERY_NS:
            if len(self._reported) > 100:
                self._reported.clear()
            self._reported[text] = now
            self.get_logger().warning(text)

    # Estimates, on a thread of their own

    def _work(self) -> None:
        while rclpy.ok(context=self.context) and not self._sync.closed:
            moment = self._sync.wait(1.0)
            if moment is None:
                continue
            try:
                self._estimate(moment)
            except Exception as error:
                # One bad moment must not end the node; what it was is in the log and the diagnostics.
                if not rclpy.ok(context=self.context):
                    return
                self._failures += 1
                self._failure = f"{type(error).__name__}: {error}"
                self._report(f"no depth for this moment: {self._failure}")

    def _estimate(self, moment: Moment) -> None:
        begin = time.monotonic_ns()
        if not self._has_reference(moment):
            self._skipped += 1
            return
        sample = sample_from_moment(moment, self._rig, self._cameras.get("spikes"))
        estimate = self._estimator.estimate(sample)
        self._inference_ms.add((time.monotonic_ns() - begin) / 1e6)
        self._publish(estimate)
        self._latency_ms.add((self.get_clock().now().nanoseconds - moment.time_ns) / 1e6)
        self._depths.add()
        self._published += 1
        if moment.spikes is not None and self._spike_image_publisher.get_subscription_count():
            picture = np.ascontiguousarray(spike_image(moment.spikes)[:, :, 0])
            self._spike_image_publisher.publish(
                image_to_message(picture, "mono8", moment.time_ns, self._frame_ids["spikes"])
            )

    def _has_reference(self, moment: Moment) -> bool:
        """Whether depth of this moment would be in the frame that users of the topic expect.

        It is that of the first sensor somebody publishes. A moment without it is passed over for a while, because a
        depth image that changes its frame for a few lost messages is of no use to anybody.
        """
        now = time.monotonic_ns()
        for sensor in SENSORS:
            if sensor in moment.frames or (sensor == "spikes" and moment.spikes is not None):
                self._reference_seen_ns[sensor] = now
                return True
            published = sensor in self._topics and self.count_publishers(self._topics[sensor]) > 0
            if published and now - self._reference_seen_ns[sensor] < self.parameters.fallback * 1e9:
                return False
        return False

    def _publish(self, estimate: DepthEstimate) -> None:
        frame_id = self._frame_ids[estimate.reference]
        self._depth_publisher.publish(image_to_message(estimate.depth, "32FC1", estimate.time_ns, frame_id))
        self._camera_publisher.publish(camera_to_message(estimate.camera, estimate.time_ns, frame_id))
        self._uncertainty_publisher.publish(image_to_message(estimate.uncertainty, "32FC1", estimate.time_ns, frame_id))

    # Diagnostics

    def _diagnose(self) -> None:
        name = self.get_name()
        statuses = []
        for sensor, counts in self._sync.counts().items():
            if sensor not in self._topics:
                continue
            level, text = self._reports[sensor](counts, self.count_publishers(self._topics[sensor]))
            values = diagnostics.flatten(counts)
            if sensor == "spikes":
                values["planes"] = self._planes.total
                values["planes_per_second"] = self._planes.rate_hz()
            statuses.append(diagnostics.status(f"{name}: {sensor}", level, text, values))
        values = {
            "published": self._published,
            "skipped": self._skipped,
            "failures": self._failures,
            "rate_hz": self._depths.rate_hz(),
            "latency_ms_p50": self._latency_ms(50),
            "latency_ms_p99": self._latency_ms(99),
            "inference_ms_p50": self._inference_ms(50),
            "inference_ms_p99": self._inference_ms(99),
        }
        level, text = diagnostics.OK, "estimating" if values["rate_hz"] else "waiting for input"
        if self._failure:
            level, text, self._failure = diagnostics.ERROR, self._failure, ""
        statuses.append(diagnostics.status(f"{name}: depth", level, text, values))
        array = DiagnosticArray(status=statuses)
        array.header.stamp = to_stamp(self.get_clock().now().nanoseconds)
        self._diagnostics_publisher.publish(array)


def camera_info_topic(node: Node, image_topic: str) -> str:
    """Where the intrinsics of an image are: `camera_info` beside the topic that the image is remapped to.

    An image that is not remapped has its own, `<image>/camera_info`, because all inputs share a namespace.
    """
    resolved = node.resolve_topic_name(image_topic)
    if resolved == image_topic.replace("~", node.get_fully_qualified_name(), 1):
        return f"{image_topic}/camera_info"
    return f"{resolved.rpartition('/')[0]}/camera_info"


def main(arguments: list[str] | None = None, make: Callable[[], Node] = DepthNode) -> int:
    """Run the node until it is stopped by a signal; returns the exit status."""
    return run_node(make, arguments)


if __name__ == "__main__":
    sys.exit(main())
