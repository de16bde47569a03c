"""Depth of one camera as another one's: points of a depth image, and depth images of points, lens distortion included.

What is seen from two places differs: what hides what is told by the nearest of all points that fall into a pixel.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit

from spike_depth_core.geometry.cameras import PinholeCamera
from spike_depth_core.geometry.resample import distort, fold, lens

NEAREST = 0.1
"""Metres: what is nearer is the vehicle itself."""
_SKY = 1e6  # metres: how far a point stands for a direction in which there is nothing
_BEYOND = 1e5  # metres: what is farther is nothing


def points_of_depth(depth: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """Points of a depth image.

    Args:
        depth: [H, W] of the rectified camera: metres along the optical axis, +inf for sky, NaN where unknown.
        camera: its intrinsics; distortion is ignored.

    Returns:
        float64 [N, 3] in metres, in the camera's optical frame; the sky is points very far away.
    """
    if depth.shape != (camera.height, camera.width):
        raise ValueError(f"depth is {depth.shape}, its camera {camera.height, camera.width}")
    return _lift(np.asarray(depth, np.float32), *camera.slopes())


def depth_of_points(
    points: np.ndarray, camera_from_points: np.ndarray, camera: PinholeCamera, footprint: float = 1.0
) -> np.ndarray:
    """Points as the depth image of a camera: the nearest of those that fall into a pixel.

    Args:
        points: [N, 3] in metres, in their own frame.
        camera_from_points: 4x4.
        camera: with its distortion.
        footprint: how many pixels a point is wide, so that no background shows through between the points of a surface.

    Returns:
        float32 [H, W], metres along the optical axis; NaN where no point falls, +inf where only the sky does.
    """
    moved = _move(np.ascontiguousarray(points, np.float64), np.ascontiguousarray(camera_from_points, np.float64))
    x, y, z = moved
    if any(camera.distortion):
        coefficients = lens(camera, torch.float64)[None]
        seen = x * x + y * y <= float(fold(coefficients)) ** 2
        z = z[seen]
        bent = distort(torch.from_numpy(x[seen])[None], torch.from_numpy(y[seen])[None], coefficients)
        x, y = bent[0][0].numpy(), bent[1][0].numpy()
    side = max(1, math.ceil(footprint - 0.25))
    depth = np.full((camera.height, camera.width), np.inf, np.float32)
    _splat(depth, x * camera.fx + camera.cx, y * camera.fy + camera.cy, z, side)
    unseen = np.isinf(depth)
    return np.where(unseen, np.float32(np.nan), np.where(depth > _BEYOND, np.float32(np.inf), depth))


def carry_depth(
    depth: np.ndarray, source: PinholeCamera, target: PinholeCamera, target_from_source: np.ndarray
) -> np.ndarray:
    """A dense depth image of a rectified camera as another camera's, see `depth_of_points`."""
    footprint = max(target.fx / source.fx, target.fy / source.fy)
    return depth_of_points(points_of_depth(depth, source), target_from_source, target, footprint)


@njit(cache=True, nogil=True)
def _lift(depth: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    points = np.empty((depth.size, 3))
    count = 0
    for v in range(depth.shape[0]):
        for u in range(depth.shape[1]):
            if not np.isnan(depth[v, u]):
                z = min(float(depth[v, u]), _SKY)
                points[count, 0], points[count, 1], points[count, 2] = x[u] * z, y[v] * z, z
                count += 1
    return points[:count]


@njit(cache=True, nogil=True)
def _move(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Slopes and depths [3, N] of those points that are in front of the camera."""
    moved = np.empty((3, len(points)))
    count = 0
    for i in range(len(points)):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        z = matrix[2, 0] * px + matrix[2, 1] * py + matrix[2, 2] * pz + matrix[2, 3]
        if z > NEAREST:
            moved[0, count] = (matrix[0, 0] * px + matrix[0, 1] * py + matrix[0, 2] * pz + matrix[0, 3]) / z
            moved[1, count] = (matrix[1, 0] * px + matrix[1, 1] * py + matrix[1, 2] * pz + matrix[1, 3]) / z
            moved[2, count] = z
            count += 1
    return moved[:, :count]


@njit(cache=True, nogil=True)
def _splat(depth: np.ndarray, u: np.ndarray, v: np.ndarray, z: np.ndarray, side: int) -> None:
    """Keep the nearest depth in the square of side x side pixels whose centre is nearest to each point."""
    height, width = depth.shape
    corner = (side - 1) / 2 - 0.5
    for i in range(len(z)):
        if not (-side < u[i] < width + side and -side < v[i] < height + side):  # neither is what is not finite
            continue
        left, top = math.floor(u[i] - corner), math.floor(v[i] - corner)
        for row in range(max(0, top), min(height, top + side)):
            for column in range(max(0, left), min(width, left + side)):
                if z[i] < depth[row, column]:
                    depth[row, column] = z[i]
