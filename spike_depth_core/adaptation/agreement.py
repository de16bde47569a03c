"""Whether sensors look at the same scene: a picture that is mirrored, late, or another camera's makes no teacher."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spike_depth_core.networks.preprocess import NetworkInput


def edge_agreement(inputs: NetworkInput, reference: str) -> dict[str, float]:
    """By how much the edges of each other sensor fit the reference's better than their mirror image does.

    Edges are where all sensors look alike. Correlated is the logarithm of their strength, at a quarter of the size,
    where parallax and a rig that is a little off do not show, and less its mean over each row, which any two pictures
    of roads have in common. The mirror image is a picture of the same statistics that certainly does not fit.

    Returns:
        By sensor, from -2 to 2; NaN where one of the two shows no edges at all.
    """
    edges, seen = _edges(inputs.images[reference], reference)
    found = {}
    for sensor, image in inputs.images.items():
        if sensor == reference:
            continue
        others, visible = _edges(image, sensor)
        direct = _correlation(edges, others, seen & visible)
        mirrored = _correlation(edges, others.flip(1), seen & visible.flip(1))
        found[sensor] = direct - mirrored
    return found


def _edges(image: Tensor, sensor: str) -> tuple[Tensor, Tensor]:
    """Logarithm of the edges' strength [h, w], and where it is known, of an input [1, C + 1, H, W]."""
    picture = image[:1, :3].mean(1) if sensor == "rgb" else image[:1, 0]
    inside = image[:1, -1]
    small = functional.avg_pool2d(picture * inside, 4)[0]
    whole = functional.avg_pool2d(inside, 4)[0] > 0.99
    strength = torch.hypot(small[1:-1, 2:] - small[1:-1, :-2], small[2:, 1:-1] - small[:-2, 1:-1])
    known = whole[1:-1, 1:-1] & whole[1:-1, 2:] & whole[1:-1, :-2] & whole[2:, 1:-1] & whole[:-2, 1:-1]
    usual = strength[known].mean() if known.any() else torch.zeros(())
    return torch.log(strength + 0.02 * usual + 1e-6), known


def _correlation(a: Tensor, b: Tensor, where: Tensor) -> float:
    if not where.any():
        return float("nan")
    weight = where.float()
    count = weight.sum(1, keepdim=True).clamp(min=1)
    a, b = ((x - (x * weight).sum(1, keepdim=True) / count)[where] for x in (a, b))
    return float((a * b).sum() / torch.sqrt((a * a).sum() * (b * b).sum()))
