"""Gradient reversal against plain autograd; what one discriminator can do and two cannot."""

import math

import pytest
import torch

from spike_depth_core.networks.adversarial import DomainDiscriminator, reverse_gradient


def maps(count, shift=0.0, size=(2, 3), seed=0):
    return torch.randn(count, 4, *size, generator=torch.Generator().manual_seed(seed)) + shift


def test_the_reversed_gradient_is_the_plain_one_times_minus_its_strength():
    x = torch.randn(3, 4, requires_grad=True)
    assert torch.equal(reverse_gradient(x, 0.25), x)
    (plain,) = torch.autograd.grad(x.pow(3).sum(), x)
    (found,) = torch.autograd.grad(reverse_gradient(x, 0.25).pow(3).sum(), x)
    torch.testing.assert_close(found, -0.25 * plain)


@pytest.mark.parametrize("shared", [True, False])
def test_the_loss_is_the_likelihood_of_the_domains_and_fits_maps_of_other_sizes(shared):
    torch.manual_seed(0)
    discriminator = DomainDiscriminator(4, 8, shared)
    source, target = maps(5), maps(3, 1.0, (4, 2), 1)
    loss, right = discriminator(source, target, 1.0)
    of_source, of_target = (torch.sigmoid(x) for x in discriminator.logits(source, target))
    expected = -(1 - of_source).log().mean() - of_target.log().mean()
    torch.testing.assert_close(loss, expected)
    assert float(right) == pytest.approx((int((of_source < 0.5).sum()) + int((of_target > 0.5).sum())) / 8)


def learned(discriminator, source, target, steps=120):
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=0.02)
    for _ in range(steps):
        loss, right = discriminator(source, target, 1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach()), float(right)


def test_one_discriminator_tells_domains_that_differ_and_only_those():
    torch.manual_seed(0)
    loss, right = learned(DomainDiscriminator(4, 8), maps(64), maps(64, 1.0, seed=1))
    assert loss < 0.2
    assert right > 0.95
    same = maps(64)
    loss, right = learned(DomainDiscriminator(4, 8), same, same.clone())
    assert loss == pytest.approx(2 * math.log(2), abs=0.02)
    assert right == pytest.approx(0.5, abs=0.1)


def test_two_discriminators_are_right_about_anything_and_so_teach_nothing():
    """The defect of the published code: identical features, and still the loss vanishes, and its gradient with it."""
    torch.manual_seed(0)
    same = maps(64)
    loss, right = learned(DomainDiscriminator(4, 8, shared=False), same, same.clone(), 300)
    assert loss < 0.05
    assert right == 1.0


@pytest.mark.parametrize(("shared", "aligned"), [(True, True), (False, False)])
def test_features_learn_not_to_tell(shared, aligned):
    """What differs between the domains, in standard deviations, shrinks; under two discriminators it does not."""
    torch.manual_seed(0)
    encoder, discriminator = torch.nn.Conv2d(4, 4, 1), DomainDiscriminator(4, 16, shared)
    source, target = maps(256), maps(256, torch.tensor([2.0, 0.0, 0.0, 0.0]).reshape(4, 1, 1), seed=1)

    def gap():
        s, t = (encoder(x).mean(dim=(2, 3)).detach() for x in (source, target))
        return float(((s.mean(0) - t.mean(0)).square() / (s.var(0) + t.var(0))).mean().sqrt())

    before = gap()
    optimizers = [
        torch.optim.SGD(encoder.parameters(), lr=0.1),
        torch.optim.Adam(discriminator.parameters(), lr=0.02),
    ]
    for _ in range(400):
        loss, _ = discriminator(encoder(source), encoder(target), 0.1)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    assert (gap() < 0.6 * before) == aligned
