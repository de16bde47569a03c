"""Arrays to and from messages of a live graph.

Reading and the values of what is written are those of bags; what rclpy has its own way with is here. Writing copies
once, into the `array.array('B')` that rclpy takes as it is; any other sequence it would convert element by element.
"""

from __future__ import annotations

import array

import numpy as np
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField, RegionOfInterest
from spike_depth.msg import SpikePacket
from std_msgs.msg import Header
from stereo_msgs.msg import DisparityImage

from spike_depth_core.bags import messages
from spike_depth_core.bags.messages import (
    SENSOR_ENCODINGS,
    MessageError,
    camera_fields,
    camera_from_message,
    image_fields,
    image_from_message,
    pose_from_odometry,
    spikes_fields,
    spikes_from_message,
)
from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.geometry.rig import quaternion_from_rotation
from spike_depth_core.spikes import PackedSpikes
from spike_depth_ros.time import to_stamp

__all__ = [
    "MessageError",
    "camera_from_message",
    "camera_to_message",
    "disparity_to_message",
    "image_from_message",
    "image_to_message",
    "odometry_to_message",
    "points_to_message",
    "pose_from_odometry",
    "sensor_image",
    "spikes_from_message",
    "spikes_to_message",
]


def _bytes(values: np.ndarray) -> array.array[int]:
    data = array.array("B")
    data.frombytes(memoryview(np.ascontiguousarray(values)).cast("B"))
    return data


def _header(time_ns: int, frame_id: str) -> Header:
    return Header(stamp=to_stamp(time_ns), frame_id=frame_id)


def spikes_to_message(spikes: PackedSpikes, seq: int, frame_id: str) -> SpikePacket:
    """Planes as a packet. `seq` counts the packets of the publisher."""
    fields = spikes_fields(spikes, seq)
    return SpikePacket(header=_header(spikes.start_ns, frame_id), **fields | {"data": _bytes(fields["data"])})


def image_to_message(image: np.ndarray, encoding: str, time_ns: int, frame_id: str) -> Image:
    """An image [H, W] or [H, W, C] as a message."""
    fields = image_fields(image, encoding)
    return Image(header=_header(time_ns, frame_id), **fields | {"data": _bytes(fields["data"])})


def sensor_image(sensor: str, message: Image | CompressedImage) -> np.ndarray:
    """The image of a sensor in the form `DepthSample` asks for: rgb as uint8 [H, W, 3], thermal as uint16.

    Raises:
        MessageError: for an encoding that this sensor cannot have, or a damaged message.
    """
    return messages.sensor_image(sensor, message, _converted)


def _converted(message: Image) -> np.ndarray:
    """A colour image of an encoding that takes arithmetic (Bayer, YUV), by cv_bridge where that is installed."""
    shown = repr(message.encoding[:40])
    try:
        from cv_bridge import CvBridge
    except ImportError:
        allowed = ", ".join(SENSOR_ENCODINGS["rgb"])
        raise MessageError(
            "encoding", f"rgb can be {shown} where cv_bridge is installed; without it one of {allowed}"
        ) from None
    try:
        return CvBridge().imgmsg_to_cv2(message, "rgb8")
    except Exception as error:  # its own and OpenCV's, of whatever kind: the message is at fault, not the node
        raise MessageError("encoding", f"cv_bridge cannot read this {shown}: {error}") from error


def camera_to_message(camera: PinholeCamera, time_ns: int, frame_id: str) -> CameraInfo:
    """Intrinsics as a message. A camera without distortion is a rectified one: D is all zero."""
    fields = camera_fields(camera)
    return CameraInfo(header=_header(time_ns, frame_id), **fields | {"d": fields["d"].tolist()})


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
        header=_header(time_ns, frame_id),
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


def odometry_to_message(world_from_body: np.ndarray, time_ns: int, frame_id: str, child_frame_id: str) -> Odometry:
    """A pose 4x4 (metres) as odometry, without velocities and covariances."""
    message = Odometry(header=_header(time_ns, frame_id), child_frame_id=child_frame_id)
    place, turn = message.pose.pose.position, message.pose.pose.orientation
    place.x, place.y, place.z = (float(value) for value in world_from_body[:3, 3])
    turn.x, turn.y, turn.z, turn.w = quaternion_from_rotation(world_from_body[:3, :3])
    return message


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
