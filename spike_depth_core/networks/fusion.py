"""Fusion of any non-empty set of sensors, level by level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from spike_depth_core.networks.window_attention import WindowBlock


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


def halves(features: Tensor) -> tuple[Tensor, Tensor]:
    """What all spectra share, and what is the sensor's own: the first and the second half of the channels [B, C, ...].

    Source: Shin et al., "Bridging spectral-wise and multi-spectral depth estimation via geometry-guided contrastive
    learning" (ICRA 2025).
    """
    shared, specific = features.chunk(2, dim=1)
    return shared, specific


def unit(x: Tensor, dim: int) -> Tensor:
    """Vectors along a dimension at unit length, in float32; those of no length stay near zero."""
    # Many times the speed of torch.nn.functional.normalize, whose norm is slow across channels.
    x = x.float()
    return x * torch.rsqrt(x.square().sum(dim, keepdim=True) + 1e-8)


class SimilarityFusion(nn.Module):
    """Fusion that trusts a sensor where its shared half agrees with the reliable one's, attached to a trained network.

    With S_m and P_m the halves of sensor m's features, warped to one view, and S_r the reliable shared half:

        s_m = max(0, cos(S_r, S_m))^k, 0 where m does not see,
        S = sum s_m S_m / sum s_m,   P = sum s_m P_m / sum s_m,
        fused = [S; P] + Linear(LayerNorm(WindowBlock([S; s_1 P_1; s_2 P_2; ...]))).

    A missing sensor has s_m = 0; one sensor alone passes unchanged.

    Source: Shin et al. (ICRA 2025), their selective aggregation and attachable module. There thermal is the reliable
    one by decree (`trusted`), which at noon or without thermal it need not be: here S_r is a mix of the S_m by learned
    scores unless a sensor is named. Their scores may be negative, and their sum zero; here they may not. Their module
    replaces the features; ours, beginning at zero, is added to the weighted mean, so that an untrained fusion is a
    mean and the decoder gets features of the kind it knows. It works at C channels rather than at those of the
    stacked halves: those would double the size of a network as narrow as this one. The exponent k is learned
    from 1: features after a ReLU have no negative entries, and such vectors are alike to begin with.

    Args:
        channels: C, width of the level, even.
        sensors: all there may be, in the order of their places in the stack.
        trusted: the sensor that is the reliable one wherever it is present.
        heads: of the attention, if they divide the channels; else one.
    """

    def __init__(self, channels: int, sensors: Sequence[str], trusted: str | None = None, heads: int = 4):
        super().__init__()
        self.sensors, self.trusted = tuple(sensors), trusted
        half, hidden = channels // 2, max(8, channels // 4)
        if trusted is None:
            # The softmax over sensors would not notice a last bias.
            self.score = nn.Sequential(
                nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, 1, 1, bias=False)
            )
        self.log_exponent = nn.Parameter(torch.zeros(()))
        self.stack = nn.Conv2d((1 + len(self.sensors)) * half, channels, 1)
        self.block = WindowBlock(channels, heads=heads if channels % heads == 0 else 1)
        self.norm = nn.LayerNorm(channels)
        self.linear = nn.Linear(channels, channels, bias=False)
        nn.init.zeros_(self.linear.weight)

    def forward(self, features: Mapping[str, Tensor], seen: Mapping[str, Tensor]) -> Tensor:
        """Fuse one level.

        Args:
            features: by sensor, [B, C, H, W], in one view.
            seen: by sensor, bool [B, H, W]: where it sees anything there.
        """
        if len(features) == 1:
            return next(iter(features.values()))
        present = [s for s in self.sensors if s in features]
        shared, specific = (torch.stack(half) for half in zip(*(halves(features[s]) for s in present), strict=True))
        mask = torch.stack([seen[s] for s in present])[:, :, None]
        similarity = self.similarity(shared, mask, present)
        # Where nobody sees, the plain mean, as much as any network says of it.
        weights = similarity + 1e-3
        weights = weights / weights.sum(dim=0)
        common = (weights * shared).sum(dim=0)
        fused = torch.cat([common, (weights * specific).sum(dim=0)], dim=1)
        own = dict(zip(present, similarity * specific, strict=True))
        nothing = torch.zeros_like(common)
        stack = torch.cat([common, *(own.get(s, nothing) for s in self.sensors)], dim=1)
        refined = self.block(self.stack(stack)).permute(0, 2, 3, 1)
        return fused + self.linear(self.norm(refined)).permute(0, 3, 1, 2)

    def similarity(self, shared: Tensor, mask: Tensor, sensors: Sequence[str]) -> Tensor:
        """s_m [M, B, 1, H, W] of shared halves [M, B, C / 2, H, W] of the named sensors, seen where `mask` is true."""
        weights = (mask + 1e-3) / (mask + 1e-3).sum(dim=0)
        mean = (weights * shared).sum(dim=0)
        if self.trusted in sensors:
            place = sensors.index(self.trusted)
            reliable = torch.where(mask[place], shared[place], mean)
        elif self.trusted is None:
            scores = torch.stack([self.score(torch.cat([own, own - mean], dim=1)) for own in shared])
            trust = torch.softmax(scores.masked_fill(~mask, -1e4), dim=0)
            reliable = (trust * shared).sum(dim=0)
        else:
            reliable = mean
        cosine = (unit(shared, dim=2) * unit(reliable, dim=1)).sum(dim=2, keepdim=True)
        # Above zero by a hair: the gradient of a power at zero is not finite.
        similarity = cosine.clamp(1e-4, 1.0) ** self.log_exponent.exp()
        return (similarity * mask).to(shared.dtype)


SIMILARITY = "similarity"


def check_fusion(kind: str, sensors: Sequence[str]) -> None:
    """Raise ValueError for a name of a fusion that `fusion_module` does not know."""
    name, _, trusted = kind.partition(":")
    if kind in ("selective", "mean", SIMILARITY) or (name == SIMILARITY and trusted in sensors):
        return
    known = f"'selective', 'mean', '{SIMILARITY}' or '{SIMILARITY}:SENSOR' of {tuple(sensors)}"
    raise ValueError(f"fusion is {known}, found {kind!r}")


def fusion_module(kind: str, channels: int, sensors: Sequence[str]) -> SelectiveFusion | FeatureMean | SimilarityFusion:
    """The fusion of a level of `channels` by its name in `Architecture.fusion`."""
    check_fusion(kind, sensors)
    if kind == "selective":
        return SelectiveFusion(channels)
    if kind == "mean":
        return FeatureMean()
    return SimilarityFusion(channels, sensors, kind.partition(":")[2] or None)
