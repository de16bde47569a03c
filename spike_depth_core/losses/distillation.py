"""Distillation losses: what one network knows, taught to another, where it is worth teaching."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from spike_depth_core.losses.depth import masked_mean


def feature_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of two feature maps, over channels and over the positions of a mask.

    Args:
        student, teacher: [B, C, H, W]; hand the teacher in detached to move the student alone.
        mask: bool [B, H, W]; where it is nowhere true the loss is zero, with a gradient.
    """
    return masked_mean((student - teacher).square().mean(dim=1), mask)


def least(values: Tensor, valid: Tensor, share: float) -> Tensor:
    """Where the smallest values of a batch are: a gate at their quantile.

    Args:
        values: of any shape, one number a position: an uncertainty.
        valid: bool, the same shape; other positions are neither counted nor chosen.
        share: of the valid positions, 0 to 1. One at least is chosen above 0, and all that equal the largest chosen.

    Returns:
        bool, the same shape.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"the share of positions to choose is 0 to 1, found {share}")
    # Not torch.quantile: it refuses more than 2^24 numbers, and a large batch of whole pictures has more.
    candidates = values.detach()[valid]
    count = math.ceil(share * len(candidates) - 1e-6)
    if count == 0:
        return torch.zeros_like(valid)
    return valid & (values.detach() <= candidates.kthvalue(count).values)


def mostly(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask [B, H, W] at a smaller size: true where at least half of a cell is."""
    return F.adaptive_avg_pool2d(mask[:, None].float(), size)[:, 0] >= 0.5
