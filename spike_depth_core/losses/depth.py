"""Losses on log-depth."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of `values` where `mask` (same shape) is true; zero, with a gradient, where it is nowhere true."""
    return torch.where(mask, values, torch.zeros_like(values)).sum() / mask.sum().clamp(min=1)


def log_l1(log_depth: Tensor, log_truth: Tensor, mask: Tensor) -> Tensor:
    """Mean |log d - log d*| over the mask, [B, H, W] each. For small errors it equals the mean relative error."""
    return masked_mean((log_depth - log_truth).abs(), mask)


def silog(log_depth: Tensor, log_truth: Tensor, mask: Tensor, mean_weight: float = 0.15) -> Tensor:
    """Scale-invariant logarithmic error sqrt(var(r) + mean_weight * mean(r)^2) of r = log d - log d* over the mask.

    All of the batch is one population. A wrong scale costs little beside a wrong shape: `mean_weight` 1 would be the
    plain root mean square. The root is rounded off below a thousandth, where its gradient has no limit.

    Source: Eigen et al. (NeurIPS 2014), equation 4; the root and the weight 0.15 as AdaBins (Bhat et al., CVPR 2021)
    and BiCross (Liu et al., ICRA 2024) have them.
    """
    residual = torch.where(mask, log_depth - log_truth, torch.zeros_like(log_depth))
    mean = masked_mean(residual, mask)
    variance = masked_mean((residual - mean).square(), mask)
    return torch.sqrt(variance + mean_weight * mean.square() + 1e-6) - 1e-3


def multiscale_gradient(log_depth: Tensor, log_truth: Tensor, mask: Tensor, scales: int = 4) -> Tensor:
    """Differences between neighbours of the error r = log d - log d*, at several scales: sharp edges, flat planes.

    mean over k of mean(|r(x + 1, y) - r(x, y)|) + mean(|r(x, y + 1) - r(x, y)|) on every 2^k-th pixel, where both
    neighbours are in the mask. Source: MegaDepth (Li and Snavely, CVPR 2018),
    equation 4, which sums over the scales.
    """
    total = log_depth.new_zeros(())
    for scale in range(scales):
        step = 2**scale
        residual = (log_depth - log_truth)[:, ::step, ::step]
        valid = mask[:, ::step, ::step]
        across = (residual[:, :, 1:] - residual[:, :, :-1]).abs()
        down = (residual[:, 1:] - residual[:, :-1]).abs()
        total = total + masked_mean(across, valid[:, :, 1:] & valid[:, :, :-1])
        total = total + masked_mean(down, valid[:, 1:] & valid[:, :-1])
    return total / scales


def at_least(log_depth: Tensor, log_bound: float, mask: Tensor) -> Tensor:
    """Mean shortfall of log-depth below a bound, over the mask: for sky, which is farther than any truth."""
    return masked_mean((log_bound - log_depth).clamp(min=0), mask)


def laplace_nll(log_scale: Tensor, residual: Tensor, mask: Tensor) -> Tensor:
    """Negative log-likelihood |r| / b + log b of a Laplace distribution, without its constant log 2.

    Args:
        log_scale: log b, [B, H, W].
        residual: log-depth error r, [B, H, W]. Hand it in detached to teach only the uncertainty.
    """
    return masked_mean(residual.abs() * torch.exp(-log_scale) + log_scale, mask)


def laplace_beyond_nll(log_scale: Tensor, margin: Tensor, mask: Tensor) -> Tensor:
    """-log P(x > bound) for x of a Laplace distribution: the likelihood where all that is known is that depth is beyond
    a bound, as the sky's is (a censored, or Tobit, likelihood; Amemiya, "Advanced Econometrics", 1985, section 10.2).

    With z = margin / b it is log 2 - z where z < 0, else -log(1 - exp(-z) / 2): a scale that is small where the median
    lies beyond the bound, and no smaller than the shortfall where it does not.

    Args:
        log_scale: log b, [B, H, W].
        margin: by how much the log-depth lies beyond the bound. Hand it in detached to teach only the uncertainty.
        mask: where depth is beyond the bound.
    """
    z = torch.where(mask, margin * torch.exp(-log_scale), torch.zeros_like(margin))
    short = math.log(2.0) - z.clamp(max=0)
    beyond = -torch.log1p(-0.5 * torch.exp(-z.clamp(min=0)))
    return masked_mean(torch.where(z < 0, short, beyond), mask)
