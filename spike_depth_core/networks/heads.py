"""What is put on top of feature maps in training and left behind afterwards."""

from __future__ import annotations

from torch import Tensor, nn


class PooledHead(nn.Module):
    """A feature map [B, C, H, W] to one vector a picture [B, outputs]: mean over positions, then two linear layers.

    Args:
        channels, hidden, outputs: widths.
        batch_norm: normalise between the layers over the batch, which then needs two pictures.
    """

    def __init__(self, channels: int, hidden: int, outputs: int, batch_norm: bool):
        super().__init__()
        norm = [nn.BatchNorm1d(hidden)] if batch_norm else []
        self.layers = nn.Sequential(nn.Linear(channels, hidden), *norm, nn.ReLU(), nn.Linear(hidden, outputs))
        self.batch_norm = batch_norm

    def forward(self, features: Tensor) -> Tensor:
        if self.batch_norm and self.training and len(features) < 2:
            raise ValueError("a head that is normalised over the batch needs at least 2 pictures in it, found 1")
        return self.layers(features.mean(dim=(2, 3)))
