"""From fused features to log-depth and its uncertainty."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spike_depth_core.networks.blocks import ConvNormAct, Residual, convex_upsample, upsample_to


class _Merge(nn.Module):
    """Bring coarse features up one level and merge them with the finer ones."""

    def __init__(self, coarse: int, fine: int, blocks: int):
        super().__init__()
        self.reduce = ConvNormAct(coarse, fine, kernel=1)
        self.merge = ConvNormAct(2 * fine, fine)
        self.blocks = nn.Sequential(*(Residual(fine) for _ in range(blocks)))

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        # Reducing before upsampling gives the same sum for a quarter of the work.
        return self.blocks(self.merge(torch.cat([upsample_to(self.reduce(coarse), fine), fine], dim=1)))


class DepthDecoder(nn.Module):
    """Features at 1/2 ... 1/32 to two maps at full size.

    Args:
        widths: channels at 1/2, 1/4, 1/8, 1/16, 1/32.

    Returns (forward):
        [B, 2, H, W]: log of depth over that of `level_road`, and log relative scale of the error (Laplace b).
    """

    def __init__(self, widths: Sequence[int]):
        super().__init__()
        half, quarter, eighth, sixteenth, coarsest = widths
        self.to_sixteenth = _Merge(coarsest, sixteenth, blocks=0)
        self.to_eighth = _Merge(sixteenth, eighth, blocks=1)
        self.to_quarter = _Merge(eighth, quarter, blocks=1)
        self.to_half = _Merge(quarter, half, blocks=0)
        self.head = nn.Conv2d(half, 2, 3, 1, 1)
        self.mask = nn.Conv2d(half, 4 * 9, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        # Begin at the level road, give or take a third.
        self.head.bias = nn.Parameter(torch.tensor([0.0, -1.0]))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        half, quarter, eighth, sixteenth, coarsest = levels
        x = self.to_sixteenth(coarsest, sixteenth)
        x = self.to_eighth(x, eighth)
        x = self.to_quarter(x, quarter)
        x = self.to_half(x, half)
        # bfloat16 cannot tell 12.0 m from 12.1 m in log-depth: the last step stays in float32 whatever came before.
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            return convex_upsample(self.head(x), self.mask(x))
