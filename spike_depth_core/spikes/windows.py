"""Statistics of trailing windows of spike planes, and the tensor the network eats.

A spike camera says how bright a pixel is in two ways: how many spikes it fired in a window (texture from playback,
TFP: smooth, but blurred by motion) and how long it took from one spike to the next (texture from interval, TFI:
sharp, but one plane is its finest step). Both are computed here from the packed bytes.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from spike_depth_core.spikes.packed import PackedSpikes

NETWORK_WINDOW = 256
"""How many trailing planes `network_input` looks at."""

NETWORK_CHANNELS = (
    "rate_256",  # firing rate over the whole window: the least noise
    "rate_64",  # over the last 64 planes
    "rate_16",  # over the last 16 planes: the least motion blur
    "rate_64_first",  # over the FIRST 64 planes of the window: what has moved since then differs from rate_64
    "rate_256_pooled",  # over the whole window and 5x5 pixels: what is left to see by night
    "interval",  # rate by the last complete interval between two spikes
    "silence",  # time since the last spike, in units of the expected interval
    "level",  # absolute firing rate: how far from saturation, and how noisy
)
"""Names of the channels of `network_input`, in order. See there for the formulas."""

_POOL = 5  # pixels; odd


def network_input(spikes: PackedSpikes) -> np.ndarray:
    r"""The image-like tensor a network sees of the last `NETWORK_WINDOW` planes (or of all, if there are fewer).

    Everything is logarithmic, and relative to the image's geometric mean rate, so that the light level cancels:
    the same street at dawn and at noon differs by noise and in `level` only. With n planes, c spikes of the pixel in
    them, and `p = (c + 1/2) / (n + 1)` its rate over the whole window, `m` the mean of `log2 p` over the image:

    - `rate_256`: `(log2 p - m) / 2`, so a unit is two octaves (f-stops).
    - `rate_64`, `rate_16`, `rate_64_first`: `(log2 q - m) / 2` with `q = (k + 1) / (w + 1 / p)` for k spikes in w
      planes: the posterior mean rate under a Gamma prior worth one spike with mean p. In the dark, where a short
      window holds no spikes, it falls back on p instead of adding noise.
    - `rate_256_pooled`: as `rate_256`, with spikes and planes summed over the 5x5 neighbours inside the image.
    - `interval`: `(-log2 i - m) / 2` for the i planes between the last two spikes; 1 / p where there were not two.
    - `silence`: `log2((a + 1/2) p) / 2` for the a planes since the last spike (n where there was none). A pixel
      under constant light stays below 0; above, it has become darker.
    - `level`: `(log2 p + 4) / 4`: 1 at a spike every plane, 0 at a spike in sixteen, -1 at one in 256.

    Args:
        spikes: at least one plane.

    Returns:
        float32 [len(NETWORK_CHANNELS), H, W], about -2 to 2.
    """
    packed = torch.from_numpy(np.ascontiguousarray(spikes.data[-NETWORK_WINDOW:]))
    return _network_input_expanded(packed[None], spikes.width)[0].numpy()


def network_input_torch(packed: Tensor, width: int) -> Tensor:
    """`network_input` of a batch, on the device the packed planes are on: packed bytes travel, not planes.

    Args:
        packed: uint8 [B, T, H, ceil(width / 8)], as `PackedSpikes.data`. The last `NETWORK_WINDOW` planes are used.
        width: W in pixels.

    Returns:
        float32 [B, len(NETWORK_CHANNELS), H, W].
    """
    if packed.dtype != torch.uint8 or packed.ndim != 4 or packed.shape[3] != (width + 7) // 8:
        raise ValueError(
            f"expected packed planes uint8 [B, T, H, {(width + 7) // 8}] for a width of {width}, "
            f"found {packed.dtype} {tuple(packed.shape)}"
        )
    return _network_input_expanded(packed[:, -NETWORK_WINDOW:], width)


def _network_input_expanded(packed: Tensor, width: int) -> Tensor:
    """The formulas of `network_input` on unpacked planes, a few samples at a time."""
    batch, planes, height, _ = packed.shape
    if planes < 1:
        raise ValueError("the network input needs at least one spike plane, found none")
    out = torch.empty((batch, len(NETWORK_CHANNELS), height, width), device=packed.device)
    shifts = torch.arange(8, device=packed.device, dtype=torch.uint8)
    plane_numbers = torch.arange(1, planes + 1, device=packed.device, dtype=torch.int16).view(1, planes, 1, 1)
    chunk = max(1, (1 << 28) // (planes * height * width))  # int16 planes: at most 512 MiB at a time
    short, long = min(16, planes), min(64, planes)
    for first in range(0, batch, chunk):
        some = packed[first : first + chunk]
        bits = ((some[..., None] >> shifts) & 1).flatten(3)[..., :width]
        count = bits.sum(1, dtype=torch.int16).float()
        numbered = bits * plane_numbers
        last = numbered.amax(1)  # 1-based; 0 where there is no spike
        previous = numbered.masked_fill_(numbered == last[:, None], 0).amax(1)

        rate = (count + 0.5) / (planes + 1)
        log_rate = rate.log2()
        mean = log_rate.mean((1, 2), dtype=torch.float64).float()[:, None, None]

        def windowed(start: int, end: int, bits: Tensor = bits, rate: Tensor = rate) -> Tensor:
            return (bits[:, start:end].sum(1, dtype=torch.int16) + 1) / (end - start + 1 / rate)

        pooled = torch.nn.functional.avg_pool2d(
            count[:, None], _POOL, 1, _POOL // 2, count_include_pad=True, divisor_override=1
        )[:, 0]
        neighbours = torch.nn.functional.avg_pool2d(
            torch.ones_like(count[:1, None]), _POOL, 1, _POOL // 2, divisor_override=1
        )[:, 0]
        interval = torch.where(previous > 0, (last - previous).float(), 1 / rate)
        silence = torch.where(last > 0, planes - last, planes).float()
        out[first : first + chunk] = torch.stack(
            (
                (log_rate - mean) / 2,
                (windowed(planes - long, planes).log2() - mean) / 2,
                (windowed(planes - short, planes).log2() - mean) / 2,
                (windowed(0, long).log2() - mean) / 2,
                (((pooled + 0.5) / (neighbours * planes + 1)).log2() - mean) / 2,
                (-interval.log2() - mean) / 2,
                ((silence + 0.5) * rate).log2() / 2,
                (log_rate + 4) / 4,
            ),
            dim=1,
        )
    return out
