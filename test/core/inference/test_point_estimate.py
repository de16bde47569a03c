"""The depth of the least expected relative error, against a search over answers and quantiles of the distribution."""

import math

import numpy as np
import pytest
import torch

from spike_depth_core.inference.point_estimate import least_relative_error

RANGE = (0.5, 100.0)


def answer(depth: float, b: float) -> float:
    return least_relative_error(torch.tensor([math.log(depth)]), torch.tensor([math.log(b)]), RANGE).exp().item()


@pytest.mark.parametrize("b", [0.02, 0.1, 0.45, 0.9, 0.9999, 1.0, 1.2, 3.0])
@pytest.mark.parametrize("depth", [0.6, 2.0, 10.0, 95.0])
def test_no_other_answer_errs_less(depth, b):
    low, high = (math.log(end / depth) for end in RANGE)
    errors = np.linspace(low, high, 400_001)
    weights = np.exp(-np.abs(errors) / b)  # a Laplace density cut off at the range's ends
    true_depth = depth * np.exp(errors)

    def expected(guess: float) -> float:
        return float(np.average(np.abs(guess - true_depth) / true_depth, weights=weights))

    found = answer(depth, b)
    guesses = found * np.exp(np.linspace(-0.05, 0.05, 41))
    best = guesses[int(np.argmin([expected(guess) for guess in guesses]))]
    assert found == pytest.approx(best, rel=4e-3)


@pytest.mark.parametrize("b", [0.05, 0.3])
def test_far_from_the_ends_it_is_the_closed_form_of_a_whole_laplace_distribution(b):
    assert math.log(answer(10.0, b) / 10.0) == pytest.approx(-b * math.log(1 + b) / (1 - b), abs=3e-3)


def test_certainty_leaves_the_median_alone_and_doubt_stays_within_the_range():
    assert answer(3.0, 1e-6) == pytest.approx(3.0, rel=1e-5)
    for depth in (0.1, 0.5, 10.0, 100.0, 1000.0):
        assert RANGE[0] <= answer(depth, 100.0) <= RANGE[1]
    assert answer(1000.0, 1e-6) == pytest.approx(100.0)
