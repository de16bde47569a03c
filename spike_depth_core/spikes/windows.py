"""Statistics of windows of spike planes, and the tensor the network eats: exact, straight from the packed
bytes.

A spike camera says how bright a pixel is in two ways: how many spikes it fired in a window (texture from
playback, TFP: little noise, but blurred by motion) and how long it took from one spike to the next (texture
from interval, TFI: sharp, but no finer than a plane).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numba import njit
from torch import Tensor

from spike_depth_core.spikes.bitslice import MAX_PLANES, count_spikes, wait_for_spikes
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

_SHORT, _LONG = 16, 64  # planes
_POOL = 5  # pixels, odd


@dataclass(frozen=True)
class IntervalImage:
    """Time between the spikes around a moment.

    Attributes:
        interval: uint16 [H, W], planes from the last spike at or before the moment to the first one after it;
            0 where either was not found within reach. Its inverse is the brightness (TFI).
        age: uint16 [H, W], planes from the last spike to the moment; `reach + 1` where it was not found.
    """

    interval: np.ndarray
    age: np.ndarray


def spike_counts(spikes: PackedSpikes, windows: Sequence[int]) -> np.ndarray:
    """Spikes of each pixel in several trailing windows (TFP: divide by the window's length), in one pass.

    Args:
        spikes: the planes the windows end with.
        windows: lengths in planes, each from 1 to `len(spikes)`, in any order.

    Returns:
        uint16 [len(windows), H, W].
    """
    # What is not looked at is left in the file: planes that are mapped upside down would all be copied.
    data = spikes.data[-max((*windows, 1)) :] if all(1 <= w <= len(spikes) for w in windows) else spikes.data
    return _counts(data, spikes.width, _backwards(len(data)), windows)


def interval_image(spikes: PackedSpikes, plane: int, reach: int = 128) -> IntervalImage:
    """The interval around a plane (TFI).

    Args:
        spikes: planes around the moment; where they end, the search ends.
        plane: index of the moment's plane; a spike in it counts as before the moment.
        reach: how many planes before and how many after `plane` are searched.
    """
    if not 0 <= plane < len(spikes):
        raise ValueError(f"the interval image's plane must be one of the {len(spikes)} there are, found {plane}")
    if not 1 <= reach < MAX_PLANES // 2:
        raise ValueError(f"reach must be 1 to {MAX_PLANES // 2 - 1} planes, found {reach}")
    first, last = max(0, plane - reach), min(len(spikes), plane + reach + 1)
    before = np.arange(plane - first, -1, -1)
    after = np.arange(plane + 1 - first, last - first)
    return _intervals(spikes.data[first:last], spikes.width, before, after, reach)


def network_input(spikes: PackedSpikes) -> np.ndarray:
    r"""The image-like tensor a network sees of the last `NETWORK_WINDOW` planes (or of all, if fewer).

    Everything is logarithmic, in octaves (photographers' stops) and relative to the image's geometric mean
    rate, so that the light level cancels: a street at noon and at dusk differ by noise and in `level` only.
    With n planes, c spikes of the pixel in them, `p = (c + 1/2) / (n + 1)` its rate over the whole window and
    `m` the mean of `log2 p` over the image:

    - `rate_256`: `log2 p - m`.
    - `rate_64`, `rate_16`, `rate_64_first`: `log2 q - m` with `q = (k + 1) / (w + 1 / p)` for k spikes in w
      planes: the posterior mean under a Gamma prior of mean p that is worth one spike. In the dark, where a
      short window holds no spike, it falls back on p instead of adding noise.
    - `rate_256_pooled`: as `rate_256`, with spikes and planes summed over the 5x5 neighbours inside the
      image.
    - `interval`: `-log2 i - m` for the i planes between the last two spikes; i = 1 / p where there were not
      two.
    - `silence`: `log2((a + 1/2) p) / 2` for the a planes since the last spike (n where there was none). Under
      constant light it stays below 0; a pixel that has become darker rises above.
    - `level`: `(log2 p + 4) / 4`: 1 at a spike every plane, 0 at one in sixteen planes, -1 at one in 256.

    Args:
        spikes: at least one plane.

    Returns:
        float32 [len(NETWORK_CHANNELS), H, W]; on streets mostly within -4 to 4.
    """
    if len(spikes) < 1:
        raise ValueError("the network input needs at least one spike plane, found none")
    data = spikes.data[-NETWORK_WINDOW:]
    return _network_input(data, spikes.width, _backwards(len(data)))


def network_input_torch(packed: Tensor, width: int) -> Tensor:
    """`network_input` of a batch, on the device the packed planes are on: packed bytes travel, not planes.

    Args:
        packed: uint8 [B, T, H, ceil(width / 8)], as `PackedSpikes.data`, T at least 1.
        width: W in pixels.

    Returns:
        float32 [B, len(NETWORK_CHANNELS), H, W].
    """
    if packed.dtype != torch.uint8 or packed.ndim != 4 or packed.shape[3] != (width + 7) // 8:
        raise ValueError(
            f"expected packed planes uint8 [B, T, H, {(width + 7) // 8}] for a width of {width}, "
            f"found {packed.dtype} {tuple(packed.shape)}"
        )
    if packed.shape[1] < 1:
        raise ValueError("the network input needs at least one spike plane, found none")
    if packed.device.type != "cpu":
        return _network_input_expanded(packed[:, -NETWORK_WINDOW:], width)
    # The compiled kernel is some thirty times as fast on a CPU as expanding the planes.
    samples = [network_input(PackedSpikes(sample, width)) for sample in packed.numpy()]
    return torch.from_numpy(np.stack(samples)) if samples else torch.empty((0, 8, packed.shape[2], width))


class SpikeWindow:
    """The latest planes of a stream, and their statistics at any time; adding planes copies their bytes once.

    Args:
        height, width: size of a plane in pixels.
        capacity: how many planes are remembered.
    """

    def __init__(self, height: int, width: int, capacity: int = 512) -> None:
        if not 1 <= capacity <= MAX_PLANES:
            raise ValueError(f"a window holds 1 to {MAX_PLANES} planes, found {capacity}")
        self.height, self.width, self.capacity = height, width, capacity
        self._ring = np.zeros((capacity, height, (width + 7) // 8), np.uint8)
        self._next = 0  # row of the ring that the next plane goes to
        self._length = 0
        self._end_ns: int | None = None
        self._period_ns: int | None = None

    def __len__(self) -> int:
        """How many planes it holds."""
        return self._length

    @property
    def end_ns(self) -> int | None:
        """Time of the end of the last plane; None before the first."""
        return self._end_ns

    def clear(self) -> None:
        """Forget all planes."""
        self._length = 0
        self._end_ns = self._period_ns = None

    def add(self, spikes: PackedSpikes) -> bool:
        """Append planes. Returns False if they do not follow those held, which are then forgotten first.

        Statistics across a gap in time would be wrong. Half a period of jitter in the start time is no gap.
        """
        if (spikes.height, spikes.width) != (self.height, self.width):
            raise ValueError(
                f"the window is of {self.width}x{self.height} pixels, found planes of {spikes.width}x{spikes.height}"
            )
        follows = self._end_ns is None or (
            spikes.period_ns == self._period_ns and 2 * abs(spikes.start_ns - self._end_ns) <= spikes.period_ns
        )
        if not follows:
            self.clear()
        data = spikes.data[-self.capacity :]
        until_wrap = self.capacity - self._next
        self._ring[self._next : self._next + len(data)] = data[:until_wrap]
        self._ring[: max(0, len(data) - until_wrap)] = data[until_wrap:]
        self._next = (self._next + len(data)) % self.capacity
        self._length = min(self.capacity, self._length + len(data))
        self._end_ns, self._period_ns = spikes.end_ns, spikes.period_ns
        return follows

    def counts(self, windows: Sequence[int]) -> np.ndarray:
        """`spike_counts` of the planes held."""
        return _counts(self._ring, self.width, self._order(), windows)

    def interval_image(self, age: int, reach: int = 128) -> IntervalImage:
        """`interval_image` around the plane that is `age` planes older than the newest."""
        order = self._order()
        if not 0 <= age < len(order):
            raise ValueError(f"the window holds {len(order)} planes, found an age of {age}")
        if not 1 <= reach < MAX_PLANES // 2:
            raise ValueError(f"reach must be 1 to {MAX_PLANES // 2 - 1} planes, found {reach}")
        after = order[max(0, age - reach) : age][::-1]
        return _intervals(self._ring, self.width, order[age : age + reach + 1], after, reach)

    def network_input(self) -> np.ndarray:
        """`network_input` of the planes held."""
        if not self._length:
            raise ValueError("the network input needs at least one spike plane, found none")
        return _network_input(self._ring, self.width, self._order()[:NETWORK_WINDOW])

    def _order(self) -> np.ndarray:
        return (self._next - 1 - np.arange(self._length)) % self.capacity


def _backwards(planes: int) -> np.ndarray:
    return np.arange(planes - 1, -1, -1)


def _counts(data: np.ndarray, width: int, order: np.ndarray, windows: Sequence[int]) -> np.ndarray:
    longest = min(len(order), MAX_PLANES)
    for window in windows:
        if not 1 <= window <= longest:
            raise ValueError(f"a window must be 1 to {longest} planes long, found {window}")
    bounds, where = np.unique(np.asarray(windows, np.int64), return_inverse=True)
    if not bounds.size:
        return np.empty((0, data.shape[1], width), np.uint16)
    counts = count_spikes(data, order, bounds)[..., :width]
    return counts if np.array_equal(where, np.arange(bounds.size)) else counts[where]


def _intervals(data: np.ndarray, width: int, before: np.ndarray, after: np.ndarray, reach: int) -> IntervalImage:
    age = wait_for_spikes(data, before)[0, :, :width]
    if not after.size:
        interval = np.zeros_like(age)
    else:
        wait = wait_for_spikes(data, after)[0, :, :width]
        interval = age + wait + np.uint16(1)
        interval *= (age < before.size) & (wait < after.size)
    if before.size <= reach:
        age = np.where(age < before.size, age, np.uint16(reach + 1))
    return IntervalImage(interval, age)


def _network_input(data: np.ndarray, width: int, order: np.ndarray) -> np.ndarray:
    planes = len(order)
    short, long = min(_SHORT, planes), min(_LONG, planes)
    bounds, where = np.unique([short, long, planes - long, planes], return_inverse=True)
    counts = count_spikes(data, order, bounds)
    waits = wait_for_spikes(data, order)
    out = np.empty((len(NETWORK_CHANNELS), data.shape[1], width), np.float32)
    _assemble(
        counts[where[3]],
        counts[where[1]],
        counts[where[0]],
        counts[where[2]],
        waits,
        planes,
        _log_rates(planes),
        _log_posterior(planes, long),
        _log_posterior(planes, short),
        _log_rates_pooled(planes),
        _log_intervals(planes),
        out,
    )
    return out


# Tables of logarithms: the arguments are small integers.


@lru_cache(maxsize=8)
def _log_rates(planes: int) -> np.ndarray:
    """log2 p by spikes c, float64: the image's mean is taken over them."""
    return np.log2((np.arange(planes + 1) + 0.5) / (planes + 1))


@lru_cache(maxsize=16)
def _log_posterior(planes: int, window: int) -> np.ndarray:
    """log2 q by spikes in the window and spikes in all."""
    rate = (np.arange(planes + 1)[None] + 0.5) / (planes + 1)
    return np.log2((np.arange(window + 1)[:, None] + 1) / (window + 1 / rate)).astype(np.float32)


@lru_cache(maxsize=8)
def _log_rates_pooled(planes: int) -> np.ndarray:
    """log2 of the pooled rate by pixels pooled and spikes in them, float32 [26, 25 n + 1]."""
    pixels = np.arange(_POOL**2 + 1)[:, None]
    spikes = np.arange(_POOL**2 * planes + 1)[None]
    return np.log2((spikes + 0.5) / (pixels * planes + 1)).astype(np.float32)


@lru_cache(maxsize=8)
def _log_intervals(planes: int) -> tuple[np.ndarray, np.ndarray]:
    """log2 of an interval i >= 1 (entry 0 is unused) and of a silence a + 1/2, by i and by a."""
    whole = np.arange(planes + 1)
    return np.log2(np.maximum(whole, 1)).astype(np.float32), np.log2(whole + 0.5).astype(np.float32)


@njit(cache=True, nogil=True)
def _assemble(
    count,
    count_long,
    count_short,
    count_before_long,
    waits,
    planes,
    log_rates,
    log_long,
    log_short,
    log_pooled,
    log_intervals,
    out,
):
    _, height, width = out.shape
    log_interval, log_silence = log_intervals
    half = _POOL // 2
    histogram = np.zeros(planes + 1, np.int64)
    for y in range(height):
        for x in range(width):
            histogram[count[y, x]] += 1
    total_log = 0.0
    for c in range(planes + 1):
        total_log += histogram[c] * log_rates[c]
    mean = np.float32(total_log / (height * width))
    columns = np.zeros(width, np.int32)  # spikes in the five pixels above one another
    for y in range(height):
        top, bottom = max(0, y - half), min(height, y + half + 1)
        columns[:] = 0
        for row in range(top, bottom):
            for x in range(width):
                columns[x] += count[row, x]
        for x in range(width):
            c = count[y, x]
            log_rate = np.float32(log_rates[c])
            out[0, y, x] = log_rate - mean
            out[1, y, x] = log_long[count_long[y, x], c] - mean
            out[2, y, x] = log_short[count_short[y, x], c] - mean
            out[3, y, x] = log_long[c - count_before_long[y, x], c] - mean
            left, right = max(0, x - half), min(width, x + half + 1)
            total = 0
            for column in range(left, right):
                total += columns[column]
            out[4, y, x] = log_pooled[(bottom - top) * (right - left), total] - mean
            first, second = waits[0, y, x], waits[1, y, x]
            if second < planes:
                out[5, y, x] = -log_interval[second - first] - mean
            else:
                out[5, y, x] = log_rate - mean
            out[6, y, x] = (log_silence[first] + log_rate) / np.float32(2)
            out[7, y, x] = (log_rate + np.float32(4)) / np.float32(4)


def _network_input_expanded(packed: Tensor, width: int) -> Tensor:
    """The formulas of `network_input` on unpacked planes, a few samples at a time."""
    batch, planes, height, _ = packed.shape
    out = torch.empty((batch, len(NETWORK_CHANNELS), height, width), device=packed.device)
    shifts = torch.arange(8, device=packed.device, dtype=torch.uint8)
    numbers = torch.arange(1, planes + 1, device=packed.device, dtype=torch.int16).view(1, planes, 1, 1)
    short, long = min(_SHORT, planes), min(_LONG, planes)
    inside = torch.ones((1, 1, height, width), device=packed.device)
    neighbours = _pool_sum(inside)[:, 0]
    chunk = max(1, (1 << 28) // (planes * height * width))  # int16 planes: at most half a gigabyte at a time
    for first in range(0, batch, chunk):
        bits = ((packed[first : first + chunk, ..., None] >> shifts) & 1).flatten(3)[..., :width]
        count = bits.sum(1, dtype=torch.int16).float()
        count_long = bits[:, planes - long :].sum(1, dtype=torch.int16)
        count_short = bits[:, planes - short :].sum(1, dtype=torch.int16)
        count_first = bits[:, :long].sum(1, dtype=torch.int16)
        numbered = bits * numbers
        last = numbered.amax(1)  # counted from 1; 0 where there is no spike
        previous = numbered.masked_fill_(numbered == last[:, None], 0).amax(1)

        rate = (count + 0.5) / (planes + 1)
        log_rate = rate.log2()
        mean = log_rate.mean((1, 2), dtype=torch.float64).float()[:, None, None]
        interval = torch.where(previous > 0, (last - previous).float(), 1 / rate)
        silence = torch.where(last > 0, planes - last, planes)
        out[first : first + chunk] = torch.stack(
            (
                log_rate - mean,
                ((count_long + 1) / (long + 1 / rate)).log2() - mean,
                ((count_short + 1) / (short + 1 / rate)).log2() - mean,
                ((count_first + 1) / (long + 1 / rate)).log2() - mean,
                ((_pool_sum(count[:, None])[:, 0] + 0.5) / (neighbours * planes + 1)).log2() - mean,
                -interval.log2() - mean,
                ((silence + 0.5) * rate).log2() / 2,
                (log_rate + 4) / 4,
            ),
            dim=1,
        )
    return out


def _pool_sum(images: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(images, _POOL, 1, _POOL // 2, divisor_override=1)
