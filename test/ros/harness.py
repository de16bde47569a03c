"""What the tests of the nodes share: a graph that spins, a vehicle that sends, an observer that waits for events."""

from __future__ import annotations

import gc
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from spike_depth.msg import SpikePacket

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.inference import DepthEstimate
from spike_depth_core.samples import SENSORS, DepthSample
from spike_depth_core.spikes import PackedSpikes
from spike_depth_ros import qos
from spike_depth_ros.depth_node import DepthNode
from spike_depth_ros.messages import camera_to_message, image_to_message, spikes_to_message

PERIOD = 50_000
PLANES = 64
PACKET_NS = PLANES * PERIOD
MS = 1_000_000
TIMEOUT_S = 120.0  # of a fresh checkout, whose kernels are yet to be compiled, on a busy machine
CAMERAS = {
    "spikes": PinholeCamera(32, 24, 30.0, 31.0, 15.5, 11.5),
    "rgb": PinholeCamera(40, 30, 38.0, 38.0, 19.5, 14.5),
    "nir": PinholeCamera(40, 30, 38.0, 38.0, 19.5, 14.5),
    "thermal": PinholeCamera(24, 18, 22.0, 22.0, 11.5, 8.5),
}
ENCODINGS = {"rgb": "rgb8", "nir": "mono8", "thermal": "mono16"}


class CountingEstimator:
    """Stands in for the network where a test must know the answer.

    Depth is 1 m and a metre a spike of that pixel, and unknown in the first; uncertainty is a tenth for each sensor
    that is not used. Attribute `asked`: the samples that it was given, and with each those before.
    """

    spike_planes = 128
    sensors = SENSORS

    def __init__(self) -> None:
        self.asked: list[tuple[DepthSample, tuple[DepthSample, ...]]] = []

    def estimate(
        self, sample: DepthSample, reference: str, sensors: tuple[str, ...], before: Sequence[DepthSample] = ()
    ) -> DepthEstimate:
        self.asked.append((sample, tuple(before)))
        camera = sample.rig.cameras[reference]
        depth = np.full((camera.height, camera.width), 1.0, np.float32)
        if "spikes" in sensors and reference == "spikes":
            depth += sample.spikes.planes().sum(axis=0)
        depth[0, 0] = np.nan
        uncertainty = np.full_like(depth, 0.1 * (len(SENSORS) - len(sensors)))
        measured = float(bool(before))
        return DepthEstimate(depth, uncertainty, camera, reference, sensors, sample.time_ns, measured)


def counting(_: Any = None) -> CountingEstimator:
    """For `DepthNode(load=...)`."""
    return CountingEstimator()


class Graph:
    """Spins nodes on a thread of its own."""

    def __enter__(self) -> Graph:
        # Nodes of tests before, which are in cycles of references, are seen by others until they are collected.
        gc.collect()
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.nodes: list[Node] = []
        self.executor = SingleThreadedExecutor(context=self.context)
        self.thread = threading.Thread(target=self._spin, daemon=True)
        self.thread.start()
        return self

    def _spin(self) -> None:
        try:
            self.executor.spin()
        except ExternalShutdownException:
            pass
        except Exception:
            if self.context.ok():  # else a callback was under way when the graph was shut down
                raise

    def add(self, make: Callable[..., Node], *arguments: Any, **options: Any) -> Node:
        node = make(*arguments, context=self.context, **options)
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def add_depth_node(
        self, load: Callable[..., Any] = counting, cli_args: Sequence[str] = (), **parameters: Any
    ) -> Node:
        """A depth node with parameters, a double underscore for a dot. Moments wait for all sensors, so that what is in
        them is certain: a machine under load may deliver late."""
        values = {"diagnostics_rate": 20.0} | {f"{sensor}.timeout": 10.0 for sensor in SENSORS}
        values |= {name.replace("__", "."): value for name, value in parameters.items()}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        return self.add(DepthNode, load, parameter_overrides=overrides, cli_args=list(cli_args))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        rclpy.shutdown(context=self.context)
        self.thread.join()
        for node in self.nodes:
            node.destroy_node()
        self.executor.shutdown()
        self.context.destroy()


