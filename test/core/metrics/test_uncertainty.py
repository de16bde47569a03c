"""Measures of uncertainty on data whose answer is known."""

import math

import numpy as np
import pytest

from spike_depth_core.metrics import Reliability, certain_half, sparsification


def known_errors(count=20_000, seed=0):
    """Log-normal errors of a known standard deviation a pixel: (p, t, std)."""
    generator = np.random.default_rng(seed)
    std = np.exp(generator.uniform(math.log(0.02), math.log(0.4), count))
    truth = generator.uniform(3, 60, count)
    return truth * np.exp(std * generator.normal(size=count)), truth, std


def test_certain_half_by_hand():
    truth = np.full(4, 10.0)
    prediction = np.array([11.0, 12.0, 13.0, 14.0])  # relative errors 0.1, 0.2, 0.3, 0.4
    half, whole = certain_half(prediction, truth, np.array([0.1, 0.3, 0.2, 0.4]))
    assert (half, whole) == (pytest.approx(0.2), pytest.approx(0.25))


def test_an_uncertainty_that_knows_nothing_scores_one():
    # Errors grow down the image, and the uncertainty is constant: order of storage must not be mistaken for
    # skill.
    truth = np.full(100, 10.0)
    prediction = truth * (1 + np.linspace(0, 1, 100))
    half, whole = certain_half(prediction, truth, np.full(100, 0.3))
    assert half == pytest.approx(whole)
    assert sparsification(prediction, truth, np.full(100, 0.3)).by_uncertainty == pytest.approx(np.ones(20))


def test_sparsification_bounds():
    p, t, std = known_errors()
    good = sparsification(p, t, std)
    perfect = sparsification(p, t, np.abs(p - t) / t)
    inverted = sparsification(p, t, -np.abs(p - t) / t)
    assert good.by_uncertainty[0] == pytest.approx(1.0)
    assert perfect.ause == pytest.approx(0.0, abs=1e-12)
    assert 0 < good.ause < 0.5 * inverted.ause
    # Dropping half of the pixels on the curve is the certain half.
    half, whole = certain_half(p, t, std)
    assert good.by_uncertainty[10] == pytest.approx(half / whole)
    error = np.sort(np.abs(p - t) / t)
    assert good.by_error[10] == pytest.approx(error[:10_000].mean() / error.mean())


def test_ause_of_uniform_errors_and_no_knowledge():
    # Errors uniform in (0, 1): the best curve falls as 1 - f, a constant uncertainty stays at 1, so the gap is f.
    truth = np.full(10_000, 10.0)
    curve = sparsification(truth * (1 + (np.arange(10_000) + 0.5) / 10_000), truth, np.ones(10_000))
    assert curve.by_error == pytest.approx(1 - curve.dropped, rel=1e-3)
    assert curve.ause == pytest.approx(0.95**2 / 2, rel=1e-3)


def test_reliability_of_a_calibrated_and_an_overconfident_prediction():
    p, t, std = known_errors(200_000)
    calibrated, overconfident = Reliability(), Reliability()
    for part in np.array_split(np.arange(p.size), 4):
        calibrated.add(p[part], t[part], std[part])
        overconfident.add(p[part], t[part], std[part] / 2)
    predicted, observed, share = calibrated.curve()
    assert observed == pytest.approx(predicted, rel=0.03)
    assert share.sum() == pytest.approx(1.0)
    predicted, observed, _ = overconfident.curve()
    assert observed == pytest.approx(2 * predicted, rel=0.03)


def test_reliability_keeps_values_beyond_its_edges():
    reliability = Reliability(np.array([0.1, 0.2, 0.4]))
    reliability.add(np.full(3, 11.0), np.full(3, 10.0), np.array([0.01, 0.2, 5.0]))
    assert reliability.count.tolist() == [1, 2]
    with pytest.raises(ValueError, match="ascend"):
        Reliability(np.array([0.2, 0.1]))


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(3,\) and \(4,\)"):
        certain_half(np.ones(3), np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="at least 2, found 1"):
        certain_half(np.ones(1), np.ones(1), np.ones(1))
