"""Which moments of a stream are worth learning from, and why the others are not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from spike_depth_core.samples import DepthSample
from spike_depth_core.spikes import spike_counts

ACCEPTED = "accepted"


@dataclass(frozen=True)
class GateOptions:
    """Bounds on what is learned from.

    Attributes:
        teacher_sensors: without these a moment has no teacher.
        interval_s: shortest time between moments that are learned from: neighbours teach the same twice.
        motion: smallest mean change of the picture since the last accepted moment, of its own deviation: a standing
            vehicle shows one view again and again, and would learn it by heart.
        dark, bright: share of an 8 bit picture below 6, or above 249, beyond which it is badly exposed.
        spike_range: mean spikes a plane and pixel; outside, the camera is blind or saturated.
        alignment: least `agreement.edge_agreement` of each of the teacher's sensors with the reference: below, a
            picture is mirrored, late, or of something else. What fits reaches 0.12 and more, a degree off included.
        max_uncertainty: median of the teacher's relative standard deviation beyond which it is not believed.
    """

    teacher_sensors: tuple[str, ...] = ("rgb",)
    interval_s: float = 0.2
    motion: float = 0.05
    dark: float = 0.9
    bright: float = 0.6
    spike_range: tuple[float, float] = (2e-4, 0.97)
    alignment: float = 0.05
    max_uncertainty: float = 0.6


def thumbnail(sample: DepthSample, sensor: str) -> np.ndarray:
    """A small float32 picture of what a sensor sees, of zero mean and unit deviation: what motion is seen in."""
    seen = getattr(sample, sensor)
    if sensor == "spikes":
        image = spike_counts(seen, [len(seen)])[0].astype(np.float32)
    else:
        image = seen.mean(axis=2, dtype=np.float32) if seen.ndim == 3 else seen.astype(np.float32)
    rows, columns = (max(1, side // count) for side, count in zip(image.shape, (12, 20), strict=True))
    cut = image[: rows * (image.shape[0] // rows), : columns * (image.shape[1] // columns)]
    small = cut.reshape(cut.shape[0] // rows, rows, cut.shape[1] // columns, columns).mean(axis=(1, 3))
    return (small - small.mean()) / (small.std() + 1e-6)


class Gate:
    """Judges moments before any network sees them; counts what it said.

    Attributes:
        counts: how often each verdict was given.
    """

    def __init__(self, options: GateOptions | None = None):
        self.options = options or GateOptions()
        self.counts: Counter[str] = Counter()
        self._last_ns: int | None = None
        self._learned_ns: int | None = None
        self._pictures: dict[str, np.ndarray] = {}

    def judge(self, sample: DepthSample) -> str:
        """`ACCEPTED`, or why the moment is not learned from."""
        verdict = self._judge(sample)
        self.counts[verdict] += 1
        return verdict

    def reject(self, reason: str) -> None:
        """Count a moment that was accepted here and turned down later, by the teacher."""
        self.counts[ACCEPTED] -= 1
        self.counts[reason] += 1

    def _judge(self, sample: DepthSample) -> str:
        options, now = self.options, sample.time_ns
        before, self._last_ns = self._last_ns, now
        if before is not None and now == before:
            return "clock stands still"
        # Ahead it may be a pause: moments are left out while a budget is repaid.
        if before is not None and now < before:
            self._learned_ns = None
            return "clock jumped"
        missing = [s for s in options.teacher_sensors if s not in sample.sensors]
        if missing:
            return f"no {missing[0]} for the teacher"
        exposure = self._exposure(sample)
        if exposure is not None:
            return exposure
        if self._learned_ns is not None and now - self._learned_ns < options.interval_s * 1e9:
            return "too soon after the last"
        pictures = {sensor: thumbnail(sample, sensor) for sensor in sample.sensors}
        still = self._still(pictures)
        if still is not None:
            return still
        self._learned_ns, self._pictures = now, pictures
        return ACCEPTED

    def _still(self, pictures: dict[str, np.ndarray]) -> str | None:
        """What has not changed since the last accepted moment, if it should have."""
        before = {s: self._pictures[s] for s in pictures if s in self._pictures}
        changes = {
            s: float(np.abs(pictures[s] - b).mean()) if b.shape == pictures[s].shape else 1.0 for s, b in before.items()
        }
        if not changes:
            return None
        if changes.get("rgb", max(changes.values())) < self.options.motion:
            return "nothing moves"
        stuck = [sensor for sensor, change in changes.items() if change == 0.0]  # every sensor has some noise
        return f"{stuck[0]} is stuck" if stuck else None

    def _exposure(self, sample: DepthSample) -> str | None:
        options = self.options
        for name in ("rgb", "nir"):
            image = getattr(sample, name)
            if image is None:
                continue
            top = 255 if image.dtype == np.uint8 else int(np.iinfo(image.dtype).max)
            if np.mean(image < 6 / 255 * top) > options.dark:
                return f"{name} is dark"
            if np.mean(image > 249 / 255 * top) > options.bright:
                return f"{name} is saturated"
        if sample.thermal is not None and np.ptp(sample.thermal) == 0:
            return "thermal shows nothing"
        if sample.spikes is not None:
            rate = float(spike_counts(sample.spikes, [len(sample.spikes)]).mean()) / len(sample.spikes)
            low, high = options.spike_range
            if rate < low:
                return "spikes are silent"
            if rate > high:
                return "spikes are saturated"
        return None
