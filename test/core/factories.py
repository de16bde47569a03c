"""Small samples with known truth, for tests that need no rendered street."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.samples import DepthSample
from spike_depth_core.spikes import PackedSpikes


def ground_depth(camera: PinholeCamera, height_m: float = 1.65) -> np.ndarray:
    """Depth of a level plane below the camera, +inf above the horizon: z = h / slope."""
    slope = camera.slopes()[1]
    with np.errstate(divide="ignore"):
        rows = np.where(slope > 1e-6, height_m / slope, np.inf)
    return np.repeat(rows[:, None], camera.width, axis=1).astype(np.float32)


def small_rig(width: int = 96, height: int = 64) -> SensorRig:
    camera = PinholeCamera.from_focal(width, height, 0.8 * width)
    frame = PinholeCamera.from_focal(width + 32, height + 16, width)
    return SensorRig(
        {"spikes": camera, "rgb": frame, "nir": frame, "thermal": camera},
        {"rgb": pose((0.08, 0.0, 0.0)), "nir": pose((0.08, 0.0, 0.0)), "thermal": pose((0.0, -0.1, 0.0))},
    )


def small_sample(seed: int = 0, planes: int = 64, rig: SensorRig | None = None) -> DepthSample:
    """Random textures on a level road: enough to run everything, nothing to learn but the row."""
    rng = np.random.default_rng(seed)
    rig = rig or small_rig()

    def size(sensor: str) -> tuple[int, int]:
        return rig.cameras[sensor].height, rig.cameras[sensor].width

    brightness = rng.uniform(0.05, 0.4, size("spikes"))
    spikes = (rng.random((planes, *size("spikes"))) < brightness).astype(np.uint8)
    return DepthSample(
        rig,
        time_ns=1_000_000,
        spikes=PackedSpikes.from_planes(spikes),
        rgb=rng.integers(0, 256, (*size("rgb"), 3), dtype=np.uint8),
        nir=rng.integers(0, 256, size("nir"), dtype=np.uint8),
        thermal=rng.integers(28_000, 30_000, size("thermal")).astype(np.uint16),
        depth={s: ground_depth(rig.cameras[s]) for s in rig.cameras},
        meta={"seed": seed, "condition": "day"},
    )


def stereo_sample(seed: int = 0, baseline_m: float = 0.5) -> DepthSample:
    """`small_sample` with right-hand spikes and colour of random textures, and a pose."""
    left, right = small_sample(seed), small_sample(seed + 1000)
    step = pose((baseline_m, 0.0, 0.0))
    cameras = dict(left.rig.cameras)
    poses = dict(left.rig.poses)
    for sensor in ("spikes", "rgb"):
        cameras[f"{sensor}_right"] = cameras[sensor]
        poses[f"{sensor}_right"] = left.rig.reference_from(sensor) @ step
    return dataclasses.replace(
        left,
        rig=dataclasses.replace(left.rig, cameras=cameras, poses=poses),
        spikes_right=dataclasses.replace(right.spikes, start_ns=7),
        rgb_right=right.rgb,
        world_from_reference=pose((0.0, 1.5 * seed, 0.0)),
    )


def undistorted(x: np.ndarray, y: np.ndarray, distortion: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Slopes before a lens distorted them (k1, k2, p1, p2, k3), by iteration."""
    if not distortion:
        return x, y
    k1, k2, p1, p2, k3 = distortion
    a, b = x, y
    for _ in range(20):
        r = a * a + b * b
        radial = 1 + k1 * r + k2 * r**2 + k3 * r**3
        a, b = (
            (x - 2 * p1 * a * b - p2 * (r + 2 * a * a)) / radial,
            (y - p1 * (r + 2 * b * b) - 2 * p2 * a * b) / radial,
        )
    return a, b


def wall_texture(seed: int = 0) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A smooth random colour in [0, 1] of slopes (x / z, y / z), the same in pixels however far the wall is.

    Nothing in one picture of it tells its depth; the shift between two does.
    """
    rng = np.random.default_rng(seed)
    waves = rng.uniform(-25.0, 25.0, (10, 2))  # radians per unit of slope
    phases = rng.uniform(0, 2 * np.pi, (10, 3))

    def colour(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        angle = waves[:, 0] * x[..., None] + waves[:, 1] * y[..., None]
        return 0.5 + 0.15 * np.cos(angle[..., None] + phases).sum(-2) / 1.6

    return colour


def wall_pair(
    depth_m: float, seed: int = 0, baseline_m: float = 0.5, rig_pose: np.ndarray | None = None
) -> DepthSample:
    """Colour from both eyes before a textured wall, square to the view: the right picture is shifted by f b / z.

    Args:
        depth_m: of the wall, z.
        seed: of its texture, see `wall_texture`.
        baseline_m: b, along the rows.
        rig_pose: of the left camera in the rig's reference, a spike camera without an image.
    """
    camera = PinholeCamera.from_focal(96, 64, 77.0)
    colour = wall_texture(seed)
    x, y = np.broadcast_arrays(camera.slopes()[0][None, :], camera.slopes()[1][:, None])
    left, right = (np.clip(colour(x + shift, y), 0, 1) for shift in (0.0, baseline_m / depth_m))
    at = pose() if rig_pose is None else rig_pose
    rig = SensorRig(
        {"spikes": camera, "rgb": camera, "rgb_right": camera},
        {"rgb": at, "rgb_right": at @ pose((baseline_m, 0.0, 0.0))},
    )
    return DepthSample(
        rig,
        rgb=np.round(255 * left).astype(np.uint8),
        rgb_right=np.round(255 * right).astype(np.uint8),
        depth={"rgb": np.full((64, 96), depth_m, np.float32)},
    )
