"""The contrastive terms of align-and-fuse against their formulas written out, and what may not matter to them."""

import math

import pytest
import torch

from spike_depth_core.losses.alignment import global_alignment, local_alignment, pooled

SENSORS = ("rgb", "nir", "thermal")


def generator():
    return torch.Generator().manual_seed(0)


def vectors(*shape, seed=0, dtype=torch.float32):
    drawn = torch.Generator().manual_seed(seed)
    return {s: torch.randn(*shape, generator=drawn, dtype=dtype) for s in SENSORS}


def everywhere(maps):
    return {s: torch.ones(x[:, 0].shape, dtype=torch.bool) for s, x in maps.items()}


def nce(query, positive, negatives):
    """-log of the positive's share, in plain arithmetic."""

    def e(a, b):
        return math.exp(float(a @ b / a.norm() / b.norm()) / 0.1)

    return -math.log(e(query, positive) / (e(query, positive) + sum(e(query, n) for n in negatives)))


def test_the_global_term_written_out():
    shared, specific = vectors(2, 4), vectors(2, 4, seed=1)
    negatives = [v for s in SENSORS for v in specific[s]]
    expected = [nce(shared["rgb"][i], shared[m][i], negatives) for m in ("nir", "thermal") for i in range(2)]
    found = global_alignment(shared, specific, "rgb")
    assert float(found) == pytest.approx(sum(expected) / 4, rel=1e-4)


def test_the_local_term_written_out():
    """Where one of the two does not see, a position is neither asked nor a stranger."""
    shared, specific = vectors(2, 4, 2, 3), vectors(2, 4, 2, 3, seed=1)
    seen = everywhere(shared)
    seen["nir"][1, 0, 2] = False
    seen["rgb"][0, 1, 1] = False
    places = [(b, i, j) for b in range(2) for i in range(2) for j in range(3)]
    negatives = [specific[s][b, :, i, j] for s in SENSORS for b, i, j in places if seen[s][b, i, j]]
    expected = 0.0
    for m in ("nir", "thermal"):
        both = [(b, i, j) for b, i, j in places if seen["rgb"][b, i, j] and seen[m][b, i, j]]
        terms = [nce(shared["rgb"][b, :, i, j], shared[m][b, :, i, j], negatives) for b, i, j in both]
        expected += sum(terms) / len(terms) / 2
    found = local_alignment(shared, specific, seen, "rgb", generator())
    assert float(found) == pytest.approx(expected, rel=1e-4)


def test_what_is_not_seen_does_not_matter():
    shared, specific = vectors(2, 4, 3, 4), vectors(2, 4, 3, 4, seed=1)
    seen = everywhere(shared)
    seen["nir"][:, :2] = False
    before = local_alignment(shared, specific, seen, "rgb", generator())
    for maps in (shared, specific):
        maps["nir"] = maps["nir"].clone()
        maps["nir"][:, :, :2] = 100.0
    torch.testing.assert_close(local_alignment(shared, specific, seen, "rgb", generator()), before)


def test_a_sensor_that_sees_too_little_counts_for_nothing():
    shared, specific = vectors(1, 4, 4, 5), vectors(1, 4, 4, 5, seed=1)
    seen = everywhere(shared)
    seen["nir"][:] = False
    seen["nir"][0, 0, 0] = True  # 1 of 20, less than a tenth
    # It is gone as a positive; its one specific half stays among the strangers.
    pair = {s: shared[s] for s in ("rgb", "thermal")}
    expected = local_alignment(pair, specific, seen, "rgb", generator())
    torch.testing.assert_close(local_alignment(shared, specific, seen, "rgb", generator()), expected)
    seen["thermal"][:] = False
    shared["rgb"].requires_grad_()
    nothing = local_alignment(shared, specific, seen, "rgb", generator())
    nothing.backward()
    assert float(nothing.detach()) == 0.0
    assert (shared["rgb"].grad == 0).all()


def test_few_negatives_stand_for_many():
    """Strangers that are all alike: k of them cost log(1 + k e^((cos - 1) / t)) with a perfect positive."""
    same = {s: torch.ones(1, 2, 8, 8) for s in SENSORS}
    strangers = {s: torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 8, 8) for s in SENSORS}
    for most in (5, 50):
        found = local_alignment(same, strangers, everywhere(same), "rgb", generator(), negatives=most)
        assert float(found) == pytest.approx(math.log1p(most * math.exp((0.5**0.5 - 1) / 0.1)), rel=1e-4)


def test_other_places_tell_halves_that_are_the_same_everywhere():
    """Against strangers alone a constant costs nothing; against k other places of its own, log(1 + k). Features that
    differ from place to place cost nothing either way."""
    strangers = {s: -torch.ones(1, 12, 3, 4) for s in SENSORS}
    constant = {s: torch.ones(1, 12, 3, 4) for s in SENSORS}
    distinct = {s: torch.eye(12).reshape(1, 12, 3, 4) for s in SENSORS}

    def loss(shared, elsewhere):
        found = local_alignment(shared, strangers, everywhere(shared), "rgb", generator(), elsewhere=elsewhere)
        return float(found)

    assert loss(constant, 0) < 1e-3
    assert loss(constant, 7) == pytest.approx(math.log(8), rel=1e-3)
    assert loss(distinct, 7) < 0.05


def test_gradients():
    shared, specific = vectors(1, 4, 2, 3, dtype=torch.float64), vectors(1, 4, 2, 3, seed=1, dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (*shared.values(), *specific.values())]

    def local(*halves):
        own, other = dict(zip(SENSORS, halves[:3], strict=True)), dict(zip(SENSORS, halves[3:], strict=True))
        return local_alignment(own, other, everywhere(own), "rgb", generator(), 0.5, elsewhere=3)

    def whole(*halves):
        means = [x.mean(dim=(2, 3)) for x in halves]
        own, other = dict(zip(SENSORS, means[:3], strict=True)), dict(zip(SENSORS, means[3:], strict=True))
        return global_alignment(own, other, "thermal", 0.5)

    assert torch.autograd.gradcheck(local, inputs)
    assert torch.autograd.gradcheck(whole, inputs)


def test_pooling_is_the_mean_of_what_is_seen():
    x = torch.arange(12.0).reshape(1, 2, 2, 3)
    seen = torch.tensor([[[True, False, True], [False, False, False]]])
    assert pooled(x, seen).tolist() == [[1.0, 7.0]]
    assert pooled(x, torch.zeros_like(seen)).tolist() == [[0.0, 0.0]]
