"""The paired test against SciPy's, and on frames that are alike where a test over frames is deceived."""

import numpy as np
import pytest
from scipy import signal, stats

from spike_depth_core.metrics.paired import FEWEST, compare_blocks, compare_drives, sign_flip_p

RATE = 30


def drives(number, seconds, correlation_s, rng, shift=0.0, of_drive=0.0):
    """Differences of frames at 30 Hz whose likeness falls off in so many seconds, and differs by drive."""
    n = round(seconds * RATE)
    keep = np.exp(-1 / (RATE * correlation_s)) if correlation_s else 0.0
    found = []
    for _ in range(number):
        steps = rng.normal(0, np.sqrt(1 - keep**2), n)
        steps[0] = rng.normal()
        noise = signal.lfilter([1.0], [1.0, -keep], steps)
        times = 1_700_000_000_000_000_000 + np.arange(n) * 10**9 // RATE
        found.append((times, noise + shift + of_drive * rng.normal()))
    return found


@pytest.mark.parametrize("n", [2, 5, 9, 40])
def test_the_p_value_is_that_of_scipy(n):
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    expected = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=2**14 if n < 15 else 50_000, rng=1
    )
    assert sign_flip_p(differences) == pytest.approx(expected.pvalue, abs=1e-9 if n < 15 else 0.01)


def test_fewer_drives_than_six_cannot_be_significant():
    assert sign_flip_p(np.ones(FEWEST - 1)) > 0.05 >= sign_flip_p(np.ones(FEWEST))


def test_frames_that_are_alike_deceive_a_test_over_frames_and_not_one_over_blocks():
    """Two methods that are equally good: how often is one called better at 5 %?"""
    rng = np.random.default_rng(0)
    trials = [drives(3, 40, 1.0, rng) for _ in range(100)]
    by_frames = [stats.ttest_1samp(np.concatenate([d for _, d in trial]), 0).pvalue < 0.05 for trial in trials]
    by_blocks = [compare_blocks(trial).p < 0.05 for trial in trials]
    assert np.mean(by_frames) > 0.5
    assert np.mean(by_blocks) < 0.15  # 5 would be right; the length of the blocks is an estimate too


def test_blocks_grow_until_neighbours_are_not_alike():
    rng = np.random.default_rng(1)
    assert compare_blocks(drives(2, 120, 0.05, rng)).block_s == 2.0
    slow = compare_blocks(drives(2, 240, 6.0, rng))
    assert slow.block_s >= 8.0
    # What differs from drive to drive alone: the drives are the units in the end.
    whole = compare_blocks(drives(7, 20, 0.05, rng, of_drive=5.0))
    assert whole.units == 7


def test_a_real_difference_is_found_and_its_size():
    found = compare_blocks(drives(4, 60, 0.3, np.random.default_rng(2), shift=0.5))
    assert found.p < 0.001
    assert found.low < 0.5 < found.high
    assert found.high - found.low < 0.4


def test_the_difference_is_that_of_the_means_over_frames():
    rng = np.random.default_rng(3)
    uneven = [*drives(1, 10, 0, rng), *drives(1, 3.7, 0, rng, shift=1.0)]
    everything = np.concatenate([d for _, d in uneven])
    for found in (compare_blocks(uneven), compare_drives(uneven)):
        assert found.difference == pytest.approx(everything.mean())
    assert compare_drives(uneven).units == 2


def test_a_gap_in_time_parts_neighbours():
    times = np.array([0, 1, 10, 11]) * 10**9
    found = compare_blocks([(times, np.array([1.0, 1.0, -1.0, -1.0]))], block_s=2.0)
    assert (found.units, np.isnan(found.correlation)) == (2, True)


def test_what_cannot_be_tested():
    nothing = compare_blocks([])
    assert (nothing.p, nothing.units) == (1.0, 0)
    same = compare_blocks([(np.arange(300) * 10**8, np.zeros(300))])
    assert (same.p, same.difference) == (1.0, 0.0)
    with pytest.raises(ValueError, match="longer than 0 s, found 0"):
        compare_blocks([], 0.0)
