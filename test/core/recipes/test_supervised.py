"""The supervised recipe: geometry stays true under its zooms and mirrors, and its loss is what it says."""

import math

import pytest
import torch

from spike_depth_core.networks.preprocess import NetworkInput, depth_in_camera, network_camera
from spike_depth_core.recipes import Supervised
from spike_depth_core.recipes.views import mirrored
from spike_depth_core.samples.batch import collate
from test.core.factories import small_sample


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(5)


def test_the_random_camera_tells_the_truth_about_the_road(generator):
    """Whatever the zoom and shift, a pixel's depth is 1.65 m over its ray's slope: the truth is the sensor's nearest
    pixel, so its slope may be off by half a source pixel."""
    batch = collate([small_sample(i) for i in range(6)])
    recipe = Supervised()
    camera, size = recipe.random_camera(batch, "rgb", generator)
    assert camera[:, 0].std() > 5  # zooms differ
    truth = depth_in_camera(batch, "rgb", camera, size)
    slope = (torch.arange(size[0])[None, :, None] - camera[:, 3].reshape(-1, 1, 1)) / camera[:, 1].reshape(-1, 1, 1)
    known = torch.isfinite(truth) & (truth < 40)
    assert known.float().mean() > 0.15
    half_pixel = 0.5 / batch.cameras["rgb"][0, 1]
    assert ((1.65 / truth - slope).abs()[known] <= half_pixel * 1.02).all()


def test_a_canvas_is_filled_by_a_picture_that_is_zoomed_to_more(generator):
    batch = collate([small_sample(i) for i in range(20)])
    recipe = Supervised(zoom=(1.05, 1.5), crop=0.8)
    camera, size = recipe.random_camera(batch, "rgb", generator)
    whole, full = network_camera(batch.cameras["rgb"], *batch.sizes["rgb"], recipe.architecture.pixels)
    scale = camera[:, :2] / whole[:, :2]
    begin = camera[:, 2:] - (whole[:, 2:] + 0.5) * scale + 0.5  # where the picture begins in the canvas, its edge
    end = begin + torch.tensor([full[1], full[0]]) * scale
    assert (begin < 1e-3).all()
    assert (end > torch.tensor([size[1], size[0]]) - 1e-3).all()
    assert (begin.std(dim=0) > 1).all()  # not always the same part of it


def test_mirroring_keeps_rays_and_content_together(generator):
    width = 12
    u = torch.arange(width, dtype=torch.float32)
    camera = torch.tensor([[10.0, 10.0, 4.0, 3.0]]).repeat(64, 1)
    slope = ((u - 4.0) / 10.0).reshape(1, 1, 1, width).expand(64, 1, 6, width)
    inputs, truth = mirrored(NetworkInput({"rgb": slope}, camera, torch.ones(len(camera))), slope[:, 0], generator)
    new_slope = (u[None] - inputs.camera[:, 2:3]) / 10.0
    flipped = inputs.camera[:, 2] != 4.0
    assert 10 < flipped.sum() < 54
    signs = torch.where(flipped, -1.0, 1.0)
    torch.testing.assert_close(inputs.images["rgb"][:, 0, 0], new_slope * signs[:, None])
    torch.testing.assert_close(truth[:, 0], new_slope * signs[:, None])


def test_loss_of_a_constant_factor():
    truth = torch.full((2, 16, 16), 10.0)
    truth[:, :4] = torch.inf
    truth[:, 4:6] = torch.nan
    log_depth = torch.full((2, 16, 16), math.log(10.0 * 1.2))
    total, parts = Supervised().depth_loss(log_depth, torch.full((2, 16, 16), math.log(0.2)), truth)
    assert float(parts["l1"]) == pytest.approx(math.log(1.2), rel=1e-5)
    assert float(parts["edges"]) == pytest.approx(0.0, abs=1e-6)
    assert float(parts["sky"]) == pytest.approx(math.log(100 / 12) + 0.2, rel=1e-5)
    known, sky = math.log(1.2) / 0.2 + math.log(0.2), math.log(2) + math.log(100 / 12) / 0.2
    assert float(parts["uncertainty"]) == pytest.approx(known + sky, rel=1e-4)
    assert float(total) == pytest.approx(
        float(parts["l1"]) + 0.2 * float(parts["sky"]) + 0.1 * float(parts["uncertainty"]), rel=1e-5
    )


def test_what_is_beyond_the_range_is_learned_as_the_sky_is_and_what_is_before_it_is_not():
    log_depth, log_scale = torch.full((1, 8, 8), math.log(12.0)), torch.full((1, 8, 8), math.log(0.2))

    def parts(truth):
        return Supervised().depth_loss(log_depth, log_scale, torch.full((1, 8, 8), truth))[1]

    assert parts(150.0) == parts(math.inf)
    assert float(parts(150.0)["sky"]) > 2
    assert not any(parts(0.3).values())


def test_uncertainty_is_taught_without_moving_depth():
    recipe = Supervised(edge_weight=0.0, sky_weight=0.0)
    truth = torch.full((1, 8, 8), 10.0)
    log_depth = torch.full((1, 8, 8), 2.0, requires_grad=True)
    log_scale = torch.zeros(1, 8, 8, requires_grad=True)
    recipe.depth_loss(log_depth, log_scale, truth)[0].backward()
    # the gradient of the mean L1 alone: sign / count
    torch.testing.assert_close(log_depth.grad, torch.full((1, 8, 8), -1 / 64))
    assert (log_scale.grad != 0).all()


def test_augmentation_keeps_the_mask_and_what_it_hides(generator):
    image = torch.randn(3, 4, 16, 16)
    image[:, -1] = 1.0
    image[:, :, :, 10:] = 0.0
    inputs = NetworkInput({"rgb": image.clone()}, torch.ones(3, 4), torch.ones(3))
    Supervised().augment(inputs, generator)
    changed = inputs.images["rgb"]
    assert torch.equal(changed[:, -1], image[:, -1])
    assert (changed[:, :, :, 10:] == 0).all()
    assert (changed[:, :3, :, :10] != image[:, :3, :, :10]).any()
