"""Depth metrics against closed forms and a naive twin."""

import math

import numpy as np
import pytest

from spike_depth_core.metrics import (
    METRICS,
    MetricAverage,
    bootstrap_interval,
    frame_metrics,
    garg_crop,
    hard_half,
    valid_mask,
)


def naive_metrics(prediction, truth, near=1.0, far=80.0):
    """Pixel by pixel, with `math` and lists only."""
    sums = dict.fromkeys(("abs", "sq", "d2", "l2", "l", "a1", "a2", "a3"), 0.0)
    n = 0
    for p, t in zip(prediction.ravel().tolist(), truth.ravel().tolist(), strict=True):
        if not (math.isfinite(t) and near <= t <= far) or math.isnan(p):
            continue
        p = min(max(p, near), far)
        n += 1
        sums["abs"] += abs(p - t) / t
        sums["sq"] += (p - t) ** 2 / t
        sums["d2"] += (p - t) ** 2
        sums["l"] += math.log(p / t)
        sums["l2"] += math.log(p / t) ** 2
        for power in (1, 2, 3):
            sums[f"a{power}"] += max(p / t, t / p) < 1.25**power
    return {
        "abs_rel": sums["abs"] / n,
        "sq_rel": sums["sq"] / n,
        "rmse": math.sqrt(sums["d2"] / n),
        "rmse_log": math.sqrt(sums["l2"] / n),
        "silog": 100 * math.sqrt(sums["l2"] / n - (sums["l"] / n) ** 2),
        "a1": sums["a1"] / n,
        "a2": sums["a2"] / n,
        "a3": sums["a3"] / n,
    }


def random_pair(seed=0, shape=(23, 31)):
    generator = np.random.default_rng(seed)
    truth = np.exp(generator.uniform(math.log(0.5), math.log(150), shape)).astype(np.float32)
    prediction = (truth * np.exp(generator.normal(0.1, 0.3, shape))).astype(np.float32)
    truth[0, :5] = [np.inf, np.nan, 0.0, -3.0, np.inf]
    prediction[1, :4] = [np.nan, np.inf, 0.0, -5.0]
    truth[1, :4] = 20.0
    return prediction, truth


def test_closed_forms_of_a_constant_ratio():
    # p = 1.2 t everywhere: every metric but rmse and sq_rel is a number that can be written down.
    truth = np.array([[2.0, 10.0], [20.0, 50.0]])
    found = frame_metrics(1.2 * truth, truth)
    assert found["abs_rel"] == pytest.approx(0.2)
    assert found["sq_rel"] == pytest.approx(0.04 * truth.mean())
    assert found["rmse"] == pytest.approx(0.2 * math.sqrt((truth**2).mean()))
    assert found["rmse_log"] == pytest.approx(math.log(1.2))
    assert found["silog"] == pytest.approx(0.0, abs=1e-9)
    assert (found["a1"], found["a2"], found["a3"]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("ratio", "inside"), [(1.24, 3), (1.26, 2), (1 / 1.26, 2), (1.57, 1), (1.96, 0)])
def test_accuracy_thresholds_are_symmetric(ratio, inside):
    found = frame_metrics(np.full((3, 3), 10.0 * ratio), np.full((3, 3), 10.0))
    assert [found["a1"], found["a2"], found["a3"]] == [0.0] * (3 - inside) + [1.0] * inside


@pytest.mark.parametrize("seed", range(3))
def test_matches_the_naive_twin(seed):
    prediction, truth = random_pair(seed)
    found = frame_metrics(prediction, truth)
    for key, value in naive_metrics(prediction, truth).items():
        assert found[key] == pytest.approx(value, rel=1e-6), key


