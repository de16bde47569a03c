"""What gives view synthesis its metres: neighbouring pictures tell depth up to a factor only."""

from __future__ import annotations

import torch
from torch import Tensor


def road_anchor(log_ratio: Tensor, road: Tensor) -> Tensor:
    """|mean of the middle half of log-depth over that of a level road|, over the pixels where road is expected.

    The camera's height over the road is known, so the depth of the road is; one number a picture is compared, so that
    the anchor holds the scale and leaves the shape alone, and its middle half, so that a kerb or a car that covers
    less than a quarter of the pixels does not pull. Camera height as the source of scale: Xue et al., "Toward
    hierarchical self-supervised monocular absolute depth estimation" (DNet, IROS 2020), with a median for a mean.

    Args:
        log_ratio: log d - log d_road, [B, H, W].
        road: bool [B, H, W].

    Returns:
        Mean over the pictures; one without such pixels costs nothing.
    """
    flat, where = log_ratio.flatten(1), road.flatten(1)
    known = torch.where(where, flat.detach(), torch.full_like(flat, torch.nan))
    low, high = torch.nanquantile(known, torch.tensor([0.25, 0.75], device=flat.device, dtype=flat.dtype), dim=1)
    middle = where & (flat >= low[:, None]) & (flat <= high[:, None])
    mean = torch.where(middle, flat, torch.zeros_like(flat)).sum(1) / middle.sum(1).clamp(min=1)
    return mean.abs().mean()


def speed_anchor(translation: Tensor, metres: Tensor) -> Tensor:
    """Mean | ||t|| - m |: the estimated motion [..., 3] is as long as odometry says, metres [...].

    Source: the velocity supervision of PackNet-SfM (Guizilini et al., CVPR 2020) and CoMoDA (Kuznietsov et al.,
    WACV 2021).
    """
    return (torch.linalg.vector_norm(translation, dim=-1) - metres).abs().mean()
