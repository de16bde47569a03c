"""Resampling images from one camera to another that looks from (nearly) the same place.

Without depth, an image can be moved to another camera exactly for everything far away: by the homography at
infinity, K_t R K_s^-1 (Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 13.4). What remains is the
parallax of the baseline, focal * baseline / depth pixels.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spike_depth_core.geometry.cameras import PinholeCamera
from spike_depth_core.geometry.precision import full_precision


def intrinsics(camera: PinholeCamera) -> Tensor:
    """(fx, fy, cx, cy), float32 [4]."""
    return torch.tensor([camera.fx, camera.fy, camera.cx, camera.cy], dtype=torch.float32)


def lens(camera: PinholeCamera, dtype: torch.dtype = torch.float32) -> Tensor:
    """(k1, k2, p1, p2, k3) [5], zeros for a rectified image."""
    return torch.tensor((*camera.distortion, *[0.0] * 5)[:5], dtype=dtype)


def resized_intrinsics(cameras: Tensor, scale_x: float, scale_y: float) -> Tensor:
    """Intrinsics [B, 4] after the images are scaled (pixel centres at integers)."""
    fx, fy, cx, cy = cameras.unbind(-1)
    return torch.stack([fx * scale_x, fy * scale_y, (cx + 0.5) * scale_x - 0.5, (cy + 0.5) * scale_y - 0.5], dim=-1)


def distort(x: Tensor, y: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Apply the `plumb_bob` lens model to ray slopes.

    Args:
        x, y: undistorted slopes, any shape [B, ...].
        coefficients: (k1, k2, p1, p2, k3) [B, 5].

    Source: the OpenCV camera model that `sensor_msgs/CameraInfo` refers to.
    """
    shape = (-1,) + (1,) * (x.dim() - 1)
    k1, k2, p1, p2, k3 = (c.reshape(shape) for c in coefficients.unbind(-1))
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    )


def fold(coefficients: Tensor) -> Tensor:
    """The slope at which the lens model turns back, [B] of coefficients [B, 5]; inf where it never does.

    Farther out it means nothing: it brings rays from outside of the picture into it a second time. It is where the
    derivative of r (1 + k1 r^2 + k2 r^4 + k3 r^6) is zero first.
    """
    k1, k2, _, _, k3 = np.asarray(coefficients.detach().cpu(), np.float64).T
    found = []
    for derivative in np.stack([7 * k3, 5 * k2, 3 * k1, np.ones_like(k1)], axis=1):  # in r^2, the highest power first
        roots = np.roots(derivative)
        turns = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
        found.append(math.sqrt(turns.min()) if turns.size else math.inf)
    return coefficients.new_tensor(found)


@full_precision
def infinity_grid(
    source: Tensor,
    target: Tensor,
    target_size: tuple[int, int],
    source_from_target: Tensor | None = None,
    distortion: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Where each target pixel lies in the source image, for a scene at infinity.

    Args:
        source, target: intrinsics (fx, fy, cx, cy) [B, 4].
        target_size: (height, width) of the target image.
        source_from_target: rotations [B, 3, 3]; None means both look the same way.
        distortion: `plumb_bob` coefficients of the source lens [B, 5], or None.

    Returns:
        Source pixel coordinates [B, H, W, 2] (u, v), and a mask [B, H, W] of rays in front of the source camera that
        its lens model is for.
    """
    height, width = target_size
    fx, fy, cx, cy = (c.reshape(-1, 1, 1) for c in target.unbind(-1))
    u = torch.arange(width, device=target.device, dtype=target.dtype).reshape(1, 1, -1)
    v = torch.arange(height, device=target.device, dtype=target.dtype).reshape(1, -1, 1)
    x = ((u - cx) / fx).expand(-1, height, -1)
    y = ((v - cy) / fy).expand(-1, -1, width)
    front = torch.ones_like(x, dtype=torch.bool)
    if source_from_target is not None:
        rays = torch.stack([x, y, torch.ones_like(x)], dim=-1)
        rays = torch.einsum("bij,bhwj->bhwi", source_from_target.to(rays.dtype), rays)
        front = rays[..., 2] > 1e-3
        z = rays[..., 2].clamp(min=1e-3)
        x, y = rays[..., 0] / z, rays[..., 1] / z
    if distortion is not None:
        front = front & (x * x + y * y <= fold(distortion).reshape(-1, 1, 1) ** 2)
        x, y = distort(x, y, distortion)
    fx, fy, cx, cy = (c.reshape(-1, 1, 1) for c in source.unbind(-1))
    return torch.stack([x * fx + cx, y * fy + cy], dim=-1), front


def sample_at(image: Tensor, pixels: Tensor, mode: str = "bilinear", padding_mode: str = "border") -> Tensor:
    """Sample an image [B, C, H, W] at pixel coordinates [B, h, w, 2] (u, v)."""
    height, width = image.shape[-2:]
    size = torch.tensor([width, height], device=pixels.device, dtype=pixels.dtype)
    grid = (2 * pixels + 1) / size - 1  # align_corners=False: -1 and 1 are the outer edges of the outer pixels
    return F.grid_sample(image, grid.to(image.dtype), mode=mode, padding_mode=padding_mode, align_corners=False)


def average_pool(image: Tensor, factor: int) -> Tensor:
    """Means of blocks of factor x factor pixels of [..., H, W]; what is left over below and to the right is dropped.

    A fraction of the time of torch.nn.functional.avg_pool2d on a CPU: rows are summed first, which is a plain sum of
    what lies side by side in memory.
    """
    height, width = (side // factor * factor for side in image.shape[-2:])
    image = image[..., :height, :width]
    rows, *others = (image[..., k::factor, :] for k in range(factor))
    for other in others:
        rows = rows + other
    sums, *others = (rows[..., k::factor] for k in range(factor))
    for other in others:
        sums = sums + other
    return sums / factor**2


def box_mean(image: Tensor, side: int) -> Tensor:
    """Means of all windows of side x side pixels that lie within [..., H, W]: [..., H - side + 1, W - side + 1].

    By sums of shifted maps, several times as fast as pooling on a CPU, and as its gradient is.
    """
    height, width = (length - side + 1 for length in image.shape[-2:])
    across = image[..., :width].clone()
    for k in range(1, side):
        across += image[..., k : k + width]
    down = across[..., :height, :].clone()
    for k in range(1, side):
        down += across[..., k : k + height, :]
    return down / side**2


def inside(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Which pixel coordinates [..., 2] (u, v) lie within an image of (height, width)."""
    height, width = size
    u, v = pixels.unbind(-1)
    return (u >= -0.5) & (u <= width - 0.5) & (v >= -0.5) & (v <= height - 0.5)
