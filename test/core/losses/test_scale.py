"""Anchors of scale: what they hold, what they leave alone."""

import math

import pytest
import torch

from spike_depth_core.losses.scale import road_anchor, speed_anchor


def test_a_wrong_scale_costs_its_logarithm_and_a_tilt_about_the_right_one_nothing():
    road = torch.ones(2, 4, 5, dtype=torch.bool)
    assert float(road_anchor(torch.full((2, 4, 5), -math.log(1.3)), road)) == pytest.approx(math.log(1.3), rel=1e-5)
    tilt = torch.linspace(-0.4, 0.4, 20).reshape(1, 4, 5)
    assert float(road_anchor(tilt, road[:1])) == pytest.approx(0.0, abs=1e-6)


def test_a_car_on_a_fifth_of_the_road_does_not_pull():
    ratio = torch.full((1, 10, 10), math.log(1.1))
    ratio[:, :2] = -3.0
    assert float(road_anchor(ratio, torch.ones(1, 10, 10, dtype=torch.bool))) == pytest.approx(math.log(1.1), rel=1e-5)


def test_only_the_middle_half_of_the_road_is_moved():
    ratio = torch.arange(1.0, 9.0).reshape(1, 1, 8).repeat(2, 1, 1).requires_grad_()
    road = torch.tensor([[[True] * 8], [[False] * 8]])
    loss = road_anchor(ratio, road)
    assert loss.item() == pytest.approx(4.5 / 2)  # the second picture shows no road
    loss.backward()
    expected = torch.tensor([0, 0, 1, 1, 1, 1, 0, 0]) / 4 / 2
    torch.testing.assert_close(ratio.grad, torch.stack([expected, torch.zeros(8)])[:, None])


def test_the_length_of_a_motion_is_compared_to_the_distance_driven():
    translation = torch.tensor([[[0.0, 3.0, 4.0]], [[0.0, 0.0, 1.0]]], requires_grad=True)
    loss = speed_anchor(translation, torch.tensor([[4.0], [1.5]]))
    assert loss.item() == pytest.approx((1.0 + 0.5) / 2)
    loss.backward()
    torch.testing.assert_close(translation.grad, torch.tensor([[[0.0, 0.3, 0.4]], [[0.0, 0.0, -0.5]]]))


def test_gradients():
    torch.manual_seed(0)
    ratio = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    road = torch.ones(2, 3, 4, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda r: road_anchor(r, road), ratio)
    motion = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: speed_anchor(t, torch.ones(2, 2, dtype=torch.float64)), motion)


def test_pictures_that_are_off_to_either_side_do_not_make_up_for_one_another():
    log_ratio = torch.tensor([0.2, -0.2])[:, None, None].expand(2, 4, 4)
    assert float(road_anchor(log_ratio, torch.ones(2, 4, 4, dtype=torch.bool))) == pytest.approx(0.2)
