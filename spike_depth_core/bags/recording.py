"""Bags out of what is no bag: a drive through the procedural street, and spike recordings. And spikes out of bags."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import yaml

from spike_depth_core.bags import messages, types
from spike_depth_core.bags.messages import MessageError
from spike_depth_core.bags.playback import RIG
from spike_depth_core.bags.reader import BagReader
from spike_depth_core.bags.writer import BagWriter
from spike_depth_core.geometry import SensorRig
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.topics import IMAGES, ODOMETRY, SIMULATOR_NODE, SPIKES, TRUTH, beside, optical_frame

ABOUT = "spike_depth.drive"
"""Under which name a recorded drive keeps what it is of: JSON with `condition`, `seed` and the like."""
START_NS = 1_700_000_000_000_000_000
PACKET_PLANES = 64
_NODE = f"/{SIMULATOR_NODE}"
_CAMERA_EVERY = 10  # packets


class Drive(Protocol):
    """What is recorded: `world.DrivePlayer`, or anything that answers as it does. Times count from its start."""

    rate_hz: float
    frame_count: int

    @property
    def sensors(self) -> tuple[str, ...]: ...

    def planes(self, count: int) -> PackedSpikes: ...

    def frame_time_ns(self, frame: int) -> int: ...

    def image(self, sensor: str, frame: int) -> np.ndarray: ...

    def depth(self, frame: int) -> np.ndarray: ...


def record_drive(
    drive: Drive,
    rig: SensorRig,
    bag: BagWriter,
    poses: Sequence[np.ndarray] | None = None,
) -> Iterator[int]:
    """Record a drive with its truth, on the topics of the simulator node and as it would be received from it.

    Args:
        drive: to its end.
        rig: of its cameras.
        bag: gets the messages.
        poses: of the spike camera in the world at each frame, 4x4; recorded as odometry where given.

    Yields:
        How many nanoseconds of the drive are recorded, after each packet.
    """
    bag.add_topic("/tf_static", types.TRANSFORMS, latched=True)
    parent = optical_frame(rig.reference)
    steps = [(parent, optical_frame(s), rig.reference_from(s)) for s in rig.cameras if s != rig.reference]
    bag.write("/tf_static", types.TRANSFORMS, messages.transforms_to_message(steps, START_NS), START_NS)

    def camera(topic: str, sensor: str, time_ns: int, received_ns: int) -> None:
        message = messages.camera_to_message(rig.cameras[sensor], time_ns, optical_frame(sensor))
        bag.write(f"{_NODE}/{beside(topic)}", types.CAMERA_INFO, message, received_ns)

    def image(topic: str, sensor: str, pixels: np.ndarray, encoding: str, time_ns: int, received_ns: int) -> None:
        camera(topic, sensor, time_ns, received_ns)
        message = messages.image_to_message(pixels, encoding, time_ns, optical_frame(sensor))
        bag.write(f"{_NODE}/{topic}", types.IMAGE, message, received_ns)

    frame = seq = 0
    while len(spikes := drive.planes(PACKET_PLANES)):
        received_ns = START_NS + spikes.end_ns
        stamped = PackedSpikes(spikes.data, spikes.width, spikes.period_ns, START_NS + spikes.start_ns)
        if seq % _CAMERA_EVERY == 0:
            camera(SPIKES, "spikes", stamped.start_ns, received_ns)
        packet = messages.spikes_to_message(stamped, seq, optical_frame("spikes"))
        bag.write(f"{_NODE}/{SPIKES}", types.SPIKE_PACKET, packet, received_ns)
        seq += 1
        while frame < drive.frame_count - 1 and drive.frame_time_ns(frame) <= spikes.end_ns:
            time_ns = START_NS + drive.frame_time_ns(frame)
            for sensor in drive.sensors:
                pixels = drive.image(sensor, frame)
                image(IMAGES[sensor], sensor, pixels, messages.SENSOR_ENCODINGS[sensor][0], time_ns, received_ns)
            image(TRUTH, "spikes", drive.depth(frame), "32FC1", time_ns, received_ns)
            if poses is not None:
                pose = messages.odometry_to_message(poses[frame], time_ns, "world", optical_frame("spikes"))
                bag.write(f"{_NODE}/{ODOMETRY}", types.ODOMETRY, pose, received_ns)
            frame += 1
        yield spikes.end_ns


def drive_metadata(rig: SensorRig, about: dict[str, Any]) -> dict[str, str]:
    """What is kept with a recorded drive, for `BagWriter`: its rig, and what it is of."""
    return {RIG: yaml.safe_dump(rig.to_dict(), sort_keys=False), ABOUT: json.dumps(about)}


def about_drive(bag: BagReader) -> dict[str, Any]:
    """What a recorded drive is of; empty where the bag does not say."""
    try:
        about = json.loads(bag.custom.get(ABOUT, "{}"))
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}


def record_spikes(parts: Iterator[PackedSpikes], bag: BagWriter, planes_per_packet: int = PACKET_PLANES) -> int:
    """Record planes as packets. What of a part does not fill a packet makes a shorter one. Returns how many planes."""
    planes = seq = 0
    for part in parts:
        for first in range(0, len(part), planes_per_packet):
            packet = part.slice(first, min(first + planes_per_packet, len(part)))
            message = messages.spikes_to_message(packet, seq, optical_frame("spikes"))
            bag.write(f"/{SPIKES}", types.SPIKE_PACKET, message, packet.end_ns)
            seq += 1
            planes += len(packet)
    return planes


def spikes_of_bag(bag: BagReader) -> Iterator[PackedSpikes]:
    """The planes of a bag, packet by packet.

    Raises:
        ValueError: where there are no packets, those of several cameras, or packets that are lost: planes without times
            between them cannot tell of a gap.
    """
    topics = bag.of_type(types.SPIKE_PACKET)
    if len(topics) != 1:
        raise ValueError(f"{bag.path}: one topic of spike packets was expected, found {', '.join(topics) or 'none'}")
    path: Path = bag.path
    last: int | None = None
    for message in bag.messages(topics):
        try:
            content = message.decode()
            spikes = messages.spikes_from_message(content)
        except MessageError as error:
            raise ValueError(f"{path}: a damaged packet at {message.time_ns / 1e9:.6f} s: {error}") from error
        if last is not None and content.seq != last + 1:
            raise ValueError(f"{path}: packet {content.seq} follows on {last}: planes are missing between them")
        last = content.seq
        yield spikes
