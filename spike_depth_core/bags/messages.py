"""Arrays to and from messages, of a bag or of a live graph.

What is read may be any object with the fields of the message: those that `rosbags` makes, and rclpy's. Reading makes
views into the message's data, without a copy. What is written are `rosbags`' objects, or, by the `..._fields`, the
values for whichever.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from spike_depth_core.bags import types
from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.geometry.rig import pose, quaternion_from_rotation
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.spikes.packets import check_packet, decode_packet, encode_packet

NANOSECONDS = 1_000_000_000
MAX_SIDE = 16_384  # pixels: what claims to be larger is damaged

# dtype and channels of the encodings that are understood.
_ENCODINGS: dict[str, tuple[type, int]] = {
    "rgb8": (np.uint8, 3),
    "bgr8": (np.uint8, 3),
    "rgba8": (np.uint8, 4),
    "bgra8": (np.uint8, 4),
    "mono8": (np.uint8, 1),
    "8UC1": (np.uint8, 1),
    "mono16": (np.uint16, 1),
    "16UC1": (np.uint16, 1),
    "32FC1": (np.float32, 1),
}
# What each sensor may come in; first what the simulated vehicle sends.
SENSOR_ENCODINGS = {
    "rgb": ("rgb8", "bgr8", "rgba8", "bgra8"),
    "nir": ("mono8", "8UC1", "mono16", "16UC1"),
    "thermal": ("mono16", "16UC1", "mono8", "8UC1"),
}
_ARITHMETIC = ("bayer_", "yuv", "uyvy", "yuyv", "nv")
DEPTH_ENCODINGS = ("32FC1", "16UC1", "mono16")


class MessageError(ValueError):
    """A message that cannot be used.

    Attributes:
        reason: a short key under which such messages are counted.
    """

    def __init__(self, reason: str, text: str):
        super().__init__(text)
        self.reason = reason


def decode(kind: str, data: memoryview) -> Any:
    """The message of a type that CDR data holds; its arrays are views into the data.

    Raises:
        MessageError: for data that is not of this type.
    """
    from rosbags.serde import SerdeError

    try:
        return types.type_store().deserialize_cdr(data, kind)
    except (SerdeError, IndexError, OverflowError, MemoryError, AssertionError) as error:
        raise MessageError("damaged", f"not a {kind}: {error}") from error


def encode(kind: str, message: Any) -> memoryview:
    """CDR data of a message that one of the functions below made."""
    return types.type_store().serialize_cdr(message, kind)


# Time


def stamp_ns(message: Any) -> int:
    """Nanoseconds of a message's header. Raises MessageError for a stamp that is none."""
    stamp = message.header.stamp
    if stamp.nanosec >= NANOSECONDS:
        raise MessageError("stamp", f"the stamp has {stamp.nanosec} nanoseconds beside its seconds")
    return stamp.sec * NANOSECONDS + stamp.nanosec


def _make(kind: str, *fields: Any, **named: Any) -> Any:
    return types.type_store().types[kind](*fields, **named)


def _header(time_ns: int, frame_id: str) -> Any:
    seconds, nanoseconds = divmod(int(time_ns), NANOSECONDS)
    if not 0 <= seconds < 2**31:
        raise ValueError(f"the time of a message is within 2**31 seconds from 1970 on, found {time_ns} ns")
    return _make("std_msgs/msg/Header", _make("builtin_interfaces/msg/Time", seconds, nanoseconds), frame_id)


# Spikes


def spikes_fields(spikes: PackedSpikes, seq: int) -> dict[str, Any]:
    """The values of a packet besides its header; `data` is uint8 [n]. `seq` counts the packets of the stream."""
    return {
        "height": spikes.height,
        "width": spikes.width,
        "seq": seq,
        "period_ns": spikes.period_ns,
        "count": len(spikes),
        "encoding": "packed_lsb",
        "data": encode_packet(spikes),
    }


