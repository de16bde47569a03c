"""Arrays to and from messages.

Reading a message makes views into its data, without a copy. Writing one copies once, into the `array.array('B')` that
rclpy takes as it is; any other sequence it would convert element by element.
"""

from __future__ import annotations

import array
import io
import math
import sys

import numpy as np
from builtin_interfaces.msg import Time
from PIL import Image as Picture
from PIL import UnidentifiedImageError
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField, RegionOfInterest
from spike_depth.msg import SpikePacket
from std_msgs.msg import Header
from stereo_msgs.msg import DisparityImage

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.spikes.packets import check_packet, decode_packet, encode_packet
from spike_depth_ros.time import from_stamp, to_stamp

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
# What each sensor may come in.
SENSOR_ENCODINGS = {
    "rgb": ("rgb8", "bgr8", "rgba8", "bgra8"),
    "nir": ("mono8", "8UC1", "mono16", "16UC1"),
    "thermal": ("mono16", "16UC1", "mono8", "8UC1"),
}


class MessageError(ValueError):
    """A message that cannot be used.

    Attributes:
        reason: a short key under which such messages are counted.
    """

    def __init__(self, reason: str, text: str):
        super().__init__(text)
        self.reason = reason


def _bytes(values: np.ndarray) -> array.array[int]:
    data = array.array("B")
    data.frombytes(memoryview(np.ascontiguousarray(values)).cast("B"))
    return data


def _check_size(width: int, height: int) -> None:
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise MessageError("size", f"a size of {width}x{height} is not within 1 to {MAX_SIDE} pixels")


def _check_stamp(stamp: Time) -> int:
    if stamp.nanosec >= 1_000_000_000:
        raise MessageError("stamp", f"the stamp has {stamp.nanosec} nanoseconds beside its seconds")
    return from_stamp(stamp)


def spikes_to_message(spikes: PackedSpikes, seq: int, frame_id: str) -> SpikePacket:
    """Planes as a packet. `seq` counts the packets of the publisher."""
    return SpikePacket(
        header=Header(stamp=to_stamp(spikes.start_ns), frame_id=frame_id),
        height=spikes.height,
        width=spikes.width,
        seq=seq,
        period_ns=spikes.period_ns,
        count=len(spikes),
        encoding="packed_lsb",
        data=_bytes(encode_packet(spikes)),
    )


def spikes_from_message(message: SpikePacket) -> PackedSpikes:
    """The planes of a packet: a view into the message.

    Raises:
        MessageError: for an unknown encoding, or fields that do not fit one another.
    """
    fields = (message.height, message.width, message.count, message.period_ns, message.encoding)
    fault = check_packet(*fields, len(message.data))
    if fault is not None:
        raise MessageError(fault.reason, fault.detail)
    return decode_packet(*fields, message.data, _check_stamp(message.header.stamp))


def image_to_message(image: np.ndarray, encoding: str, time_ns: int, frame_id: str) -> Image:
    """An image [H, W] or [H, W, C] as a message."""
    dtype, channels = _ENCODINGS[encoding]
    found = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != dtype or found != channels:
        raise ValueError(f"{encoding} is {np.dtype(dtype)} x {channels}, found {image.dtype} {image.shape}")
    return Image(
        header=Header(stamp=to_stamp(time_ns), frame_id=frame_id),
        height=image.shape[0],
        width=image.shape[1],
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=image.shape[1] * channels * np.dtype(dtype).itemsize,
        data=_bytes(image),
    )


def image_from_message(message: Image) -> np.ndarray:
    """The pixels of an image, [H, W] or [H, W, C] as its encoding has them: a view into the message.

    Raises:
        MessageError: for an unknown encoding, or fields that do not fit one another.
    """
    if message.encoding not in _ENCODINGS:
        raise MessageError(
            "encoding", f"image encoding {message.encoding!r} is unknown, expected one of {', '.join(_ENCODINGS)}"
        )
    _check_size(message.width, message.height)
    _check_stamp(message.header.stamp)
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


def sensor_image(sensor: str, message: Image | CompressedImage) -> np.ndarray:
    """The image of a sensor in the form `DepthSample` asks for: rgb as uint8 [H, W, 3], thermal as uint16.

    Raises:
        MessageError: for an encoding that this sensor cannot have, or a damaged message.
    """
    if isinstance(message, CompressedImage):
        pixels = _decompressed(message, colour=sensor == "rgb")
    elif message.encoding in SENSOR_ENCODINGS[sensor]:
        pixels = image_from_message(message)
        if sensor == "rgb":
            pixels = pixels[:, :, 2::-1] if message.encoding.startswith("bgr") else pixels[:, :, :3]
    else:
        pixels = _converted(sensor, message)
    if sensor == "thermal" and pixels.dtype != np.uint16:
        pixels = pixels.astype(np.uint16)
    return np.ascontiguousarray(pixels)


