"""Distillation of depth and features, with more weight where it is hard: the terms of our reading of ADU-Depth.

Of the paper (Wu et al., "ADU-Depth: attention-based distillation with uncertainty modeling for depth estimation",
CoRL 2023) the abstract alone is public here. Each formula below is a sound reading of it, not the paper's.

Two kinds of weights are kept apart. Those that say where it is hard (`focal_factor`, `emphasis`) have mean one: they
move a loss to other pixels and leave its amount. Those that say whether the teacher may be believed (`trust`,
`credibility`) are 0 to 1 and do lessen it. No gradient flows through any of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spike_depth_core.losses.depth import masked_mean

FOCAL = ("none", "disagreement", "range")


def response_distance(log_depth: Tensor, log_teacher: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    """mean over the mask of w |ln D_S - ln D_T|, [B, H, W] each; the teacher is not moved."""
    return masked_mean(weights * (log_depth - log_teacher.detach()).abs(), mask)


def feature_distance(student: Tensor, teacher: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
    """mean over positions p of a mask of w(p) ||F_S(p) - F_T(p)||^2, over the variance of the teacher's features there.

    One is what the best constant would cost, at any level and however large its features are.

    Args:
        student, teacher: features [B, C, H, W]; the teacher is not moved.
        weights: [B, H, W].
        mask: bool [B, H, W]; where it is nowhere true the distance is zero, with a gradient.
    """
    teacher = teacher.detach()
    mean = (teacher * mask[:, None]).sum(dim=(0, 2, 3), keepdim=True) / mask.sum().clamp(min=1)
    variance = masked_mean((teacher - mean).square().sum(dim=1), mask).clamp(min=1e-12)
    return masked_mean(weights * (student - teacher).square().sum(dim=1), mask) / variance


def focal_factor(kind: str, log_depth: Tensor, log_teacher: Tensor, power: float, far: float) -> Tensor:
    """Where the response of a teacher matters more, [B, H, W], before it is balanced.

    Args:
        kind: `none`: everywhere alike. `disagreement`: phi = (1 - exp(-e))^power of the relative difference
            e = |D_S - D_T| / D_T, the focal loss's factor (Lin et al., ICCV 2017, equation 4) with exp(-e) in the
            place of the probability of being right. `range`: phi = min(D_T / far, 1)^power, more weight far away.
        log_depth, log_teacher: logarithms of D_S and D_T.
        power: the exponent, gamma.
        far: metres.
    """
    if kind not in FOCAL:
        raise ValueError(f"a focal factor is one of {FOCAL}, found {kind!r}")
    with torch.no_grad():
        if kind == "none":
            return torch.ones_like(log_depth)
        if kind == "range":
            return (log_teacher.exp() / far).clamp(max=1) ** power
        relative = torch.expm1(log_depth - log_teacher).abs()
        return (-torch.expm1(-relative)) ** power


def emphasis(log_scale: Tensor, strength: float) -> Tensor:
    """1 + strength u, u the uncertainty of each pixel among those of its picture: 0 sure, 1 unsure, 1/2 the usual.

    u = b / (b + b') of the scale b of the error and its geometric mean b' over the picture, which is
    sigmoid(s - mean s) of s = log b. Stretching b between its extremes instead would let one wild pixel flatten all
    others.

    Args:
        log_scale: s, [B, H, W].
        strength: lambda; 0 weighs all alike.
    """
    s = log_scale.detach()
    return 1 + strength * torch.sigmoid(s - s.mean(dim=(1, 2), keepdim=True))


def trust(log_scale: Tensor, teacher_log_scale: Tensor) -> Tensor:
    """b_S / (b_S + b_T): near 1 where the teacher is far surer than the student, near 0 where it is far less sure."""
    return torch.sigmoid((log_scale - teacher_log_scale).detach())


def credibility(log_teacher: Tensor, truth: Tensor) -> Tensor:
    """exp(-|D_T - D*| / D*) where the truth D* (metres, [B, H, W]) is known, 1 elsewhere: a teacher that is wrong
    is not followed."""
    known = torch.isfinite(truth) & (truth > 0)
    safe = torch.where(known, truth, torch.ones_like(truth))
    relative = (log_teacher.detach().exp() - safe).abs() / safe
    return torch.where(known, torch.exp(-relative), torch.ones_like(relative))


def balanced(weights: Tensor, mask: Tensor) -> Tensor:
    """Weights over their mean within the mask, so that theirs is one there."""
    return weights / masked_mean(weights, mask).clamp(min=1e-12)
