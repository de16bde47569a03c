"""What is made of an estimate for those who use it: limits, millimetres, disparity, coloured points."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.geometry.resample import distort, fold, intrinsics, lens
from spike_depth_core.geometry.warp import back_project
from spike_depth_core.inference.estimator import DepthEstimate

HIDDEN = 128  # grey of points that a camera does not see
CELL = 3  # pixels


@dataclass(frozen=True)
class Limits:
    """Which depth is given out.

    Attributes:
        near, far: metres, both included.
        largest_uncertainty: relative standard deviation above which depth is unknown; 0 for no limit.
        infinite: depth outside the range is -inf (too near) or +inf (too far), as REP 117 has it; else NaN, which those
            who average depth without a look cope with better.
    """

    near: float = 0.0
    far: float = float("inf")
    largest_uncertainty: float = 0.0
    infinite: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.near < self.far:
            raise ValueError(f"the range of depth must be from near to far, found {self.near} to {self.far} m")

    def __call__(self, estimate: DepthEstimate) -> DepthEstimate:
        """The estimate with depth only where it is within the limits. Uncertainty is left as it is."""
        depth = estimate.depth.copy()
        with np.errstate(invalid="ignore"):
            depth[estimate.depth < self.near] = -np.inf if self.infinite else np.nan
            depth[estimate.depth > self.far] = np.inf if self.infinite else np.nan
            if self.largest_uncertainty:
                # Not `>`: where the uncertainty is unknown, so is the depth.
                depth[~(estimate.uncertainty <= self.largest_uncertainty)] = np.nan
        return dataclasses.replace(estimate, depth=depth)


def millimetres(depth: np.ndarray) -> np.ndarray:
    """Depth [H, W] in metres as uint16 millimetres; 0 where there is none, or more than 65.535 m (REP 118)."""
    rounded = np.nan_to_num(depth * 1000.0, nan=0.0, posinf=0.0, neginf=0.0).round()
    return np.where(rounded <= np.iinfo(np.uint16).max, rounded, 0).astype(np.uint16)


def disparity(depth: np.ndarray, focal: float, baseline: float) -> np.ndarray:
    """Pixels between the pictures of a point in two cameras beside one another, focal * baseline / depth, float32.

    Args:
        depth: metres [H, W].
        focal: pixels.
        baseline: metres.

    Returns:
        NaN where there is no depth, 0 for depth at infinity.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(depth > 0, focal * baseline / depth, np.nan).astype(np.float32)


def points_of(depth: np.ndarray, camera: PinholeCamera, stride: int = 1) -> np.ndarray:
    """Points float32 [h, w, 3] of every `stride`th pixel of a rectified depth image, metres in the optical frame of its
    camera (x right, y down, z forward); NaN where depth is not finite."""
    thinned = depth[::stride, ::stride]
    thinned = np.where(np.isfinite(thinned), thinned, np.nan).astype(np.float32)
    # The centre of pixel k of the thinned image is that of pixel k * stride: intrinsics are divided, the centre too.
    return back_project(torch.from_numpy(thinned)[None], intrinsics(camera)[None] / stride)[0].numpy()


def colours_of(
    points: np.ndarray, image: np.ndarray, camera: PinholeCamera, camera_from_points: np.ndarray, tolerance: float = 0.3
) -> np.ndarray:
    """The colours of points as another camera sees them.

    A point that lies behind a nearer one in that camera has no colour of its own there: it is hidden.

    Args:
        points: float32 [h, w, 3], NaN where there is none.
        image: uint8 [H, W, 3].
        camera: of the image, with its distortion.
        camera_from_points: rigid transform 4x4.
        tolerance: relative depth by which a point may be behind the nearest one of its neighbourhood and still be seen:
            neighbours on a road far away differ by that much.

    Returns:
        uint8 [h, w, 3]; grey (`HIDDEN`) where the camera does not see the point.
    """
    shape = points.shape[:2]
    flat = points.reshape(-1, 3) @ camera_from_points[:3, :3].T.astype(np.float32)
    flat = flat + camera_from_points[:3, 3].astype(np.float32)
    depth = flat[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        x, y = (torch.from_numpy(flat[:, axis] / depth)[None] for axis in (0, 1))
        front = depth > 1e-3
        if any(camera.distortion):
            coefficients = lens(camera)[None]
            front &= (x**2 + y**2 <= fold(coefficients) ** 2)[0].numpy()
            x, y = distort(x, y, coefficients)
        u = np.rint(x[0].numpy() * camera.fx + camera.cx)
        v = np.rint(y[0].numpy() * camera.fy + camera.cy)
        seen = front & (u >= 0) & (u < camera.width) & (v >= 0) & (v < camera.height)
    colours = np.full((len(flat), 3), HIDDEN, np.uint8)
    index = v[seen].astype(np.int64) * camera.width + u[seen].astype(np.int64)
    nearest = _nearest_in_cells(u[seen], v[seen], depth[seen], camera)
    visible = depth[seen] <= nearest * (1 + tolerance)
    picked = image.reshape(-1, 3)[index[visible]]
    colours[np.flatnonzero(seen)[visible]] = picked
    return colours.reshape(*shape, 3)


def _nearest_in_cells(u: np.ndarray, v: np.ndarray, depth: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """The least depth among the points of each point's cell of pixels: points are sparser than pixels, so that
    something near leaves gaps between its points through which what is behind must not shine."""
    across = camera.width // CELL + 1
    cell = (v.astype(np.int64) // CELL) * across + u.astype(np.int64) // CELL
    nearest = np.full(across * (camera.height // CELL + 1), np.inf, np.float32)
    np.minimum.at(nearest, cell, depth)
    return nearest[cell]