def _converted(sensor: str, message: Image) -> np.ndarray:
    """A colour image of an encoding that takes arithmetic (Bayer, YUV), by cv_bridge where that is installed."""
    allowed = ", ".join(SENSOR_ENCODINGS[sensor])
    shown = repr(message.encoding[:40])
    if not message.encoding.startswith(("bayer_", "yuv", "uyvy", "yuyv", "nv")) or sensor != "rgb":
        raise MessageError("encoding", f"{sensor} cannot be {shown}, expected one of {allowed}")
    _check_size(message.width, message.height)
    _check_stamp(message.header.stamp)
    try:
        from cv_bridge import CvBridge
    except ImportError:
        raise MessageError(
            "encoding", f"{sensor} can be {shown} where cv_bridge is installed; without it one of {allowed}"
        ) from None
    try:
        return CvBridge().imgmsg_to_cv2(message, "rgb8")
    except Exception as error:  # its own and OpenCV's, of whatever kind: the message is at fault, not the node
        raise MessageError("encoding", f"cv_bridge cannot read this {shown}: {error}") from error


def _decompressed(message: CompressedImage, colour: bool) -> np.ndarray:
    """The pixels of a JPEG or PNG: uint8 [H, W, 3] for colour, else uint8 or uint16 [H, W]."""
    _check_stamp(message.header.stamp)
    try:
        with Picture.open(io.BytesIO(message.data), formats=("JPEG", "PNG")) as picture:
            _check_size(*picture.size)  # as the head of the file has it: before anything is allocated
            if colour:
                return np.asarray(picture.convert("RGB"))
            if picture.mode.startswith("I"):
                return np.asarray(picture).astype(np.uint16)
            if picture.mode == "L":
                return np.asarray(picture)
            raise MessageError("encoding", f"a grey picture was expected, found mode {picture.mode}")
    except MessageError:
        raise
    except Picture.DecompressionBombError as error:
        raise MessageError("size", str(error)) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise MessageError("length", f"this is no readable JPEG or PNG: {error}") from error


def camera_to_message(camera: PinholeCamera, time_ns: int, frame_id: str) -> CameraInfo:
    """Intrinsics as a message. A camera without distortion is a rectified one: D is all zero."""
    distortion = list(camera.distortion) + [0.0] * (5 - len(camera.distortion))
    fx, fy, cx, cy = (float(v) for v in (camera.fx, camera.fy, camera.cx, camera.cy))
    return CameraInfo(
        header=Header(stamp=to_stamp(time_ns), frame_id=frame_id),
        height=camera.height,
        width=camera.width,
        distortion_model="plumb_bob",
        d=distortion,
        k=[fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def camera_from_message(message: CameraInfo) -> PinholeCamera:
    """Intrinsics of a message, as K and D have them.

    Raises:
        MessageError: for a camera that is not calibrated, or whose distortion is not `plumb_bob`.
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
    return PinholeCamera(message.width, message.height, *(float(k[i]) for i in (0, 4, 2, 5)), distortion=distortion)


_POINT = np.dtype([(name, "<f4") for name in ("x", "y", "z")])
_COLOURED_POINT = np.dtype([*((name, "<f4") for name in ("x", "y", "z")), ("rgb", "<u4")])


def points_to_message(points: np.ndarray, colours: np.ndarray | None, time_ns: int, frame_id: str) -> PointCloud2:
    """An organised cloud: a point a pixel, NaN where there is none.

    Args:
        points: float32 [H, W, 3], metres.
        colours: uint8 [H, W, 3], or None. Packed as PCL has it: `rgb`, a float32 of the bits 0x00rrggbb.
    """
    kind = _POINT if colours is None else _COLOURED_POINT
    data = np.empty(points.shape[:2], kind)
    for axis, name in enumerate(("x", "y", "z")):
        data[name] = points[:, :, axis]
    if colours is not None:
        red, green, blue = (colours[:, :, channel].astype(np.uint32) for channel in range(3))
        data["rgb"] = red << 16 | green << 8 | blue
    height, width = data.shape
    return PointCloud2(
        header=Header(stamp=to_stamp(time_ns), frame_id=frame_id),
        height=height,
        width=width,
        fields=[
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(kind.names)
        ],
        is_bigendian=False,
        point_step=kind.itemsize,
        row_step=width * kind.itemsize,
        data=_bytes(data.view(np.uint8)),
        is_dense=False,
    )


def disparity_to_message(
    disparity: np.ndarray, focal: float, baseline: float, time_ns: int, frame_id: str
) -> DisparityImage:
    """Disparity float32 [H, W] in pixels of cameras `baseline` metres apart."""
    image = image_to_message(disparity, "32FC1", time_ns, frame_id)
    height, width = disparity.shape
    known = disparity[np.isfinite(disparity)]
    return DisparityImage(
        header=image.header,
        image=image,
        f=float(focal),
        t=float(baseline),
        valid_window=RegionOfInterest(height=height, width=width),
        min_disparity=float(known.min()) if known.size else 0.0,
        max_disparity=float(known.max()) if known.size else 0.0,
        delta_d=0.0,
    )
