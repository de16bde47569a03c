"""Photometric losses of view synthesis: how alike two pictures of one place are, and where that says something.

Source: Godard et al., "Digging into self-supervised monocular depth estimation" (Monodepth2, ICCV 2019), section 3:
the error of SSIM and L1, its minimum over source views, the mask of pixels that do not move with the camera, and
smoothness but for the picture's edges. R2SDepth takes them as PackNet-SfM (Guizilini et al., CVPR 2020) has them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from spike_depth_core.geometry.resample import box_mean
from spike_depth_core.losses.depth import masked_mean

_C1, _C2 = 0.01**2, 0.03**2  # for pictures in [0, 1]


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of pictures [B, C, H, W] in [0, 1] at each pixel, -1 to 1, over windows of 3x3.

    (2 m_a m_b + c1) (2 s_ab + c2) / ((m_a^2 + m_b^2 + c1) (s_a^2 + s_b^2 + c2)) with plain means m and (co)variances s
    of the window, c1 = 0.01^2 and c2 = 0.03^2; pictures are mirrored at their borders. Source: Wang et al., "Image
    quality assessment: from error visibility to structural similarity" (IEEE TIP 2004), equation 13, with a box for
    their Gaussian as Monodepth2 has it.
    """
    mean_a, mean_b = _local_mean(a), _local_mean(b)
    variance_a = (_local_mean(a * a) - mean_a * mean_a).clamp(min=0)
    variance_b = (_local_mean(b * b) - mean_b * mean_b).clamp(min=0)
    covariance = _local_mean(a * b) - mean_a * mean_b
    alike = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    return alike / ((mean_a**2 + mean_b**2 + _C1) * (variance_a + variance_b + _C2))


def _local_mean(x: Tensor) -> Tensor:
    """Means of 3x3 windows, mirrored at the borders."""
    return box_mean(F.pad(x, (1, 1, 1, 1), mode="reflect"), 3)


def photometric_error(a: Tensor, b: Tensor, ssim_weight: float = 0.85) -> Tensor:
    """0.85 (1 - SSIM) / 2 + 0.15 |a - b|, mean over channels, [B, H, W], of pictures [B, C, H, W] in [0, 1]."""
    structure = ((1 - ssim(a, b)) / 2).clamp(0, 1)
    return (ssim_weight * structure + (1 - ssim_weight) * (a - b).abs()).mean(dim=1)


def least_error(errors: Sequence[Tensor], seen: Sequence[Tensor]) -> Tensor:
    """The smallest error [B, H, W] over the views that see the pixel; +inf where none does.

    What one neighbour does not see the other often does: the minimum leaves out what is hidden in one of them.

    Args:
        errors: of each view, [B, H, W].
        seen: of each view, bool [B, H, W].
    """
    infinite = [torch.where(s, e, torch.full_like(e, torch.inf)) for e, s in zip(errors, seen, strict=True)]
    return torch.stack(infinite).amin(dim=0)


def auto_masked(error: Tensor, still: Tensor, mask: Tensor) -> Tensor:
    """Mean of the error over the mask, without gradient where an unmoved neighbour fits as well as the warped one.

    Where that is so (a car that keeps pace, sky, the own bonnet, a vehicle that stands), the picture says nothing
    of depth. Such pixels stay in the mean, so that a picture of which few pixels remain weighs little.

    Args:
        error: `least_error` of the warped neighbours.
        still: `least_error` of the neighbours as they are.
        mask: bool [B, H, W], the pixels that count; those that no view sees are left out.
    """
    least = torch.minimum(error, still.detach())
    return masked_mean(least, mask & torch.isfinite(least))


def mean_error(errors: Sequence[Tensor], seen: Sequence[Tensor], still: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Mean error over all views and the mask: what a motion is learned by, before the minimum over views is any use.

    The minimum teaches the motion of the better view, and where none fits better than unmoved, nothing: motions that
    begin at none learn one after the other, or not at all.

    Args:
        errors: of each warped view, [B, H, W].
        seen: of each view, bool [B, H, W]; elsewhere the unmoved error counts, so that looking away gains nothing.
        still: errors of the unmoved views, [B, H, W].
        mask: bool [B, H, W].
    """
    views = zip(errors, seen, still, strict=True)
    return torch.stack([masked_mean(torch.where(s, e, as_is.detach()), mask) for e, s, as_is in views]).mean()


def edge_aware_smoothness(inverse_depth: Tensor, picture: Tensor) -> Tensor:
    """mean(|dx d| e^-|dx I| + |dy d| e^-|dy I|) of the inverse depth d over its mean, and the picture I.

    Args:
        inverse_depth: [B, H, W], in any unit: divided by each picture's mean it has none.
        picture: [B, C, H, W] in [0, 1]; its gradient is the mean over channels.
    """
    d = inverse_depth / (inverse_depth.mean(dim=(1, 2), keepdim=True) + 1e-7)
    across = (d[:, :, 1:] - d[:, :, :-1]).abs()
    down = (d[:, 1:] - d[:, :-1]).abs()
    edge_across = (picture[..., 1:] - picture[..., :-1]).abs().mean(dim=1)
    edge_down = (picture[..., 1:, :] - picture[..., :-1, :]).abs().mean(dim=1)
    return (across * torch.exp(-edge_across)).mean() + (down * torch.exp(-edge_down)).mean()
