"""The message types that are read from bags and written to them, and how to tell when a bag has others by their names.

The standard ones are those of ROS 2 Jazzy; from Humble to Lyrical they are the same to the bit.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from spike_depth_core.extras import how_to_install

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

SPIKE_PACKET = "spike_depth/msg/SpikePacket"
IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
POINT_CLOUD = "sensor_msgs/msg/PointCloud2"
TRANSFORMS = "tf2_msgs/msg/TFMessage"
ODOMETRY = "nav_msgs/msg/Odometry"
TYPES = (SPIKE_PACKET, IMAGE, COMPRESSED_IMAGE, CAMERA_INFO, POINT_CLOUD, TRANSFORMS, ODOMETRY)

# The fields of msg/SpikePacket.msg, which is not there where the core is installed alone.
_SPIKE_PACKET_FIELDS = """\
std_msgs/Header header
uint32 height
uint32 width
uint64 seq
uint32 period_ns
uint32 count
string encoding
uint8[] data
"""
_LONGEST_DEFINITION = 1 << 20  # characters


@functools.cache
def type_store() -> Typestore:
    """The types, ready to read and write. Raises ImportError saying what to install."""
    try:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore
    except ImportError as error:
        raise ImportError(f"bags need rosbags and mcap; {how_to_install('bags')}") from error
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(_SPIKE_PACKET_FIELDS, SPIKE_PACKET))
    return store


@functools.cache
def type_hash(name: str) -> str:
    """`RIHS01_...` of one of `TYPES` (REP 2011)."""
    return type_store().hash_rihs01(name)


def objection(name: str, definition: str = "", encoding: str = "", digest: str = "") -> str | None:
    """Why messages of a type in a bag cannot be read, in words, or None where they can.

    Args:
        name: of the type.
        definition: its text in the bag, with those of the types within it; empty where the bag has none.
        encoding: of that text, `ros2msg` or `ros2idl`.
        digest: `RIHS01_...` as the bag has it; empty where it has none.
    """
    if name not in TYPES:
        return f"{name} is not a type that is read"
    if digest and digest == type_hash(name):
        return None
    if not definition:
        # Bags from before Iron name their types, and no more.
        return f"{name} is of another version: its hash differs" if digest.startswith("RIHS01_") else None
    return _difference(name, definition[:_LONGEST_DEFINITION], encoding)


@functools.lru_cache(64)
def _difference(name: str, definition: str, encoding: str) -> str | None:
    from rosbags.typesys import TypesysError, get_types_from_idl, get_types_from_msg

    try:
        found = get_types_from_idl(definition) if encoding == "ros2idl" else get_types_from_msg(definition, name)
    except (TypesysError, ValueError, KeyError, RecursionError):
        return f"{name} has a definition that cannot be understood"
    if name not in found:
        return f"{name} has a definition that does not define it"
    known = type_store().fielddefs
    for part, (_, fields) in found.items():
        if part in known and (difference := _first_difference(known[part][1], fields)):
            return f"{name} is of another version: {difference}" + ("" if part == name else f" in its {part}")
    return None


def _first_difference(known: list[Any], found: list[Any]) -> str | None:
    if [field for field, _ in known] != [field for field, _ in found]:
        odd = sorted({field for field, _ in known} ^ {field for field, _ in found})
        return f"it differs in {', '.join(odd)}" if odd else "its fields are in another order"
    for (field, expected), (_, description) in zip(known, found, strict=True):
        if expected != description:
            return f"{field} is of another type"
    return None
