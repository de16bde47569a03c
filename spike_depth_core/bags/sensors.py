"""Which topics of a bag are which sensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from spike_depth_core.bags import types
from spike_depth_core.bags.reader import BagReader
from spike_depth_core.samples import SENSORS
from spike_depth_core.topics import TRUTH

# What a word of a topic's name says about its images, where nobody says.
_WORDS = {
    "rgb": {"rgb", "color", "colour"},
    "nir": {"nir", "ir", "infra", "infra1"},
    "thermal": {"thermal", "thr", "lwir"},
}
_NO_SENSOR = {"depth", "truth", "debug", "uncertainty", "mask", "label", "labels", "right"}


@dataclass(frozen=True)
class SensorTopics:
    """Topics by sensor.

    Attributes:
        images: of the packets or images.
        cameras: of the intrinsics; sensors without are left out.
    """

    images: dict[str, str]
    cameras: dict[str, str]


def find_sensors(bag: BagReader, given: Mapping[str, str] | None = None) -> SensorTopics:
    """The sensors of a bag.

    Args:
        bag: that is looked at.
        given: topics by sensor that are known; the others are told by their types and the words in their names.

    Raises:
        ValueError: when there is no sensor, when several topics could be the same one, or a given one is not there or
            not of the sensor's type.
    """
    images: dict[str, str] = {}
    for sensor, topic in (given or {}).items():
        if sensor not in SENSORS:
            raise ValueError(f"a sensor is one of {', '.join(SENSORS)}, found {sensor!r}")
        kinds = (types.SPIKE_PACKET,) if sensor == "spikes" else (types.IMAGE, types.COMPRESSED_IMAGE)
        if not any(topic in bag.of_type(kind) for kind in kinds):
            if topic not in bag.topics or topic in bag.skipped():
                raise ValueError(f"{bag.path} has nothing on {topic}; {_whats_there(bag)}")
            verb = "are" if sensor == "spikes" else "is"
            raise ValueError(
                f"{bag.path}: {topic} is of {bag.topics[topic].kind}; {sensor} {verb} of {' or '.join(kinds)}"
            )
        if topic in images.values():
            others = " and ".join(name for name in images if images[name] == topic)
            raise ValueError(f"{bag.path}: one topic is one sensor, but {topic} is given for {others} and {sensor}")
        images[sensor] = topic
    for sensor in SENSORS:
        if sensor in images:
            continue
        found = [topic for topic in _candidates(bag, sensor) if topic not in images.values()]
        if len(found) > 1:
            raise ValueError(f"{bag.path}: {sensor} could be any of {', '.join(found)}; say which")
        if found:
            images[sensor] = found[0]
    if not images:
        raise ValueError(f"{bag.path} has no sensor that can be told by its name; {_whats_there(bag)}")
    known = set(bag.of_type(types.CAMERA_INFO))
    cameras = {sensor: next((name for name in _beside(topic) if name in known), "") for sensor, topic in images.items()}
    return SensorTopics(
        {sensor: images[sensor] for sensor in SENSORS if sensor in images},
        {sensor: topic for sensor, topic in cameras.items() if topic},
    )


def find_truth(bag: BagReader, given: str | None = None) -> str | None:
    """The topic of the true depth: the one given, or that of a simulated drive, or None.

    Raises:
        ValueError: when the one given is not there, or is neither depth images nor points.
    """
    depths = bag.of_type(types.IMAGE) + bag.of_type(types.POINT_CLOUD)
    if given is not None and given not in depths:
        raise ValueError(f"{bag.path} has no depth images or points on {given}; {_whats_there(bag)}")
    return given or next((topic for topic in depths if topic.endswith(TRUTH)), None)


def _pictures(bag: BagReader) -> list[str]:
    return bag.of_type(types.IMAGE) + bag.of_type(types.COMPRESSED_IMAGE)


def _candidates(bag: BagReader, sensor: str) -> list[str]:
    if sensor == "spikes":
        return bag.of_type(types.SPIKE_PACKET)
    found = []
    for topic in _pictures(bag):
        words = set(re.split(r"[/_]", topic.lower()))
        if words & _WORDS[sensor] and not words & _NO_SENSOR:
            found.append(topic)
    # The same images raw and compressed are one sensor.
    return [topic for topic in found if not (topic.endswith("/compressed") and topic[: -len("/compressed")] in found)]


def _beside(topic: str) -> list[str]:
    """Where the intrinsics of an image may be: beside it, or below it as of a node's own inputs."""
    topic = topic.removesuffix("/compressed")
    return [f"{topic.rpartition('/')[0]}/camera_info", f"{topic}/camera_info"]


def _whats_there(bag: BagReader) -> str:
    there = bag.of_type(types.SPIKE_PACKET) + _pictures(bag) + bag.of_type(types.POINT_CLOUD)
    skipped = bag.skipped()
    more = f"; skipped: {'; '.join(f'{name} ({why})' for name, why in skipped.items())}" if skipped else ""
    return f"it has {', '.join(there) or 'none of any'}{more}"
