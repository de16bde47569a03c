"""InfoNCE against the formula written out, and at its closed forms."""

import math

import pytest
import torch

from spike_depth_core.losses.contrastive import info_nce, paired_info_nce


def test_the_formula_written_out():
    torch.manual_seed(0)
    query, positive, negatives = torch.randn(3, 5), torch.randn(3, 5), torch.randn(4, 5)
    expected = 0.0
    for q, k in zip(query, positive, strict=True):
        near = math.exp(float(q @ k / q.norm() / k.norm()) / 0.1)
        far = sum(math.exp(float(q @ n / q.norm() / n.norm()) / 0.1) for n in negatives)
        expected -= math.log(near / (near + far)) / 3
    assert float(info_nce(query, positive, negatives)) == pytest.approx(expected, rel=1e-4)
    own = negatives.expand(3, 4, 5)
    torch.testing.assert_close(info_nce(query, positive, own), info_nce(query, positive, negatives))


def test_indifferent_vectors_cost_the_logarithm_of_their_number():
    same = torch.ones(6, 4)
    assert float(info_nce(same, same, same[:3])) == pytest.approx(math.log(4), rel=1e-5)
    assert float(paired_info_nce(same, same, normalised=True)) == pytest.approx(math.log(6), rel=1e-5)


def test_pairs_that_agree_cost_less_than_pairs_that_are_swapped():
    key = torch.eye(4)
    assert paired_info_nce(5 * key, key) < 0.1
    assert paired_info_nce(5 * key, key.roll(1, 0)) > 4.0


def test_gradients():
    torch.manual_seed(0)
    inputs = [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    assert torch.autograd.gradcheck(lambda q, k, n: info_nce(q, k, n, 0.5), inputs)
    assert torch.autograd.gradcheck(lambda q, k: paired_info_nce(q, k, 0.5, True), inputs[:2])
