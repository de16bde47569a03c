"""Which of the last moments show a later one from another place."""

import dataclasses

import numpy as np
import pytest
import torch

from spike_depth_core.geometry.rig import pose
from spike_depth_core.inference.neighbours import NeighbourOptions, Neighbours, in_step, motion, other_moments
from spike_depth_core.networks.preprocess import NetworkInput
from test.core.factories import small_rig, small_sample


def at(time_s, forward=None, rig=None):
    world = None
    if forward is not None:
        world = np.eye(4)
        world[2, 3] = forward
    sample = small_sample(0, planes=16, rig=rig or small_rig())
    return dataclasses.replace(sample, time_ns=round(time_s * 1e9), world_from_reference=world)


def remembering(*samples):
    neighbours = Neighbours(NeighbourOptions(count=2, metres=(0.5, 5.0), seconds=1.0))
    for sample in samples:
        neighbours.add(sample)
    return neighbours


def times(found):
    return [sample.time_ns / 1e9 for sample in found]


def test_the_newest_that_are_neither_too_near_nor_too_far():
    past = remembering(at(1.0, 0.0), at(1.2, 2.0), at(1.4, 4.0), at(1.6, 6.0), at(1.8, 6.9))
    assert times(past.of(at(1.9, 7.0))) == [1.6, 1.4]


@pytest.mark.parametrize(
    "now",
    [at(2.5, 4.0), at(0.5, 4.0), at(1.3), at(1.1, 0.0), at(1.3, 40.0)],
    ids=["late", "early", "lost", "still", "far"],
)
def test_nothing_to_compare_with(now):
    assert remembering(at(1.0, 0.0)).of(now) == []


def test_moments_without_a_pose_are_of_no_use():
    assert remembering(at(1.0), at(1.2, 2.0)).of(at(1.3, 4.0))[0].time_ns == 1_200_000_000


def test_a_moment_that_is_told_twice_is_remembered_once():
    assert times(remembering(at(1.0, 0.0), at(1.1, 1.0), at(1.1, 1.0)).of(at(1.2, 2.0))) == [1.1, 1.0]


def test_pictures_of_another_camera_are_not_compared():
    rig = small_rig()
    other = dataclasses.replace(
        rig, cameras={s: dataclasses.replace(c, fx=c.fx * 2) if s == "spikes" else c for s, c in rig.cameras.items()}
    )
    assert remembering(at(1.0, 0.0, other)).of(at(1.2, 2.0)) == []


def test_a_camera_moves_with_its_rig():
    """The vehicle drives 2 m ahead and turns about its own axis: what is beside the axis moves more."""
    here, there = at(1.0, 3.0), at(1.2, 5.0)
    turn = pose((0.0, 0.0, 0.0), (0.0, 0.6, 0.0, 0.8))
    there = dataclasses.replace(there, world_from_reference=there.world_from_reference @ turn)
    rig_from_rgb = here.rig.reference_from("rgb")
    point = np.array([0.4, -0.3, 7.0, 1.0])  # as rgb has it first
    world = here.world_from_reference @ rig_from_rgb @ point
    expected = np.linalg.inv(there.world_from_reference @ rig_from_rgb) @ world
    assert np.allclose(motion(here, there, "rgb")[0].numpy() @ point, expected, atol=1e-5)


def test_a_sensor_that_was_blank_is_not_in_step():
    """A moment has a blank picture for a reference that delivered nothing; only the sensors that did have an offset."""
    now, before = at(2.0, 4.0), at(1.9, 3.0)
    assert set(in_step(now, before, 0.05)) == set(now.sensors)
    seen = {sensor: 0 for sensor in now.sensors if sensor != "spikes"}
    assert "spikes" not in in_step(now, dataclasses.replace(before, offsets_ns=seen), 0.05)
    assert "rgb" in in_step(now, dataclasses.replace(before, offsets_ns=seen), 0.05)


def test_of_other_moments_only_pictures_in_step_are_prepared():
    here, *others = at(2.0, 4.0), at(1.9, 3.0), at(1.8, 2.0), at(1.7, 1.0)
    late = {"spikes": 0, "rgb": 20_000_000}
    others[1] = dataclasses.replace(others[1], offsets_ns=late)
    others[2] = dataclasses.replace(others[2], offsets_ns=dict.fromkeys(here.sensors, 30_000_000))
    asked = []

    def prepared(other, sensors):
        asked.append((other.time_ns / 1e9, sensors))
        return NetworkInput({}, torch.zeros(1, 4), torch.zeros(1))

    found = other_moments(here, others, "spikes", ("spikes", "rgb"), prepared, 0.05)
    assert asked == [(1.9, ("spikes", "rgb")), (1.8, ("spikes",))]
    assert [float(one.other_from_asked[0, 2, 3]) for one in found] == [1.0, 2.0]
