"""A drive along a textured street canyon whose every pixel is a formula: sequences with known depth and motion."""

from __future__ import annotations

import numpy as np

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.samples import DepthSample
from spike_depth_core.spikes import PackedSpikes

HEIGHT_M = 1.5  # of the camera over the road
END_M = 30.0  # a wall across the street, ahead of the first frame


def street_depth(camera: PinholeCamera, world_from_camera: np.ndarray, wall_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth [H, W] and the points hit [H, W, 3] in the world: x right, y down, z along the street, road at y = 0.

    Walls are `wall_m` to either side of x = 0.
    """
    slope_x, slope_y = np.meshgrid(*camera.slopes())
    rays = np.stack([slope_x, slope_y, np.ones_like(slope_x)], -1) @ world_from_camera[:3, :3].T
    place = world_from_camera[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        walls = (np.sign(rays[..., 0]) * wall_m - place[0]) / rays[..., 0]
        road = np.where(rays[..., 1] > 0, -place[1] / rays[..., 1], np.inf)
        end = (END_M - place[2]) / rays[..., 2]
    depth = np.fmin(np.fmin(walls, road), end)
    return depth, place + depth[..., None] * rays


def street_picture(points: np.ndarray) -> np.ndarray:
    """Colours [H, W, 3] in [0, 1] of points: waves, finer and coarser, the same from wherever they are seen."""
    rng = np.random.default_rng(4)
    colours = np.full((*points.shape[:2], 3), 0.5)
    for wavelength in (1.5, 3.0, 6.0):
        for _ in range(3):
            direction = rng.normal(size=3)
            direction *= 2 * np.pi / wavelength / np.linalg.norm(direction)
            colours += 0.08 * np.sin((points @ direction)[..., None] + rng.uniform(0, 2 * np.pi, 3))
    return np.clip(colours, 0, 1)


def drive(
    count: int,
    metres: float = 0.4,
    beside_m: float = 0.0,
    yaw_step: float = 0.0,
    size: tuple[int, int] = (64, 96),
    wall_m: float = 4.0,
) -> list[DepthSample]:
    """Frames of (height, width) `size`, each `metres` after the one before: spikes, and RGB from `beside_m` to the
    right of them."""
    height, width = size
    camera = PinholeCamera.from_focal(width, height, 0.8 * width)
    rig = SensorRig({"spikes": camera, "rgb": camera}, {"rgb": pose((beside_m, 0.0, 0.0))}, "spikes", HEIGHT_M)
    samples = []
    for frame in range(count):
        half_yaw = frame * yaw_step / 2
        turn = (0.0, float(np.sin(half_yaw)), 0.0, float(np.cos(half_yaw)))
        world = pose((0.1 * np.sin(frame), -HEIGHT_M, frame * metres), turn)
        depth, points = street_depth(camera, world, wall_m)
        rgb_depth, rgb_points = street_depth(camera, world @ rig.reference_from("rgb"), wall_m)
        brightness = 0.4 * street_picture(points).mean(-1)
        bits = np.random.default_rng(frame).random((24, height, width)) < brightness
        samples.append(
            DepthSample(
                rig,
                time_ns=frame * 100_000_000,
                spikes=PackedSpikes.from_planes(bits.astype(np.uint8)),
                rgb=np.round(255 * street_picture(rgb_points)).astype(np.uint8),
                depth={"spikes": depth.astype(np.float32), "rgb": rgb_depth.astype(np.float32)},
                meta={"sequence": 0, "frame": frame},
                world_from_reference=world,
            )
        )
    return samples
