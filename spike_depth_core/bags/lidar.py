"""LiDAR points of messages."""

from __future__ import annotations

from typing import Any

import numpy as np

from spike_depth_core.bags.messages import MessageError, stamp_ns

# sensor_msgs/PointField: number of the type.
_DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def points_from_message(message: Any) -> np.ndarray:
    """x, y and z of a `PointCloud2`, float64 [N, 3], in metres in its own frame; points that are not finite are left
    out.

    Raises:
        MessageError: for a cloud without coordinates, or fields that do not fit one another.
    """
    stamp_ns(message)
    fields = {field.name: field for field in message.fields}
    missing = [name for name in "xyz" if name not in fields]
    if missing:
        raise MessageError("fields", f"the cloud has no {', '.join(missing)}; it has {', '.join(fields) or 'nothing'}")
    offsets = [int(fields[name].offset) for name in "xyz"]
    order = ">" if message.is_bigendian else "<"
    formats = [order + _DATATYPES.get(int(fields[name].datatype), "V0") for name in "xyz"]
    step, row, data = int(message.point_step), int(message.row_step), np.frombuffer(message.data, np.uint8)
    fits = all(offset + np.dtype(kind).itemsize <= step for offset, kind in zip(offsets, formats, strict=True))
    if order + "V0" in formats or not fits or row < step * message.width or len(data) != row * message.height:
        raise MessageError(
            "length",
            f"{message.width}x{message.height} points of {step} bytes in rows of {row} do not fit {len(data)} bytes",
        )
    dtype = np.dtype({"names": list("xyz"), "formats": formats, "offsets": offsets, "itemsize": step})
    rows = data.reshape(message.height, row)[:, : step * message.width]
    points = np.ascontiguousarray(rows).view(dtype).reshape(-1)
    stacked = np.stack([points[name].astype(np.float64) for name in "xyz"], axis=1)
    return stacked[np.isfinite(stacked).all(axis=1)]
