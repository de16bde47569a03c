"""Small recorded drives for tests of extraction: spikes, RGB, depth and odometry of a vehicle that starts and stops."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spike_depth_core.bags import messages, types
from spike_depth_core.bags.recording import drive_metadata
from spike_depth_core.geometry import SensorRig
from spike_depth_core.geometry.rig import pose
from test.core.bags.recordings import FRAME_NS, START_NS, Written, small_recording, write_recording
from test.core.factories import small_rig

RIG = small_rig(32, 24)
SPEED = 6.0  # metres a second, after the first half


def recorded_drive(seconds: float = 1.0, seed: int = 0, rig: SensorRig = RIG) -> list[Written]:
    """Messages of a drive that stands for its first half."""
    written = small_recording(seconds, seed, rig)
    for frame in range(1, int(seconds * 1e9) // FRAME_NS):
        time_ns = START_NS + frame * FRAME_NS
        metres = SPEED * max(0.0, 1e-9 * frame * FRAME_NS - seconds / 2)
        place = pose((1.0, 0.0, metres), (0.0, 0.1, 0.0, 1.0))
        odometry = messages.odometry_to_message(place, time_ns, "odom", "spikes_optical_frame")
        written.append(("/odometry", types.ODOMETRY, odometry, time_ns + 500_000))
    return written


def write_drive(path: Path, seconds: float = 1.0, seed: int = 0, condition: str = "day", rig: SensorRig = RIG) -> Path:
    """A drive as a bag that knows its rig."""
    custom = drive_metadata(rig, {"condition": condition})
    return write_recording(path, recorded_drive(seconds, seed, rig), custom=custom)


def frame_times(seconds: float) -> np.ndarray:
    """Stamps of the frames of a drive."""
    return START_NS + FRAME_NS * np.arange(1, int(seconds * 1e9) // FRAME_NS)
