"""Mediate spikes: what a spike camera would have fired at colour frames, between one of them and the next.

BiCross (Liu et al., "Unsupervised Spike Depth Estimation via Cross-modality Cross-domain Knowledge Transfer", ICRA
2024) learns from spikes simulated from labelled colour video before it meets a real spike camera's: 128 planes a
frame. The frames are interpolated to the planes, and an ideal pixel integrates and fires. Grey is taken as it is
stored, or linearised first; frames are interpolated along the motion, as interpolation networks do, or merely
blended.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spike_depth_core.spikes import PackedSpikes, RealtimeSpikeCamera, SpikeCameraParameters
from spike_depth_core.spikes.video import PLANES_PER_FRAME, linear_grey
from spike_depth_core.world.motion import Motion
from spike_depth_core.world.render import RenderPass

INTERPOLATIONS = ("motion", "blend")
_PLANES_PER_LEVEL = 4  # light is constant that long
_LUMA = np.array([0.299, 0.587, 0.114], np.float32) / 255  # ITU-R BT.601


@dataclass(frozen=True)
class Frame:
    """A colour frame uint8 [H, W, 3], and the pass it was taken of."""

    image: np.ndarray
    rendered: RenderPass


@dataclass(frozen=True)
class MediateSpikes:
    """How spikes are simulated from frames.

    Attributes:
        planes: from one frame to the next, a multiple of 4.
        threshold: charge at which a pixel fires, in planes of white.
        linearised: whether the camera's tone curve (sRGB) is undone first.
        interpolation: one of `INTERPOLATIONS`.
    """

    planes: int = PLANES_PER_FRAME
    threshold: float = 2.0
    linearised: bool = False
    interpolation: str = "motion"

    def __post_init__(self) -> None:
        if self.planes < 1 or self.planes % _PLANES_PER_LEVEL:
            raise ValueError(f"planes must be a multiple of {_PLANES_PER_LEVEL}, found {self.planes}")
        if not self.threshold >= 1.0:
            raise ValueError(f"threshold must be at least 1 plane of white, found {self.threshold}")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be one of {INTERPOLATIONS}, found {self.interpolation!r}")

    def grey(self, image: np.ndarray) -> np.ndarray:
        """Brightness float32 [H, W], 0 to 1, of a frame."""
        return linear_grey(image) if self.linearised else (image @ _LUMA).astype(np.float32)

    def simulate(self, before: Frame, after: Frame, seconds: float, end_ns: int, seed: int) -> PackedSpikes:
        """The planes from one frame to the next, `seconds` later, at `end_ns`. Pixels start at random charges."""
        greys = self.grey(before.image), self.grey(after.image)
        height, width = greys[0].shape
        period_ns = round(seconds * 1e9 / self.planes)
        parameters = SpikeCameraParameters.noiseless(threshold=self.threshold)
        camera = RealtimeSpikeCamera(height, width, parameters, seed, period_ns, end_ns - self.planes * period_ns)
        motions = [Motion(f.rendered.velocity, f.rendered.depth, seconds) for f in (before, after)]
        data = np.empty((self.planes, height, (width + 7) // 8), np.uint8)
        for first in range(0, self.planes, _PLANES_PER_LEVEL):
            share = (first + _PLANES_PER_LEVEL / 2) / self.planes
            earlier, later = greys
            if self.interpolation == "motion":
                earlier = motions[0].moved(earlier, share * seconds)
                later = motions[1].moved(later, (share - 1.0) * seconds)
            light = earlier + np.float32(share) * (later - earlier)
            camera.expose(light, _PLANES_PER_LEVEL, data[first : first + _PLANES_PER_LEVEL])
        return PackedSpikes(data, width, period_ns, end_ns - self.planes * period_ns)
