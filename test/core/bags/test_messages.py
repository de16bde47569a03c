from __future__ import annotations

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from spike_depth_core.bags import MessageError, messages, types
from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.geometry.rig import pose
from spike_depth_core.spikes import PackedSpikes


def there_and_back(kind: str, message):
    return messages.decode(kind, memoryview(bytes(messages.encode(kind, message))))


def spikes(count: int = 3, height: int = 5, width: int = 12) -> PackedSpikes:
    planes = np.random.default_rng(0).integers(0, 2, (count, height, width), dtype=np.uint8)
    return PackedSpikes.from_planes(planes, 25_000, 7_000_000_123)


def test_spikes_are_the_bytes_that_the_message_file_describes():
    """CDR by hand: little endian, each number aligned to its size, strings with their length and a zero at the end."""
    import struct

    sent = spikes()
    frame, encoding = b"cam\x00", b"packed_lsb\x00"
    expected = struct.pack("<iI", 7, 123) + struct.pack("<I", len(frame)) + frame
    expected += struct.pack("<II", 5, 12)
    expected += b"\x00" * (-len(expected) % 8) + struct.pack("<Q", 41)
    expected += struct.pack("<III", 25_000, 3, len(encoding)) + encoding
    expected += b"\x00" * (-len(expected) % 4) + struct.pack("<I", sent.data.size) + sent.data.tobytes()
    assert (
        bytes(messages.encode(types.SPIKE_PACKET, messages.spikes_to_message(sent, 41, "cam")))
        == b"\x00\x01\x00\x00" + expected
    )
    read = messages.spikes_from_message(messages.decode(types.SPIKE_PACKET, memoryview(b"\x00\x01\x00\x00" + expected)))
    assert np.array_equal(read.data, sent.data)
    assert (read.width, read.period_ns, read.start_ns) == (12, 25_000, 7_000_000_123)


def test_spikes_are_read_without_a_copy():
    data = memoryview(bytearray(messages.encode(types.SPIKE_PACKET, messages.spikes_to_message(spikes(), 0, ""))))
    read = messages.spikes_from_message(messages.decode(types.SPIKE_PACKET, data))
    before = read.data[-1, -1, -1]
    data[-1] ^= 0xFF
    assert read.data[-1, -1, -1] == before ^ 0xFF


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 20, 60, -1])
def test_damaged_data_is_an_error_that_names_the_type(cut):
    data = messages.encode(types.SPIKE_PACKET, messages.spikes_to_message(spikes(), 0, "camera"))
    with pytest.raises(MessageError, match="SpikePacket"):
        messages.decode(types.SPIKE_PACKET, data[:cut])


def test_a_packet_whose_fields_do_not_fit_is_refused():
    message = messages.spikes_to_message(spikes(), 0, "camera")
    message.count = 4
    with pytest.raises(MessageError, match="4 planes of 12x5 pixels take 40 bytes, found 30"):
        messages.spikes_from_message(message)


@pytest.mark.parametrize(
    ("encoding", "dtype", "channels"), [("rgb8", np.uint8, 3), ("mono16", np.uint16, 1), ("32FC1", np.float32, 1)]
)
def test_images_come_back(encoding, dtype, channels):
    shape = (4, 6, 3) if channels == 3 else (4, 6)
    image = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    message = there_and_back(types.IMAGE, messages.image_to_message(image, encoding, 5, "camera"))
    assert np.array_equal(messages.image_from_message(message), image)
    assert messages.stamp_ns(message) == 5


def test_big_endian_rows_with_padding_are_understood():
    rows = np.zeros((2, 8), np.uint8)
    rows[:, :6] = np.array([[1, 2, 3], [4, 5, 6]], ">u2").view(np.uint8)
    stamp = SimpleNamespace(sec=0, nanosec=0)
    message = SimpleNamespace(
        header=SimpleNamespace(stamp=stamp),
        height=2,
        width=3,
        encoding="mono16",
        is_bigendian=1,
        step=8,
        data=rows.tobytes(),
    )
    assert messages.sensor_image("thermal", message).tolist() == [[1, 2, 3], [4, 5, 6]]


def test_bgr_becomes_rgb():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    message = messages.image_to_message(image, "bgr8", 0, "")
    assert np.array_equal(messages.sensor_image("rgb", message), image[:, :, ::-1])


def compressed(image: np.ndarray, kind: str):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind)
    store = types.type_store().types
    header = messages.image_to_message(np.zeros((1, 1), np.uint8), "mono8", 9, "camera").header
    data = np.frombuffer(buffer.getvalue(), np.uint8)
    return there_and_back(types.COMPRESSED_IMAGE, store[types.COMPRESSED_IMAGE](header, kind.lower(), data))


