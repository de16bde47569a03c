"""Features that do not tell which domain they come from: a discriminator learns to tell, the encoder to prevent it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spike_depth_core.networks.heads import PooledHead


class _ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None


def reverse_gradient(x: Tensor, strength: float) -> Tensor:
    """The identity forwards; backwards the gradient times -`strength`.

    Source: Ganin and Lempitsky, "Unsupervised domain adaptation by backpropagation" (ICML 2015), equation 9.
    """
    return _ReverseGradient.apply(x, strength)


class DomainDiscriminator(nn.Module):
    """Tells source from target feature maps.

    Each picture is normalised by itself: under batch normalisation its game with the encoder hardly settles.

    Args:
        channels: of the feature maps.
        hidden: width of the layer between.
        shared: one head for both domains. False gives each domain a head of its own, as the published code of BiCross
            (Liu et al., ICRA 2024) does: each then sees one class only, needs no features to be always right, and soon
            hands no gradient back.
    """

    def __init__(self, channels: int, hidden: int, shared: bool = True):
        super().__init__()
        heads = 1 if shared else 2
        self.heads = nn.ModuleList(PooledHead(channels, hidden, 1, norm="layer") for _ in range(heads))

    def logits(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Log-odds of coming from the target, [B_source] and [B_target], of feature maps [B, C, H, W] of any sizes."""
        return self.heads[0](source)[:, 0], self.heads[-1](target)[:, 0]

    def forward(self, source: Tensor, target: Tensor, strength: float) -> tuple[Tensor, Tensor]:
        """The domain loss: minimised by this module, maximised, `strength` times, by what made the features.

        Args:
            source, target: feature maps [B, C, H, W].
            strength: of the reversed gradient.

        Returns:
            Mean negative log-likelihood of the source's domain plus that of the target's, 2 log 2 when nothing can be
            told; and the share of the pictures told right, for the log.
        """
        of_source, of_target = self.logits(reverse_gradient(source, strength), reverse_gradient(target, strength))
        loss = F.softplus(of_source).mean() + F.softplus(-of_target).mean()
        right = torch.cat([of_source < 0, of_target > 0]).float().mean()
        return loss, right
