"""Drawing the shared halves of several sensors' features together, against what is each sensor's own.

Source: Shin et al., "Bridging spectral-wise and multi-spectral depth estimation via geometry-guided contrastive
learning" (ICRA 2025), with the numbers of its published code.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor

from spike_depth_core.losses.contrastive import info_nce


def pooled(features: Tensor, seen: Tensor) -> Tensor:
    """Mean [B, C] of features [B, C, H, W] over the positions that a sensor sees, bool [B, H, W]; zero without any."""
    weights = seen[:, None].to(features.dtype)
    return (features * weights).sum(dim=(2, 3)) / weights.sum(dim=(2, 3)).clamp(min=1)


def global_alignment(
    shared: Mapping[str, Tensor], specific: Mapping[str, Tensor], query: str, temperature: float = 0.1
) -> Tensor:
    """Mean over the other sensors m of InfoNCE(q_i, k+ = m_i, {k-} = all sensors' specific halves of the batch).

    Args:
        shared, specific: by sensor, pooled halves [B, C].
        query: the sensor whose shared halves ask. Hand its own in detached to make its space the one the others come
            to, as the published code does with RGB.
        temperature: of the softmax.
    """
    others = [s for s in shared if s != query]
    return info_nce(
        torch.cat([shared[query]] * len(others)),
        torch.cat([shared[s] for s in others]),
        torch.cat(list(specific.values())),
        temperature,
    )


def local_alignment(
    shared: Mapping[str, Tensor],
    specific: Mapping[str, Tensor],
    seen: Mapping[str, Tensor],
    query: str,
    generator: Generator,
    temperature: float = 0.1,
    least_seen: float = 0.1,
    negatives: int = 1024,
    elsewhere: int = 0,
) -> Tensor:
    """Mean over the other sensors m of InfoNCE(q(p), k+ = m(p), {k-} = specific halves at any place of any picture).

    Positions count where both sensors see. A sensor that shares less than `least_seen` of them with the query counts
    for nothing: its warp has failed, or it looks elsewhere.

    Args:
        shared, specific: by sensor, halves [B, C, H, W], warped to one view.
        seen: by sensor, bool [B, H, W]: where its features can be trusted there.
        query: the sensor whose shared halves ask.
        generator: draws the negatives.
        temperature: of the softmax.
        least_seen: share of all positions.
        negatives: at most so many of the specific halves. There are as many as positions times sensors; all of them
            would cost the square of that.
        elsewhere: so many further negatives for each position, from the positive's own shared halves at other ones.
            Without them shared halves that are the same everywhere would be as well aligned as any.

    Returns:
        A scalar; zero, with a gradient, where nothing counts.
    """
    flat = {s: x.permute(0, 2, 3, 1).flatten(0, 2) for s, x in shared.items()}
    strangers = torch.cat([x.permute(0, 2, 3, 1)[seen[s]] for s, x in specific.items()])
    if len(strangers) > negatives:
        chosen = torch.randperm(len(strangers), generator=generator, device=strangers.device)[:negatives]
        strangers = strangers[chosen]
    losses = []
    for sensor, own in flat.items():
        both = (seen[query] & seen[sensor]).flatten()
        if sensor == query or both.float().mean() < least_seen:
            continue
        asked, positive = flat[query][both], own[both]
        loss = info_nce(asked, positive, strangers, temperature)
        if elsewhere and len(positive) > 1:
            # A turn of the list by at least one place never meets the position itself.
            turns = torch.randint(1, len(positive), (elsewhere,), generator=generator, device=positive.device)
            places = (torch.arange(len(positive), device=positive.device)[:, None] + turns) % len(positive)
            loss = loss + info_nce(asked, positive, positive[places], temperature)
        losses.append(loss)
    if not losses:
        return sum((x.sum() for x in shared.values()), start=strangers.new_zeros(())) * 0.0
    return torch.stack(losses).mean()
