"""Errors of a rig that are known, and whether they are noticed: in a corridor of closed form, and in the street."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.inference import DepthEstimate
from spike_depth_core.inference.alignment import (
    BLOCK,
    AlignmentMonitor,
    Misalignment,
    Shifts,
    block_shifts,
    difference,
    explain,
    motion_field,
)
from spike_depth_core.samples import DepthSample
from spike_depth_core.world import World
from test.core.factories import undistorted

CAMERA = PinholeCamera(400, 250, 330.0, 330.0, 199.5, 124.5)
FRAME = PinholeCamera(480, 300, 390.0, 390.0, 239.5, 149.5, (-0.05, 0.01, 0.0005, -0.0005, 0.0))
RIG = SensorRig({"rgb": CAMERA, "nir": FRAME}, {"nir": pose((0.08, 0.02, 0.0))}, "rgb")
# The errors that must be noticed: a degree about, 5 cm along each axis that can be seen.
DEGREE = np.sin(np.radians(0.5))
ERRORS = {
    "pitch": pose((0, 0, 0), (DEGREE, 0, 0, np.cos(np.radians(0.5)))),
    "yaw": pose((0, 0, 0), (0, DEGREE, 0, np.cos(np.radians(0.5)))),
    "roll": pose((0, 0, 0), (0, 0, DEGREE, np.cos(np.radians(0.5)))),
    "right": pose((0.05, 0, 0)),
    "down": pose((0, 0.05, 0)),
}


def believed(rig: SensorRig, error: np.ndarray, *sensors: str) -> SensorRig:
    """A rig that is wrong about sensors: the true one is this one after the error, seen from the reference."""
    poses = {sensor: rig.reference_from(sensor) for sensor in rig.cameras}
    return dataclasses.replace(rig, poses=poses | {sensor: error @ poses[sensor] for sensor in sensors})


def test_the_motion_field_is_the_change_of_the_projection():
    rng = np.random.default_rng(0)
    position, inverse_depth = rng.uniform(-0.6, 0.6, (20, 2)), rng.uniform(0.02, 0.3, 20)
    points = np.concatenate([position, np.ones((20, 1))], axis=1) / inverse_depth[:, None]
    for axis in range(6):
        small = 1e-6 * np.eye(6)[axis]
        moved = points + np.cross(small[:3], points) + small[3:]
        change = (moved[:, :2] / moved[:, 2:] - position) / 1e-6
        np.testing.assert_allclose(motion_field(position, inverse_depth)[:, :, axis], change, atol=1e-4)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -2.0), (-1.4, 2.7), (6.3, 6.3)])
def test_blocks_are_found_where_they_went(shift):
    def texture(u, v):
        parts = np.random.default_rng(1).normal(size=(60, 3))
        return sum(np.sin(0.35 * a * u + 0.35 * b * v + 3 * c) for a, b, c in parts)

    v, u = np.mgrid[:125, :200].astype(float)
    before, after = (torch.from_numpy(np.float32(texture(u - dx, v - dy)))[None, None] for dx, dy in ((0, 0), shift))
    camera = PinholeCamera.from_focal(200, 125, 165.0)
    seen, depth = torch.ones(1, 125, 200, dtype=torch.bool), torch.full((1, 125, 200), 8.0)
    seen[:, :, 150:] = False
    found = block_shifts(before, after, seen, depth, camera)
    assert len(found.shift) > 20
    np.testing.assert_allclose(found.shift, np.broadcast_to(shift, found.shift.shape), atol=0.15)
    np.testing.assert_allclose(found.inverse_depth, 0.125)
    assert found.position[:, 0].max() * 165.0 + 99.5 <= 150 - BLOCK / 2 + BLOCK * 0.1


def test_an_edge_tells_only_what_lies_across_it():
    picture = torch.zeros(1, 1, 125, 200)
    for column in (8, 29, 61, 82, 109, 137, 160, 188):  # one in every block, and no two pairs alike
        picture[..., column : column + 3] = 1.0
    picture = picture + 1e-3 * torch.rand(picture.shape, generator=torch.Generator().manual_seed(0))
    seen, depth = torch.ones(1, 125, 200, dtype=torch.bool), torch.full((1, 125, 200), 8.0)
    found = block_shifts(picture, picture, seen, depth, PinholeCamera.from_focal(200, 125, 165.0))
    assert len(found.shift) > 5
    assert (found.information[:, 0, 0] > 50 * found.information[:, 1, 1]).all()


def shifts_of(motion: np.ndarray, count: int, rng: np.random.Generator, wrong: int = 0) -> Shifts:
    position, inverse_depth = rng.uniform(-0.5, 0.5, (count, 2)), 1 / rng.uniform(4, 60, count)
    shift = motion_field(position, inverse_depth) @ motion * 165.0 + rng.normal(0, 0.1, (count, 2))
    shift[:wrong] = rng.uniform(-8, 8, (wrong, 2))
    return Shifts(shift, np.tile(np.eye(2), (count, 1, 1)), position, inverse_depth)


def test_a_motion_is_found_among_outliers_with_an_honest_deviation():
    rng = np.random.default_rng(2)
    motion = np.array([0.01, -0.015, 0.02, 0.05, -0.04, 0.08])
    scores = []
    for _ in range(20):
        found = explain("rgb", [shifts_of(motion, 150, rng, wrong=40) for _ in range(3)])
        estimated = np.concatenate([np.radians(found.rotation_deg), found.translation_m])
        deviation = np.concatenate([np.radians(found.rotation_deviation_deg), found.translation_deviation_m])
        scores.append((estimated - motion) / deviation)
        np.testing.assert_allclose(found.rotation_deg, np.degrees(motion[:3]), atol=0.15)
        np.testing.assert_allclose(found.translation_m[:2], motion[3:5], atol=0.02)
    # Blocks that are independent, as these, are known better than is said: it allows for neighbours that are not.
    assert 0.2 < np.std(scores) < 1.0


def test_too_few_blocks_say_nothing():
    assert explain("rgb", []) is None
    assert explain("rgb", [shifts_of(np.zeros(6), 20, np.random.default_rng(0))]) is None


# A corridor: a road 1.4 m below, walls 5 m to both sides and 45 m ahead, all painted.


def corridor(camera: PinholeCamera, reference_from_camera: np.ndarray, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """What a camera at a pose sees: its picture uint8 [H, W] and depth [H, W]. With `gain` -1 it is a negative."""
    v, u = np.mgrid[: camera.height, : camera.width].astype(float)
    x, y = undistorted((u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, camera.distortion)
    rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ reference_from_camera[:3, :3].T
    origin = reference_from_camera[:3, 3]
    distance = np.full(x.shape, np.inf)
    for axis, place in ((1, 1.4), (0, -5.0), (0, 5.0), (2, 45.0), (1, -6.0)):
        with np.errstate(divide="ignore", invalid="ignore"):
            along = (place - origin[axis]) / rays[..., axis]
        distance = np.where((along > 0) & (along < distance), along, distance)
    points = origin + rays * distance[..., None]
    paint = sum(
        np.sin(points @ direction * frequency + phase)
        for direction, frequency, phase in (
            (np.random.default_rng(k).normal(size=3), 1.5 + 0.4 * (k % 12), k) for k in range(48)
        )
    )
    return np.clip(128 + gain * 12 * paint, 0, 255).astype(np.uint8), distance.astype(np.float32)


@pytest.fixture(scope="module")
def seen():
    colour, depth = corridor(CAMERA, np.eye(4), 1.0)
    grey, _ = corridor(FRAME, RIG.reference_from("nir"), -1.0)
    sample = DepthSample(RIG, rgb=np.repeat(colour[..., None], 3, axis=2), nir=grey)
    return sample, DepthEstimate(depth, np.full_like(depth, 0.1), CAMERA, "rgb", ("rgb", "nir"), 0)


def monitored(sample, estimate, rig, sensor="nir"):
    monitor = AlignmentMonitor()
    for _ in range(2):  # one moment alone has too few blocks
        monitor.add(dataclasses.replace(sample, rig=rig), estimate)
    return monitor.report()[sensor]


def test_a_rig_that_is_right_is_left_alone(seen):
    found = monitored(*seen, RIG)
    assert found.wrong() == []
    assert np.abs(found.rotation_deg).max() < 0.05
    assert np.abs(found.translation_m[:2]).max() < 0.01


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_degree_or_five_centimetres_are_noticed_and_measured(seen, name, sign):
    error = ERRORS[name] if sign > 0 else np.linalg.inv(ERRORS[name])
    found = monitored(*seen, believed(RIG, error, "nir"))
    (said,) = found.wrong()
    assert said.startswith(name)
    expected = np.zeros(6)
    axis = list(ERRORS).index(name)
    expected[axis] = sign * (1.0 if axis < 3 else 0.05)
    np.testing.assert_allclose(found.rotation_deg, expected[:3], atol=0.08)
    np.testing.assert_allclose(found.translation_m[:2], expected[3:5], atol=0.02)


def test_depth_that_is_wrong_by_a_tenth_is_no_error_of_the_rig(seen):
    sample, estimate = seen
    estimate = dataclasses.replace(estimate, depth=estimate.depth * 1.1)
    assert monitored(sample, estimate, RIG).wrong() == []


def test_without_the_reference_or_others_there_is_nothing_to_compare(seen):
    sample, estimate = seen
    monitor = AlignmentMonitor()
    monitor.add(sample, dataclasses.replace(estimate, sensors=("nir",)))
    monitor.add(sample, dataclasses.replace(estimate, sensors=("rgb",)))
    assert monitor.report() == {}


def test_what_is_forgotten_is_forgotten(seen):
    monitor = AlignmentMonitor(moments=2)
    for _ in range(3):
        monitor.add(*seen)
    blocks = monitor.report()["nir"].blocks
    monitor.add(*seen)
    assert monitor.report()["nir"].blocks == blocks  # the oldest moments make room
    monitor.clear(present=("nir", "rgb"))
    assert monitor.report()["nir"].blocks == blocks
    monitor.clear(present=("rgb",))
    assert monitor.report() == {}
    monitor.add(*seen)
    monitor.add(*seen)
    monitor.clear()
    assert monitor.report() == {}


def test_difference_of_poses():
    degrees, metres = difference(pose((1, 2, 3)), pose((1, 2, 3.5), (0, 0, np.sin(0.05), np.cos(0.05))))
    assert degrees == pytest.approx(np.degrees(0.1))
    assert metres == pytest.approx(0.5)


@pytest.fixture(scope="module")
def street():
    """Three moments of a drive, with the depth that is true."""
    world = World(700_001, condition="day")
    moments = []
    for time_s in (2.0, 4.0, 7.0):
        sample = world.sample(time_s, planes=128, sensors=("spikes", "rgb"))
        depth = sample.depth["spikes"].astype(np.float32)
        camera = dataclasses.replace(sample.rig.cameras["spikes"], distortion=())
        moments.append((sample, DepthEstimate(depth, np.ones_like(depth), camera, "spikes", ("spikes", "rgb"), 0)))
    return moments


@pytest.mark.parametrize("name", [None, *ERRORS])
def test_spikes_and_colour_of_a_street(street, name):
    monitor = AlignmentMonitor()
    for sample, estimate in street:
        rig = sample.rig if name is None else believed(sample.rig, ERRORS[name], "rgb")
        monitor.add(dataclasses.replace(sample, rig=rig), estimate)
    said = monitor.report()["rgb"].wrong()
    assert [words.split()[0] for words in said] == ([] if name is None else [name])


def test_a_thermal_camera_is_tolerated_more():
    zero = np.zeros(3)
    for sensor, said in (("rgb", ["down +0.06 m"]), ("thermal", [])):
        assert Misalignment(sensor, zero, np.array([0.0, 0.06, 0.0]), zero, zero, 100).wrong() == said
    assert Misalignment("thermal", np.array([0.0, -1.0, 0.0]), zero, zero, zero, 100).wrong() == ["yaw -1.00 degrees"]


def test_what_may_be_chance_is_not_said():
    zero, doubtful = np.zeros(3), np.array([0.3, 0.3, 0.3])
    assert Misalignment("rgb", np.array([1.0, 0.0, 0.0]), zero, doubtful, zero, 100).wrong() == []
