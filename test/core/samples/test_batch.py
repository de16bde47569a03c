"""Stacking samples: right-hand images travel under their own names and are no sensors."""

import dataclasses

import numpy as np
import pytest
import torch

from spike_depth_core.samples.batch import collate
from test.core.factories import small_sample, stereo_sample


def test_right_hand_images_are_stacked_beside_the_sensors():
    batch = collate([stereo_sample(1), stereo_sample(2)])
    assert batch.sensors == ("spikes", "rgb", "nir", "thermal")
    assert set(batch.images) == {*batch.sensors, "spikes_right", "rgb_right"}
    assert batch.images["rgb_right"].dtype == torch.uint8
    np.testing.assert_array_equal(batch.images["rgb_right"][1].numpy(), stereo_sample(2).rgb_right)
    np.testing.assert_array_equal(batch.images["spikes_right"][0].numpy(), stereo_sample(1).spikes_right.data)
    assert batch.sizes["rgb_right"] == batch.sizes["rgb"]
    moved = torch.linalg.inv(batch.poses["rgb"]) @ batch.poses["rgb_right"]
    torch.testing.assert_close(moved[:, :3, 3], torch.tensor([[0.5, 0.0, 0.0]]).expand(2, 3))
    assert batch.to("cpu").images["rgb_right"].shape == batch.images["rgb"].shape


def test_samples_with_and_without_a_right_hand_image_do_not_mix():
    with pytest.raises(ValueError, match="must have the same sensors"):
        collate([stereo_sample(1), small_sample(2)])
    smaller = dataclasses.replace(stereo_sample(2), rgb_right=None)
    with pytest.raises(ValueError, match="must have the same sensors"):
        collate([stereo_sample(1), smaller])


def test_poses_are_stacked_where_every_sample_has_one():
    samples = [stereo_sample(1), stereo_sample(2)]
    batch = collate(samples)
    assert batch.world_from_reference.dtype == torch.float64
    np.testing.assert_array_equal(batch.world_from_reference, np.stack([s.world_from_reference for s in samples]))
    batch.neighbours = {1: collate(samples[::-1])}
    moved = batch.to("meta")
    assert moved.world_from_reference.is_meta
    assert moved.neighbours[1].world_from_reference.is_meta
    lost = dataclasses.replace(samples[1], world_from_reference=None)
    assert collate([samples[0], lost]).world_from_reference is None
    assert collate([samples[0], lost]).to("cpu").world_from_reference is None
