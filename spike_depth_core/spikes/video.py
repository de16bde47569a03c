"""Spikes that a spike camera would have fired at an ordinary video."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from spike_depth_core.extras import how_to_install
from spike_depth_core.spikes.camera import RealtimeSpikeCamera, SpikeCameraParameters
from spike_depth_core.spikes.packed import PackedSpikes

PLANES_PER_FRAME = 128
"""Planes between two frames of a video: what most simulated data sets use."""

VIDEO_GAIN = 0.6
"""Rate of a white pixel, spikes a plane: what simulators of spike data sets come to."""

_PLANES_PER_LEVEL = 4  # light is constant that long: 1/32 of the way from frame to frame


def linear_grey(rgb: np.ndarray) -> np.ndarray:
    """Luminance float32 [H, W], 0 to 1, of an sRGB image uint8 [H, W, 3] (IEC 61966-2-1, BT.709 weights)."""
    value = np.arange(256) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return linear[rgb] @ np.array([0.2126, 0.7152, 0.0722], np.float32)


def read_video(
    path: str | Path, height: int | None = None, width: int | None = None
) -> tuple[float, Iterator[np.ndarray]]:
    """Frames a second of a video, and its frames uint8 [H, W, 3], resized if a size is given.

    Raises:
        ImportError: PyAV is not installed.
        ValueError: the file holds no video; or, later, is damaged.
    """
    try:
        import av
    except ImportError as error:
        raise ImportError(f"reading a video needs PyAV; {how_to_install('report')}") from error

    try:
        container = av.open(str(path))
    except (av.error.InvalidDataError, av.error.EOFError) as error:
        raise ValueError(f"{path}: not a video: {error}") from error
    if not container.streams.video:
        raise ValueError(f"{path}: there is no video stream in it")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"

    def frames() -> Iterator[np.ndarray]:
        count = 0
        with container:
            try:
                for frame in container.decode(stream):
                    count += 1
                    yield frame.to_ndarray(format="rgb24", height=height, width=width, interpolation="AREA")
            except (av.error.InvalidDataError, av.error.EOFError) as error:
                raise ValueError(f"{path}: damaged behind frame {count}: {error}") from error

    return float(stream.average_rate or 25), frames()


def spikes_from_frames(
    frames: Iterable[np.ndarray],
    frames_per_second: float,
    planes_per_frame: int = PLANES_PER_FRAME,
    parameters: SpikeCameraParameters | None = None,
    seed: int = 0,
) -> Iterator[PackedSpikes]:
    """Simulate a spike camera on light that goes linearly from each frame to the next. Pixels start at random charges.

    Args:
        frames: sRGB uint8 [H, W, 3], at least two.
        frames_per_second: of the video. Planes are `1 / (frames_per_second * planes_per_frame)` seconds apart:
            slower than a real camera's, so that things move further from plane to plane.
        planes_per_frame: planes from one frame to the next, a multiple of 4.
        parameters: of the camera; by default one without noise, with `VIDEO_GAIN`.
        seed: of the charges at first, and of the camera's fixed pattern and noise.

    Yields:
        The planes from each frame to the next.
    """
    if planes_per_frame < 1 or planes_per_frame % _PLANES_PER_LEVEL:
        raise ValueError(f"planes_per_frame must be a multiple of {_PLANES_PER_LEVEL}, found {planes_per_frame}")
    parameters = parameters or SpikeCameraParameters.noiseless(VIDEO_GAIN)
    period_ns = round(1e9 / (frames_per_second * planes_per_frame))
    levels = planes_per_frame // _PLANES_PER_LEVEL
    camera: RealtimeSpikeCamera | None = None
    before: np.ndarray | None = None
    for frame in frames:
        after = linear_grey(frame)
        if camera is None or before is None:
            height, width = after.shape
            camera = RealtimeSpikeCamera(height, width, parameters, seed, period_ns)
            before = after
            continue
        parts = []
        for level in range(levels):
            share = np.float32((level + 0.5) / levels)
            parts.append(camera.expose(before + share * (after - before), _PLANES_PER_LEVEL))
        yield PackedSpikes.concatenate(parts)
        before = after