def test_compressed_images_are_read():
    colour = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    assert np.array_equal(messages.sensor_image("rgb", compressed(colour, "PNG")), colour)
    flat = np.full((16, 16, 3), 100, np.uint8)
    assert np.abs(messages.sensor_image("rgb", compressed(flat, "JPEG")).astype(int) - 100).max() <= 2
    counts = np.arange(30_000, 30_012, dtype=np.uint16).reshape(3, 4)
    assert np.array_equal(messages.sensor_image("thermal", compressed(counts, "PNG")), counts)
    with pytest.raises(MessageError, match="grey"):
        messages.sensor_image("nir", compressed(colour, "PNG"))
    with pytest.raises(MessageError, match="8-bit colours were expected, found mode I"):
        messages.sensor_image("rgb", compressed(counts, "PNG"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"period_ns": 10**9 + 1}, "period_ns must be 1 to 1000000000, found 1000000001"),
        ({"start_ns": -1}, "found -1 ns"),
        ({"start_ns": 2**31 * 10**9}, "found 2147483648000000000 ns"),
    ],
)
def test_a_packet_that_no_reader_would_take_is_not_made(changes, said):
    spikes = PackedSpikes(np.zeros((1, 2, 1), np.uint8), 8, **({"period_ns": 50_000} | changes))
    with pytest.raises(ValueError, match=said):
        messages.spikes_to_message(spikes, 0, "spikes")


def test_what_is_no_picture_is_refused():
    message = compressed(np.zeros((2, 2), np.uint8), "PNG")
    message.data = message.data[:20]
    with pytest.raises(MessageError, match="not a readable JPEG or PNG"):
        messages.sensor_image("nir", message)


def test_depth_in_millimetres_and_in_metres_mean_the_same():
    metres = np.array([[1.5, np.nan], [np.inf, 80.0]], np.float32)
    read = messages.depth_image(messages.image_to_message(metres, "32FC1", 0, ""))
    np.testing.assert_array_equal(read, metres)
    counts = np.array([[1500, 0]], np.uint16)
    read = messages.depth_image(messages.image_to_message(counts, "16UC1", 0, ""))
    np.testing.assert_array_equal(read, np.array([[1.5, np.nan]], np.float32))
    near = np.array([[0.0, -np.inf]], np.float32)
    assert np.isnan(messages.depth_image(messages.image_to_message(near, "32FC1", 0, ""))).all()


def test_cameras_come_back():
    camera = PinholeCamera(40, 30, 31.5, 32.5, 19.0, 15.0, (0.1, -0.2, 0.001, 0.002, 0.05))
    assert (
        messages.camera_from_message(there_and_back(types.CAMERA_INFO, messages.camera_to_message(camera, 0, "")))
        == camera
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({2: 960.0}, "principal point cx=960 is far outside a picture of 40x24 pixels"),
        ({0: 1.2, 4: 1.2}, "focal length fx=1.2 is too short .* not millimetres"),
        ({1: 0.5}, "without skew, found"),
        ({2: 0.0, 5: 0.0, 6: 19.5, 7: 11.5}, "K is .fx, 0, cx, 0, fy, cy, 0, 0, 1. of a pinhole camera"),
        ({8: 0.0}, "K is .fx, 0, cx, 0, fy, cy, 0, 0, 1. of a pinhole camera"),
    ],
    ids=["size", "millimetres", "skew", "transposed", "scale"],
)
def test_intrinsics_that_are_not_of_the_picture_are_refused(change, said):
    message = messages.camera_to_message(PinholeCamera(40, 24, 30.0, 30.0, 19.5, 11.5), 0, "")
    for place, value in change.items():
        message.k[place] = value
    with pytest.raises(MessageError, match=said) as found:
        messages.camera_from_message(message)
    assert found.value.reason == "calibration"


def test_transforms_and_poses_come_back():
    matrix = pose((1.0, -2.0, 3.0), (0.1, 0.2, -0.3, 0.9))
    message = there_and_back(types.TRANSFORMS, messages.transforms_to_message([("base", "camera", matrix)], 5))
    ((parent, child, read),) = messages.transforms_from_message(message)
    assert (parent, child) == ("base", "camera")
    np.testing.assert_allclose(read, matrix, atol=1e-12)
    odometry = there_and_back(types.ODOMETRY, messages.odometry_to_message(matrix, 5, "world", "camera"))
    np.testing.assert_allclose(messages.pose_from_odometry(odometry), matrix, atol=1e-12)
    odometry.pose.pose.position.x = float("nan")
    with pytest.raises(MessageError, match="not finite"):
        messages.pose_from_odometry(odometry)