def spikes_to_message(spikes: PackedSpikes, seq: int, frame_id: str) -> Any:
    """Planes as a packet. `seq` counts the packets of the stream. Raises ValueError where no reader would take it."""
    fields = spikes_fields(spikes, seq)
    size, encoding, length = (spikes.height, spikes.width, len(spikes)), fields["encoding"], len(fields["data"])
    fault = check_packet(*size, spikes.period_ns, encoding, length)
    if fault is not None:
        raise ValueError(f"a packet cannot hold these planes: {fault.detail}")
    return _make(types.SPIKE_PACKET, _header(spikes.start_ns, frame_id), **fields)


def spikes_from_message(message: Any) -> PackedSpikes:
    """The planes of a packet: a view into the message.

    Raises:
        MessageError: for an unknown encoding, or fields that do not fit one another.
    """
    fields = (message.height, message.width, message.count, message.period_ns, message.encoding)
    fault = check_packet(*fields, len(message.data))
    if fault is not None:
        raise MessageError(fault.reason, fault.detail)
    return decode_packet(*fields, message.data, stamp_ns(message))


# Images


def _check_size(width: int, height: int) -> None:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise MessageError("size", f"a size of {width}x{height} is not within 1 to {MAX_SIDE} pixels")


def image_fields(image: np.ndarray, encoding: str) -> dict[str, Any]:
    """The values of an image [H, W] or [H, W, C] besides its header; `data` is uint8 [n]."""
    dtype, channels = _ENCODINGS[encoding]
    found = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != dtype or found != channels:
        raise ValueError(f"{encoding} is {np.dtype(dtype)} x {channels}, found {image.dtype} {image.shape}")
    return {
        "height": image.shape[0],
        "width": image.shape[1],
        "encoding": encoding,
        "is_bigendian": int(sys.byteorder == "big"),
        "step": image.shape[1] * channels * np.dtype(dtype).itemsize,
        "data": np.ascontiguousarray(image).reshape(-1).view(np.uint8),
    }


def image_to_message(image: np.ndarray, encoding: str, time_ns: int, frame_id: str) -> Any:
    """An image [H, W] or [H, W, C] as a message."""
    return _make(types.IMAGE, _header(time_ns, frame_id), **image_fields(image, encoding))


def image_from_message(message: Any) -> np.ndarray:
    """The pixels of an image, [H, W] or [H, W, C] as its encoding has them: a view into the message.

    Raises:
        MessageError: for an unknown encoding, or fields that do not fit one another.
    """
    if message.encoding not in _ENCODINGS:
        raise MessageError(
            "encoding", f"image encoding {message.encoding!r} is unknown, expected one of {', '.join(_ENCODINGS)}"
        )
    _check_size(message.width, message.height)
    stamp_ns(message)
    dtype, channels = _ENCODINGS[message.encoding]
    order = np.dtype(dtype).newbyteorder(">" if message.is_bigendian else "<")
    row = message.width * channels * order.itemsize
    if message.step < row or len(message.data) != message.step * message.height:
        raise MessageError(
            "length",
            f"{message.width}x{message.height} {message.encoding} takes rows of {row} bytes and {message.height} of "
            f"them, found a step of {message.step} and {len(message.data)} bytes",
        )
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[:, :row]
    pixels = rows.view(order).reshape(message.height, message.width, channels)
    if channels == 1:
        pixels = pixels[:, :, 0]
    return pixels if order.isnative else pixels.astype(dtype)


def sensor_image(sensor: str, message: Any, convert: Callable[[Any], np.ndarray] | None = None) -> np.ndarray:
    """The image of a sensor in the form `DepthSample` asks for: rgb as uint8 [H, W, 3], thermal as uint16.

    Args:
        sensor: rgb, nir or thermal.
        message: `Image` or `CompressedImage`.
        convert: makes uint8 [H, W, 3] of a colour image whose encoding takes arithmetic (Bayer, YUV), or raises
            MessageError; such are refused without.

    Raises:
        MessageError: for an encoding that this sensor cannot have, or a damaged message.
    """
    if not hasattr(message, "encoding"):
        pixels = _decompressed(message, colour=sensor == "rgb")
    elif message.encoding in SENSOR_ENCODINGS[sensor]:
        pixels = image_from_message(message)
        if sensor == "rgb":
            pixels = pixels[:, :, 2::-1] if message.encoding.startswith("bgr") else pixels[:, :, :3]
    elif convert is not None and sensor == "rgb" and message.encoding.startswith(_ARITHMETIC):
        _check_size(message.width, message.height)
        stamp_ns(message)
        pixels = convert(message)
    else:
        allowed, shown = ", ".join(SENSOR_ENCODINGS[sensor]), repr(message.encoding[:40])
        raise MessageError("encoding", f"{sensor} cannot be {shown}, expected one of {allowed}")
    if sensor == "thermal" and pixels.dtype != np.uint16:
        pixels = pixels.astype(np.uint16)
    return np.ascontiguousarray(pixels)


