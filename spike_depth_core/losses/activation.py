"""Distillation of activation patterns: which of a network's features are active where, not how strongly."""

from __future__ import annotations

import torch
from torch import Tensor

from spike_depth_core.losses.depth import masked_mean

THRESHOLD = 0.5
SURROGATES = ("sigmoid", "straight_through")


def activation_pattern(features: Tensor) -> Tensor:
    """1 where a feature is above the mean of its picture's features, else 0: float of [B, C, H, W], no gradient."""
    features = features.detach()
    return (features > features.mean(dim=(1, 2, 3), keepdim=True)).to(features.dtype)


def pattern_distance(
    features: Tensor, pattern: Tensor, mask: Tensor, steepness: float = 10.0, surrogate: str = "sigmoid"
) -> Tensor:
    """Hamming distance per position of 1[features > 0.5] to a pattern, mean over channels and over a mask.

    The step has no gradient. `sigmoid` compares sigmoid(k (x - 0.5)) instead; `straight_through` compares the step
    and takes the sigmoid's gradient for its own (Bengio et al., 2013).

    Args:
        features: of the student, [B, C, H, W].
        pattern: `activation_pattern` of the teacher, the same shape.
        mask: bool [B, H, W].
        steepness: k.
        surrogate: one of `SURROGATES`.

    Source: the activation-pattern term of R2SDepth; its published code counts with an operation that has no gradient,
    so that there the term teaches nothing.
    """
    if surrogate not in SURROGATES:
        raise ValueError(f"a surrogate of the step is one of {SURROGATES}, found {surrogate!r}")
    soft = torch.sigmoid(steepness * (features - THRESHOLD))
    if surrogate == "straight_through":
        soft = soft + ((features > THRESHOLD).to(soft.dtype) - soft).detach()
    return masked_mean((soft - pattern).abs().mean(dim=1), mask)
