"""Guided distillation against closed forms, naive loops and numerical gradients."""

import math

import pytest
import torch

from spike_depth_core.losses.guided_distillation import (
    FOCAL,
    balanced,
    credibility,
    emphasis,
    feature_distance,
    focal_factor,
    response_distance,
    trust,
)


def maps(count, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 5, 7, generator=generator, dtype=dtype) for _ in range(count)]


def test_response_is_the_weighted_mean_over_the_mask():
    log_depth, log_teacher, weights = maps(3)
    mask = weights > -0.3
    values = [float(weights[i] * abs(log_depth[i] - log_teacher[i])) for i in map(tuple, mask.nonzero().tolist())]
    found = response_distance(log_depth, log_teacher, weights, mask)
    assert float(found) == pytest.approx(sum(values) / len(values))
    assert float(response_distance(log_depth, log_teacher, weights, torch.zeros_like(mask))) == 0


def test_features_cost_one_where_the_student_knows_their_mean_only():
    torch.manual_seed(0)
    teacher = 3 + torch.tensor([1.0, 5.0, 0.2])[:, None, None] * torch.randn(4, 3, 6, 8)
    constant = teacher.mean(dim=(0, 2, 3), keepdim=True).expand_as(teacher)
    everywhere = torch.ones(4, 6, 8)
    seen = everywhere > 0
    assert float(feature_distance(constant, teacher, everywhere, seen)) == pytest.approx(1.0, rel=1e-5)
    assert float(feature_distance(teacher, teacher, everywhere, seen)) == 0
    assert float(feature_distance(10 * constant, 10 * teacher, everywhere, seen)) == pytest.approx(1.0, rel=1e-5)
    half = everywhere.clone()
    half[:, :3] = 0
    error = (constant - teacher).square().sum(1)
    share = float(error[:, 3:].sum() / error.sum())
    assert float(feature_distance(constant, teacher, half, seen)) == pytest.approx(share, rel=1e-4)
    below = teacher[:, :, 3:]
    constant = below.mean(dim=(0, 2, 3), keepdim=True).expand_as(teacher)
    assert float(feature_distance(constant, teacher, everywhere, half > 0)) == pytest.approx(1.0, rel=1e-5)
    assert float(feature_distance(constant, teacher, everywhere, half > 1)) == 0


def test_focal_factors_are_their_formulas():
    for student, teacher in ((12.0, 10.0), (5.0, 10.0), (10.0, 10.0)):
        pair = torch.tensor([[[student]]]).log(), torch.tensor([[[teacher]]]).log()
        e = abs(student - teacher) / teacher
        disagreement = float(focal_factor("disagreement", *pair, 2.0, 80.0))
        assert disagreement == pytest.approx((1 - math.exp(-e)) ** 2, abs=1e-6)
        assert float(focal_factor("range", *pair, 2.0, 80.0)) == pytest.approx((teacher / 80) ** 2, rel=1e-4)
        assert float(focal_factor("none", *pair, 2.0, 80.0)) == 1
    assert float(focal_factor("range", torch.zeros(1, 1, 1), torch.tensor([[[9.0]]]), 1.0, 80.0)) == 1
    with pytest.raises(ValueError, match="'sharp'"):
        focal_factor("sharp", torch.zeros(1, 1, 1), torch.zeros(1, 1, 1), 2.0, 80.0)


def test_emphasis_is_the_share_of_the_scale_over_its_geometric_mean():
    scale = torch.tensor([[[1.0, 2.0, 4.0], [2.0, 2.0, 2.0]]])
    middle = math.exp(float(scale.log().mean()))
    expected = 1 + 3 * scale / (scale + middle)
    torch.testing.assert_close(emphasis(scale.log(), 3.0), expected)
    torch.testing.assert_close(emphasis((7 * scale).log(), 3.0), expected)  # how large b is at all says nothing
    assert (emphasis(scale.log(), 0.0) == 1).all()
    wild = scale.clone()
    wild[0, 0, 0] = 1e4  # one wild pixel moves the others' u by its part of the mean alone
    assert emphasis(wild.log(), 1.0)[0, 1].min() > 1.1


def test_trust_compares_scales_and_credibility_compares_with_truth():
    assert float(trust(torch.tensor(0.3).log(), torch.tensor(0.1).log())) == pytest.approx(0.75)
    truth = torch.tensor([[[10.0, 10.0, torch.nan, torch.inf]]])
    found = credibility(torch.tensor([[[10.0, 15.0, 3.0, 3.0]]]).log(), truth)
    torch.testing.assert_close(found, torch.tensor([[[1.0, math.exp(-0.5), 1.0, 1.0]]]))


def test_balanced_weights_have_mean_one_within_the_mask():
    (weights,) = maps(1)
    weights, mask = weights.abs(), weights > 0
    assert float(balanced(weights, mask)[mask].mean()) == pytest.approx(1.0)
    assert (balanced(torch.zeros(1, 2, 2), torch.ones(1, 2, 2, dtype=torch.bool)) == 0).all()


def test_gradients_reach_the_student_and_nothing_else():
    log_depth, log_teacher, scale, teacher_scale = (x.requires_grad_(True) for x in maps(4))
    mask = torch.ones(2, 5, 7, dtype=torch.bool)
    for kind in FOCAL:
        assert not focal_factor(kind, log_depth, log_teacher, 2.0, 80.0).requires_grad
    for weight in (emphasis(scale, 1.0), trust(scale, teacher_scale), credibility(log_teacher, torch.ones(2, 5, 7))):
        assert not weight.requires_grad
    weights = emphasis(scale, 1.0)
    assert torch.autograd.gradcheck(lambda d: response_distance(d, log_teacher, weights, mask), log_depth)
    response_distance(log_depth, log_teacher, weights, mask).backward()
    assert log_teacher.grad is None
    student = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: feature_distance(s, teacher, weights, mask), student)
    feature_distance(student, teacher, weights, mask).backward()
    assert teacher.grad is None


def test_emphasis_is_among_the_pixels_of_a_picture():
    log_scale = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    log_scale[1] += 3.0
    alone = torch.cat([emphasis(log_scale[k : k + 1], 1.0) for k in range(2)])
    torch.testing.assert_close(emphasis(log_scale, 1.0), alone)


def test_who_cannot_be_checked_is_believed():
    truth = torch.tensor([[[0.0, torch.nan, torch.inf, 10.0]]])
    found = credibility(torch.full((1, 1, 4), 20.0).log(), truth)
    torch.testing.assert_close(found, torch.tensor([[[1.0, 1.0, 1.0, 1.0]]]).mul(torch.tensor([1, 1, 1, 0.36787944])))
