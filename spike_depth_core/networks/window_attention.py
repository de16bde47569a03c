"""Self-attention within windows of a feature map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class WindowBlock(nn.Module):
    """One transformer block that attends within windows: a Swin block without shift, [B, C, H, W] to the same.

    Maps whose sides are no multiples of the window are padded, and nothing attends to the padding.

    Args:
        channels: a multiple of `heads`.
        window: side of the windows.
        heads: of the attention.
        ratio: width of the perceptron over `channels`.

    Source: Liu et al., "Swin transformer" (ICCV 2021), section 3.2 and equation 4 (relative position bias).
    """

    index: Tensor

    def __init__(self, channels: int, window: int = 7, heads: int = 4, ratio: int = 4):
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be shared by {heads} heads evenly")
        self.window, self.heads = window, heads
        self.norm_in = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        self.norm_mlp = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, ratio * channels), nn.GELU(), nn.Linear(ratio * channels, channels)
        )
        self.bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        place = torch.arange(window)
        apart = place[:, None] - place[None, :] + window - 1  # [w, w]
        index = apart[:, None, :, None] * (2 * window - 1) + apart[None, :, None, :]
        self.register_buffer("index", index.reshape(window**2, window**2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        side = self.window
        rows, columns = -(-height // side), -(-width // side)
        padding = (0, columns * side - width, 0, rows * side - height)

        def windows(image: Tensor) -> Tensor:
            """[B, C, H, W] to [B, windows, positions, C]."""
            image = F.pad(image, padding).reshape(len(image), -1, rows, side, columns, side)
            return image.permute(0, 2, 4, 3, 5, 1).reshape(len(image), rows * columns, side * side, -1)

        tokens = windows(x)
        bias = self.bias[self.index].permute(2, 0, 1)  # [heads, positions, positions]
        real = windows(x.new_ones((1, 1, height, width)))[0, :, None, None, :, 0] > 0  # [windows, 1, 1, positions]
        bias = torch.where(real, bias.to(x.dtype), float("-inf"))
        q, k, v = (
            part.flatten(0, 1).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.norm_in(tokens)).chunk(3, dim=-1)
        )  # [B * windows, heads, positions, C / heads]
        mask = bias.to(q.dtype).repeat(batch, 1, 1, 1)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        tokens = tokens + self.out(attended.transpose(1, 2).reshape(tokens.shape))
        tokens = tokens + self.mlp(self.norm_mlp(tokens))
        image = tokens.reshape(batch, rows, columns, side, side, channels).permute(0, 5, 1, 3, 2, 4)
        return image.reshape(batch, channels, rows * side, columns * side)[:, :, :height, :width]