def _decompressed(message: Any, colour: bool) -> np.ndarray:
    """The pixels of a JPEG or PNG: uint8 [H, W, 3] for colour, else uint8 or uint16 [H, W]."""
    from PIL import Image

    stamp_ns(message)
    try:
        with Image.open(io.BytesIO(message.data), formats=("JPEG", "PNG")) as picture:
            _check_size(*picture.size)  # as the head of the file has it: before anything is allocated
            if colour and picture.mode.startswith(("I", "F")):
                raise MessageError("encoding", f"8-bit colours were expected, found mode {picture.mode}")
            if colour:
                return np.asarray(picture.convert("RGB"))
            if picture.mode.startswith("I"):
                return np.asarray(picture).astype(np.uint16)
            if picture.mode == "L":
                return np.asarray(picture)
            raise MessageError("encoding", f"a grey picture was expected, found mode {picture.mode}")
    except MessageError:
        raise
    except Image.DecompressionBombError as error:
        raise MessageError("size", str(error)) from error
    except Exception as error:  # of whatever kind, IndexError among them: the message is at fault
        raise MessageError("length", f"not a readable JPEG or PNG: {error}") from error


def depth_image(message: Any) -> np.ndarray:
    """A depth image (REP 118) as float32 [H, W] in metres; NaN where unknown, +inf where there is nothing.

    Raises:
        MessageError: for an encoding that depth does not come in, or a damaged message.
    """
    if message.encoding not in DEPTH_ENCODINGS:
        raise MessageError(
            "encoding", f"depth cannot be {message.encoding!r}, expected one of {', '.join(DEPTH_ENCODINGS)}"
        )
    pixels = image_from_message(message)
    if pixels.dtype == np.uint16:  # millimetres, 0 where unknown
        return np.where(pixels == 0, np.float32(np.nan), pixels.astype(np.float32) / np.float32(1000))
    return np.where(pixels > 0, pixels, np.float32(np.nan))  # NaN stays NaN; zero and -inf (too near) are no depth


# Cameras


def camera_fields(camera: PinholeCamera) -> dict[str, Any]:
    """The values of intrinsics besides their header and binning; d, k, r and p are float64. A camera without distortion
    is a rectified one: D is all zero."""
    distortion = np.zeros(5)
    distortion[: len(camera.distortion)] = camera.distortion
    fx, fy, cx, cy = (float(v) for v in (camera.fx, camera.fy, camera.cx, camera.cy))
    return {
        "height": camera.height,
        "width": camera.width,
        "distortion_model": "plumb_bob",
        "d": distortion,
        "k": np.array([fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]),
        "r": np.eye(3).reshape(-1),
        "p": np.array([fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]),
    }


def camera_to_message(camera: PinholeCamera, time_ns: int, frame_id: str) -> Any:
    """Intrinsics as a message."""
    return _make(
        types.CAMERA_INFO,
        _header(time_ns, frame_id),
        **camera_fields(camera),
        binning_x=0,
        binning_y=0,
        roi=_make("sensor_msgs/msg/RegionOfInterest", 0, 0, 0, 0, False),
    )


