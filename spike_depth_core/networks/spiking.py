"""A stem of spiking neurons for the spike camera, in place of the plain one.

The camera's own spikes are counted before the network sees them (`spikes.windows`); here neurons spike. The window's
statistics drive them as a constant current for a few steps, and what goes on to the encoder is how often each fired.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from spike_depth_core.networks.blocks import ConvNormAct


class _Spike(torch.autograd.Function):
    """1 above zero, else 0; its derivative is taken to be 1 / (1 + 10 x^2), an arctan's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradients[0] / (1 + 10 * x.square())


def spike(x: Tensor) -> Tensor:
    """Heaviside's step with the gradient 1 / (1 + 10 x^2) in place of its own, which is zero."""
    return _Spike.apply(x)


class AdaptiveLIF(nn.Module):
    """Leaky integrate-and-fire neurons whose threshold rises with each spike and falls back, one channel one kind.

    With the input current i, potential v, trace q and spikes z, step t:

    - q_t = r_q q_(t-1) + (1 - r_q) z_(t-1), the threshold is a_t = a0 + a1 q_t
    - v_t = r_v v_(t-1) + (1 - r_v) i_t - z_(t-1) a_(t-1): a soft reset by the threshold that was crossed
    - z_t = 1 if v_t > a_t else 0

    with r = sigmoid of a leak that is learned, as a0 and a1 are. No gradient flows through the reset.

    Source: Hagenaars et al., "Self-supervised learning of event-based optical flow with spiking neural networks"
    (NeurIPS 2021), whose initial values these are and which R2SDepth takes.

    Args:
        channels: of the current.
    """

    def __init__(self, channels: int):
        super().__init__()
        # Vectors, not maps: what has one dimension is kept out of weight decay.
        self.leak = nn.Parameter(torch.randn(channels) * 0.1 - 4.0)
        self.trace_leak = nn.Parameter(torch.randn(channels) * 0.1 - 4.0)
        self.threshold = nn.Parameter(torch.full((channels,), 0.01))
        self.adaptation = nn.Parameter(torch.full((channels,), 1.8))

    def forward(
        self, current: Tensor, state: tuple[Tensor, Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """One step.

        Args:
            current: [B, C, H, W].
            state: what the step before returned; None at rest.

        Returns:
            Spikes [B, C, H, W], 0 or 1, and the state (v, z, q).
        """
        if state is None:
            state = (torch.zeros_like(current),) * 3
        v, z, q = state
        leak, trace_leak = (x.sigmoid()[:, None, None] for x in (self.leak, self.trace_leak))
        base, rise = self.threshold.clamp(min=0.01)[:, None, None], self.adaptation.clamp(min=0)[:, None, None]
        reset = (z * (base + rise * q)).detach()
        q = trace_leak * q + (1 - trace_leak) * z
        v = leak * v + (1 - leak) * current - reset
        z = spike(v - (base + rise * q))
        return z, (v, z, q)


class ChannelAttention(nn.Module):
    """Each channel scaled by what its and its neighbours' means say (ECA-Net, Wang et al., CVPR 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(2, 3))[:, None]
        return x * self.conv(means).sigmoid()[:, 0, :, None, None]


class SpikingStem(nn.Module):
    """Spike-camera statistics [B, C, H, W] to features at 1/2 and 1/4 of the size, by spiking neurons.

    At 1/2 they are the firing rates of `AdaptiveLIF` neurons behind a convolution. At 1/4 neurons behind four
    convolutions of kernels 1, 3, 5 and 7, with `ChannelAttention`, gate a plain convolution of the same spikes: the
    block of R2SDepth's spiking encoder.

    Args:
        inputs, half, quarter: channels; `quarter` is a multiple of 4.
        steps: how long the current flows, from rest; features are means over the steps.
    """

    def __init__(self, inputs: int, half: int, quarter: int, steps: int):
        super().__init__()
        self.steps = steps
        self.current = nn.Conv2d(inputs, half, 5, 2, 2)
        self.neurons = AdaptiveLIF(half)
        self.branches = nn.ModuleList(nn.Conv2d(half, quarter // 4, k, 2, k // 2) for k in (1, 3, 5, 7))
        self.gates = AdaptiveLIF(quarter)
        self.attention = ChannelAttention()
        self.plain = ConvNormAct(half, quarter, stride=2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        current = self.current(image)
        state = gate_state = None
        halves, quarters = [], []
        for _ in range(self.steps):
            spikes, state = self.neurons(current, state)
            gates, gate_state = self.gates(torch.cat([branch(spikes) for branch in self.branches], dim=1), gate_state)
            halves.append(spikes)
            quarters.append(self.attention(gates) * self.plain(spikes))
        return torch.stack(halves).mean(dim=0), torch.stack(quarters).mean(dim=0)
