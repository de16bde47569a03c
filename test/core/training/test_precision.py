"""Training in bfloat16: geometry stays where it is, and every way to learn from frames takes a step."""

import dataclasses

import numpy as np
import pytest
import torch

from spike_depth_core.geometry.rig import pose
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.networks.preprocess import depth_in_camera, network_camera, prepare
from spike_depth_core.recipes.r2sdepth import SelfDistillation, ViewSynthesis
from spike_depth_core.samples.batch import collate
from spike_depth_core.training.loop import LoopOptions, Trainer
from test.core.factories import small_rig, small_sample
from test.core.recipes.driving import drive

SMALL = Architecture(widths=(8, 8, 8, 8, 8), trunk_blocks=1, pixels=32 * 64)


def test_sensors_lie_on_each_other_as_in_float32():
    """A turn of two degrees that neighbouring pixels are told apart by: bfloat16 would move them by up to a pixel."""
    rig = small_rig()
    turned = pose((0.3, 0.0, 0.0), (0.0, float(np.sin(0.0175)), 0.0, float(np.cos(0.0175))))
    rig = dataclasses.replace(rig, poses={**rig.poses, "rgb": turned})
    batch = collate([small_sample(0, 16, rig)])
    camera, size = network_camera(batch.cameras["spikes"], *batch.sizes["spikes"], 64 * 96)
    with torch.autocast("cpu", torch.bfloat16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
        found = prepare(batch, "spikes", ("spikes", "rgb"), camera, size)
        depth = depth_in_camera(batch, "spikes", camera, size, "rgb")
    expected = prepare(batch, "spikes", ("spikes", "rgb"), camera, size)
    assert torch.equal(found.images["rgb"], expected.images["rgb"])
    assert torch.equal(found.centres["rgb"], expected.centres["rgb"])
    torch.testing.assert_close(
        depth, depth_in_camera(batch, "spikes", camera, size, "rgb"), rtol=0, atol=0, equal_nan=True
    )


@pytest.mark.parametrize("motion", ["network", "odometry"])
@pytest.mark.parametrize("kind", [ViewSynthesis, SelfDistillation])
def test_view_synthesis_takes_a_step(kind, motion):
    samples = drive(4, size=(32, 64))
    batch = collate(samples[1:3])
    batch.neighbours = {-1: collate(samples[0:2]), 1: collate(samples[2:4])}
    recipe = kind(SMALL, motion=motion, settle=0.0)
    start = DepthNetwork(SMALL) if kind is SelfDistillation else None
    trainer = Trainer(recipe, LoopOptions(steps=4, precision="bfloat16"), start=start)
    values = trainer.step([batch], recipe.requests(0, {"source": ("spikes", "rgb")}))
    assert torch.isfinite(values["loss"])
    assert trainer.skipped == 0
