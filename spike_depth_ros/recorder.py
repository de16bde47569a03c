"""Listens to a graph with a known truth and keeps what its depth is judged and shown by."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from spike_depth.msg import AdaptationStatus

from spike_depth_core.geometry import PinholeCamera
from spike_depth_ros import qos, topics
from spike_depth_ros.messages import camera_from_message, image_from_message
from spike_depth_ros.time import from_stamp

DEPTH = "depth"
# What is kept beside each depth image: topic of the node it comes from, and whether its stamp must be the same.
_BESIDE = {
    "uncertainty": (topics.DEPTH_NODE, "depth/uncertainty", True),
    "spikes": (topics.DEPTH_NODE, "debug/spikes", True),
    "truth": (topics.SIMULATOR_NODE, topics.TRUTH, True),
    "rgb": (topics.SIMULATOR_NODE, topics.IMAGES["rgb"], False),
    "thermal": (topics.SIMULATOR_NODE, topics.IMAGES["thermal"], False),
}
_TOLERANCE_NS = 20_000_000
_RECENT = 60  # images of each topic that wait for a depth image of their time


@dataclass
class Record:
    """One depth image and what belongs to it.

    Attributes:
        time_ns: the moment it is of.
        images: by name; `depth` is always there.
    """

    time_ns: int
    images: dict[str, np.ndarray] = field(default_factory=dict)


class Recorder(Node):
    """Keeps at most `capacity` records: of a long drive every second, then every fourth one. Times are kept of all.

    Attributes:
        latencies_ms: of each depth image, from its moment to its publication.
        times_ns: the moments of all depth images.
        camera: of the depth images that are kept.
        adaptation: what the adaptation node said, in order; empty where there is none.
    """

    def __init__(self, capacity: int = 400, **options: Any):
        super().__init__("demo", **options)
        self.latencies_ms: list[float] = []
        self.times_ns: list[int] = []
        self.camera: PinholeCamera | None = None
        self.adaptation: list[AdaptationStatus] = []
        self._capacity = capacity
        self._stride = 1
        self._records: OrderedDict[int, Record] = OrderedDict()
        self._recent: dict[str, OrderedDict[int, np.ndarray]] = {name: OrderedDict() for name in _BESIDE}
        self._statuses: dict[str, dict[str, str]] = {}
        self._lock = threading.Lock()
        self._listen(Image, f"{topics.DEPTH_NODE}/depth/image_rect", self._on_depth)
        self._listen(CameraInfo, f"{topics.DEPTH_NODE}/depth/camera_info", self._on_camera)
        self._listen(DiagnosticArray, "/diagnostics", self._on_diagnostics)
        self._listen(AdaptationStatus, f"{topics.ADAPTATION_NODE}/status", self.adaptation.append)
        for name, (node, topic, _) in _BESIDE.items():
            self._listen(Image, f"{node}/{topic}", self._keep_beside(name))

    def _listen(self, kind: type, topic: str, callback: Any) -> None:
        self.create_subscription(kind, topic, callback, qos.image_subscription())

    def records(self) -> list[Record]:
        """What has been kept so far, in the order of time."""
        with self._lock:
            return list(self._records.values())

    def status(self, name: str) -> dict[str, str]:
        """The newest diagnostics of a name, with `message`; empty when there have been none."""
        with self._lock:
            return dict(self._statuses.get(name, {}))

    def _on_depth(self, message: Image, info: dict[str, Any]) -> None:
        time_ns = from_stamp(message.header.stamp)
        with self._lock:
            # The time of writing is the publisher's: what this process takes to wake up is not counted.
            self.latencies_ms.append((info["source_timestamp"] - time_ns) / 1e6)
            self.times_ns.append(time_ns)
            if len(self.times_ns) % self._stride or message.header.frame_id != topics.optical_frame("spikes"):
                return  # the truth is in the spike camera's frame
            record = self._records[time_ns] = Record(time_ns, {DEPTH: image_from_message(message)})
            for name, (_, _, exact) in _BESIDE.items():
                recent = self._recent[name]
                nearest = min(recent, key=lambda stamp: abs(stamp - time_ns), default=None)
                if nearest is not None and abs(nearest - time_ns) <= (0 if exact else _TOLERANCE_NS):
                    record.images[name] = recent[nearest]
            if len(self._records) > self._capacity:
                self._stride *= 2
                for stamp in list(self._records)[1::2]:
                    del self._records[stamp]

    def _keep_beside(self, name: str) -> Any:
        def keep(message: Image) -> None:
            time_ns, image = from_stamp(message.header.stamp), image_from_message(message)
            with self._lock:
                if time_ns in self._records:
                    self._records[time_ns].images[name] = image
                recent = self._recent[name]
                recent[time_ns] = image
                while len(recent) > _RECENT:
                    recent.popitem(last=False)

        return keep

    def _on_camera(self, message: CameraInfo) -> None:
        if message.header.frame_id == topics.optical_frame("spikes"):
            self.camera = camera_from_message(message)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        with self._lock:
            for status in message.status:
                values = {pair.key: pair.value for pair in status.values}
                self._statuses[status.name] = values | {"message": status.message}
