"""Contrastive losses: what belongs together is drawn together, against what does not."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(query: Tensor, positive: Tensor, negatives: Tensor, temperature: float = 0.1) -> Tensor:
    """InfoNCE with given negatives: -log(e^(q.k+ / t) / (e^(q.k+ / t) + sum_j e^(q.k-_j / t))), mean over queries.

    Args:
        query, positive: pairs [N, D]; all vectors are brought to unit length.
        negatives: [M, D], the same for every query; or [N, M, D], each query's own.
        temperature: t.

    Source: van den Oord et al., "Representation learning with contrastive predictive coding" (2018), equation 4, in
    the form with unpaired negatives that Shin et al., "Bridging spectral-wise and multi-spectral depth estimation via
    geometry-guided contrastive learning" (ICRA 2025) use with t = 0.1.
    """
    query, positive, negatives = (F.normalize(x, dim=-1) for x in (query, positive, negatives))
    near = (query * positive).sum(-1, keepdim=True)
    far = query @ negatives.T if negatives.dim() == 2 else torch.einsum("nd,nmd->nm", query, negatives)
    logits = torch.cat([near, far], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))


def paired_info_nce(query: Tensor, key: Tensor, temperature: float = 1.0, normalised: bool = False) -> Tensor:
    """InfoNCE over a batch: query i belongs to key i, the other keys are its negatives.

    Args:
        query, key: [B, D].
        temperature: what similarities are divided by.
        normalised: whether vectors are brought to unit length; the global distillation of BiCross (Liu et al., ICRA
            2024) takes plain dot products and temperature 1.
    """
    if normalised:
        query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
    return F.cross_entropy(query @ key.T / temperature, torch.arange(len(query), device=query.device))
