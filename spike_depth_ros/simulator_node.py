"""`simulator_node`: plays a drive through the procedural street in real time, as a vehicle's sensors would.

The drive is rendered beforehand. Then spikes are made as they are sent, or beforehand too where that is asked for: a
packet leaves when its last plane has been read out. Frames leave at their stamp, and the true depth of
that moment with them: it is the middle of their exposure, or the end of it if they are thermal.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from spike_depth.msg import SpikePacket

from spike_depth_core.bags.messages import SENSOR_ENCODINGS
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.world import DrivePlayer, vehicle_rig
from spike_depth_ros import diagnostics, qos, topics
from spike_depth_ros.messages import camera_to_message, image_to_message, odometry_to_message, spikes_to_message
from spike_depth_ros.parameters import declare
from spike_depth_ros.process import run_node
from spike_depth_ros.simulator_parameters import SIMULATOR_NODE
from spike_depth_ros.time import to_stamp

DISCOVERY_S = 0.5


class _Stopped(Exception):
    """The node is to end while the drive is being rendered."""


class SimulatorNode(Node):
    """See docs/ros.md for topics, parameters and diagnostics."""

    def __init__(self, **options: Any):
        super().__init__(topics.SIMULATOR_NODE, **options)
        self.parameters = declare(self, SIMULATOR_NODE)
        self._message = "preparing"
        self._error = ""
        self._prepared = self._elapsed_s = self._behind_ms = 0.0
        self._packets = self._planes = self._frames = self._begin_ns = 0
        self._stopping = threading.Event()

        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.diagnostics())
        period = 1.0 / self.parameters.diagnostics_rate
        self.create_timer(period, self._diagnose, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._thread = threading.Thread(target=self._run, name="drive", daemon=True)
        self._thread.start()

    def destroy_node(self) -> None:
        self._stopping.set()
        self._thread.join()
        super().destroy_node()

    # The drive, on a thread of its own

    def _ended(self) -> bool:
        return self._stopping.is_set() or not rclpy.ok(context=self.context)

    def _run(self) -> None:
        try:
            player = self._prepare()
            prepared = tuple(self._packets_of(player)) if self.parameters.prepare_spikes else None
            self._advertise()
            self._wait_for_subscriber()
            start_ns = self.get_clock().now().nanoseconds
            begin = self._begin_ns = time.monotonic_ns()
            played_ns = 0  # by the rounds before this one
            while not self._ended():
                self._message = "driving"
                packets = self._packets_of(player) if prepared is None else prepared
                self._play(player, packets, start_ns + played_ns, begin + played_ns)
                played_ns += round(player.duration_s * 1e9)
                if not self.parameters.loop:
                    break
                player = player.again()  # its camera at the start again
            self._message = "finished"
            self._diagnose()
        except _Stopped:
            pass
        except Exception as error:
            if not self._ended():
                self._error = f"{type(error).__name__}: {error}"
                self.get_logger().fatal(f"the drive has ended: {self._error}")
                self._diagnose()

    def _prepare(self) -> DrivePlayer:
        p = self.parameters
        self.get_logger().info(f"rendering {p.duration:g} s of street {p.seed} by {p.condition}")
        begin = time.monotonic()

        def progress(done: int, total: int) -> None:
            if self._ended():
                raise _Stopped
            self._prepared = done / total

        player = DrivePlayer.prepare(
            p.seed,
            p.duration,
            p.condition,
            rig=vehicle_rig(),  # at its own height: the depth node reads the same file
            rate_hz=p.frame_rate,
            sensors=p.sensors,
            progress=progress,
        )
        # The first planes compile what makes them, and leave the camera at its start again.
        player.planes(p.planes_per_packet)
        self.get_logger().info(f"rendered in {time.monotonic() - begin:.0f} s")
        return player.again()

    def _advertise(self) -> None:
        """Offer the topics: only now, because one that is offered and silent looks like a fault to who listens."""

        def publisher(kind: type, topic: str, profile: QoSProfile | None = None):
            profile = profile or qos.image_publisher()
            return self.create_publisher(kind, f"~/{topic}", profile, qos_overriding_options=qos.overridable())

        self._spikes = publisher(SpikePacket, topics.SPIKES, qos.spikes_publisher())
        self._images = {sensor: publisher(Image, topics.IMAGES[sensor]) for sensor in self.parameters.sensors}
        self._truth = publisher(Image, topics.TRUTH)
        self._odometry = publisher(Odometry, topics.ODOMETRY)
        image_topics = {"spikes": topics.SPIKES, "truth": topics.TRUTH} | topics.IMAGES
        self._cameras = {
            name: publisher(CameraInfo, topics.beside(image_topics[name]))
            for name in ("spikes", "truth", *self.parameters.sensors)
        }

    def _wait_for_subscriber(self) -> None:
        self._message = "waiting for a subscriber"
        while self.parameters.wait_for_subscriber and self._spikes.get_subscription_count() == 0:
            if self._stopping.wait(0.05) or self._ended():
                raise _Stopped
        # Each side finds the other on its own: what is sent before the subscriber knows of it would be lost.
        self._stopping.wait(DISCOVERY_S)

    def _packets_of(self, player: DrivePlayer) -> Iterator[PackedSpikes]:
        """The spikes of one round, made when they are asked for."""
        while not self._ended() and len(spikes := player.planes(self.parameters.planes_per_packet)):
            yield spikes

    def _play(self, player: DrivePlayer, packets: Iterable[PackedSpikes], start_ns: int, begin_ns: int) -> None:
        """Play one round. `start_ns` is the stamp of its start, `begin_ns` the steady clock's time of it."""
        frame = sent_ns = 0
        for spikes in packets:
            if self._ended():
                return
            due_ns = begin_ns + spikes.end_ns
            # After being kept from the processor it catches up, but not in a burst that no receiver could take.
            earliest_ns = sent_ns + len(spikes) * spikes.period_ns // 2
            self._stopping.wait(max(0.0, (max(due_ns, earliest_ns) - time.monotonic_ns()) / 1e9))
            sent_ns = time.monotonic_ns()
            self._publish_spikes(player, spikes, start_ns)
            self._behind_ms = max(self._behind_ms, (time.monotonic_ns() - due_ns) / 1e6)
            while frame < player.frame_count - 1 and player.frame_time_ns(frame) <= spikes.end_ns:
                self._publish_frame(player, frame, start_ns + player.frame_time_ns(frame))
                frame += 1

    def _publish_spikes(self, player: DrivePlayer, spikes: Any, start_ns: int) -> None:
        message = spikes_to_message(spikes, self._packets, topics.optical_frame("spikes"))
        message.header.stamp = to_stamp(start_ns + spikes.start_ns)
        if self._packets % 10 == 0:
            self._publish_camera(player, "spikes", "spikes", start_ns + spikes.start_ns)
        self._spikes.publish(message)
        self._packets += 1
        self._planes += len(spikes)
        self._elapsed_s = (time.monotonic_ns() - self._begin_ns) / 1e9

    def _publish_frame(self, player: DrivePlayer, frame: int, stamp_ns: int) -> None:
        for sensor, publisher in self._images.items():
            self._publish_camera(player, sensor, sensor, stamp_ns)
            image, encoding = player.image(sensor, frame), SENSOR_ENCODINGS[sensor][0]
            publisher.publish(image_to_message(image, encoding, stamp_ns, topics.optical_frame(sensor)))
        self._publish_camera(player, "truth", "spikes", stamp_ns)
        self._odometry.publish(
            odometry_to_message(player.pose(frame), stamp_ns, "world", topics.optical_frame("spikes"))
        )
        self._truth.publish(image_to_message(player.depth(frame), "32FC1", stamp_ns, topics.optical_frame("spikes")))
        self._frames += 1

    def _publish_camera(self, player: DrivePlayer, name: str, sensor: str, stamp_ns: int) -> None:
        camera = player.world.rig.cameras[sensor]
        self._cameras[name].publish(camera_to_message(camera, stamp_ns, topics.optical_frame(sensor)))

    # Diagnostics

    def _diagnose(self) -> None:
        values = {
            "prepared": self._prepared,
            "packets": self._packets,
            "planes": self._planes,
            "frames": self._frames,
            "elapsed_s": self._elapsed_s,
            "behind_ms_max": self._behind_ms,
        }
        level = diagnostics.ERROR if self._error else diagnostics.OK
        name = f"{diagnostics.full_name(self)}: drive"
        status = diagnostics.status(name, level, self._error or self._message, values)
        array = DiagnosticArray(status=[status])
        array.header.stamp = to_stamp(self.get_clock().now().nanoseconds)
        self._diagnostics.publish(array)


def main(arguments: list[str] | None = None) -> int:
    """Run the node until it is stopped by a signal; returns the exit status."""
    return run_node(SimulatorNode, arguments)


if __name__ == "__main__":
    sys.exit(main())
