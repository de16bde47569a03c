"""The sensors of the depth node: subscriptions, checks of what comes, and who is told."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

from rclpy.node import Node
from rclpy.qos import QoSPolicyKind
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from spike_depth.msg import SpikePacket

from spike_depth_core.bags.messages import check_fits
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.streams import Frame, JitterMeter, Percentiles, RateMeter, Synchronizer
from spike_depth_core.topics import optical_frame
from spike_depth_ros import qos
from spike_depth_ros.batches import Batches
from spike_depth_ros.messages import MessageError, camera_from_message, sensor_image, spikes_from_message
from spike_depth_ros.reporter import Reporter
from spike_depth_ros.time import from_stamp
from spike_depth_ros.topic_watch import TopicWatch

# A focal length, in widths of the image, that is off by more from the rig file's is that of another lens.
FOCAL_TOLERANCE = 0.1
# A sensor from which nothing has come for as many of its own periods has fallen silent.
PERIODS = 1.5


class SensorInputs:
    """Subscribes to sensors and hands what they send, checked, to a synchronizer. All on the executor's thread.

    Args:
        node: to subscribe with.
        sync: takes spikes and frames.
        rig: for comparison with what the cameras say of themselves.
        reporter: is told what is wrong.
        compressed: cameras that send sensor_msgs/CompressedImage.
        batches: take the messages, where they need not be taken at once.

    Attributes:
        cameras: intrinsics by sensor, as last heard.
        frame_ids: the frame of each sensor, as last heard.
        watch: of the topics.
        planes: rate of the spike planes.
        rates: messages in a second, by sensor.
        jitter: of the stamps, by sensor.
        transport_ms: from the end of a packet's last plane to its arrival.
    """

    def __init__(
        self,
        node: Node,
        sync: Synchronizer,
        rig: SensorRig,
        reporter: Reporter,
        compressed: Mapping[str, bool],
        batches: Batches | None = None,
    ):
        self.cameras: dict[str, PinholeCamera] = {}
        self.frame_ids: dict[str, str] = {}
        self.watch = TopicWatch(node)
        self.planes = RateMeter(time.monotonic_ns)
        self.rates: dict[str, RateMeter] = {}
        self.jitter: dict[str, JitterMeter] = {}
        self.transport_ms = Percentiles()
        self._node, self._sync, self._rig, self._reporter = node, sync, rig, reporter
        self._compressed = compressed
        self._group = None if batches is None else batches.group
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._info_frames: dict[str, str] = {}
        self._before_info: dict[str, int] = {}
        self._usable_ns: dict[str, int] = {}  # steady time of the last message of a sensor that was fit to be taken in

    @property
    def sensors(self) -> tuple[str, ...]:
        """Those subscribed to."""
        return tuple(self._subscriptions)

    def set_sensors(self, sensors: tuple[str, ...]) -> None:
        """Subscribe to these sensors and no others."""
        for sensor in set(self._subscriptions) - set(sensors):
            self._unsubscribe(sensor)
        self._sync.set_sensors(sensors)
        for sensor in sensors:
            if sensor not in self._subscriptions:
                self._subscribe(sensor)

    def close(self) -> None:
        """Unsubscribe from everything."""
        for sensor in tuple(self._subscriptions):
            self._unsubscribe(sensor)

    def is_expected(self, sensor: str) -> bool:
        """Whether somebody publishes a sensor."""
        return self.watch.is_published(sensor)

    def age_ns(self, sensor: str) -> int | None:
        """Time since a sensor delivered something usable; None where it never has."""
        usable_ns = self._usable_ns.get(sensor)
        return None if usable_ns is None else time.monotonic_ns() - usable_ns

    def missing(self, used: Collection[str]) -> tuple[str, ...]:
        """The sensors that have delivered before, are not among those used, and have fallen silent by the stamps, or
        were never in time for a moment.

        A camera that is slower than the others has nothing for most moments, which is no loss.
        """
        return tuple(s for s in self.sensors if s not in used and s in self._usable_ns and not self.contributes(s))

    def contributes(self, sensor: str) -> bool:
        """Whether a sensor has been part of a moment, and its stamps have not fallen silent since."""
        age_ns = self._sync.age_ns(sensor)
        if age_ns is None or not self._sync.ledgers[sensor].used:
            return False
        return abs(age_ns) <= max(self._sync.timing.alive_ns, PERIODS * self.jitter[sensor].usual_ns())

    def _subscribe(self, sensor: str) -> None:
        self.rates[sensor] = RateMeter(time.monotonic_ns)
        self.jitter[sensor] = JitterMeter()
        topic = f"~/input/{sensor}"
        if sensor == "spikes":
            kind, profile, callback = SpikePacket, qos.spikes_subscription(), self._on_spikes
        else:
            compressed = self._compressed.get(sensor, False)
            kind, profile = (CompressedImage if compressed else Image), qos.image_subscription()

            def callback(message: Image | CompressedImage) -> None:
                self._on_image(sensor, message)

        images = self._node.create_subscription(
            kind,
            image_topic(self._node, topic, kind),
            callback,
            profile,
            callback_group=self._group,
            qos_overriding_options=qos.overridable(),
        )
        self._subscriptions[sensor] = [images]  # at once, so that it ends with all others where the next one fails
        info = self._node.create_subscription(
            CameraInfo,
            camera_info_topic(self._node, topic),
            lambda message: self._on_camera(sensor, message),
            qos.image_subscription(),
            callback_group=self._group,
            qos_overriding_options=qos.overridable(QoSPolicyKind.DURABILITY),  # some drivers say it once, latched
        )
        self._subscriptions[sensor].append(info)
        self.watch.add(sensor, images)
        self.watch.add(f"{sensor} camera_info", info)

    def _unsubscribe(self, sensor: str) -> None:
        for subscription in self._subscriptions.pop(sensor):
            self._node.destroy_subscription(subscription)
        self._usable_ns.pop(sensor, None)
        self.watch.remove(sensor)
        self.watch.remove(f"{sensor} camera_info")

    # Messages

    def _on_spikes(self, message: SpikePacket) -> None:
        self.watch.arrived("spikes")
        try:
            spikes = spikes_from_message(message)
            self._check_size("spikes", spikes.width, spikes.height)
        except MessageError as error:
            self._reject("spikes", error, message.seq)
            return
        self._note("spikes", message.header.frame_id, spikes.start_ns)
        self.planes.add(len(spikes))
        self.transport_ms.add((self._node.get_clock().now().nanoseconds - spikes.end_ns) / 1e6)
        self._sync.add_spikes(spikes, message.seq)

    def _on_image(self, sensor: str, message: Image | CompressedImage) -> None:
        self.watch.arrived(sensor)
        try:
            image = sensor_image(sensor, message)
            camera = self._check_size(sensor, image.shape[1], image.shape[0])
        except MessageError as error:
            self._reject(sensor, error)
            return
        stamp_ns = from_stamp(message.header.stamp)
        self._note(sensor, message.header.frame_id, stamp_ns)
        self._sync.add_frame(sensor, Frame(stamp_ns, image, camera))

    def _note(self, sensor: str, frame_id: str, stamp_ns: int) -> None:
        self._usable_ns[sensor] = time.monotonic_ns()
        self.rates[sensor].add()
        self.jitter[sensor].add(stamp_ns)
        if self.frame_ids.get(sensor) != frame_id:
            self.frame_ids[sensor] = frame_id
            self._check_frame(sensor)

    def _on_camera(self, sensor: str, message: CameraInfo) -> None:
        self.watch.arrived(f"{sensor} camera_info")
        try:
            camera = camera_from_message(message)
        except MessageError as error:
            self.cameras.pop(sensor, None)
            self._reporter.warn(f"{self.watch.topic(f'{sensor} camera_info')}: {error}")
            return
        if self._info_frames.get(sensor) != message.header.frame_id:
            self._info_frames[sensor] = message.header.frame_id
            self._check_frame(sensor)
        if camera != self.cameras.get(sensor):
            self.cameras[sensor] = camera
            self._check_lens(sensor, camera)

    # Checks

    def _check_size(self, sensor: str, width: int, height: int) -> PinholeCamera:
        camera = self.cameras.get(sensor)
        info = self.watch.topic(f"{sensor} camera_info")
        if camera is None:
            raise MessageError("no_camera_info", f"nothing valid has come on {info} yet")
        check_fits(camera, width, height, info)
        return camera

    def _check_frame(self, sensor: str) -> None:
        """Frames that cannot all be right: those who use the depth would put it in the wrong place."""
        frame, info_frame = self.frame_ids.get(sensor), self._info_frames.get(sensor)
        topic, info = self.watch.topic(sensor), self.watch.topic(f"{sensor} camera_info")
        if frame == "":
            self._reporter.warn(f"{topic} has no frame_id: depth will be in {self.frame_of(sensor)!r}")
        elif frame is not None and info_frame is not None and frame != info_frame:
            self._reporter.warn(f"{topic} is in the frame {frame!r}, but {info} is in {info_frame!r}")
        for other, other_frame in self.frame_ids.items():
            if other not in self._subscriptions:  # given up; its frame stays, because depth may be in it
                continue
            apart = sensor in self._rig.cameras and other in self._rig.cameras and sensor != other
            if apart and frame == other_frame and not is_identity(self._rig, sensor, other):
                both = f"{topic} and {self.watch.topic(other)}"
                self._reporter.warn(f"{both} are in the frame {frame!r}, but the rig places them apart")

    def _check_lens(self, sensor: str, camera: PinholeCamera) -> None:
        of_rig = self._rig.cameras.get(sensor)
        if of_rig is None:
            self._reporter.warn(f"the rig has no {sensor}: it is taken to sit at {self._rig.reference}")
            return
        focal, expected = camera.fx / camera.width, of_rig.fx / of_rig.width
        if abs(focal / expected - 1) > FOCAL_TOLERANCE:
            info = self.watch.topic(f"{sensor} camera_info")
            self._reporter.warn(
                f"{info} has a focal length of {focal:.2f} widths of the image, the rig one of {expected:.2f}: "
                "is it the same camera?"
            )

    def frame_of(self, sensor: str) -> str:
        """The frame of a sensor, or a name for it where it has not said."""
        return self.frame_ids.get(sensor) or optical_frame(sensor)

    def known_cameras(self) -> dict[str, PinholeCamera]:
        """Intrinsics as heard, and for sensors that have not said as in the rig."""
        return dict(self._rig.cameras) | self.cameras

    def _reject(self, sensor: str, error: MessageError, seq: int | None = None) -> None:
        self._sync.reject(sensor, error.reason, seq)
        if error.reason == "no_camera_info":
            # At the start the first packets overtake it.
            self._before_info[sensor] = self._before_info.get(sensor, 0) + 1
            if self._before_info[sensor] < 100:
                return
        topic = self.watch.topic(sensor)
        self._reporter.warn(f"dropped a message of {topic}: {error}", key=f"{topic} {error.reason}")


def is_identity(rig: SensorRig, one: str, other: str) -> bool:
    """Whether a rig has two sensors in the same place, as behind a prism."""
    transform = rig.transform(one, other)
    return bool(abs(transform - [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).max() < 1e-6)


def image_topic(node: Node, topic: str, kind: type) -> str:
    """Where the images of a sensor are: compressed ones are below the topic that it is remapped to."""
    return f"{node.resolve_topic_name(topic)}/compressed" if kind is CompressedImage else topic


def camera_info_topic(node: Node, topic: str) -> str:
    """Where the intrinsics of an image are: `camera_info` beside the topic that the image is remapped to.

    An image that is not remapped has its own, `<image>/camera_info`, because all inputs share a namespace.
    """
    resolved = node.resolve_topic_name(topic)
    if resolved == topic.replace("~", node.get_fully_qualified_name(), 1):
        return f"{topic}/camera_info"
    return f"{resolved.rpartition('/')[0]}/camera_info"
