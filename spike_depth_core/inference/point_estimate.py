"""One number out of a distribution of depth."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_ALMOST_ONE = 1e-3  # scales this near to 1 are moved away from it: there the lower side's rate passes through zero


def least_relative_error(log_depth: Tensor, log_scale: Tensor, depth_range: tuple[float, float]) -> Tensor:
    """Log-depth of the least expected |d - d*| / d*, where log d* is Laplace distributed and d* within a range.

    The network's `log_depth` is the median mu of that distribution, b its scale. An answer twice too far errs by 1, one
    twice too near by a half: so the better answer lies below the median, the more the less is certain. Over x = log d*
    E|exp(m - x) - 1| is least where both sides weigh the same: exp(-x) p(x) has half of its integral below m. Below mu
    that density grows as exp(a x), a = 1 / b - 1, above it falls as exp(-c x), c = 1 / b + 1; between the range's ends
    l and h its integrals are

        A = (1 - exp(-a (mu - l))) / a,    B = (1 - exp(-c (h - mu))) / c

        m = mu + ln(1 - a (A - B) / 2) / a  where A >= B,  else  m = mu - ln(1 - c (B - A) / 2) / c

    Without ends that is -b ln(1 + b) / (1 - b) from mu, which has no bound as b reaches 1: what keeps a doubtful answer
    off zero is that nothing is nearer than the range.

    Args:
        log_depth: natural logarithm of metres, any shape.
        log_scale: log b, the same shape.
        depth_range: metres within which depth lies.
    """
    low, high = (math.log(end) for end in depth_range)
    mu = log_depth.clamp(low, high)
    b = log_scale.exp()
    a, c = 1 / b - 1, 1 / b + 1
    a = torch.where(a.abs() < _ALMOST_ONE, torch.full_like(a, _ALMOST_ONE), a)
    below = -torch.expm1(-a * (mu - low)) / a
    above = -torch.expm1(-c * (high - mu)) / c
    half = (below - above) / 2
    nearer = torch.log1p(-a * half.clamp(min=0)) / a
    farther = torch.log1p(c * half.clamp(max=0)) / c
    return mu + nearer - farther
