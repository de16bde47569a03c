"""The spike camera as a physical model.

A pixel collects charge; when the charge reaches the threshold, the pixel fires at the next read-out and the
threshold is subtracted (soft reset: what is above it stays). Read-out is synchronous, a bit a pixel a plane,
and a pixel fires at most once a plane: it saturates where light brings a threshold or more a plane.

- `SpikeCamera`: in torch, batched, any device. Counts photoelectrons.
- `RealtimeSpikeCamera`: compiled, one camera, an order of magnitude faster than a camera's 20,000 planes a
  second.

Light is linear; the unit is chosen by `SpikeCameraParameters.gain` and `threshold`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numba import njit, uint8, uint16, uint64
from torch import Tensor

from spike_depth_core.spikes.packed import DEFAULT_PERIOD_NS, PackedSpikes


@dataclass(frozen=True)
class SpikeCameraParameters:
    """What one camera differs by from another.

    The defaults are fitted by eye to a recording of a real camera in low light: intervals vary by about 4 %,
    and neighbouring pixels under the same light by as much.

    Attributes:
        gain: charge a plane under light 1.
        threshold: charge at which a pixel fires. The mean rate is `gain / threshold * light` spikes a plane.
        electrons: photoelectrons a threshold. Shot noise makes intervals vary by `electrons ** -0.5`; infinitely
            many make none.
        dark_rate: median rate in the dark, spikes a plane (dark current).
        gain_spread: standard deviation of the pixels' gains, relative (fixed pattern).
        dark_spread: standard deviation of the logarithm of the pixels' dark currents (fixed pattern).
        hot_fraction: fraction of pixels with a dark current near saturation.
        dead_fraction: fraction of pixels that never fire.
    """

    gain: float = 1.0
    threshold: float = 1.0
    electrons: float = 800.0
    dark_rate: float = 0.001
    gain_spread: float = 0.04
    dark_spread: float = 0.5
    hot_fraction: float = 2e-5
    dead_fraction: float = 2e-5

    def __post_init__(self) -> None:
        if not (self.gain > 0 and self.threshold > 0 and math.isfinite(self.gain / self.threshold)):
            raise ValueError(f"gain and threshold must be positive, found {self.gain} and {self.threshold}")
        if not self.electrons >= 16:
            raise ValueError(f"a threshold must be at least 16 photoelectrons, found {self.electrons}")
        if not (0 <= self.dark_rate < 1 and 0 <= self.gain_spread < math.inf and 0 <= self.dark_spread < math.inf):
            raise ValueError("dark_rate must be in [0, 1), gain_spread and dark_spread at least 0 and finite")
        if not (0 <= self.hot_fraction <= 1 and 0 <= self.dead_fraction <= 1):
            raise ValueError("hot_fraction and dead_fraction must be in [0, 1]")

    @classmethod
    def ideal(cls, gain: float = 1.0, threshold: float = 1.0) -> SpikeCameraParameters:
        """The textbook's camera: no noise, no dark current, all pixels alike, empty at first."""
        return cls(gain, threshold, math.inf, 0.0, 0.0, 0.0, 0.0, 0.0)

    @classmethod
    def noiseless(cls, gain: float = 1.0, threshold: float = 1.0) -> SpikeCameraParameters:
        """The ideal camera, but its pixels begin with charges of their own: from empty ones, equal pixels would fire in
        step for ever."""
        # Only a camera whose pixels are not exactly alike starts them so.
        return replace(cls.ideal(gain, threshold), gain_spread=1e-6)

    @property
    def is_ideal(self) -> bool:
        """Whether constant light I gives floor(T I gain / threshold) spikes in T planes, but for the rounding of the
        camera that computes it: one spike in float32, and in the real-time camera a rate rounded to 2^-15 a plane."""
        return self == self.ideal(self.gain, self.threshold)

    def fixed_pattern(self, height: int, width: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Gain (spikes a plane under light 1) and dark current (spikes a plane), float32 [H, W] each."""
        random = np.random.default_rng([seed, 0x5EED])
        size = (height, width)
        gain = self.gain / self.threshold * (1.0 + self.gain_spread * random.standard_normal(size)).clip(0.0)
        dark = self.dark_rate * np.exp(self.dark_spread * random.standard_normal(size))
        kind = random.random(size)
        hot, dead = kind < self.hot_fraction, kind > 1.0 - self.dead_fraction
        dark[hot] = random.uniform(0.3, 1.0, int(hot.sum()))
        gain[dead] = dark[dead] = 0.0
        return gain.astype(np.float32), dark.astype(np.float32)


class SpikeCamera:
    """A batch of equal cameras in torch. State (charge, random numbers) is carried from call to call.

    Args:
        batch, height, width: shape of the light it will see.
        parameters: the physics.
        seed: of the fixed pattern and of all noise: the same seed gives the same spikes on the same device.
        device: where it works.
    """

    def __init__(
        self,
        batch: int,
        height: int,
        width: int,
        parameters: SpikeCameraParameters | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.parameters = parameters or SpikeCameraParameters()
        self.height, self.width = height, width
        self._generator = torch.Generator(device).manual_seed(seed)
        gain, dark = self.parameters.fixed_pattern(height, width, seed)
        self._gain = torch.from_numpy(gain).to(device)
        self._dark = torch.from_numpy(dark).to(device)
        # In thresholds; with shot noise, in photoelectrons.
        self._charge = torch.zeros((batch, height, width), dtype=torch.float64, device=device)
        if not self.parameters.is_ideal:
            self._charge.uniform_(generator=self._generator)
            if math.isfinite(self.parameters.electrons):
                self._charge = (self._charge * self._whole).floor()

    @property
    def _whole(self) -> int:
        return round(self.parameters.electrons)

    def __call__(self, light: Tensor, planes_per_level: int = 1) -> Tensor:
        """Expose to light, and read out.

        Args:
            light: float [B, L, H, W], at least 0: L levels one after another, each constant for a while.
            planes_per_level: for how many planes each level lasts.

        Returns:
            Packed planes, uint8 [B, L * planes_per_level, H, ceil(W / 8)], as `PackedSpikes.data`.
        """
        batch, height, width = self._charge.shape
        if light.ndim != 4 or light.shape[0] != batch or not light.shape[1] or light.shape[2:] != (height, width):
            raise ValueError(f"expected light [{batch}, L, {height}, {width}], found {tuple(light.shape)}")
        if planes_per_level < 1:
            raise ValueError(f"a level must last at least one plane, found {planes_per_level}")
        packed = [self._expose(light[:, level], planes_per_level) for level in range(light.shape[1])]
        return torch.cat(packed, dim=1)

    def _expose(self, light: Tensor, planes: int) -> Tensor:
        rate = (self._gain * light + self._dark).clamp_(min=0.0, max=16.0)
        steps = torch.arange(1, planes + 1, device=rate.device, dtype=torch.float64).view(1, -1, 1, 1)
        if math.isfinite(self.parameters.electrons):
            mean = (rate * self._whole)[:, None].expand(-1, planes, -1, -1)
            collected = torch.poisson(mean, generator=self._generator)
            total = self._charge[:, None] + collected.cumsum(1, dtype=torch.float64)
            threshold = self._whole
        else:
            total = self._charge[:, None] + steps * rate.clamp_(max=1.0).double()[:, None]  # more saturates
            threshold = 1
        # One spike a plane, and what is above it stays: F_t = min(F_t-1 + 1, floor(Q_t)) for the charge Q_t so far.
        # Unrolled that is t + min(0, min over u <= t of floor(Q_u) - u), so nothing is computed plane after plane.
        spare = torch.div(total, threshold, rounding_mode="floor") - steps
        fired = steps + torch.cummin(spare, dim=1).values.clamp(max=0.0)
        spikes = torch.diff(fired, dim=1, prepend=torch.zeros_like(fired[:, :1])) > 0
        # In the dark after glaring light a pixel has a threshold or less to give off, not all that it was sent.
        self._charge = (total[:, -1] - threshold * fired[:, -1]).clamp_(max=threshold)
        return pack_planes(spikes)


def pack_planes(planes: Tensor) -> Tensor:
    """Pack planes [..., W] of zeros and ones to uint8 [..., ceil(W / 8)], least significant bit leftmost."""
    width = planes.shape[-1]
    padded = torch.nn.functional.pad(planes.to(torch.uint8), (0, -width % 8))
    weights = 2 ** torch.arange(8, device=planes.device, dtype=torch.uint8)
    return (padded.unflatten(-1, (-1, 8)) * weights).sum(-1, dtype=torch.uint8)


_FULL = 1 << 15  # a threshold in the units of the real-time camera: its top bit is the spike
_TABLE = 1 << 16  # entries of the noise table: it stays in the level 2 cache
_BLOCK = 2048  # pixels worked on at a time


class RealtimeSpikeCamera:
    """One camera, compiled and single-threaded: `SpikeCamera`'s physics in 16-bit integers.

    Shot noise enters as a random threshold for each spike. The time a Poisson stream takes to bring n
    electrons is Gamma distributed with shape n: drawing each interval's charge with relative deviation
    n ** -0.5 is that process, at one random number a plane and pixel from a table drawn beforehand.

    Args:
        height, width: size in pixels.
        parameters: the physics.
        seed: of all noise, and of the fixed pattern unless that has a seed of its own.
        period_ns: time from plane to plane.
        start_ns: time of the first plane.
        pattern_seed: of the fixed pattern: what makes two exposures those of one camera.
    """

    def __init__(
        self,
        height: int,
        width: int,
        parameters: SpikeCameraParameters | None = None,
        seed: int = 0,
        period_ns: int = DEFAULT_PERIOD_NS,
        start_ns: int = 0,
        pattern_seed: int | None = None,
    ) -> None:
        self.parameters = parameters or SpikeCameraParameters()
        self.height, self.width = height, width
        self.period_ns, self.time_ns = period_ns, start_ns
        self._row_bytes = (width + 7) // 8
        self._random = np.random.default_rng([seed, 0xCA3E])
        pattern_seed = seed if pattern_seed is None else pattern_seed
        gain, dark = self.parameters.fixed_pattern(height, width, pattern_seed)
        self._gain = self._padded(gain)
        self._dark = self._padded(dark)
        pixels = self._gain.size
        self._charge = np.zeros(pixels, np.uint16)
        self._rate = np.zeros(pixels, np.uint16)
        mean = 0
        self._noise = np.zeros(0, np.uint16)
        if math.isfinite(self.parameters.electrons):
            # A spike leaves some charge behind, which shortens the way to the next. It cannot be negative:
            # four standard deviations are added to it, and the charge of a threshold is reckoned from there.
            deviation = self.parameters.electrons**-0.5
            mean = round(_FULL * 4 * deviation / (1 + 4 * deviation))
            noise = mean * (1 + self._random.standard_normal(_TABLE + _BLOCK) / 4)
            self._noise = np.clip(np.rint(noise), 0, 2 * mean).astype(np.uint16)
        self._scale = float(_FULL - mean)
        if not self.parameters.is_ideal:
            self._charge[:] = self._random.integers(mean, _FULL, pixels, dtype=np.uint16)
        dither = self._random.random(_TABLE + _BLOCK, dtype=np.float32)
        self._dither = np.full_like(dither, 0.5) if self.parameters.is_ideal else dither

    def expose(self, light: np.ndarray, planes: int, out: np.ndarray | None = None) -> PackedSpikes:
        """Expose to constant light for some planes, and read out.

        Args:
            light: float32 [H, W], at least 0.
            planes: how many.
            out: uint8 [planes, H, ceil(W / 8)], C-contiguous, to write to instead of to a new array.

        Returns:
            The planes, next in time to those of the last call.
        """
        if light.shape != (self.height, self.width) or light.dtype != np.float32:
            raise ValueError(f"expected light float32 [{self.height}, {self.width}], found {light.dtype} {light.shape}")
        shape = (planes, self.height, self._row_bytes)
        if out is None:
            out = np.empty(shape, np.uint8)
        elif out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f"out must be contiguous uint8 {shape}, found {out.dtype} {out.shape}")
        rows = self.height
        # Where in its table each plane begins; pixels for which the table is too short begin anew, elsewhere.
        offsets = self._random.integers(0, _TABLE, planes + 1)
        _rates(light, self._gain, self._dark, self._dither, offsets[-1], self._scale, self._rate)
        more = self._random.integers(0, _TABLE, (-(-self._charge.size // _TABLE) - 1, planes))
        offsets = np.concatenate([offsets[None, :planes], more])
        flat = out.reshape(planes, rows * self._row_bytes)
        _fire(self._charge, self._rate, self._noise, offsets, flat)
        spikes = PackedSpikes(out, self.width, self.period_ns, self.time_ns)
        self.time_ns = spikes.end_ns
        return spikes

    def _padded(self, image: np.ndarray) -> np.ndarray:
        """Rows filled up to whole bytes with pixels that never fire."""
        return np.pad(image, ((0, 0), (0, 8 * self._row_bytes - self.width)))


@njit(cache=True, nogil=True)
def _rates(light, gain, dark, dither, offset, scale, rate):
    """Charge a plane in integer units, rounded at random so that its mean is right."""
    height, width = light.shape
    padded = gain.shape[1]
    for y in range(height):
        start = (offset + 977 * y) % (dither.size - padded) if dither.size > padded else 0
        for x in range(width):
            charge = (gain[y, x] * light[y, x] + dark[y, x]) * np.float32(scale)
            charge = max(charge, np.float32(0.0)) + dither[start + x]
            rate[y * padded + x] = uint16(min(charge, np.float32(_FULL)))


@njit(cache=True, nogil=True)
def _fire(charge, rate, noise, offsets, out):
    planes = out.shape[0]
    fired = np.empty(_BLOCK, np.uint8)
    words = fired.view(np.uint64)
    for first in range(0, charge.size, _BLOCK):
        n = min(_BLOCK, charge.size - first)
        c = charge[first : first + n]
        r = rate[first : first + n]
        for t in range(planes):
            if noise.size:
                z = noise[(offsets[first // _TABLE, t] + 31 * first) % _TABLE :]
                for j in range(n):
                    total = uint16(c[j] + r[j])
                    spike = uint16(total >> 15)
                    kept = uint16((total & 0x7FFF) + (z[j] & uint16(0 - spike)))
                    c[j] = min(kept, uint16(0x7FFF))
                    fired[j] = uint8(spike)
            else:
                for j in range(n):
                    total = uint16(c[j] + r[j])
                    c[j] = total & 0x7FFF
                    fired[j] = uint8(total >> 15)
            row = out[t, first // 8 :]
            for j in range(n // 8):
                # Byte i of the word holds pixel i's bit; the product gathers them in its top byte, pixel 0
                # lowest.
                row[j] = uint8((words[j] * uint64(0x0102040810204080)) >> uint64(56))
