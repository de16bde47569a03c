"""Mutated messages against everything that reads them: `python -m test.ros.fuzz_messages --messages 1000000`.

Fields get values that do not fit one another, pictures get chunks that are none of theirs, and serialized bytes are
overwritten before they are read again, as a hostile or broken publisher would have them. Whatever comes, a reader gives
an array that fits what the message says, or raises MessageError; nothing else, and it keeps nothing.
"""

from __future__ import annotations

import array
import gc
import os
import resource
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from spike_depth.msg import SpikePacket

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.spikes import PackedSpikes
from spike_depth_ros.messages import (
    MessageError,
    camera_from_message,
    camera_to_message,
    image_to_message,
    sensor_image,
    spikes_from_message,
    spikes_to_message,
)

CAMERA = PinholeCamera(12, 9, 10.0, 10.0, 5.5, 4.0, (0.1, -0.1, 0.0, 0.0, 0.01))
SIZES = (0, 1, 2, 7, 8, 9, 12, 13, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1)
STRINGS = ("", "packed_lsb", "packed_lsb_flipped", "mono8", "mono16", "rgb8", "bgra8", "16UC1", "32FC1", "bayer_rggb8")
STRINGS += ("yuv422", "plumb_bob", "fisheye", "\0", "é" * 50, "x" * 500)
CHUNKS = (b"IHDR", b"PLTE", b"IDAT", b"iCCP", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tEXt", b"zTXt", b"iTXt")
CHUNKS += (b"eXIf", b"acTL", b"fcTL", b"fdAT")
LENGTHS = (0, 1, 2, 4, 13, 26)
NUMBERS = (0.0, -1.0, 1e-300, 1e300, float("nan"), float("inf"), -float("inf"), 5.5)


def seeds() -> list[tuple[Any, list[Callable[[Any], Any]]]]:
    """Good messages of every kind, and what reads them."""
    rng = np.random.default_rng(0)
    spikes = PackedSpikes.from_planes(rng.integers(0, 2, (4, 9, 12), dtype=np.uint8), 50_000, 10**18)
    colour = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    grey = rng.integers(0, 65_536, (9, 12)).astype(np.uint16)
    from io import BytesIO

    from PIL import Image as Picture

    jpeg, png = BytesIO(), BytesIO()
    Picture.fromarray(colour).save(jpeg, "JPEG")
    Picture.fromarray(grey).save(png, "PNG")

    def read(sensor: str) -> Callable[[Any], Any]:
        return lambda message: sensor_image(sensor, message)

    return [
        (spikes_to_message(spikes, 7, "spikes"), [spikes_from_message]),
        (image_to_message(colour, "rgb8", 10**18, "rgb"), [read("rgb"), read("nir")]),
        (image_to_message(grey, "mono16", 10**18, "thermal"), [read("thermal"), read("rgb")]),
        (CompressedImage(format="jpeg", data=array.array("B", jpeg.getvalue())), [read("rgb"), read("nir")]),
        (CompressedImage(format="png", data=array.array("B", png.getvalue())), [read("thermal")]),
        (camera_to_message(CAMERA, 10**18, "rgb"), [camera_from_message]),
    ]


def with_wrong_field(message: Any, rng: np.random.Generator) -> Any:
    """The message with one or two fields of other values."""
    message = deserialize_message(serialize_message(message), type(message))
    fields = list(message.get_fields_and_field_types().items())
    for _ in range(int(rng.integers(1, 3))):
        name, kind = fields[int(rng.integers(len(fields)))]
        if kind in ("uint32", "uint64"):
            setattr(message, name, int(rng.choice(SIZES)))
        elif kind == "uint8":
            setattr(message, name, int(rng.integers(0, 256)))
        elif kind == "string":
            setattr(message, name, str(rng.choice(STRINGS)))
        elif kind == "sequence<uint8>":
            data = bytes(message.data)
            length = int(rng.integers(0, len(data) + 20))
            setattr(message, name, array.array("B", (data * 2)[:length]))
        elif kind == "sequence<double>":
            setattr(message, name, array.array("d", rng.choice(NUMBERS, int(rng.integers(0, 9))).tolist()))
        elif kind == "double[9]":
            matrix = np.array(message.k)
            matrix[int(rng.integers(9))] = rng.choice(NUMBERS)
            message.k = matrix
        elif kind == "std_msgs/Header":
            message.header.stamp.sec = int(rng.choice([-(2**31), -1, 0, 2**31 - 1]))
            message.header.stamp.nanosec = int(rng.choice(SIZES))
    return message


def with_wrong_bytes(serialized: bytes, kind: type, rng: np.random.Generator) -> Any:
    """What is read from bytes of which some were overwritten or cut off; None where the middleware refuses them."""
    data = bytearray(serialized)
    for _ in range(int(rng.integers(1, 6))):
        data[int(rng.integers(4, len(data)))] = int(rng.integers(0, 256))
    if rng.random() < 0.2:
        data = data[: int(rng.integers(4, len(data)))]
    try:
        return deserialize_message(bytes(data), kind)
    except Exception:  # rclpy has no narrower one
        return None


def with_wrong_chunk(message: CompressedImage, rng: np.random.Generator) -> CompressedImage:
    """The PNG with one chunk more, of some kind and content, whose checksum is right: what a decoder does not refuse at
    first sight."""
    data, starts = bytes(message.data), [8]
    while starts[-1] < len(message.data):
        starts.append(starts[-1] + 12 + int.from_bytes(data[starts[-1] : starts[-1] + 4], "big"))
    at = int(rng.choice(starts))
    content = rng.choice(CHUNKS) + rng.bytes(int(rng.choice(LENGTHS)))
    chunk = (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")
    return CompressedImage(format=message.format, data=array.array("B", data[:at] + chunk + data[at:]))


def mutants(count: int, seed: int = 0) -> Iterator[tuple[Any, list[Callable[[Any], Any]]]]:
    """Mutated messages, each with what is to read it."""
    rng = np.random.default_rng(seed)
    good = [(message, bytes(serialize_message(message)), readers) for message, readers in seeds()]
    for index in range(count):
        message, serialized, readers = good[index % len(good)]
        kind = rng.random()
        if kind < 0.3 and getattr(message, "format", "") == "png":
            mutant = with_wrong_chunk(message, rng)
        elif kind < 0.5:
            mutant = with_wrong_field(message, rng)
        else:
            mutant = with_wrong_bytes(serialized, type(message), rng)
        if mutant is not None:
            yield mutant, readers


def check(message: Any, result: Any) -> None:
    """What a reader gives fits what the message says."""
    if isinstance(message, SpikePacket):
        assert result.data.shape == (message.count, message.height, (message.width + 7) // 8)
    elif isinstance(message, Image):
        assert result.shape[:2] == (message.height, message.width)
        assert result.dtype in (np.uint8, np.uint16)
    elif isinstance(message, CameraInfo):
        assert (result.width, result.height) == (message.width, message.height)
        assert np.isfinite([result.fx, result.fy, result.cx, result.cy, *result.distortion]).all()
    else:
        assert result.ndim in (2, 3)


def resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def fuzz(count: int, seed: int = 0) -> Counter[str]:
    """Read `count` mutants; what became of them, by reason.

    Raises:
        Exception: whatever a reader raises that is no MessageError.
    """
    became: Counter[str] = Counter()
    for message, readers in mutants(count, seed):
        for read in readers:
            try:
                check(message, read(message))
                became["read"] += 1
            except MessageError as error:
                became[error.reason] += 1
    return became


def main(
    messages: Annotated[int, typer.Option(min=1, help="How many.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="Of the mutations.")] = 0,
) -> None:
    """Read mutated messages, and watch the memory."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the middleware complains of each on its own
    fuzz(min(messages, 20_000), seed)  # what is cached and compiled
    gc.collect()
    before, begin = resident_mib(), time.monotonic()
    became = fuzz(messages, seed + 1)
    gc.collect()
    grown, seconds = resident_mib() - before, time.monotonic() - begin
    print(f"{messages} messages in {seconds:.0f} s; memory grew by {grown:.1f} MiB")
    print(", ".join(f"{reason}: {number}" for reason, number in became.most_common()))
    if grown > 20.0:
        raise SystemExit("memory grew")


if __name__ == "__main__":
    typer.run(main)
