"""Distillation losses and gates against naive loops, closed forms and numerical gradients."""

import pytest
import torch

from spike_depth_core.losses.distillation import feature_mse, least


def test_features_differ_by_the_mean_square_over_channels_and_masked_positions():
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    mask = torch.rand(2, 4, 5) < 0.4
    values = [
        float(student[b, c, y, x] - teacher[b, c, y, x]) ** 2
        for b, y, x in mask.nonzero().tolist()
        for c in range(student.shape[1])
    ]
    assert float(feature_mse(student, teacher, mask)) == pytest.approx(sum(values) / len(values), rel=1e-5)
    assert float(feature_mse(student, student + 0.5, mask)) == pytest.approx(0.25, rel=1e-5)


def test_no_position_gives_zero_and_a_finite_gradient():
    student = torch.randn(1, 2, 3, 3, requires_grad=True)
    loss = feature_mse(student, torch.zeros(1, 2, 3, 3), torch.zeros(1, 3, 3, dtype=torch.bool))
    loss.backward()
    assert float(loss.detach()) == 0
    assert (student.grad == 0).all()


def test_feature_gradients():
    torch.manual_seed(0)
    student, teacher = (torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    mask = torch.rand(1, 3, 3) < 0.6
    assert torch.autograd.gradcheck(lambda s, t: feature_mse(s, t, mask), (student, teacher))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.73, 1.0])
def test_the_least_are_those_that_come_first_when_sorted(share):
    torch.manual_seed(1)
    values, valid = torch.randn(2, 7, 9), torch.rand(2, 7, 9) < 0.6
    order = sorted(float(v) for v in values[valid])
    wanted = set(order[: -(-round(share * 1e6) * len(order) // 1_000_000)])
    assert {float(v) for v in values[least(values, valid, share)]} == wanted
    assert not (least(values, valid, share) & ~valid).any()


def test_ties_are_chosen_together_and_nothing_valid_chooses_nothing():
    same, everywhere = torch.full((1, 4, 4), 0.3), torch.ones(1, 4, 4, dtype=torch.bool)
    assert least(same, everywhere, 0.01).all()
    assert not least(same, ~everywhere, 1.0).any()
    with pytest.raises(ValueError, match=r"0 to 1, found 1\.5"):
        least(same, everywhere, 1.5)
