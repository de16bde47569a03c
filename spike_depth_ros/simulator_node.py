"""`simulator_node`: plays a drive through the procedural street in real time, as a vehicle's sensors would.

Stamps are the times of acquisition: a packet is sent when its last plane has been read out, a frame when its exposure
has ended. The truth comes at the stamps of the frames.
"""

from __future__ import annotations

import threading
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from spike_depth.msg import SpikePacket

from spike_depth_ros import qos, topics
from spike_depth_ros.parameters import SIMULATOR_NODE, declare

ENCODINGS = {"rgb": "rgb8", "nir": "mono8", "thermal": "mono16"}


class SimulatorNode(Node):
    """See docs/ros.md for topics and parameters."""

    def __init__(self, **options: Any):
        super().__init__("simulator_node", **options)
        self.parameters = declare(self, SIMULATOR_NODE)
        self._state = "preparing"
        self._prepared = self._behind_ms = self._elapsed_s = 0.0
        self._packets = self._planes = self._frames = 0
        self._stopping = threading.Event()

        def publisher(kind: type, topic: str, profile=qos.IMAGE_PUBLISHER):
            return self.create_publisher(kind, f"~/{topic}", profile, qos_overriding_options=qos.overridable())

        self._spikes = publisher(SpikePacket, topics.SPIKES, qos.SPIKES_PUBLISHER)
        self._images = {sensor: publisher(Image, topic) for sensor, topic in topics.IMAGES.items()}
        self._truth = publisher(Image, topics.TRUTH)
        self._cameras = {
            topic: publisher(CameraInfo, topics.beside(topic))
            for topic in (topics.SPIKES, *topics.IMAGES.values(), topics.TRUTH)
        }
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        period = 1.0 / self.parameters.diagnostics_rate
        self.create_timer(period, self._diagnose, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._thread = threading.Thread(target=self._run, name="drive", daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        self._stopping.set()
        self._thread.join()
        super().destroy_node()

    @property
    def _ended(self) -> bool:
        return self._stopping.is_set() or not rclpy.ok(context=self.context)

    # The drive, on a thread of its own
