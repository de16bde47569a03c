"""Arrays to messages and back, and every way in which a message can be wrong."""

from __future__ import annotations

import array
import contextlib
import importlib.util
import io
import sys
import types
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image as Picture
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from spike_depth.msg import SpikePacket

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.spikes import PackedSpikes
from spike_depth_ros.messages import (
    MessageError,
    camera_from_message,
    camera_to_message,
    image_from_message,
    image_to_message,
    points_to_message,
    sensor_image,
    spikes_from_message,
    spikes_to_message,
)

TIME_NS = 1_764_000_000_123_456_789


def through_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


@given(
    planes=arrays.arrays(np.bool_, st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 33))),
    seq=st.integers(0, 2**64 - 1),
)
def test_spikes_survive_the_wire(planes, seq):
    spikes = PackedSpikes.from_planes(planes, 40_000, TIME_NS)
    message = through_the_wire(spikes_to_message(spikes, seq, "spike_camera"))
    back = spikes_from_message(message)
    np.testing.assert_array_equal(back.planes(), planes)
    assert (back.width, back.period_ns, back.start_ns) == (planes.shape[2], 40_000, TIME_NS)
    assert (message.seq, message.count, message.header.frame_id) == (seq, len(planes), "spike_camera")


def test_a_bit_is_where_the_message_definition_says():
    """The formula of SpikePacket.msg, spelled out: bit c % 8 of data[t * height * stride + r * stride + c / 8]."""
    planes = np.zeros((3, 4, 20), np.uint8)
    planes[2, 1, 13] = 1
    data = spikes_to_message(PackedSpikes.from_planes(planes), 0, "").data
    stride = (20 + 7) // 8
    expected = bytearray(3 * 4 * stride)
    expected[2 * 4 * stride + 1 * stride + 13 // 8] = 1 << (13 % 8)
    assert bytes(data) == bytes(expected)


def test_reading_makes_no_copy():
    message = spikes_to_message(PackedSpikes.from_planes(np.ones((2, 3, 8), np.uint8)), 0, "")
    assert isinstance(message.data, array.array)
    assert np.shares_memory(spikes_from_message(message).data, np.frombuffer(message.data, np.uint8))
    image = image_to_message(np.ones((3, 4), np.float32), "32FC1", TIME_NS, "")
    assert np.shares_memory(image_from_message(image), np.frombuffer(image.data, np.uint8))


@settings(max_examples=300)
@given(
    fields=st.fixed_dictionaries(
        {},
        optional={
            "height": st.integers(0, 2**32 - 1),
            "width": st.integers(0, 2**32 - 1),
            "period_ns": st.integers(0, 2**32 - 1),
            "count": st.integers(0, 2**32 - 1),
            "encoding": st.text(max_size=12),
            "data": st.binary(max_size=64).map(lambda b: array.array("B", b)),
        },
    )
)
def test_no_packet_does_worse_than_a_message_error(fields):
    message = spikes_to_message(PackedSpikes.from_planes(np.ones((2, 3, 8), np.uint8)), 0, "")
    for name, value in fields.items():
        setattr(message, name, value)
    with contextlib.suppress(MessageError):
        assert spikes_from_message(message).data.nbytes == len(message.data)


@pytest.mark.parametrize(
    ("field", "value", "reason", "text"),
    [
        ("encoding", "evt3", "encoding", "unknown encoding 'evt3', expected one of packed_lsb"),
        ("count", 3, "length", "3 planes of 8x3 pixels take 9 bytes, found 6"),
        ("width", 0, "size", "width must be 1 to 65535, found 0"),
        ("height", 70_000, "size", "found 70000"),
        ("period_ns", 0, "period", "found 0"),
    ],
)
def test_a_bad_packet_is_named(field, value, reason, text):
    message = spikes_to_message(PackedSpikes.from_planes(np.ones((2, 3, 8), np.uint8)), 0, "")
    setattr(message, field, value)
    with pytest.raises(MessageError, match=text) as caught:
        spikes_from_message(message)
    assert caught.value.reason == reason


def test_rows_from_the_bottom_up_are_turned_over():
    planes = np.random.default_rng(0).integers(0, 2, (2, 3, 8), dtype=np.uint8)
    message = spikes_to_message(PackedSpikes.from_planes(planes[:, ::-1]), 0, "")
    message.encoding = "packed_lsb_flipped"
    np.testing.assert_array_equal(spikes_from_message(message).planes(), planes)


def test_a_default_packet_is_refused():
    with pytest.raises(MessageError):
        spikes_from_message(SpikePacket())
    with pytest.raises(MessageError):
        image_from_message(Image())
    with pytest.raises(MessageError):
        camera_from_message(CameraInfo())


def test_stamps_beyond_a_second_are_refused():
    message = spikes_to_message(PackedSpikes.from_planes(np.ones((2, 3, 8), np.uint8)), 0, "")
    message.header.stamp.nanosec = 1_000_000_000
    with pytest.raises(MessageError, match="stamp"):
        spikes_from_message(message)


@pytest.mark.parametrize(
    ("encoding", "dtype", "channels"),
    [
        ("rgb8", np.uint8, 3),
        ("bgra8", np.uint8, 4),
        ("mono8", np.uint8, 1),
        ("mono16", np.uint16, 1),
        ("16UC1", np.uint16, 1),
        ("32FC1", np.float32, 1),
    ],
)
def test_images_survive_the_wire(encoding, dtype, channels):
    shape = (5, 7) if channels == 1 else (5, 7, channels)
    image = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    message = through_the_wire(image_to_message(image, encoding, TIME_NS, "camera"))
    np.testing.assert_array_equal(image_from_message(message), image)
    assert message.step == 7 * channels * np.dtype(dtype).itemsize


def test_nan_survives():
    depth = np.array([[1.5, np.nan], [np.inf, -np.inf]], np.float32)
    np.testing.assert_array_equal(image_from_message(image_to_message(depth, "32FC1", 0, "")), depth)


def test_padded_rows_and_the_other_byte_order():
    """A message made by hand, as cameras with aligned rows and big-endian hosts send it."""
    message = Image(height=2, width=3, encoding="mono16", is_bigendian=1, step=8)
    rows = [bytes([0, 1, 0, 2, 1, 0]), bytes([0, 4, 0, 5, 2, 0])]
    message.data = array.array("B", b"".join(row + b"\xff\xff" for row in rows))
    image = image_from_message(message)
    np.testing.assert_array_equal(image, [[1, 2, 256], [4, 5, 512]])
    assert image.dtype == np.uint16


def test_colours_are_put_in_order():
    for encoding in ("rgb8", "bgr8", "rgba8", "bgra8"):
        values = {"r": 10, "g": 20, "b": 30, "a": 40}
        pixel = [values[letter] for letter in encoding.rstrip("8")]
        message = image_to_message(np.full((2, 2, len(pixel)), pixel, np.uint8), encoding, 0, "")
        np.testing.assert_array_equal(sensor_image("rgb", message)[0, 0], [10, 20, 30])


def test_thermal_is_16_bit_whatever_it_came_in():
    message = image_to_message(np.full((2, 2), 200, np.uint8), "mono8", 0, "")
    image = sensor_image("thermal", message)
    assert (image.dtype, image[0, 0]) == (np.uint16, 200)


@pytest.mark.parametrize(("sensor", "encoding"), [("rgb", "mono8"), ("thermal", "rgb8"), ("nir", "bayer_rggb8")])
def test_an_encoding_that_a_sensor_cannot_have_is_refused(sensor, encoding):
    with pytest.raises(MessageError, match=f"{sensor} cannot be '{encoding}', expected one of"):
        sensor_image(sensor, Image(encoding=encoding))


@pytest.mark.skipif(importlib.util.find_spec("cv_bridge") is not None, reason="cv_bridge is installed")
@pytest.mark.parametrize("encoding", ["bayer_rggb8", "yuv422_yuy2"])
def test_without_cv_bridge_an_encoding_that_needs_it_says_so(encoding):
    message = image_to_message(np.zeros((2, 6), np.uint8), "mono8", 0, "")
    message.encoding = encoding
    with pytest.raises(MessageError, match=f"rgb can be '{encoding}' where cv_bridge is installed") as caught:
        sensor_image("rgb", message)
    assert caught.value.reason == "encoding"


def test_with_cv_bridge_it_is_asked_for_rgb8(monkeypatch):
    class Bridge:
        def imgmsg_to_cv2(self, message, encoding):
            assert encoding == "rgb8"
            if message.step == 1:
                raise RuntimeError("[8UC1] is not a colour format")
            return np.full((message.height, message.width, 3), 9, np.uint8)

    monkeypatch.setitem(sys.modules, "cv_bridge", types.SimpleNamespace(CvBridge=Bridge))
    message = image_to_message(np.zeros((2, 6), np.uint8), "mono8", 0, "")
    message.encoding = "bayer_rggb8"
    assert sensor_image("rgb", message).tolist() == np.full((2, 6, 3), 9).tolist()
    message.step = 1
    with pytest.raises(MessageError, match=r"cv_bridge cannot read this 'bayer_rggb8': .*not a colour format"):
        sensor_image("rgb", message)


def compressed(image: np.ndarray, kind: str) -> CompressedImage:
    file = io.BytesIO()
    Picture.fromarray(image).save(file, kind)
    return CompressedImage(format=kind.lower(), data=array.array("B", file.getvalue()))


def test_compressed_images_are_read():
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(sensor_image("rgb", compressed(colour, "PNG")), colour)
    smooth = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    assert np.abs(sensor_image("rgb", compressed(smooth, "JPEG")).astype(int) - smooth).max() <= 3
    heat = rng.integers(0, 65_536, (5, 7)).astype(np.uint16)
    found = sensor_image("thermal", compressed(heat, "PNG"))
    np.testing.assert_array_equal(found, heat)
    assert found.dtype == np.uint16
    grey = rng.integers(0, 256, (5, 7), dtype=np.uint8)
    np.testing.assert_array_equal(sensor_image("nir", compressed(grey, "PNG")), grey)
    assert sensor_image("thermal", compressed(grey, "PNG")).dtype == np.uint16


def test_compressed_images_that_are_none_are_refused():
    with pytest.raises(MessageError, match="not a readable JPEG or PNG") as caught:
        sensor_image("rgb", CompressedImage(format="jpeg", data=array.array("B", b"nothing of the kind")))
    assert caught.value.reason == "length"
    cut = compressed(np.zeros((50, 50, 3), np.uint8), "PNG")
    cut.data = cut.data[:60]
    with pytest.raises(MessageError, match="not a readable JPEG or PNG"):
        sensor_image("rgb", cut)
    with pytest.raises(MessageError, match="a grey picture was expected, found mode RGB"):
        sensor_image("nir", compressed(np.zeros((5, 5, 3), np.uint8), "PNG"))


def test_a_chunk_that_the_decoder_trips_over_is_refused():
    """An empty colour profile after the pixels, with a checksum that is right: Pillow runs over its end."""
    picture = bytes(compressed(np.zeros((4, 4, 3), np.uint8), "PNG").data)
    end = len(picture) - 12  # IEND: a chunk without content
    profile = bytes(4) + b"iCCP" + zlib.crc32(b"iCCP").to_bytes(4, "big")
    damaged = array.array("B", picture[:end] + profile + picture[end:])
    with pytest.raises(MessageError, match="not a readable JPEG or PNG") as caught:
        sensor_image("rgb", CompressedImage(format="png", data=damaged))
    assert caught.value.reason == "length"


def test_a_compressed_image_that_claims_to_be_huge_is_refused_by_its_head():
    bomb = bytearray(bytes(compressed(np.zeros((4, 4), np.uint8), "PNG").data))
    size = (20_000).to_bytes(4, "big")
    bomb[16:24] = size + size  # width and height in the head of a PNG
    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    with pytest.raises(MessageError) as caught:
        sensor_image("nir", CompressedImage(format="png", data=array.array("B", bytes(bomb))))
    assert caught.value.reason == "size"


def test_a_cloud_is_what_its_fields_say():
    points = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    colours = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    message = through_the_wire(points_to_message(points, colours, TIME_NS, "camera"))
    assert [(f.name, f.offset, f.datatype, f.count) for f in message.fields] == [
        ("x", 0, 7, 1),
        ("y", 4, 7, 1),
        ("z", 8, 7, 1),
        ("rgb", 12, 7, 1),
    ]
    assert (message.width, message.height, message.point_step, message.row_step) == (3, 2, 16, 48)
    data = bytes(message.data)
    np.testing.assert_array_equal(np.frombuffer(data, "<f4").reshape(2, 3, 4)[:, :, :3], points)
    # Blue is the lowest byte, as PCL has it.
    np.testing.assert_array_equal(np.frombuffer(data, np.uint8).reshape(2, 3, 16)[:, :, 12:15], colours[:, :, ::-1])
    plain = points_to_message(points, None, TIME_NS, "camera")
    assert (plain.point_step, len(plain.fields)) == (12, 3)


@pytest.mark.parametrize("change", [{"step": 5}, {"height": 3}, {"data": array.array("B", bytes(5))}])
def test_an_image_whose_fields_do_not_fit_is_refused(change):
    message = image_to_message(np.zeros((2, 6), np.uint8), "mono8", 0, "")
    for name, value in change.items():
        setattr(message, name, value)
    with pytest.raises(MessageError) as caught:
        image_from_message(message)
    assert caught.value.reason == "length"


def test_writing_checks_the_array():
    with pytest.raises(ValueError, match="rgb8 is uint8 x 3, found float32"):
        image_to_message(np.zeros((2, 2, 3), np.float32), "rgb8", 0, "")


@pytest.mark.parametrize("distortion", [(), (0.1, -0.2, 0.001, 0.002, 0.3)])
def test_intrinsics_survive_the_wire(distortion):
    camera = PinholeCamera(400, 250, 330.0, 331.0, 199.5, 124.25, distortion)
    message = through_the_wire(camera_to_message(camera, TIME_NS, "camera"))
    assert camera_from_message(message) == camera
    assert list(message.k) == [330.0, 0, 199.5, 0, 331.0, 124.25, 0, 0, 1]
    assert list(message.p) == [330.0, 0, 199.5, 0, 0, 331.0, 124.25, 0, 0, 0, 1, 0]


def test_intrinsics_that_cannot_be_used_are_refused():
    message = camera_to_message(PinholeCamera(4, 3, 1.0, 1.0, 0.0, 0.0, (0.1, 0.0, 0.0, 0.0, 0.0)), 0, "")
    message.distortion_model = "equidistant"
    with pytest.raises(MessageError, match="'equidistant' with 5 coefficients"):
        camera_from_message(message)
    message = camera_to_message(PinholeCamera(4, 3, 1.0, 1.0, 0.0, 0.0), 0, "")
    message.k[0] = float("nan")
    with pytest.raises(MessageError, match="not calibrated"):
        camera_from_message(message)
