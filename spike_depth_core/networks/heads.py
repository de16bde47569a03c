"""What is put on top of feature maps in training and left behind afterwards."""

from __future__ import annotations

from torch import Tensor, nn


class PooledHead(nn.Module):
    """A feature map [B, C, H, W] to one vector a picture [B, outputs]: mean over positions, then two linear layers.

    Between them is a normalisation: the network's coarsest features have no scale of their own.

    Args:
        channels, hidden, outputs: widths.
        norm: `batch` normalises over the batch, which then needs two pictures; `layer` each picture by itself.
    """

    def __init__(self, channels: int, hidden: int, outputs: int, norm: str):
        super().__init__()
        if norm not in ("batch", "layer"):
            raise ValueError(f"norm is 'batch' or 'layer', found {norm!r}")
        between = nn.BatchNorm1d(hidden) if norm == "batch" else nn.LayerNorm(hidden)
        self.layers = nn.Sequential(nn.Linear(channels, hidden), between, nn.ReLU(), nn.Linear(hidden, outputs))
        self.norm = norm

    def forward(self, features: Tensor) -> Tensor:
        if self.norm == "batch" and self.training and len(features) < 2:
            raise ValueError("a head that is normalised over the batch needs at least 2 pictures in it, found 1")
        return self.layers(features.mean(dim=(2, 3)))
