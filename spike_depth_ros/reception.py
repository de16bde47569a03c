"""The sensors' messages as samples, for whoever looks at one now and then."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from rclpy.node import Node

from spike_depth_core.geometry import SensorRig
from spike_depth_core.inference.moments import sample_from_moment
from spike_depth_core.samples import SENSORS, DepthSample
from spike_depth_core.spikes.windows import NETWORK_WINDOW
from spike_depth_core.streams import Synchronizer, Timing
from spike_depth_ros.batches import Batches
from spike_depth_ros.depth_parameters import CAMERAS, matching
from spike_depth_ros.inputs import SensorInputs
from spike_depth_ros.odometry import Odometry
from spike_depth_ros.reporter import Reporter
from spike_depth_ros.transforms import SensorTransforms

APART_S = 0.1
"""Between moments that are compared: on a vehicle that moves, decimetres to metres."""
BATCH_S = 0.05
"""Between batches of messages: a small part of what the queues of subscriptions hold."""
LINGER_S = 0.1
"""Messages are taken in as long as a moment is asked for, and a little longer: mostly the next is asked for at once."""


class Reception:
    """Subscribed as long as it exists: to the sensors that the depth node hears, through the same code.

    Messages stay in their queues while nobody asks for a moment: to take in 250 MB a second costs more than to learn.

    Args:
        node: to subscribe with.
        rig: of the vehicle.
        values: the parameters.
        reporter: is told what is wrong.
    """

    def __init__(self, node: Node, rig: SensorRig, values: Mapping[str, Any], reporter: Reporter):
        self._rig = self._placed = rig
        sensors = tuple(sensor for sensor in SENSORS if sensor in values["sensors"])
        timing = Timing(
            interval_ns=round(min(values["interval"], APART_S) * 1e9),
            alive_ns=round(values["alive"] * 1e9),
            sensors=matching(values, sensors, BATCH_S),
        )
        self.sync = Synchronizer(
            NETWORK_WINDOW,
            (),
            timing,
            time.monotonic_ns,
            capacity=values["spike_history"],
            jump_ns=round(values["jump"] * 1e9),
            stamps=lambda: node.get_clock().now().nanoseconds,
        )
        compressed = {camera: values[f"{camera}.compressed"] for camera in CAMERAS}
        self._asking, self._asked_ns = False, 0
        self._began_ns = time.monotonic_ns()
        self._batches = Batches(node, BATCH_S, self.sync.together, self._is_asked, self._resume)
        self.inputs = SensorInputs(node, self.sync, rig, reporter, compressed, self._batches)
        self.inputs.set_sensors(sensors)
        self._transforms = SensorTransforms(node, places=values["use_tf"])
        self.odometry = Odometry(node, reporter, self._transforms.lookup, self.inputs.watch, self._batches)
        self._unplaced: deque[DepthSample] = deque()

    @property
    def listened_ns(self) -> int:
        """For how long it has taken in what is sent without a break: 0 while nobody asks for a moment."""
        return time.monotonic_ns() - self._began_ns if self._is_asked() else 0

    def _is_asked(self) -> bool:
        return self._asking or time.monotonic_ns() - self._asked_ns < LINGER_S * 1e9

    def _resume(self) -> None:
        self._began_ns = time.monotonic_ns()
        self.sync.interrupt()

    def sample(self, timeout_s: float) -> DepthSample | None:
        """The newest moment that is complete, waited for; may be called on a thread of its own. Where there is
        odometry, the newest whose place is known by now or is not waited for any longer.

        Raises:
            ValueError: it does not make a sample.
        """
        self._asking = True
        try:
            moment = self.sync.wait(timeout_s)
        finally:
            self._asked_ns, self._asking = time.monotonic_ns(), False
        if moment is None or not moment.sensors:
            return None
        sample = sample_from_moment(moment, self._placed, self.inputs.known_cameras())
        if not self.odometry.heard:
            return sample
        waiting, newest = self._unplaced, None
        if waiting and sample.time_ns <= waiting[-1].time_ns:  # time has jumped back
            waiting.clear()
        waiting.append(sample)
        while waiting and self.odometry.poses.is_settled(waiting[0].time_ns, sample.time_ns):
            newest = waiting.popleft()
        return None if newest is None else self.odometry.placed(newest, self.inputs.frame_ids)

    def place_sensors(self) -> None:
        """Take over what tf has learned of the places of the sensors; on the executor's thread."""
        if self._transforms.available:
            self._placed = self._transforms.refined(self._rig, self.inputs.frame_ids)

    def close(self) -> None:
        """Unsubscribe from everything, and end the wait for a moment."""
        self._batches.close()
        self.inputs.close()
        self.odometry.close()
        self.sync.close()
        self._transforms.close()
