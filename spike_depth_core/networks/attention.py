"""Adapters between a student's features and a teacher's: they bridge the gap in training and are dropped after it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ADAPTERS = ("none", "linear", "attention")
_PLACES = (6, 10)  # rows and columns of the learned positional encoding, stretched to the map's size


class AttentionAdapter(nn.Module):
    """A(F) = F + W_o softmax(Q K^T / sqrt(d)) V of Q, K, V = W_{q,k,v} (F + P), over all positions of a map.

    What a stereo teacher knows of a place it has from another picture; a student has to gather it from the rest of its
    own. W_o begins at zero, so the adapter begins as the identity.

    Args:
        channels: of the features, a multiple of `heads`.
        heads: of the attention.

    Source: Vaswani et al. (NeurIPS 2017), equation 1, pre-norm; its place here is our reading of ADU-Depth (Wu et
    al., CoRL 2023), whose own layout is not public.
    """

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        if channels % heads:
            raise ValueError(f"{channels} channels cannot be shared by {heads} heads evenly")
        self.heads = heads
        self.places = nn.Parameter(0.02 * torch.randn(1, channels, *_PLACES))
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor) -> Tensor:
        batch, channels, height, width = features.shape
        places = F.interpolate(self.places, (height, width), mode="bilinear", align_corners=False)
        tokens = self.norm((features + places).flatten(2).transpose(1, 2))
        q, k, v = (
            part.reshape(batch, -1, self.heads, channels // self.heads).transpose(1, 2)
            for part in self.qkv(tokens).chunk(3, dim=-1)
        )
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, -1, channels)
        return features + self.out(attended).transpose(1, 2).reshape(features.shape)


def make_adapter(kind: str, channels: int) -> nn.Module:
    """An adapter of features of so many channels; all kinds begin as the identity.

    Args:
        kind: `none`; `linear`, a 1x1 convolution, the regressor of FitNets (Romero et al., ICLR 2015); `attention`.
        channels: of the features.
    """
    if kind == "attention":
        return AttentionAdapter(channels)
    if kind == "linear":
        linear = nn.Conv2d(channels, channels, 1)
        nn.init.dirac_(linear.weight)
        assert linear.bias is not None
        nn.init.zeros_(linear.bias)
        return linear
    if kind == "none":
        return nn.Identity()
    raise ValueError(f"an adapter is one of {ADAPTERS}, found {kind!r}")
