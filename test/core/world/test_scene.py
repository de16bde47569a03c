"""Scenes: determinism, variety, light levels, and an ego car that drives through nothing."""

from __future__ import annotations

import numpy as np
import pytest

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.world import build_scene, render
from spike_depth_core.world.layout import LAYOUTS
from spike_depth_core.world.primitives import CUTOUT, HIGH, LEAVES, LOW

SMALL = PinholeCamera(64, 24, 37.0, 37.0, 31.5, 11.0)


def look(seed, condition=None, time=1.0, **options):
    scene = build_scene(seed, condition, **options)
    return render(scene, SMALL, scene.world_from_reference, time)


def test_a_seed_is_one_street_however_it_is_visited():
    street = {"layout": "town", "speed": 10.0}
    scene = build_scene(5, **street)
    first = render(scene, SMALL, scene.world_from_reference, 20.0)
    again = look(5, time=20.0, **street)
    np.testing.assert_array_equal(first.radiance, again.radiance)
    # The same moment after having been elsewhere: chunks do not depend on the order of visits.
    other = build_scene(5, **street)
    for time in (200.0, 90.0, 0.0):
        render(other, SMALL, other.world_from_reference, time)
    back = render(other, SMALL, other.world_from_reference, 20.0)
    np.testing.assert_array_equal(first.radiance, back.radiance)
    np.testing.assert_array_equal(first.depth, back.depth)


def test_seeds_differ():
    depths = [np.nan_to_num(look(seed).depth, posinf=300.0) for seed in range(6)]
    for i, a in enumerate(depths):
        for b in depths[i + 1 :]:
            assert np.mean(np.abs(a - b) > 0.5) > 0.1


def test_day_is_brighter_than_dusk_than_night():
    for seed in range(4):
        day, dusk, night = (np.median(look(seed, c).radiance[..., :3]) for c in ("day", "dusk", "night"))
        assert day > 1.5 * dusk > 1.5 * night
    levels = [[look(s, c).radiance[..., :3].mean() for s in range(12)] for c in ("day", "night")]
    assert 8 < np.median(levels[0]) / np.median(levels[1]) < 150


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_below_the_horizon_is_ground_or_stands_on_it(layout):
    for seed in range(3):
        scene = build_scene(seed, "day", layout=layout)
        pose = scene.world_from_reference(3.0)
        out = render(scene, SMALL, pose, 3.0)
        u, v = np.meshgrid(*(np.arange(n) for n in (SMALL.width, SMALL.height)))
        ray = np.stack([(u - SMALL.cx) / SMALL.fx, (v - SMALL.cy) / SMALL.fy, np.ones_like(u)], -1) @ pose[:3, :3].T
        below = ray[..., 2] < -1e-3
        assert np.isfinite(out.depth[below]).all()
        # So is the strip up to the horizon, beyond the end of the mesh.
        strip = PinholeCamera(32, 40, 37.0, 900.0, 15.5, -2.0)
        level = pose.copy()
        level[:3, :3] = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
        assert np.isfinite(render(scene, strip, level, 3.0).depth).all()
        # The road just ahead lies the camera's height below it, but for what stands or rises there.
        near = below & (out.depth < 12.0)
        if near.any():
            heights = -(ray[..., 2] * out.depth)[near]
            assert abs(np.percentile(heights, 90) - scene.camera_height) < 0.6


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_way_of_the_ego_car_is_free(layout):
    """No primitive's box holds a point of the car, or of the air just ahead of its camera."""
    # Camera frame: right, down, forward.
    body = np.stack(np.meshgrid([-0.8, 0.0, 0.8], [0.1, 0.6, 1.1], [-1.5, -0.7, 0.0, 0.8, 1.6, 2.4]), -1).reshape(-1, 3)
    inside = []
    for seed in range(60, 75):
        scene = build_scene(seed, layout=layout)
        for time in (0.0, 41.3):
            snap = scene.snapshot(time)
            camera = scene.world_from_reference(time)
            points = body @ camera[:3, :3].T + camera[:3, 3]
            for pose, (first, last) in zip(snap.poses, snap.ranges, strict=True):
                if np.linalg.norm(pose[:, 3] - camera[:3, 3]) > 40:
                    continue
                local = (points - pose[:, 3]) @ pose[:, :3]
                rows = snap.table.data[first:last]
                rows = rows[rows[:, CUTOUT] != LEAVES]
                hit = (local[:, None] > rows[:, LOW : LOW + 3]) & (local[:, None] < rows[:, HIGH : HIGH + 3])
                if hit.all(-1).any():
                    inside.append((seed, time, np.abs(local).min()))
    assert not inside


def test_motion_of_the_ego_car_is_continuous():
    scene = build_scene(7, layout="town", speed=12.0)
    times = np.linspace(0.0, 60.0, 4001)
    places = np.array([scene.world_from_reference(t) for t in times])
    velocity = np.diff(places[:, :3, 3], axis=0) / np.diff(times)[:, None]
    speed = np.linalg.norm(velocity, axis=1)
    assert 12.0 * 0.8 < speed.mean() < 12.0 * 1.2
    assert speed.min() > 5.0
    assert speed.max() < 20.0
    # It looks where it goes.
    along = (velocity / speed[:, None] * places[1:, :3, 2]).sum(1)
    assert along.min() > 0.97
    turn = np.arccos(np.clip((places[1:, :3, 2] * places[:-1, :3, 2]).sum(1), -1, 1)) / np.diff(times)
    assert turn.max() < 1.0
    rotations = places[:, :3, :3]
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (4001, 1, 1)), atol=1e-12)


@pytest.mark.parametrize("time", [-1.0, 300.0])
def test_the_road_lasts_from_first_to_last_moment(time):
    scene = build_scene(2, layout="highway", speed=35.0)
    out = render(scene, SMALL, scene.world_from_reference, time)
    assert np.isfinite(out.depth[-1]).all()
    assert 2.0 < np.median(out.depth[-1]) < 12.0
    # There is road, traffic and country far ahead too.
    assert np.isfinite(out.depth).mean() > 0.4
    assert ((out.depth > 50) & (out.depth < 200)).sum() > 10


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"condition must be one of .* found 'noon'"):
        build_scene(1, "noon")
    with pytest.raises(ValueError, match="layout must be one of"):
        build_scene(1, layout="desert")
    with pytest.raises(ValueError, match="seed"):
        build_scene(-1)
    with pytest.raises(ValueError, match="speed must be within"):
        build_scene(1, speed=99.0)
    with pytest.raises(ValueError, match="lasts from"):
        build_scene(1).world_from_reference(1e4)
