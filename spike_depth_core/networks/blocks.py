"""Small pieces that the networks share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = 4
"""Of the attention over all positions; they share its channels."""


def hold_statistics(module: nn.Module) -> None:
    """Let batch normalisation use its running statistics and leave them as they are, until `train` is called again."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()


class SensorNorm(nn.Module):
    """Batch normalisation with statistics and scale of its own for each sensor.

    The convolutions are shared between sensors, the statistics of their features are not alike: one running mean for
    all would be right for none (domain-specific batch normalisation, Chang et al., CVPR 2019).
    """

    def __init__(self, channels: int, sensors: Sequence[str]):
        super().__init__()
        self.norms = nn.ModuleDict({sensor: nn.BatchNorm2d(channels) for sensor in sensors})

    def forward(self, x: Tensor, sensor: str) -> Tensor:
        return self.norms[sensor](x)


class SensorConv(nn.Module):
    """A convolution shared between sensors, then each sensor's own normalisation, then ReLU unless `linear`."""

    def __init__(self, inputs: int, outputs: int, sensors: Sequence[str], stride: int = 1, linear: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = SensorNorm(outputs, sensors)
        self.linear = linear

    def forward(self, x: Tensor, sensor: str) -> Tensor:
        x = self.norm(self.conv(x), sensor)
        return x if self.linear else F.relu(x)


class SensorResidual(nn.Module):
    """Two shared 3x3 convolutions with a skip (He et al., CVPR 2016), normalised by sensor."""

    def __init__(self, channels: int, sensors: Sequence[str]):
        super().__init__()
        self.first = SensorConv(channels, channels, sensors)
        self.second = SensorConv(channels, channels, sensors, linear=True)

    def forward(self, x: Tensor, sensor: str) -> Tensor:
        return F.relu(x + self.second(self.first(x, sensor), sensor))


class ConvNormAct(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1):
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Residual(nn.Module):
    """Two 3x3 convolutions with a skip."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = ConvNormAct(channels, channels)
        self.conv: nn.Module = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.norm(self.conv(self.first(x))))


class GlobalContext(nn.Module):
    """One transformer block over all positions (Vaswani et al., 2017; pre-norm), for the coarsest features.

    Scale and pitch are properties of the whole picture; convolutions at this depth do not yet see all of it.
    """

    def __init__(self, channels: int, heads: int = HEADS):
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be shared by {heads} heads")
        self.heads = heads
        self.norm_in = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.norm_mlp = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(nn.Linear(channels, 2 * channels), nn.GELU(), nn.Linear(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = (
            part.reshape(batch, -1, self.heads, channels // self.heads).transpose(1, 2)
            for part in self.qkv(self.norm_in(tokens)).chunk(3, dim=-1)
        )
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, -1, channels)
        tokens = tokens + self.out(attended)
        tokens = tokens + self.mlp(self.norm_mlp(tokens))
        return tokens.transpose(1, 2).reshape(batch, channels, height, width)


def upsample_to(x: Tensor, like: Tensor) -> Tensor:
    """Bilinear upsampling to another map's size."""
    return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=False)


def convex_upsample(x: Tensor, mask: Tensor) -> Tensor:
    """Double the size of [B, C, H, W]; each new pixel is a learned convex mix of the 3x3 old ones around it.

    Args:
        x: maps to upsample.
        mask: logits [B, 4 * 9, H, W].

    Source: RAFT (Teed and Deng, ECCV 2020), section 3.3. It keeps depth edges that bilinear upsampling smears.
    """
    batch, channels, height, width = x.shape
    weights = torch.softmax(mask.reshape(batch, 1, 9, 4, height, width), dim=2)
    padded = F.pad(x, (1, 1, 1, 1), mode="replicate")
    around = torch.stack([padded[:, :, dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)], dim=2)
    mixed = (weights * around[:, :, :, None]).sum(dim=2)
    return F.pixel_shuffle(mixed.reshape(batch, channels * 4, height, width), 2)
