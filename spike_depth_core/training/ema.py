"""Exponential moving average of a network's weights: the copy that is evaluated and kept."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

N = TypeVar("N", bound=nn.Module)


class ExponentialMovingAverage(Generic[N]):
    """A shadow of a network that follows it slowly (Tarvainen and Valpola, NeurIPS 2017).

    The decay ramps up as (1 + step) / (10 + step) so that the first steps' random weights are soon forgotten.
    Buffers (normalisation statistics, themselves averages) follow in the same way.

    Args:
        network: the network to follow.
        decay: weight of the past, per step.
    """

    def __init__(self, network: N, decay: float = 0.999):
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: N, step: int) -> None:
        """Move towards the network's present weights."""
        decay = min(self.decay, (1 + step) / (10 + step))
        own, theirs = self.network.state_dict(), network.state_dict()
        floating = [k for k, v in own.items() if v.dtype.is_floating_point]
        torch._foreach_lerp_([own[k] for k in floating], [theirs[k] for k in floating], 1 - decay)
        for key in own.keys() - set(floating):
            own[key].copy_(theirs[key])
