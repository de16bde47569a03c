"""Seeing what another camera sees, by depth: back-projection, projection, and sampling with an occlusion test.

Source: the inverse warping of view synthesis, Zhou et al., "Unsupervised learning of depth and ego-motion from video"
(CVPR 2017), equation 2. Each pixel of the target is lifted by its own depth and looked up in the source.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from spike_depth_core.geometry.precision import full_precision
from spike_depth_core.geometry.resample import inside, resized_intrinsics, sample_at


def back_project(depth: Tensor, camera: Tensor) -> Tensor:
    """Points [B, H, W, 3] (metres, in the camera's optical frame) of a depth map [B, H, W] along the optical axis.

    Args:
        depth: metres.
        camera: (fx, fy, cx, cy) [B, 4] of the map's size.
    """
    height, width = depth.shape[-2:]
    fx, fy, cx, cy = (c.reshape(-1, 1, 1) for c in camera.unbind(-1))
    u = torch.arange(width, device=depth.device, dtype=depth.dtype)
    v = torch.arange(height, device=depth.device, dtype=depth.dtype)[:, None]
    return torch.stack([(u - cx) / fx * depth, (v - cy) / fy * depth, depth], dim=-1)


@full_precision
def transform(points: Tensor, matrix: Tensor) -> Tensor:
    """Points [B, H, W, 3] moved by rigid transforms [B, 4, 4]."""
    moved = torch.einsum("bij,bhwj->bhwi", matrix[:, :3, :3].to(points.dtype), points)
    return moved + matrix[:, None, None, :3, 3].to(points.dtype)


def project(points: Tensor, camera: Tensor, nearest: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Pixel coordinates [B, H, W, 2] (u, v) and depth [B, H, W] of points [B, H, W, 3].

    Points nearer than `nearest` metres, or behind the camera, are projected as if they were that far: ask their depth.
    """
    fx, fy, cx, cy = (c.reshape(-1, 1, 1) for c in camera.unbind(-1))
    x, y, z = points.unbind(-1)
    safe = z.clamp(min=nearest)
    return torch.stack([x / safe * fx + cx, y / safe * fy + cy], dim=-1), z


def warp(
    source: Tensor,
    depth: Tensor,
    source_camera: Tensor,
    target_camera: Tensor,
    source_from_target: Tensor,
    source_depth: Tensor | None = None,
    tolerance: float = 0.05,
    padding_mode: str = "zeros",
) -> tuple[Tensor, Tensor]:
    """A source image or feature map as the target camera sees it.

    Maps smaller than the image their intrinsics are for are served as well: intrinsics scale with them. Gradients flow
    into `source` and `depth`.

    Args:
        source: [B, C, h, w], anything that lies on the source camera's image; it may be scaled down.
        depth: of the target's pixels, metres [B, H, W]; the result has this size.
        source_camera, target_camera: (fx, fy, cx, cy) [B, 4], for images of the size of `source` and `depth`.
        source_from_target: rigid transforms [B, 4, 4], metres.
        source_depth: of the source's pixels, metres, for the occlusion test; None makes none. It may be finer than
            `source`: a coarse cell holds many depths, and the test should ask the one that is looked at.
        tolerance: largest relative difference of depth at which both cameras are taken to see the same point.
        padding_mode: of `torch.nn.functional.grid_sample`.

    Returns:
        The warped map [B, C, H, W], and a mask [B, H, W] of pixels whose point lies before the source camera, within
        its image, and is not occluded there.
    """
    points = transform(back_project(depth, target_camera), source_from_target)
    pixels, z = project(points, source_camera)
    seen = (z > 1e-3) & inside(pixels, (source.shape[-2], source.shape[-1])) & torch.isfinite(pixels).all(dim=-1)
    pixels = torch.nan_to_num(pixels, nan=-1e4, posinf=1e4, neginf=-1e4)
    if source_depth is not None:
        # The nearest depth, not a mix of two: between foreground and background there is nothing to see.
        size, fine = source.shape[-2:], source_depth.shape[-2:]
        scale = pixels.new_tensor([fine[1] / size[1], fine[0] / size[0]])
        found = sample_at(source_depth[:, None], (pixels + 0.5) * scale - 0.5, mode="nearest")[:, 0]
        seen = seen & ((found - z).abs() <= tolerance * z)
    return sample_at(source, pixels, padding_mode=padding_mode), seen


def scaled_camera(camera: Tensor, size: tuple[int, int], to: tuple[int, int]) -> Tensor:
    """Intrinsics [B, 4] for an image of (height, width) `size`, made those of the image scaled `to` another size."""
    return resized_intrinsics(camera, to[1] / size[1], to[0] / size[0])


def scaled_depth(depth: Tensor, to: tuple[int, int]) -> Tensor:
    """A depth map [B, H, W] at another size, by its nearest pixels: a mean of two surfaces is on neither."""
    # `nearest` takes the top left pixel of a cell, which on a road is farther away than its centre.
    return F.interpolate(depth[:, None], to, mode="nearest-exact")[:, 0]
