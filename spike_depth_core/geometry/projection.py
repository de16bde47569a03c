"""Depth of one camera as another one's: points of a depth image, and depth images of points, lens distortion included.

What is seen from two places differs: what hides what is told by the nearest of all points that fall into a pixel.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit

from spike_depth_core.geometry.cameras import PinholeCamera
from spike_depth_core.geometry.resample import distort

NEAREST = 0.1
"""Metres: what is nearer is the vehicle itself."""
_SKY = 1e6  # metres: how far a point stands for a direction in which there is nothing
_BEYOND = 1e5  # metres: what is farther is nothing
_UNDISTORTING_STEPS = 20
_MARGIN = 1.1  # of the widest ray of a lens: its polynomial means nothing far outside of the image


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
    rows, columns = np.nonzero(~np.isnan(depth))
    z = np.minimum(depth[rows, columns].astype(np.float64), _SKY)
    x, y = camera.slopes()
    return np.stack([x[columns] * z, y[rows] * z, z], axis=1)


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
    moved = points @ camera_from_points[:3, :3].T + camera_from_points[:3, 3]
    moved = moved[moved[:, 2] > NEAREST]
    z = moved[:, 2]
    x, y = moved[:, 0] / z, moved[:, 1] / z
    if any(camera.distortion):
        near = x * x + y * y <= (_MARGIN * widest_ray(camera)) ** 2
        x, y, z = x[near], y[near], z[near]
        x, y = distorted(x, y, camera)
    side = max(1, math.ceil(footprint - 0.25))
    # The square of side x side pixels whose centre is nearest to the point.
    left = np.floor(x * camera.fx + camera.cx - (side - 1) / 2 + 0.5)
    top = np.floor(y * camera.fy + camera.cy - (side - 1) / 2 + 0.5)
    inside = (left > -side) & (left < camera.width) & (top > -side) & (top < camera.height)
    depth = np.full((camera.height, camera.width), np.inf, np.float32)
    _splat(depth, left[inside].astype(np.int64), top[inside].astype(np.int64), z[inside].astype(np.float32), side)
    unseen = np.isinf(depth)
    return np.where(unseen, np.float32(np.nan), np.where(depth > _BEYOND, np.float32(np.inf), depth))


def carry_depth(
    depth: np.ndarray, source: PinholeCamera, target: PinholeCamera, target_from_source: np.ndarray
) -> np.ndarray:
    """A dense depth image of a rectified camera as another camera's, see `depth_of_points`."""
    return depth_of_points(points_of_depth(depth, source), target_from_source, target, target.fx / source.fx)


@njit(cache=True, nogil=True)
def _splat(depth: np.ndarray, left: np.ndarray, top: np.ndarray, z: np.ndarray, side: int) -> None:
    for i in range(len(z)):
        for v in range(max(0, top[i]), min(depth.shape[0], top[i] + side)):
            for u in range(max(0, left[i]), min(depth.shape[1], left[i] + side)):
                if z[i] < depth[v, u]:
                    depth[v, u] = z[i]


def distorted(x: np.ndarray, y: np.ndarray, camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    """Slopes [N] of rays as a camera's lens bends them."""
    coefficients = torch.tensor([(list(camera.distortion) + [0.0] * 5)[:5]], dtype=torch.float64)
    bent = distort(torch.from_numpy(x)[None], torch.from_numpy(y)[None], coefficients)
    return bent[0][0].numpy(), bent[1][0].numpy()


def widest_ray(camera: PinholeCamera) -> float:
    """The largest slope from the optical axis that the corners of an image see, its distortion undone."""
    u = np.array([-0.5, camera.width - 0.5])
    v = np.array([-0.5, camera.height - 0.5])
    goal = np.stack(np.meshgrid((u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy), -1).reshape(-1, 2)
    ray = goal.copy()
    for _ in range(_UNDISTORTING_STEPS):  # the fixed point of what is missing, as OpenCV undistorts
        x, y = distorted(ray[:, 0], ray[:, 1], camera)
        ray = ray + goal - np.stack([x, y], -1)
    widest = float(np.linalg.norm(ray, axis=1).max())
    return widest if math.isfinite(widest) else float(2 * np.linalg.norm(goal, axis=1).max())
