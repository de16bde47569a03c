"""What KITTI's data sets share: calibration files, LiDAR sweeps, and their projection into a camera.

Formats: Geiger, Lenz, Stiller and Urtasun, "Vision meets robotics: The KITTI dataset" (IJRR 2013) and the readmes of
the raw data and object development kits.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from spike_depth_core.geometry import PinholeCamera

CAMERA_HEIGHT = 1.65
"""Metres of the cameras over the road: the setup drawing of Geiger et al. (IJRR 2013)."""


def read_matrices(path: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Matrices of a calibration file (`KEY: numbers` a line), float64.

    Args:
        path: the file.
        shapes: which to read, and their shapes.

    Raises:
        ValueError: naming the file and the matrix that is missing, has the wrong number of values or infinite ones.
    """
    entries = {}
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: a calibration is text, found byte 0x{error.object[error.start]:02x}") from error
    for line in text.splitlines():
        key, colon, values = line.partition(":")
        if colon:
            entries[key.strip()] = values.split()
    matrices = {}
    for key, shape in shapes.items():
        found = entries.get(key)
        if found is None:
            raise ValueError(f"{path}: the calibration lacks {key}; it has {', '.join(sorted(entries))}")
        size = int(np.prod(shape))
        if len(found) != size:
            raise ValueError(f"{path}: {key} takes {size} values, found {len(found)}")
        try:
            matrices[key] = np.array(found, dtype=np.float64).reshape(shape)
        except ValueError as error:
            raise ValueError(f"{path}: {key} is not made of numbers: {error}") from error
        if not np.isfinite(matrices[key]).all():
            raise ValueError(f"{path}: {key} takes finite values, found {' '.join(found)}")
    return matrices


def rigid(rotation: np.ndarray, translation: np.ndarray | None = None) -> np.ndarray:
    """4x4 transform of a rotation [3, 3] and a translation [3]."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    if translation is not None:
        matrix[:3, 3] = translation
    return matrix


def camera_of(projection: np.ndarray, width: int, height: int) -> PinholeCamera:
    """Intrinsics of a rectified projection matrix [3, 4]."""
    return PinholeCamera(width, height, projection[0, 0], projection[1, 1], projection[0, 2], projection[1, 2])


def camera_from_rectified(projection: np.ndarray) -> np.ndarray:
    """4x4 transform from the rectified frame of camera 0 to that of a rectified projection matrix P = K [I | t]."""
    return rigid(np.eye(3), np.linalg.solve(projection[:, :3], projection[:, 3]))


def read_points(path: str | Path) -> np.ndarray:
    """A LiDAR sweep: float32 [N, 4] of x, y, z (metres, in the LiDAR's frame) and reflectance."""
    size = Path(path).stat().st_size
    if size == 0 or size % 16:
        raise ValueError(f"{path}: a LiDAR sweep is 16 bytes a point, found {size} bytes")
    return np.fromfile(path, dtype="<f4").reshape(-1, 4)


def project(points: np.ndarray, image_from_lidar: np.ndarray) -> np.ndarray:
    """LiDAR points in an image.

    Args:
        points: [N, 3 or more], metres, in the LiDAR's frame.
        image_from_lidar: [3, 4], projection times pose.

    Returns:
        float64 [M, 3]: u, v in pixels and depth in metres of the M points that are in front of the camera.
    """
    homogeneous = np.column_stack([points[:, :3].astype(np.float64), np.ones(len(points))])
    seen = homogeneous @ image_from_lidar.T
    seen = seen[seen[:, 2] > 0]
    return np.column_stack([seen[:, :2] / seen[:, 2:], seen[:, 2]])


def rasterise(seen: np.ndarray, width: int, height: int) -> np.ndarray:
    """Points [M, 3] (u, v in pixels, metres) as a depth image, float32 [H, W]: NaN between them; of two, the nearer."""
    depth = np.full((height, width), np.inf, dtype=np.float32)
    u, v = np.round(seen[:, 0]).astype(np.int64), np.round(seen[:, 1]).astype(np.int64)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    np.minimum.at(depth, (v[inside], u[inside]), seen[inside, 2].astype(np.float32))
    return np.where(np.isinf(depth), np.nan, depth).astype(np.float32)
