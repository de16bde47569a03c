"""Fusion of any non-empty set of sensors, level by level."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class SelectiveFusion(nn.Module):
    """A convex mix of the sensors' features at each position, by learned scores.

    A sensor's score sees its own feature and how it differs from the mean of all, so that the odd one out can be
    told. Scores pass through a softmax over the sensors present: one sensor alone passes unchanged, and a missing
    one needs no stand-in. Without the module (`FeatureMean`) features are averaged.

    Args:
        channels: width of the level.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.score = nn.Sequential(
            nn.Conv2d(2 * channels, max(8, channels // 4), 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(max(8, channels // 4), 1, 1),
        )

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        if len(features) == 1:
            return features[0]
        mean = torch.stack(list(features)).mean(dim=0)
        scores = torch.stack([self.score(torch.cat([f, f - mean], dim=1)) for f in features])
        weights = torch.softmax(scores, dim=0)
        return (weights * torch.stack(list(features))).sum(dim=0)


class FeatureMean(nn.Module):
    """The plain mean of the sensors' features: what a network without a fusion module does."""

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(features)).mean(dim=0)