def test_median_scaling_forgives_scale_and_only_scale():
    _, truth = random_pair(1)
    truth = np.where(valid_mask(truth), truth, np.nan)
    scaled = frame_metrics(0.37 * truth, truth, scaling="median")
    assert scaled["abs_rel"] == pytest.approx(0.0, abs=1e-6)
    # Clipping comes after scaling: unscaled, near pixels would be clipped up to 1 m before the ratio is
    # taken.
    assert frame_metrics(0.02 * truth, truth, scaling="median")["abs_rel"] == pytest.approx(0.0, abs=1e-6)
    assert frame_metrics(0.37 * truth, truth)["abs_rel"] > 0.5


def test_range_and_coverage():
    truth = np.array([[0.5, 1.0, 80.0, 80.5, np.inf, np.nan, 10.0, 10.0]])
    assert valid_mask(truth).tolist() == [[False, True, True, False, False, False, True, True]]
    prediction = np.array([[9.0, 0.1, 500.0, 9.0, 9.0, 9.0, 10.0, np.nan]])
    found = frame_metrics(prediction, truth)
    assert found["abs_rel"] == 0.0  # 0.1 is clipped to 1 m and 500 to 80 m
    assert (found["pixels"], found["coverage"]) == (3, 0.75)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((2, 2)), np.ones((2, 3))), r"\(2, 2\) and \(2, 3\)"),
        ((np.ones((2, 2)), np.full((2, 2), np.inf)), "no pixel to score: of 4, 0 have a truth"),
        ((np.full((2, 2), np.nan), np.ones((2, 2))), "4 have no prediction"),
        ((np.ones((2, 2)), np.ones((2, 2)), 1.0, 80.0, "mean"), "none, median, found 'mean'"),
        ((np.ones((2, 2)), np.ones((2, 2)), 80.0, 1.0), "near=80.0, far=1.0"),
        ((np.zeros((2, 2)), np.ones((2, 2)), 1.0, 80.0, "median"), "positive median"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        frame_metrics(*arguments)


def test_garg_crop_of_the_kitti_size():
    # The crop of 375x1242 that monodepth2's evaluation prints: rows 153 to 371, columns 44 to 1197.
    rows, columns = np.nonzero(garg_crop(375, 1242))
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (153, 371, 44, 1197)


def test_the_hard_half_is_where_the_baseline_errs_most():
    truth = np.full(5, 10.0)
    baseline = np.array([10.0, 12.0, 4.0, 10.5, 11.0])  # off by 0, 20, 60, 5 and 10 %
    found = hard_half(np.array([99.0, 11.0, 13.0, 99.0, 8.0]), truth, baseline)
    assert found == pytest.approx((0.1 + 0.3 + 0.2) / 3)
    assert hard_half(np.array([11.0]), truth[:1], baseline[:1]) == pytest.approx(0.1)


def test_average_weighs_frames_alike():
    average = MetricAverage()
    assert np.isnan(average.mean()["abs_rel"])
    average.add(np.full((1, 1), 11.0), np.full((1, 1), 10.0))  # 0.1 from one pixel
    average.add(np.full((9, 9), 13.0), np.full((9, 9), 10.0))  # 0.3 from 81
    found = average.mean()
    assert set(found) == {*METRICS, "coverage", "frames", "scaling"}
    assert (found["frames"], found["scaling"]) == (2, "none")
    assert found["abs_rel"] == pytest.approx(0.2)
    assert average.spread()["abs_rel"] == pytest.approx(0.2 / math.sqrt(2))


def test_bootstrap_interval_agrees_with_the_normal_one():
    values = np.random.default_rng(3).normal(0.2, 0.05, 400)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std(ddof=1) / math.sqrt(values.size)
    assert low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert bootstrap_interval(values) == (low, high)


def test_coverage_is_of_what_is_scored():
    prediction = np.full((4, 4), 10.0)
    prediction[0, 0] = np.nan
    crop = np.zeros((4, 4), bool)
    crop[0] = True
    found = frame_metrics(prediction, np.full((4, 4), 10.0), mask=crop)
    assert (found["pixels"], found["coverage"]) == (3, 0.75)
