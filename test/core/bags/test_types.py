from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from spike_depth_core.bags.types import SPIKE_PACKET, TYPES, objection, type_hash, type_store

ROOT = Path(__file__).resolve().parents[3]
DEFINITION = (ROOT / "msg" / "SpikePacket.msg").read_text()


def test_the_packet_is_that_of_the_message_file():
    assert objection(SPIKE_PACKET, DEFINITION, "ros2msg") is None


def test_its_hash_is_the_one_that_ros_computes():
    """`SpikePacket.json` is made by ROS's own generator when the package is built."""
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    paths = [Path(prefix, "share/spike_depth/msg/SpikePacket.json") for prefix in prefixes if prefix]
    path = next((path for path in paths if path.exists()), None)
    if path is None:
        pytest.skip("the package is not built: `make build` does it")
    hashes = {entry["type_name"]: entry["hash_string"] for entry in json.loads(path.read_text())["type_hashes"]}
    assert hashes[SPIKE_PACKET] == type_hash(SPIKE_PACKET)


@pytest.mark.parametrize("store", ["ROS2_HUMBLE", "ROS2_LYRICAL"])
def test_standard_messages_of_other_distributions_are_read(store):
    from rosbags.typesys import Stores, get_typestore

    other = get_typestore(getattr(Stores, store))
    for kind in set(TYPES) - {SPIKE_PACKET}:
        assert objection(kind, other.generate_msgdef(kind, ros_version=2)[0], "ros2msg") is None
        assert objection(kind, digest=other.hash_rihs01(kind)) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("uint64 seq", "uint32 seq"), "seq is of another type"),
        (("uint64 seq", "uint64 number"), "differs in number, seq"),
        (("uint32 height\nuint32 width", "uint32 width\nuint32 height"), "fields are in another order"),
        (("uint64 seq", "seq !"), "cannot be understood"),
    ],
)
def test_other_versions_are_told_apart(change, said):
    assert said in objection(SPIKE_PACKET, DEFINITION.replace(*change), "ros2msg")


def test_a_change_within_a_part_is_found():
    definition = type_store().generate_msgdef("sensor_msgs/msg/CameraInfo", ros_version=2)[0]
    changed = definition.replace("uint32 x_offset", "int32 x_offset")
    assert "RegionOfInterest" in objection("sensor_msgs/msg/CameraInfo", changed, "ros2msg")


def test_types_that_are_not_read_are_named():
    assert (
        objection("event_camera_msgs/msg/EventPacket") == "event_camera_msgs/msg/EventPacket is not a type that is read"
    )


def test_a_type_of_which_nothing_but_the_name_is_known_is_tried():
    assert objection(SPIKE_PACKET) is None


def test_a_wrong_hash_without_a_definition_is_another_version():
    assert "hash differs" in objection(SPIKE_PACKET, digest="RIHS01_" + 64 * "0")