class Vehicle(Node):
    """Sends what a test wants sent to a depth node, good or bad."""

    def __init__(self, target: str = "/depth_node", **options: Any):
        super().__init__("vehicle", **options)
        self.target = target
        self.spikes = self.create_publisher(SpikePacket, f"{target}/input/spikes", qos.spikes_publisher())
        self.images = {
            sensor: self.create_publisher(Image, f"{target}/input/{sensor}", qos.image_publisher())
            for sensor in ENCODINGS
        }
        self.cameras = {
            sensor: self.create_publisher(CameraInfo, f"{target}/input/{sensor}/camera_info", qos.image_publisher())
            for sensor in CAMERAS
        }
        self.seq = 0
        self.time_ns = self.get_clock().now().nanoseconds

    def connect(self, wait: Callable[..., Any], sensors: Sequence[str] = SENSORS) -> None:
        """Wait until the depth node hears these sensors, then tell it the cameras."""
        everything = [self.spikes if sensor == "spikes" else self.images[sensor] for sensor in sensors]
        everything += [self.cameras[sensor] for sensor in sensors]
        wait(lambda: all(publisher.get_subscription_count() for publisher in everything), "subscriptions")
        self.announce()

    def announce(self) -> None:
        """Tell the cameras. A subscription may be known here a little before it hears: say it again until it has."""
        for sensor, publisher in self.cameras.items():
            publisher.publish(camera_to_message(CAMERAS[sensor], self.time_ns, f"{sensor}_optical_frame"))

    def packet(self, density: float = 0.5) -> SpikePacket:
        camera = CAMERAS["spikes"]
        planes = np.random.default_rng(self.seq).random((PLANES, camera.height, camera.width)) < density
        spikes = PackedSpikes.from_planes(planes, PERIOD, self.time_ns)
        return spikes_to_message(spikes, self.seq, "spikes_optical_frame")

    def send_spikes(self, packets: int) -> list[SpikePacket]:
        sent = []
        for _ in range(packets):
            sent.append(self.packet())
            self.spikes.publish(sent[-1])
            self.seq += 1
            self.time_ns += PACKET_NS
        return sent

    def send_frame(self, sensor: str, time_ns: int | None = None) -> None:
        camera, encoding = CAMERAS[sensor], ENCODINGS[sensor]
        shape = (camera.height, camera.width, 3) if sensor == "rgb" else (camera.height, camera.width)
        image = np.full(shape, 100, np.uint16 if encoding == "mono16" else np.uint8)
        time_ns = self.time_ns if time_ns is None else time_ns
        self.images[sensor].publish(image_to_message(image, encoding, time_ns, f"{sensor}_optical_frame"))


class Observer(Node):
    """Collects what a depth node publishes."""

    def __init__(self, target: str = "/depth_node", **options: Any):
        super().__init__("observer", **options)
        self.received: dict[str, list[Any]] = defaultdict(list)
        self._changed = threading.Condition()
        for kind, topic in (
            (Image, f"{target}/depth/image_rect"),
            (CameraInfo, f"{target}/depth/camera_info"),
            (Image, f"{target}/depth/uncertainty"),
            (DiagnosticArray, "/diagnostics"),
        ):
            self.listen(kind, topic)

    def listen(self, kind: type, topic: str, name: str | None = None, depth: int = 10) -> None:
        """Collect a topic under a name, the last part of its own by default."""
        name = name or topic.rpartition("/")[2]

        def take(message: Any) -> None:
            with self._changed:
                self.received[name].append(message)
                self._changed.notify_all()

        self.create_subscription(kind, topic, take, depth)

    def counts(self, sensor: str) -> dict[str, str]:
        """The values that the depth node's inputs have for a sensor."""
        values = self.status("depth_node: inputs")
        return {key.partition("/")[2]: value for key, value in values.items() if key.startswith(f"{sensor}/")}

    def wait(self, predicate: Callable[[], Any], what: str) -> Any:
        """Wait until the predicate holds; looked at after every message and every 20 ms. Returns its value."""
        deadline = self.get_clock().now().nanoseconds + int(TIMEOUT_S * 1e9)
        with self._changed:
            while not (value := predicate()):
                if self.get_clock().now().nanoseconds > deadline:
                    raise AssertionError(f"waited {TIMEOUT_S} s for {what}; {self.summary()}")
                self._changed.wait(0.02)
            return value

    def wait_a_little(self, predicate: Callable[[], Any], seconds: float = 0.3) -> bool:
        """Wait until the predicate holds, but not for long. Whether it does."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not (holds := predicate()) and time.monotonic() < deadline:
                self._changed.wait(0.01)
        return bool(holds)

    def summary(self) -> str:
        """What has come, and what the nodes last said of themselves."""
        counts = {name: len(messages) for name, messages in self.received.items()}
        last = self.received["diagnostics"][-1].status if self.received["diagnostics"] else []
        statuses = [
            f"{s.name}: {s.message} { ({pair.key: pair.value for pair in s.values if pair.value != '0'}) }"
            for s in last
        ]
        return "; ".join([f"received {counts}", *statuses])

    def status(self, name: str) -> dict[str, str]:
        """The values of the newest status of a name, its level and message among them."""
        for array in reversed(self.received["diagnostics"]):
            for status in array.status:
                if status.name == name:
                    values = {pair.key: pair.value for pair in status.values}
                    return values | {"level": status.level, "message": status.message}
        return {}
