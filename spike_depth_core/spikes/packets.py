"""Packets of spike planes: what a message carries between processes, and how to tell a good one from a bad one.

A packet is `count` consecutive planes of `height` x `width` pixels, `period_ns` apart, as bytes. A plane is
`height` rows of ceil(width / 8) bytes. Bit b (of value 2 ** b) of byte i of a row is the pixel in column
8 i + b: 1 where it fired. Bits beyond the width are zero. Planes follow one another without gaps, oldest first.
Encodings:

| encoding | rows of a plane |
| --- | --- |
| `packed_lsb` | top to bottom: the bytes of `PackedSpikes.data` |
| `packed_lsb_flipped` | bottom to top, as the camera's sensor delivers them and `.dat` files hold them |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from spike_depth_core.spikes.packed import PackedSpikes

PacketEncoding = Literal["packed_lsb", "packed_lsb_flipped"]
PACKET_ENCODINGS: tuple[PacketEncoding, ...] = ("packed_lsb", "packed_lsb_flipped")

FaultReason = Literal["encoding", "size", "count", "period", "length"]

MAX_SIDE = 65_535  # pixels; and planes in a packet
MAX_PERIOD_NS = 1_000_000_000


@dataclass(frozen=True)
class PacketFault:
    """Why a packet cannot be decoded.

    Attributes:
        reason: the field at fault, one of a fixed set: for counting.
        detail: one line that says what was expected and found.
    """

    reason: FaultReason
    detail: str


def check_packet(height: int, width: int, count: int, period_ns: int, encoding: str, length: int) -> PacketFault | None:
    """What is wrong with a packet whose data is `length` bytes long, or None. Raises nothing, whatever it is
    given.

    Returned faults are in the order encoding, size, count, period, length: the first that applies.
    """
    if not isinstance(encoding, str) or encoding not in PACKET_ENCODINGS:
        shown = repr(encoding)
        shown = shown if len(shown) <= 40 else shown[:37] + "..."
        return PacketFault("encoding", f"unknown encoding {shown}, expected one of {', '.join(PACKET_ENCODINGS)}")
    limits: tuple[tuple[FaultReason, str, int, int], ...] = (
        ("size", "height", height, MAX_SIDE),
        ("size", "width", width, MAX_SIDE),
        ("count", "count", count, MAX_SIDE),
        ("period", "period_ns", period_ns, MAX_PERIOD_NS),
    )
    for reason, name, value, most in limits:
        if not isinstance(value, int | np.integer) or not 1 <= value <= most:
            return PacketFault(reason, f"{name} must be 1 to {most}, found {value!r}")
    expected = int(count) * int(height) * ((int(width) + 7) // 8)
    if length != expected:
        return PacketFault(
            "length",
            f"{count} planes of {width}x{height} pixels take {expected} bytes, found {length}",
        )
    return None


def decode_packet(
    height: int, width: int, count: int, period_ns: int, encoding: str, data: Any, start_ns: int = 0
) -> PackedSpikes:
    """The planes of a packet, without copying them: they live as long as `data` and change with it.

    Args:
        height, width: size of a plane in pixels.
        count: number of planes.
        period_ns: time from plane to plane.
        encoding: one of `PACKET_ENCODINGS`.
        data: bytes, or anything with the buffer protocol.
        start_ns: acquisition time of the first plane.

    Raises:
        ValueError: with the detail of the fault that `check_packet` finds.
    """
    flat = np.frombuffer(data, np.uint8)
    fault = check_packet(height, width, count, period_ns, encoding, flat.size)
    if fault is not None:
        raise ValueError(f"bad spike packet: {fault.detail}")
    planes = flat.reshape(count, height, (width + 7) // 8)
    return PackedSpikes(planes if encoding == "packed_lsb" else planes[:, ::-1], width, period_ns, start_ns)


def encode_packet(spikes: PackedSpikes, encoding: PacketEncoding = "packed_lsb") -> np.ndarray:
    """The data of a packet, uint8 [count * height * ceil(width / 8)].

    Not copied if the planes already lie in memory as the encoding has them.
    """
    if encoding not in PACKET_ENCODINGS:
        raise ValueError(f"unknown encoding {encoding!r}, expected one of {', '.join(PACKET_ENCODINGS)}")
    planes = spikes.data if encoding == "packed_lsb" else spikes.data[:, ::-1]
    return np.ascontiguousarray(planes).reshape(-1)
