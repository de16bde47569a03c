"""The homography at infinity against projecting far points by hand, and against OpenCV's formula for distortion."""

import numpy as np
import pytest
import torch

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.geometry.resample import (
    average_pool,
    box_mean,
    distort,
    fold,
    infinity_grid,
    inside,
    intrinsics,
    sample_at,
)
from spike_depth_core.geometry.rig import rotation_from_quaternion


def test_grid_is_where_far_points_project():
    source = PinholeCamera(120, 80, 100.0, 95.0, 61.0, 37.0)
    target = PinholeCamera(64, 48, 55.0, 60.0, 30.0, 25.0)
    rotation = rotation_from_quaternion((0.01, 0.03, -0.02, 1.0))
    grid, front = infinity_grid(
        intrinsics(source)[None], intrinsics(target)[None], (48, 64), torch.tensor(rotation)[None].float()
    )
    assert front.all()
    for u, v in [(0, 0), (63, 47), (10, 40)]:
        point = 1e7 * rotation @ np.array([(u - 30.0) / 55.0, (v - 25.0) / 60.0, 1.0])
        expected = [100.0 * point[0] / point[2] + 61.0, 95.0 * point[1] / point[2] + 37.0]
        np.testing.assert_allclose(grid[0, v, u], expected, atol=1e-3)


def test_rays_behind_the_source_are_not_seen():
    camera = intrinsics(PinholeCamera.from_focal(16, 16, 10.0))[None]
    backwards = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))[None]
    assert not infinity_grid(camera, camera, (16, 16), backwards)[1].any()


def test_sampling_at_pixel_centres_gives_the_pixels():
    image = torch.rand(1, 3, 5, 7)
    v, u = torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing="ij")
    torch.testing.assert_close(sample_at(image, torch.stack([u, v], -1)[None]), image)
    halfway = sample_at(image, torch.tensor([[[[2.5, 3.0]]]]))
    torch.testing.assert_close(halfway[0, :, 0, 0], (image[0, :, 3, 2] + image[0, :, 3, 3]) / 2)


def test_the_image_reaches_half_a_pixel_beyond_the_outer_centres():
    pixels = torch.tensor([[-0.5, 0.0], [-0.51, 0.0], [9.5, 4.5], [9.6, 4.5]])
    assert inside(pixels, (5, 10)).tolist() == [True, False, True, False]


def test_distortion_is_the_plumb_bob_polynomial():
    k1, k2, p1, p2, k3 = 0.1, -0.05, 0.002, -0.003, 0.01
    x, y = 0.3, -0.2
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    expected = (
        x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
        y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
    )
    found = distort(torch.tensor([x]), torch.tensor([y]), torch.tensor([[k1, k2, p1, p2, k3]]))
    np.testing.assert_allclose([float(f) for f in found], expected, rtol=1e-5)


@pytest.mark.parametrize(
    "coefficients",
    [
        (-0.45, 0.0, 0.0, 0.0, 0.0),
        (-0.15, 1.2, 0.0, 0.0, -8.0),
        (-0.3, -1.0, 0.0, 0.0, 0.0),
        (-0.25, 0.06, 0.002, -0.001, 0.0),
        (0.1, 0.02, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.0),
    ],
)
def test_a_lens_is_used_up_to_where_it_turns_back(coefficients):
    k1, k2, _, _, k3 = coefficients
    r = np.linspace(0, 5, 500_001)
    turned = np.nonzero(np.diff(r * (1 + k1 * r**2 + k2 * r**4 + k3 * r**6)) <= 0)[0]
    expected = r[turned[0]] if turned.size else np.inf
    found = fold(torch.tensor([coefficients, (0.0,) * 5]))
    assert found.tolist() == [pytest.approx(expected, abs=2e-5), np.inf]


def test_no_ray_enters_the_picture_a_second_time():
    """A wide camera beside a narrow one whose lens folds: only what that sees is seen, and that at one place."""
    narrow = torch.tensor([[1000.0, 1000.0, 319.5, 255.5]])
    wide = torch.tensor([[300.0, 300.0, 319.5, 255.5]])
    distortion = torch.tensor([[-0.15, 1.2, 0.0, 0.0, -8.0]])
    pixels, seen = infinity_grid(narrow, wide, (512, 640), distortion=distortion)
    within = inside(pixels, (512, 640))
    v, u = torch.meshgrid(torch.arange(512.0), torch.arange(640.0), indexing="ij")
    slope = torch.hypot((u - 319.5) / 300, (v - 255.5) / 300)
    assert (within[0] & (slope > 0.6)).any()  # as the polynomial has it
    assert float(slope[(within & seen)[0]].max()) < 0.5
    radius = torch.linalg.vector_norm(pixels[0] - torch.tensor([319.5, 255.5]), dim=-1)[(within & seen)[0]]
    assert (radius[slope[(within & seen)[0]].argsort()].diff() > -0.5).all()  # farther out is farther out


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_pooling_takes_the_mean_of_blocks_and_drops_what_is_left(factor):
    image = torch.randn(2, 3, 13, 17, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.avg_pool2d(image, factor)
    torch.testing.assert_close(average_pool(image, factor), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("side", [1, 3, 9])
def test_means_of_windows_are_those_of_pooling_and_so_are_their_gradients(side):
    generator = torch.Generator().manual_seed(side)
    image = torch.rand(2, 3, 20, 30, generator=generator)
    images = [image.clone().requires_grad_() for _ in range(2)]
    weights = torch.rand(2, 3, 21 - side, 31 - side, generator=generator)
    found = box_mean(images[0], side)
    expected = torch.nn.functional.avg_pool2d(images[1], side, 1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    for means in (found, expected):
        (means * weights).sum().backward()
    torch.testing.assert_close(images[0].grad, images[1].grad, rtol=1e-5, atol=1e-6)
