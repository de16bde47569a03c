"""Cameras that look the same way through the same lens from different places, and what their pictures differ by.

Once the homography at infinity has brought a sensor's picture to another camera (`geometry.resample`), it is what that
camera would see from the sensor's place: rotation and intrinsics are equal, the optical centre c is not. A point X of
the one camera's frame is X - c in the other's, so a pixel p of depth z is found at

    p' = pi(K (z K^-1 p - c)),

and the points of a plane n.X = d by the homography K (I - c n^T / d) K^-1 (Hartley and Zisserman, Multiple View
Geometry, 2nd ed., equation 13.2, with R = I and t = -c). For a frontal plane that is f c / z pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spike_depth_core.geometry.resample import sample_at
from spike_depth_core.geometry.warp import back_project, project, scaled_camera, scaled_depth, warp


def parallax_warp(
    source: Tensor,
    depth: Tensor,
    camera: Tensor,
    centre: Tensor,
    source_depth: Tensor | None = None,
    tolerance: float = 0.05,
) -> tuple[Tensor, Tensor]:
    """A picture or feature map that was seen from `centre`, as it looks from the origin.

    Args:
        source: [B, C, h, w]; it lies on the same canvas as `depth` and may be scaled down.
        depth: from the origin, metres [B, H, W].
        camera: (fx, fy, cx, cy) [B, 4] of the canvas, of the size of `depth`.
        centre: where `source` was seen from, metres in the camera's frame [B, 3].
        source_depth: from `centre`, metres [B, H, W], for the occlusion test; None makes none.
        tolerance: see `warp`.

    Returns:
        The warped map [B, C, h, w], at its border continued, and a mask [B, h, w] of what was seen from there.
    """
    size, small = (depth.shape[-2], depth.shape[-1]), (source.shape[-2], source.shape[-1])
    camera = scaled_camera(camera, size, small)
    matrix = torch.eye(4, device=depth.device, dtype=depth.dtype).repeat(len(depth), 1, 1)
    matrix[:, :3, 3] = -centre
    return warp(
        source, scaled_depth(depth, small), camera, camera, matrix, source_depth, tolerance, padding_mode="border"
    )


def depth_from_beside(depth: Tensor, camera: Tensor, centre: Tensor, iterations: int = 4) -> Tensor:
    """The depth map [B, H, W] of the origin, by one [B, H, W] that was seen from `centre` [B, 3].

    Solves z(p) = depth(p'(z)) + c_z for z, with p' as above, by fixed-point iteration from p' = p. It converges where
    parallax changes by less than a pixel a pixel, which short baselines see to; what is hidden from `centre` takes the
    depth of what hides it, or of what is behind.
    """
    forward = centre[:, 2].reshape(-1, 1, 1)
    found = depth + forward
    for _ in range(iterations):
        pixels, _ = project(back_project(found, camera) - centre[:, None, None], camera)
        found = sample_at(depth[:, None], pixels)[:, 0] + forward
    return found