def camera_from_message(message: Any) -> PinholeCamera:
    """Intrinsics of a message, as K and D have them.

    Raises:
        MessageError: for a camera that is not calibrated, or not for its size, or whose distortion is not `plumb_bob`.
    """
    _check_size(message.width, message.height)
    distortion = tuple(float(v) for v in message.d)
    if not any(distortion):
        distortion = ()
    elif message.distortion_model != "plumb_bob" or len(distortion) not in (4, 5):
        raise MessageError(
            "distortion",
            f"distortion {message.distortion_model!r} with {len(distortion)} coefficients is not supported; "
            "rectify the image, or calibrate it as plumb_bob",
        )
    k = message.k
    if not all(math.isfinite(v) for v in (*k, *distortion)) or k[0] <= 0 or k[4] <= 0:
        raise MessageError("calibration", f"the camera is not calibrated: K is {[float(v) for v in k]}")
    fx, fy, cx, cy = (float(k[i]) for i in (0, 4, 2, 5))
    if any(abs(v) > 1e-6 * fx for v in (k[1], k[3])) or any(abs(k[i] - v) > 1e-6 for i, v in ((6, 0), (7, 0), (8, 1))):
        raise MessageError(
            "calibration",
            f"K is [fx, 0, cx, 0, fy, cy, 0, 0, 1] of a pinhole camera without skew, found {[float(v) for v in k]}",
        )
    camera = PinholeCamera(int(message.width), int(message.height), fx, fy, cx, cy, distortion=distortion)
    try:
        camera.check_plausible()
    except ValueError as error:
        raise MessageError("calibration", str(error)) from error
    return camera


def check_fits(camera: PinholeCamera, width: int, height: int, info: str) -> None:
    """Raise MessageError where an image is of another size than its intrinsics, which are those of `info`."""
    if (camera.width, camera.height) != (width, height):
        raise MessageError(
            "camera_info_size", f"the image is {width}x{height}, but {info} says {camera.width}x{camera.height}"
        )


# Poses


def _vector(x: float, y: float, z: float) -> Any:
    return _make("geometry_msgs/msg/Vector3", x, y, z)


def transforms_to_message(transforms: list[tuple[str, str, np.ndarray]], time_ns: int) -> Any:
    """(parent frame, child frame, 4x4 parent_from_child) as a `TFMessage`."""
    return _make(
        types.TRANSFORMS,
        [
            _make(
                "geometry_msgs/msg/TransformStamped",
                _header(time_ns, parent),
                child,
                _make(
                    "geometry_msgs/msg/Transform",
                    _vector(*(float(v) for v in matrix[:3, 3])),
                    _make("geometry_msgs/msg/Quaternion", *quaternion_from_rotation(matrix[:3, :3])),
                ),
            )
            for parent, child, matrix in transforms
        ],
    )


def transforms_from_message(message: Any) -> list[tuple[str, str, np.ndarray]]:
    """(parent frame, child frame, 4x4 parent_from_child) of each transform of a `TFMessage`; damaged ones are left
    out."""
    found = []
    for entry in message.transforms:
        t, q = entry.transform.translation, entry.transform.rotation
        try:
            matrix = pose((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
        except ValueError:
            continue
        if np.isfinite(matrix).all():
            found.append((entry.header.frame_id.lstrip("/"), entry.child_frame_id.lstrip("/"), matrix))
    return found


def odometry_to_message(world_from_body: np.ndarray, time_ns: int, frame_id: str, child_frame_id: str) -> Any:
    """A pose 4x4 (metres) as odometry, without velocities and covariances."""
    place = _make(
        "geometry_msgs/msg/Pose",
        _make("geometry_msgs/msg/Point", *(float(v) for v in world_from_body[:3, 3])),
        _make("geometry_msgs/msg/Quaternion", *quaternion_from_rotation(world_from_body[:3, :3])),
    )
    return _make(
        types.ODOMETRY,
        _header(time_ns, frame_id),
        child_frame_id,
        _make("geometry_msgs/msg/PoseWithCovariance", place, np.zeros(36)),
        _make(
            "geometry_msgs/msg/TwistWithCovariance",
            _make("geometry_msgs/msg/Twist", _vector(0.0, 0.0, 0.0), _vector(0.0, 0.0, 0.0)),
            np.zeros(36),
        ),
    )


def pose_from_odometry(message: Any) -> np.ndarray:
    """4x4 `frame_from_child` (metres) of an odometry message. Raises MessageError where it is none."""
    p, q = message.pose.pose.position, message.pose.pose.orientation
    try:
        matrix = pose((p.x, p.y, p.z), (q.x, q.y, q.z, q.w))
    except ValueError as error:
        raise MessageError("pose", str(error)) from error
    if not np.isfinite(matrix).all():
        raise MessageError("pose", "the pose is not finite")
    return matrix
