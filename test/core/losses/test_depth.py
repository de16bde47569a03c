"""Depth losses against closed forms, naive loops and numerical gradients."""

import math

import torch

from spike_depth_core.losses.depth import (
    at_least,
    laplace_beyond_nll,
    laplace_nll,
    log_l1,
    multiscale_gradient,
    silog,
)


def ragged(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randn(2, 9, 11, generator=generator, dtype=torch.float64)
    truth = torch.randn(2, 9, 11, generator=generator, dtype=torch.float64)
    mask = torch.rand(2, 9, 11, generator=generator) < 0.7
    return prediction, truth, mask


def test_log_l1_of_a_constant_factor_is_its_logarithm():
    truth = torch.rand(1, 4, 5) + 1
    mask = torch.ones(1, 4, 5, dtype=torch.bool)
    assert math.isclose(float(log_l1((1.3 * truth).log(), truth.log(), mask)), math.log(1.3), rel_tol=1e-5)


def test_nothing_valid_gives_zero_and_a_finite_gradient():
    prediction = torch.randn(1, 4, 4, requires_grad=True)
    nothing = torch.zeros(1, 4, 4, dtype=torch.bool)
    truth = torch.full((1, 4, 4), float("nan"))
    total = log_l1(prediction, truth, nothing) + multiscale_gradient(prediction, truth, nothing)
    total.backward()
    assert float(total.detach()) == 0
    assert torch.isfinite(prediction.grad).all()


def test_multiscale_gradient_against_a_naive_loop():
    prediction, truth, mask = ragged()
    residual = prediction - truth
    expected = 0.0
    for scale in range(3):
        step = 2**scale
        r, m = residual[:, ::step, ::step], mask[:, ::step, ::step]
        for dy, dx in ((0, 1), (1, 0)):
            values = [
                abs(float(r[b, y + dy, x + dx] - r[b, y, x]))
                for b in range(r.shape[0])
                for y in range(r.shape[1] - dy)
                for x in range(r.shape[2] - dx)
                if m[b, y, x] and m[b, y + dy, x + dx]
            ]
            expected += sum(values) / len(values)
    assert math.isclose(float(multiscale_gradient(prediction, truth, mask, scales=3)), expected / 3, rel_tol=1e-9)


def test_a_wrong_scale_costs_no_edges():
    truth = torch.rand(1, 16, 16).log()
    assert float(multiscale_gradient(truth + 0.7, truth, torch.ones(1, 16, 16, dtype=torch.bool))) < 1e-6


def test_silog_of_a_constant_factor_and_of_a_pure_shape_error():
    truth = torch.rand(2, 6, 6, dtype=torch.float64)
    everywhere = torch.ones(2, 6, 6, dtype=torch.bool)
    assert math.isclose(float(silog(truth + 0.8, truth, everywhere)), 0.15**0.5 * 0.8, abs_tol=1.1e-3)
    checkers = 0.4 * (torch.arange(72).reshape(2, 6, 6) % 2 * 2 - 1).double()  # +-0.4: mean 0, variance 0.16
    assert math.isclose(float(silog(truth + checkers, truth, everywhere)), 0.4, abs_tol=1.1e-3)
    prediction, truth, mask = ragged()
    rms = float((prediction - truth)[mask].square().mean().sqrt())
    assert math.isclose(float(silog(prediction, truth, mask, mean_weight=1.0)), rms, abs_tol=1.1e-3)


def test_silog_has_a_finite_gradient_where_there_is_no_error_and_no_truth():
    prediction = torch.zeros(1, 4, 4, requires_grad=True)
    truth = torch.zeros(1, 4, 4)
    truth[:, 0] = torch.nan
    loss = silog(prediction, truth, ~truth.isnan()) + silog(prediction, truth, torch.zeros(1, 4, 4, dtype=torch.bool))
    loss.backward()
    assert math.isclose(float(loss.detach()), 0.0, abs_tol=1e-9)
    assert torch.isfinite(prediction.grad).all()


def test_sky_costs_only_when_too_near():
    mask = torch.ones(1, 1, 2, dtype=torch.bool)
    found = at_least(torch.tensor([[[math.log(50.0), math.log(200.0)]]]), math.log(100.0), mask)
    assert math.isclose(float(found), math.log(2.0) / 2, rel_tol=1e-6)


def test_laplace_likelihood_is_least_at_the_mean_error():
    residual = torch.full((1, 8, 8), 0.2)
    mask = torch.ones(1, 8, 8, dtype=torch.bool)
    at = {b: float(laplace_nll(torch.full((1, 8, 8), math.log(b)), residual, mask)) for b in (0.15, 0.2, 0.26)}
    assert min(at, key=at.get) == 0.2
    exact = -torch.distributions.Laplace(0.0, 0.2).log_prob(torch.tensor(0.2)) - math.log(2)
    assert math.isclose(at[0.2], float(exact), rel_tol=1e-5)


def test_likelihood_of_what_is_beyond_a_bound_is_that_of_the_distribution_s_tail():
    margin = torch.tensor([[[-1.3, -0.2, 0.0, 0.1, 0.8]]], dtype=torch.float64)
    scale = torch.tensor([[[0.1, 0.3, 0.2, 0.4, 0.05]]], dtype=torch.float64)
    for k in range(margin.shape[-1]):
        tail = 1 - torch.distributions.Laplace(margin[0, 0, k], scale[0, 0, k]).cdf(torch.zeros(()).double())
        only = torch.zeros(margin.shape, dtype=torch.bool)
        only[0, 0, k] = True
        assert math.isclose(float(laplace_beyond_nll(scale.log(), margin, only)), -math.log(float(tail)), abs_tol=1e-6)


def test_gradients_are_right():
    prediction, truth, mask = ragged(1)
    prediction.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda p: log_l1(p, truth, mask), prediction)
    assert torch.autograd.gradcheck(lambda p: silog(p, truth, mask), prediction)
    assert torch.autograd.gradcheck(lambda p: multiscale_gradient(p, truth, mask), prediction)
    assert torch.autograd.gradcheck(lambda p: laplace_nll(p, truth, mask), prediction)
    assert torch.autograd.gradcheck(lambda p: laplace_beyond_nll(p, truth, mask), prediction)
