"""Photometric losses against loops, closed forms and numerical gradients."""

import math

import pytest
import torch

from spike_depth_core.losses.photometric import (
    auto_masked,
    edge_aware_smoothness,
    least_error,
    mean_error,
    photometric_error,
    ssim,
)

C1, C2 = 1e-4, 9e-4


def pictures(channels=2, height=5, width=6, dtype=torch.float64):
    generator = torch.Generator().manual_seed(3)
    return (torch.rand(1, channels, height, width, generator=generator, dtype=dtype) for _ in range(2))


def test_ssim_is_the_formula_on_every_window():
    a, b = pictures()
    found = ssim(a, b)

    def mirrored(i, size):
        return -i if i < 0 else 2 * (size - 1) - i if i >= size else i

    for c in range(2):
        for y in range(5):
            for x in range(6):
                at = [(mirrored(y + dy, 5), mirrored(x + dx, 6)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
                p = torch.stack([a[0, c, i, j] for i, j in at])
                q = torch.stack([b[0, c, i, j] for i, j in at])
                shared = ((p - p.mean()) * (q - q.mean())).mean()
                expected = (2 * p.mean() * q.mean() + C1) * (2 * shared + C2)
                expected /= (p.mean() ** 2 + q.mean() ** 2 + C1) * (p.var(correction=0) + q.var(correction=0) + C2)
                assert float(found[0, c, y, x]) == pytest.approx(float(expected), rel=1e-9)


def test_a_picture_is_like_itself_and_unlike_its_negative():
    a, _ = pictures(dtype=torch.float32)
    torch.testing.assert_close(ssim(a, a), torch.ones_like(a))
    assert photometric_error(a, a).abs().max() < 1e-6
    assert photometric_error(a, 1 - a).min() > 0.15


def test_error_of_two_grey_pictures():
    """Without texture SSIM is (2 p q + c1) / (p^2 + q^2 + c1)."""
    p, q = 0.3, 0.5
    alike = (2 * p * q + C1) / (p * p + q * q + C1)
    expected = 0.85 * (1 - alike) / 2 + 0.15 * abs(p - q)
    found = photometric_error(torch.full((2, 3, 4, 4), p), torch.full((2, 3, 4, 4), q))
    torch.testing.assert_close(found, torch.full((2, 4, 4), expected))


def test_the_better_view_counts_of_those_that_see():
    errors = [torch.tensor([[[1.0, 5.0, 2.0, 3.0]]]), torch.tensor([[[4.0, 2.0, 1.0, 3.0]]])]
    seen = [torch.tensor([[[True, True, True, False]]]), torch.tensor([[[True, True, False, False]]])]
    assert least_error(errors, seen).tolist() == [[[1.0, 2.0, 2.0, math.inf]]]


def test_pixels_that_keep_pace_with_the_camera_teach_nothing():
    error = torch.tensor([[[0.2, 0.4, 0.6, torch.inf, 0.1]]], requires_grad=True)
    still = torch.tensor([[[0.5, 0.1, 0.9, torch.inf, 0.5]]])
    mask = torch.tensor([[[True, True, True, True, False]]])
    loss = auto_masked(error, still, mask)
    assert loss.item() == pytest.approx((0.2 + 0.1 + 0.6) / 3)
    loss.backward()
    torch.testing.assert_close(error.grad, torch.tensor([[[1 / 3, 0, 1 / 3, 0, 0]]]))


def test_every_view_counts_for_the_motion_and_looking_away_gains_nothing():
    errors = [torch.tensor([[[0.2, 0.0, 0.4]]], requires_grad=True), torch.tensor([[[0.6, 0.8, 9.0]]])]
    seen = [torch.tensor([[[True, False, True]]]), torch.tensor([[[True, True, True]]])]
    still = [torch.tensor([[[0.1, 0.5, 0.1]]])] * 2
    mask = torch.tensor([[[True, True, False]]])
    loss = mean_error(errors, seen, still, mask)
    assert loss.item() == pytest.approx(((0.2 + 0.5) / 2 + (0.6 + 0.8) / 2) / 2)
    loss.backward()
    torch.testing.assert_close(errors[0].grad, torch.tensor([[[0.25, 0.0, 0.0]]]))


def test_smoothness_of_a_ramp_whatever_its_unit_and_less_at_an_edge():
    """Inverse depth 1, 2, 3, 4 across a grey picture: |dx| is 1 over a mean of 2.5; e^-1 of it at an edge of 1."""
    ramp = torch.arange(1.0, 5.0).expand(1, 3, 4)
    grey = torch.full((1, 3, 3, 4), 0.2)
    assert float(edge_aware_smoothness(ramp, grey)) == pytest.approx(1 / 2.5, rel=1e-5)
    assert float(edge_aware_smoothness(100 * ramp, grey)) == pytest.approx(1 / 2.5, rel=1e-5)
    edge = torch.zeros(1, 3, 3, 4)
    edge[..., 2:] = 1.0
    assert float(edge_aware_smoothness(ramp, edge)) == pytest.approx((2 + math.exp(-1)) / 3 / 2.5, rel=1e-5)
    assert float(edge_aware_smoothness(ramp.transpose(1, 2), grey.transpose(2, 3))) == pytest.approx(0.4, rel=1e-5)


def test_gradients():
    a, b = (x.requires_grad_() for x in pictures())
    assert torch.autograd.gradcheck(photometric_error, (a, b))
    inverse = (0.1 + torch.rand(1, 4, 5, dtype=torch.float64)).requires_grad_()
    picture = torch.rand(1, 3, 4, 5, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda d: edge_aware_smoothness(d, picture), inverse)


def test_smoothness_of_a_picture_does_not_depend_on_the_others_of_its_batch():
    drawn = torch.Generator().manual_seed(3)
    inverse, picture = 0.1 + torch.rand(2, 6, 8, generator=drawn), torch.rand(2, 3, 6, 8, generator=drawn)
    inverse[1] *= 20.0
    alone = [edge_aware_smoothness(inverse[k : k + 1], picture[k : k + 1]) for k in range(2)]
    torch.testing.assert_close(edge_aware_smoothness(inverse, picture), torch.stack(alone).mean())
