"""Activation patterns: the count they stand for, and the gradient a count does not have."""

import math

import pytest
import torch

from spike_depth_core.losses.activation import activation_pattern, pattern_distance

ALL = torch.ones(1, 1, 2, dtype=torch.bool)


def test_a_pattern_is_what_is_above_the_mean_of_its_own_picture():
    features = torch.tensor([[[[0.0, 1.0]], [[2.0, 5.0]]], [[[10.0, 10.0]], [[10.0, 14.0]]]], requires_grad=True)
    pattern = activation_pattern(features)
    assert pattern.tolist() == [[[[0, 0]], [[0, 1]]], [[[0, 0]], [[0, 1]]]]
    assert not pattern.requires_grad


def test_straight_through_counts_what_differs():
    """Of four features at two places, one of two differs at the first and none at the second."""
    features = torch.tensor([[[[0.6, 0.9]], [[0.4, 0.1]]]], requires_grad=True)
    pattern = torch.tensor([[[[0.0, 1.0]], [[0.0, 0.0]]]])
    loss = pattern_distance(features, pattern, ALL, surrogate="straight_through")
    assert loss.item() == pytest.approx(1 / 4)
    first = torch.tensor([[[True, False]]])
    assert pattern_distance(features, pattern, first, surrogate="straight_through").item() == pytest.approx(1 / 2)
    loss.backward()
    soft = torch.sigmoid(10 * (features.detach() - 0.5))
    slope = 10 * soft * (1 - soft) / 4
    # Where the count is right already the distance is zero and so is its slope, by convention.
    torch.testing.assert_close(features.grad, slope * torch.tensor([[[[1.0, 0.0]], [[0.0, 0.0]]]]))


def test_the_sigmoid_stands_for_the_step():
    features = torch.tensor([[[[0.6, 2.0]]]], requires_grad=True)
    pattern = torch.tensor([[[[0.0, 1.0]]]])
    loss = pattern_distance(features, pattern, ALL)
    expected = (1 / (1 + math.exp(-1)) + 1 - 1 / (1 + math.exp(-15))) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert features.grad[0, 0, 0, 0] > 0
    assert pattern_distance(features, pattern, ALL, steepness=1e4).item() == pytest.approx(1 / 2)


def test_gradient_and_an_unknown_surrogate():
    torch.manual_seed(0)
    features = torch.rand(1, 3, 1, 2, dtype=torch.float64, requires_grad=True)
    pattern = (torch.rand(1, 3, 1, 2) > 0.5).double()
    assert torch.autograd.gradcheck(lambda x: pattern_distance(x, pattern, ALL), features)
    with pytest.raises(ValueError, match="'step'"):
        pattern_distance(features, pattern, ALL, surrogate="step")
