"""Render a scene through a camera: radiance in four bands, temperature, exact depth and image velocity."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.world.intersect import FAR
from spike_depth_core.world.lamps import lamp_airlight
from spike_depth_core.world.rain import RainInView
from spike_depth_core.world.scene import RATE_STEP, Scene, Snapshot
from spike_depth_core.world.shading import shade
from spike_depth_core.world.shadows import occluder_grid, shadow_grid, sun_basis
from spike_depth_core.world.visibility import SKY, cast_ground, cast_instances, cast_plain

Pose = np.ndarray | Callable[[float], np.ndarray]


@dataclass
class RenderPass:
    """What a perfect camera would measure.

    Attributes:
        radiance: float32 [H, W, 4], linear r, g, b, near infrared; 1.0 is a white diffuse surface in full noon sun.
        temperature: float32 [H, W], kelvin.
        depth: float32 [H, W], metres along the optical axis on the pixel centre's ray; +inf for sky.
        velocity: float32 [H, W, 2], image velocity (u, v) in pixels/s of the surface point on the pixel centre's ray.
        rain: drops before the camera, which every sensor exposes in its own way; None where it does not rain.
    """

    radiance: np.ndarray
    temperature: np.ndarray
    depth: np.ndarray
    velocity: np.ndarray
    rain: RainInView | None = None


@lru_cache(maxsize=2)
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers)


def render(
    scene: Scene,
    camera: PinholeCamera,
    world_from_camera: Pose,
    time_s: float,
    supersample: int = 1,
    workers: int = 1,
    exhaustive: bool = False,
    snapshot: Snapshot | None = None,
) -> RenderPass:
    """Render the scene at a time.

    Args:
        camera: intrinsics; distortion is not modelled and must be empty.
        world_from_camera: 4x4 pose of the camera, or a function of time (seconds) that gives it. A fixed pose is a
            camera at rest: only what moves in the world has image velocity then.
        time_s: the moment, seconds.
        supersample: 1 or 2; 2 takes radiance as the mean over 2x2 rays a pixel, smoothing edges.
        workers: threads over bands of rows. 1 stays on the calling thread.
        exhaustive: test every primitive at every pixel and every shadow ray (slow; to check the acceleration).
        snapshot: `scene.snapshot(time_s)` where several cameras look at the same moment.

    Raises:
        ValueError: a distorted camera, a pose that is not a finite 4x4 matrix, or an unsupported supersample.
    """
    if camera.distortion and any(camera.distortion):
        raise ValueError(f"the world renders undistorted cameras only, found distortion {camera.distortion}")
    if supersample not in (1, 2):
        raise ValueError(f"supersample must be 1 or 2, found {supersample}")
    if callable(world_from_camera):
        pose = _checked(world_from_camera(time_s))
        step = RATE_STEP
        rate = (_checked(world_from_camera(time_s + step)) - _checked(world_from_camera(time_s - step))) / (2.0 * step)
    else:
        pose = _checked(world_from_camera)
        rate = np.zeros((4, 4))
    snap = snapshot or scene.snapshot(time_s)
    rotation, position = np.ascontiguousarray(pose[:3, :3]), np.ascontiguousarray(pose[:3, 3])
    rotation_rate, position_rate = np.ascontiguousarray(rate[:3, :3]), np.ascontiguousarray(rate[:3, 3])

    height, width = camera.height, camera.width
    if supersample == 1:
        offsets = np.zeros((1, 2))
    else:
        # The centre for geometry, then a rotated grid for colour.
        offsets = np.array(
            [[0, 0], [-0.125, -0.375], [0.375, -0.125], [0.125, 0.375], [-0.375, 0.125]], dtype=np.float64
        )
    samples = len(offsets)
    depth = np.full((samples, height, width), FAR)
    instances = np.full((samples, height, width), SKY, dtype=np.int32)
    primitives = np.zeros((samples, height, width), dtype=np.int32)

    middles = np.einsum("nij,nj->ni", snap.poses[:, :, :3], snap.bounds[:, :3]) + snap.poses[:, :, 3]
    away = np.linalg.norm(middles - position, axis=1) - snap.bounds[:, 3]
    order = np.argsort(away, kind="stable").astype(np.int64)

    light = scene.light
    basis = sun_basis(light.sun)
    focus = position + 60.0 * rotation[:, 2] * np.array([1.0, 1.0, 0.0])
    shadow_centre = basis[:2] @ focus
    table = snap.table
    casting = len(snap.poses) if light.sunlight[0] > 0.0 else 0
    spans, entries = shadow_grid(
        basis, shadow_centre, snap.poses[:casting], snap.ranges[:casting], table.data, exhaustive
    )
    near_ground = focus[:2].copy()
    ao_starts, ao_entries = occluder_grid(near_ground, snap.poses, snap.footprints)

    radiance = np.empty((height, width, 4), dtype=np.float32)
    temperature = np.empty((height, width), dtype=np.float32)
    velocity = np.empty((height, width, 2), dtype=np.float32)

    def band(row0: int, row1: int) -> None:
        for k in range(samples):
            view = (
                rotation,
                position,
                camera.fx,
                camera.fy,
                camera.cx - offsets[k, 0],
                camera.cy - offsets[k, 1],
                row0,
                row1,
            )
            cast_instances(
                *view, order, snap.poses, snap.bounds, snap.ranges, snap.seeds,
                table.kind, table.data, table.planes, exhaustive, depth[k], instances[k], primitives[k],
            )  # fmt: skip
            cast_ground(*view, snap.triangles, exhaustive, depth[k], instances[k], primitives[k])
            cast_plain(*view, snap.plain, depth[k], instances[k])
        shade(
            rotation, position, rotation_rate, position_rate, camera.fx, camera.fy, camera.cx, camera.cy, row0, row1,
            offsets, depth, instances, primitives,
            snap.poses, snap.rates, snap.seeds, snap.palettes, snap.params, table.kind, table.data, table.planes,
            snap.triangles, snap.coordinates, snap.labels, scene.land, scene.street.lines, snap.zones, scene.land_seed,
            scene.light_vector, snap.lamps, basis, shadow_centre, spans, entries,
            near_ground, ao_starts, ao_entries, snap.footprints,
            radiance, temperature, velocity,
        )  # fmt: skip

    if workers <= 1:
        band(0, height)
    else:
        workers = min(workers, os.cpu_count() or 1)
        # Bands are cut finer than the workers: rows of sky cost little, rows of street much.
        edges = np.linspace(0, height, 4 * workers + 1).astype(int)
        list(_pool(workers).map(lambda e: band(int(e[0]), int(e[1])), pairwise(edges)))
    found = np.where(depth[0] < FAR, depth[0], np.inf).astype(np.float32)
    if light.veil[1] > 0.0 and len(snap.lamps):
        lamp_airlight(
            rotation, position, camera.fx, camera.fy, camera.cx, camera.cy, snap.lamps, float(light.veil[1]), found,
            radiance,
        )  # fmt: skip
    return RenderPass(radiance, temperature, found, velocity)


def _checked(pose: np.ndarray) -> np.ndarray:
    pose = np.asarray(pose, dtype=np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise ValueError(f"a camera pose is a finite 4x4 matrix, found shape {pose.shape}")
    return pose
