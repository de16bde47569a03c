"""The depth of the least expected relative error, against a search over answers and quantiles of the distribution."""

import numpy as np
import pytest
import torch

from spike_depth_core.inference.point_estimate import least_relative_error


@pytest.mark.parametrize("b", [0.02, 0.1, 0.25, 0.45])
def test_no_other_answer_errs_less(b):
    quantiles = (np.arange(200_000) + 0.5) / 200_000
    errors = b * np.where(quantiles < 0.5, np.log(2 * quantiles), -np.log(2 * (1 - quantiles)))
    true_depth = 10 * np.exp(errors)
    answers = 10 * np.exp(np.linspace(-0.5, 0.2, 701))
    expected = [np.mean(np.abs(answer - true_depth) / true_depth) for answer in answers]
    best = answers[int(np.argmin(expected))]
    found = least_relative_error(torch.tensor([np.log(10.0)]), torch.tensor([np.log(b)])).exp().item()
    assert found == pytest.approx(best, rel=2e-3)


def test_certainty_leaves_the_median_alone_and_doubt_is_bounded():
    log_depth = torch.tensor([1.0, 1.0])
    found = least_relative_error(log_depth, torch.tensor([-20.0, 5.0]))
    assert found[0].item() == pytest.approx(1.0, abs=1e-6)
    assert found[1].item() == pytest.approx(1.0 - np.log(1.5), rel=1e-5)


def test_the_sky_stays_far_however_wide_its_scale():
    sky = least_relative_error(torch.tensor([np.log(130.0)]), torch.tensor([2.0])).exp().item()
    assert sky > 50.0
