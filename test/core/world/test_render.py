"""The renderer against closed forms, finite differences, and its own exhaustive twin."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.world import build_scene, render
from spike_depth_core.world.primitives import Model
from spike_depth_core.world.surfaces import PLAIN

CAMERA = PinholeCamera(48, 32, 40.0, 38.0, 23.0, 15.5)
# x right, y down, z forward, for a camera looking along the world's x.
LEVEL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def pose_at(x: float = 0.0, y: float = 0.0, z: float = 1.65) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = LEVEL
    matrix[:3, 3] = x, y, z
    return matrix


def placed(scene, model: Model, poses: np.ndarray, rates: np.ndarray | None = None):
    """A snapshot of a flat ground z = 0 and copies of one model: nothing else."""
    base = scene.snapshot(0.0)
    table = model.table()
    low, high = table.data[:, 0:3].min(0), table.data[:, 3:6].max(0)
    count = len(poses)
    corners = np.array([[-500.0, -500, 0], [500, -500, 0], [500, 500, 0], [-500, 500, 0]])
    triangles = np.stack([corners[[0, 1, 2]], corners[[0, 2, 3]]])
    return dataclasses.replace(
        base,
        table=table,
        poses=np.ascontiguousarray(poses[:, :3]),
        rates=np.zeros((count, 3, 4)) if rates is None else rates,
        bounds=np.tile([*(low + high) / 2, np.linalg.norm(high - low) / 2], (count, 1)),
        ranges=np.tile([0, len(table.kind)], (count, 1)).astype(np.int64),
        footprints=np.zeros((count, 6)),
        palettes=np.full((count, 6, 4), 0.5),
        params=np.zeros((count, 12)),
        seeds=np.ones(count, dtype=np.int64),
        triangles=triangles,
        coordinates=np.ascontiguousarray(triangles[..., :2]),
        labels=np.zeros((2, 2), dtype=np.int64),
        plain=-1.0,
        lamps=base.lamps[:0],
    )


def at(x: float, y: float, z: float, yaw: float = 0.0) -> np.ndarray:
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0, x], [s, c, 0, y], [0, 0, 1, z], [0, 0, 0, 1.0]])


@pytest.fixture(scope="module")
def day():
    return build_scene(11, "day", layout="town")


def test_depth_of_flat_ground_sphere_and_box(day):
    model = Model().ellipsoid((12.0, 2.0, 1.65), (1.5, 1.5, 1.5), PLAIN).box((20.0, -6.0, 2.0), (2.0, 4.0, 8.0), PLAIN)
    snapshot = placed(day, model, at(0, 0, 0)[None])
    out = render(day, CAMERA, pose_at(), 0.0, snapshot=snapshot)
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    x, y = (u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy  # camera frame: right, down
    with np.errstate(divide="ignore"):
        expected = np.where(y > 0, 1.65 / y, np.inf)
    # Sphere: |t (x, y, 1) - (-2, 0, 12)| = 1.5, nearest root.
    a, b, c = x**2 + y**2 + 1.0, -2.0 * x + 12.0, 2.0**2 + 12.0**2 - 1.5**2
    with np.errstate(invalid="ignore"):
        sphere = (b - np.sqrt(b * b - a * c)) / a
    expected = np.fmin(expected, np.where(b * b - a * c > 0, sphere, np.inf))
    # The box's front at z = 19, and its side towards the middle at right = 4 (seen where it is entered there first).
    front = (np.abs(19.0 * x - 6.0) < 2.0) & (np.abs(19.0 * y - (-0.35)) < 4.0)
    side = 4.0 / np.where(x > 0, x, np.nan)
    sideways = (side > 19.0) & (side < 21.0) & (np.abs(side * y + 0.35) < 4.0)
    expected = np.fmin(expected, np.where(front, 19.0, np.inf))
    expected = np.fmin(expected, np.where(sideways, side, np.inf))
    assert (expected == 19.0).sum() > 50
    assert (b * b - a * c > 0).sum() > 50
    np.testing.assert_allclose(out.depth, expected.astype(np.float32), rtol=1e-5)


def test_velocity_of_moving_objects_matches_finite_differences(day):
    model = Model().box((0, 0, 1.0), (4.0, 1.8, 2.0), PLAIN).ellipsoid((0, 0, 2.6), (0.5, 0.5, 0.6), PLAIN)

    def object_pose(t):
        return at(12.0 - 9.0 * t, 1.0 + 3.0 * t, 0.2, 0.4 + 1.3 * t)

    def camera_pose(t):
        turn = at(0, 0, 0, 0.2 * t)
        pose = turn @ pose_at(7.0 * t, -0.5 * t, 1.65 + 0.1 * t)
        return pose

    h = 1e-4
    rate = (object_pose(h) - object_pose(-h))[:3] / (2 * h)
    snapshot = placed(day, model, object_pose(0.0)[None], rate[None])
    out = render(day, CAMERA, camera_pose, 0.0, snapshot=snapshot)
    u, v = np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height))
    ray = np.stack([(u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy, np.ones_like(u)], -1)
    seen = np.isfinite(out.depth)
    world = (ray[seen] * out.depth[seen, None].astype(np.float64)) @ camera_pose(0.0)[:3, :3].T + camera_pose(0.0)[
        :3, 3
    ]
    on_object = world[:, 2] > 0.01
    assert 50 < on_object.sum() < seen.sum() - 50

    def projected(t):
        local = np.c_[world, np.ones(len(world))] @ np.linalg.inv(object_pose(0.0)).T
        moved = np.where(on_object[:, None], (local @ object_pose(t).T)[:, :3], world)
        p = (moved - camera_pose(t)[:3, 3]) @ camera_pose(t)[:3, :3]
        return np.stack([CAMERA.fx * p[:, 0] / p[:, 2], CAMERA.fy * p[:, 1] / p[:, 2]], -1)

    expected = (projected(h) - projected(-h)) / (2 * h)
    np.testing.assert_allclose(out.velocity[seen], expected, rtol=2e-3, atol=0.05)


def test_velocity_of_the_sky_is_rotation_only(day):
    snapshot = placed(day, Model().box((5, 9, 0), (1, 1, 1), PLAIN), at(0, 0, 0)[None])
    yaw_rate = 0.3
    out = render(day, CAMERA, lambda t: at(0, 0, 0, yaw_rate * t) @ pose_at(25.0 * t), 0.0, snapshot=snapshot)
    sky = ~np.isfinite(out.depth)
    u = np.broadcast_to((np.arange(CAMERA.width) - CAMERA.cx) / CAMERA.fx, sky.shape)
    # Turning left by w moves the image right: u' = f w (1 + x^2).
    expected = CAMERA.fx * yaw_rate * (1.0 + u**2)
    assert sky.sum() > 200
    np.testing.assert_allclose(out.velocity[..., 0][sky], expected[sky], rtol=1e-4)


def test_shadow_of_a_box_falls_where_the_sun_says():
    scene = build_scene(11, "day", layout="town")
    sun = np.array([-0.4, 0.3, np.sqrt(0.75)])
    scene.light = dataclasses.replace(scene.light, sun=sun, sunlight=np.ones(4))
    scene.light_vector = scene.light.vector()
    height, size = 6.0, 6.0
    model = Model().box((0, 0, height), (size, size, 0.1), PLAIN)
    snapshot = placed(scene, model, at(14.0, 0, 0)[None])
    bare = placed(scene, model, at(14.0, 0, 900.0)[None])
    camera = PinholeCamera(120, 80, 300.0, 300.0, 39.5, 0.0)
    with_box = render(scene, camera, pose_at(), 0.0, snapshot=snapshot)
    without = render(scene, camera, pose_at(), 0.0, snapshot=bare)
    u = np.broadcast_to(np.arange(120), (80, 120))
    t = without.depth.astype(np.float64)
    ground = np.isfinite(t) & (t == with_box.depth) & (t < 60)
    t = np.where(ground, t, 1.0)
    x, y = t, -t * (u - camera.cx) / camera.fx
    # Where the ray from the ground point to the sun passes the slab's level.
    up = height / sun[2]
    away = np.maximum(np.abs(x + sun[0] * up - 14.0), np.abs(y + sun[1] * up)) - size / 2
    darker = with_box.radiance[..., 1] < 0.8 * without.radiance[..., 1]
    within = ground & (away < -0.15)
    assert within.sum() > 40
    assert darker[within].all()
    assert not darker[ground & (away > 0.15)].any()


@pytest.mark.parametrize(
    ("seed", "condition", "layout"), [(3, "day", "suburb"), (8, "night", "town"), (21, "day", "highway")]
)
def test_accelerated_image_is_the_exhaustive_one(seed, condition, layout):
    scene = build_scene(seed, condition, layout=layout)
    camera = PinholeCamera(40, 24, 26.0, 26.0, 19.5, 10.5)
    fast = render(scene, camera, scene.world_from_reference, 2.0)
    full = render(scene, camera, scene.world_from_reference, 2.0, exhaustive=True)
    for name in ("depth", "velocity", "temperature", "radiance"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(full, name), err_msg=name)


def test_threads_and_supersampling_keep_the_geometry(day):
    one = render(day, CAMERA, day.world_from_reference, 1.0)
    two = render(day, CAMERA, day.world_from_reference, 1.0, workers=2)
    fine = render(day, CAMERA, day.world_from_reference, 1.0, supersample=2)
    for name in ("depth", "velocity", "temperature", "radiance"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    for name in ("depth", "velocity", "temperature"):
        np.testing.assert_array_equal(getattr(one, name), getattr(fine, name), err_msg=name)
    assert not np.array_equal(one.radiance, fine.radiance)
    # Averaging smooths: the image keeps its level and loses contrast between neighbours.
    assert abs(np.median(one.radiance) / np.median(fine.radiance) - 1.0) < 0.2
    assert np.abs(np.diff(fine.radiance, axis=1)).mean() < np.abs(np.diff(one.radiance, axis=1)).mean()


def test_what_a_render_pass_holds(day):
    out = render(day, CAMERA, day.world_from_reference, 0.5)
    assert out.radiance.shape == (32, 48, 4)
    assert out.velocity.shape == (32, 48, 2)
    assert {a.dtype for a in (out.radiance, out.temperature, out.depth, out.velocity)} == {np.dtype(np.float32)}
    assert np.isfinite(out.radiance).all()
    assert np.isfinite(out.velocity).all()
    assert (out.radiance >= 0).all()
    assert (out.depth > 0).all()
    assert 215 < out.temperature.min() < out.temperature.max() < 345


def test_bad_arguments_are_named(day):
    with pytest.raises(ValueError, match="supersample must be 1 or 2, found 3"):
        render(day, CAMERA, day.world_from_reference, 0.0, supersample=3)
    with pytest.raises(ValueError, match="finite 4x4"):
        render(day, CAMERA, np.eye(3), 0.0)
    bent = dataclasses.replace(CAMERA, distortion=(0.1, 0, 0, 0))
    with pytest.raises(ValueError, match="undistorted"):
        render(day, bent, day.world_from_reference, 0.0)
