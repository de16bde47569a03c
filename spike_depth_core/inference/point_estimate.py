"""One number out of a distribution of depth."""

from __future__ import annotations

import torch
from torch import Tensor

WIDEST = 0.5
"""Bound on the scale: beyond it the tail of the distribution, not the picture, would say what depth is. Above all in
the sky, which has no depth to learn a scale from: with a wider bound it comes down to the street, and the relative
error, which does not look at the sky, falls even so. docs/results/point_estimate.md has what each bound gives."""


def least_relative_error(log_depth: Tensor, log_scale: Tensor) -> Tensor:
    """Log-depth of the least expected |d - d*| / d*, where log d* is Laplace distributed.

    The network's `log_depth` is the median of that distribution. An answer twice too far errs by 1, one twice too near
    by a half: so the better answer lies below the median, the more the less is certain. E|exp(m - e) - 1| over errors
    e of scale b is least where both sides weigh the same, the integral of exp(-e) p(e) below m being half of the whole:

        m = -b ln(1 + b) / (1 - b)

    Args:
        log_depth: natural logarithm of metres, any shape.
        log_scale: log b, the same shape; b is cut at 0.5.
    """
    b = log_scale.exp().clamp(max=WIDEST)
    return log_depth - b * torch.log1p(b) / (1 - b)
