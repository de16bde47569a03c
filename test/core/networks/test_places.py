"""Where the sensors of a network input stand, and what is seen from there."""

import dataclasses

import numpy as np
import pytest
import torch

from spike_depth_core.geometry.rig import pose
from spike_depth_core.networks.preprocess import NetworkInput, depth_in_camera, network_camera, prepare
from spike_depth_core.recipes.views import mirrored
from spike_depth_core.samples.batch import collate
from test.core.factories import small_rig, small_sample

PLACE = (0.2, -0.12, -0.05)
HEIGHT = 1.65


@pytest.fixture
def batch():
    """A level road, spikes level over it; thermal beside them, turned by 4 degrees in pitch and 3 in yaw."""
    quaternion = (np.radians(4) / 2, np.radians(3) / 2, 0.0, 1.0)
    rig = dataclasses.replace(small_rig(), poses={**small_rig().poses, "thermal": pose(PLACE, quaternion)})
    camera, down = rig.cameras["thermal"], rig.reference_from("thermal")[1]
    x, y = camera.slopes()
    with np.errstate(divide="ignore"):
        # (p + z R ray)_y = HEIGHT
        depth = (HEIGHT - down[3]) / (down[0] * x + down[1] * y[:, None] + down[2])
    depth = np.where(depth > 0, depth, np.inf).astype(np.float32)
    sample = small_sample(0, planes=16, rig=rig)
    return collate([dataclasses.replace(sample, depth={**sample.depth, "thermal": depth})] * 2)


def view(batch, reference="spikes", sensors=("spikes", "thermal")):
    camera, size = network_camera(batch.cameras[reference], *batch.sizes[reference], 10**6)
    return prepare(batch, reference, sensors, camera, size), size


def test_centres_are_told_in_the_axes_of_the_reference(batch):
    inputs, _ = view(batch)
    torch.testing.assert_close(inputs.centres["thermal"], torch.tensor([PLACE, PLACE]))
    assert (inputs.centres["spikes"] == 0).all()
    back, _ = view(batch, "thermal")
    rotation = batch.poses["thermal"][0, :3, :3]
    torch.testing.assert_close(back.centres["spikes"][0], -rotation.T @ torch.tensor(PLACE))


def test_moving_to_another_sensor_and_back_changes_nothing(batch):
    inputs, _ = view(batch)
    moved = inputs.seen_from("thermal")
    assert moved.reference == "thermal"
    torch.testing.assert_close(moved.height, torch.full((2,), HEIGHT - PLACE[1]))
    torch.testing.assert_close(moved.centres["spikes"], -torch.tensor([PLACE, PLACE]))
    back = moved.seen_from("spikes")
    assert back.reference == "spikes"
    torch.testing.assert_close(back.centres, inputs.centres)
    torch.testing.assert_close(back.height, inputs.height)
    assert list(inputs.alone("thermal").images) == ["thermal"]
    with pytest.raises(ValueError, match="'rgb'"):
        inputs.seen_from("rgb")


def test_depth_of_a_turned_sensor_is_that_of_a_level_camera_at_its_place(batch):
    """The level camera at the sensor's centre sees the road at (height - y of the place) over its ray's slope."""
    inputs, size = view(batch)
    truth = depth_in_camera(batch, "spikes", inputs.camera, size, "thermal")
    slope = (torch.arange(size[0]) - inputs.camera[0, 3]) / inputs.camera[0, 1]
    expected = ((HEIGHT - PLACE[1]) / slope)[None, :, None].expand(truth.shape)
    known = torch.isfinite(truth) & (slope > 0.05)[None, :, None]
    assert known.float().mean() > 0.3
    # The truth is the sensor's nearest pixel: its ray may be off by half a pixel, whose slope is 0.5 / fy.
    half_pixel = 0.5 / batch.cameras["thermal"][0, 1]
    off = (HEIGHT - PLACE[1]) / truth - (HEIGHT - PLACE[1]) / expected
    assert (off.abs()[known] <= 1.1 * half_pixel).all()
    assert off[known].mean().abs() < 0.1 * half_pixel  # without the turn it would be off by its 4 degrees
    own = depth_in_camera(batch, "spikes", inputs.camera, size)
    assert torch.equal(own.nan_to_num(), depth_in_camera(batch, "spikes", inputs.camera, size, "spikes").nan_to_num())


def test_a_mirrored_input_has_its_sensors_on_the_other_side():
    centre = torch.tensor([[0.3, -0.1, 0.2]]).repeat(64, 1)
    images = {"thermal": torch.zeros(64, 2, 4, 4)}
    camera = torch.tensor([[10.0, 10.0, 1.0, 1.5]]).repeat(64, 1)
    inputs = NetworkInput(images, camera, torch.ones(64), centres={"thermal": centre}, reference="spikes")
    changed, _ = mirrored(inputs, torch.zeros(64, 4, 4), torch.Generator().manual_seed(0))
    flipped = changed.camera[:, 2] != 1.0
    assert 10 < flipped.sum() < 54
    expected = centre * torch.where(flipped[:, None], torch.tensor([-1.0, 1.0, 1.0]), torch.ones(3))
    torch.testing.assert_close(changed.centres["thermal"], expected)
    assert changed.reference == "spikes"
