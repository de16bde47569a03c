"""Which moments of a recording are worth learning from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spike_depth_core.samples import DepthSample
from spike_depth_core.spikes import PackedSpikes, spike_counts
from spike_depth_core.streams import Moment

_SIGNATURE = 32  # columns of the small picture that changes are told by


@dataclass(frozen=True)
class Limits:
    """What a moment must keep to; each is switched off by the value named.

    Attributes:
        sync_s: the most that a frame may be from its moment, and the spikes may end before it. None: off.
        clipped: the most of an image's pixels that may be black or white. 1: off. Thermal images are not looked at.
        speed: metres a second that the vehicle must drive, by odometry. 0: off.
        change: how much the first sensor's picture must differ from that of the last moment kept, as a mean over
            pixels and a share of its brightness. 0: off.
    """

    sync_s: float | None = 0.02
    clipped: float = 0.95
    speed: float = 0.0
    change: float = 0.0

    def __post_init__(self) -> None:
        if self.sync_s is not None and self.sync_s < 0:
            raise ValueError(f"the error of synchronization must not be negative, found {self.sync_s}")
        if not 0 < self.clipped <= 1:
            raise ValueError(f"the share of clipped pixels is in (0, 1], found {self.clipped}")
        if self.speed < 0 or self.change < 0:
            raise ValueError(f"speed and change must not be negative, found {self.speed} and {self.change}")


@dataclass
class Filter:
    """Judges the moments of a part of a recording, in order.

    Attributes:
        limits: what they must keep to.
    """

    limits: Limits
    _last: np.ndarray | None = field(default=None, init=False)

    def objection(self, moment: Moment, sample: DepthSample, speed: float | None) -> str | None:
        """Why a moment is not kept: a short key for counting, or None.

        Args:
            moment: with the times of its frames.
            sample: of the moment.
            speed: metres a second, or None where it is not known.
        """
        limits = self.limits
        if limits.sync_s is not None:
            for sensor, error_ns in moment.offsets_ns.items():
                if abs(error_ns) > 1e9 * limits.sync_s:
                    return f"sync_{sensor}"
        if limits.clipped < 1:
            for sensor in sample.sensors:
                if sensor != "thermal" and clipped_share(getattr(sample, sensor)) > limits.clipped:
                    return f"exposure_{sensor}"
        if limits.speed:
            if speed is None:
                return "speed_unknown"
            if speed < limits.speed:
                return "standing"
        if limits.change:
            small = signature(getattr(sample, sample.sensors[0]))
            last, same_size = self._last, self._last is not None and self._last.shape == small.shape
            if same_size and np.abs(small - last).mean() < limits.change:
                return "unchanged"
            self._last = small
        return None


def clipped_share(image: PackedSpikes | np.ndarray) -> float:
    """The share of pixels that tell nothing: at an end of their range; that never fire, or with every plane."""
    if isinstance(image, PackedSpikes):
        counts = spike_counts(image, [len(image)])[0]
        return float(((counts == 0) | (counts == len(image))).mean())
    white = np.iinfo(image.dtype).max
    ends = (image == 0) | (image == white)
    return float((ends.all(-1) if image.ndim == 3 else ends).mean())


def signature(image: PackedSpikes | np.ndarray) -> np.ndarray:
    """A small picture of mean brightness one, float64 [h, w]."""
    if isinstance(image, PackedSpikes):
        grey = spike_counts(image, [len(image)])[0].astype(np.float64)
    else:
        grey = image.astype(np.float64)
        grey = grey.mean(-1) if grey.ndim == 3 else grey
    side = max(1, grey.shape[1] // _SIGNATURE)
    height, width = (length // side * side for length in grey.shape)
    if not height or not width:
        small = grey
    else:
        small = grey[:height, :width].reshape(height // side, side, width // side, side).mean((1, 3))
    return small / max(float(small.mean()), 1e-9)
