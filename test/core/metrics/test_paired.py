"""The paired test against SciPy's, and on frames that are alike where a test over frames is deceived."""

import tracemalloc

import numpy as np
import pytest
from scipy import signal, stats

from spike_depth_core.metrics import paired
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


def test_signs_are_drawn_in_parts_and_are_the_same_as_at_once(monkeypatch):
    differences = np.random.default_rng(0).normal(0.03, 1, 1001)
    at_once = np.random.default_rng(0).integers(0, 2, (2001, 1001), np.int8)
    at_once[0] = 0
    sums = np.abs((1 - 2.0 * at_once) @ differences)
    monkeypatch.setattr(paired, "_DRAWS", 2001)
    monkeypatch.setattr(paired, "_AT_ONCE", 2**15)
    tracemalloc.start()
    p = sign_flip_p(differences)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert p == pytest.approx(np.mean(sums >= abs(differences.sum()) * (1 - 1e-12)), abs=1e-12)
    assert most < 2e6  # bytes, where all signs at once are 16 MB


def test_fewer_drives_than_six_cannot_be_significant():
    assert sign_flip_p(np.ones(FEWEST - 1)) > 0.05 >= sign_flip_p(np.ones(FEWEST))


def test_frames_that_are_alike_deceive_a_test_over_frames_and_not_one_over_blocks():
    """Two methods that are equally good: how often is one called better at 5 %?"""
    rng = np.random.default_rng(0)
    trials = [drives(3, 40, 1.0, rng) for _ in range(100)]
    by_frames = [stats.ttest_1samp(np.concatenate([d for _, d in trial]), 0).pvalue < 0.05 for trial in trials]
    by_blocks = [compare_blocks(trial).p < 0.05 for trial in trials]
    assert np.mean(by_frames) > 0.5
    assert np.mean(by_blocks) < 0.1


# What is right for independent blocks is 5 % and 95 %; of 100 trials chance makes up to 11 % and down to 89 %.
@pytest.mark.parametrize(
    ("number", "seconds", "alike_s", "said"),
    [
        (1, 60, 3.0, (0.0, 0.05)),  # holds ten independent moments: nothing can be said
        (1, 60, 6.0, (0.0, 0.05)),
        (1, 300, 6.0, (0.0, 0.5)),
        (1, 300, 1.0, (0.9, 1.0)),
        (8, 60, 3.0, (1.0, 1.0)),
    ],
)
def test_equal_methods_are_seldom_told_apart_however_short_drives_are(monkeypatch, number, seconds, alike_s, said):
    monkeypatch.setattr(paired, "_DRAWS", 1000)
    rng = np.random.default_rng(0)
    found = [compare_blocks(drives(number, seconds, alike_s, rng)) for _ in range(100)]
    assert np.mean([test.p < 0.05 for test in found]) <= 0.11
    told = [test for test in found if test.enough]
    assert said[0] <= len(told) / len(found) <= said[1]
    if said[0] > 0.5:
        assert np.mean([test.low < 0 < test.high for test in told]) >= 0.89
    assert all(np.isnan([test.p, test.low, test.high]).all() for test in found if not test.enough)


@pytest.mark.parametrize(("number", "seconds", "alike_s", "shift"), [(30, 60, 3.0, 0.3), (1, 600, 1.0, 0.3)])
def test_a_real_difference_is_found_where_drives_are_many_or_long(monkeypatch, number, seconds, alike_s, shift):
    monkeypatch.setattr(paired, "_DRAWS", 1000)
    rng = np.random.default_rng(0)
    assert np.mean([compare_blocks(drives(number, seconds, alike_s, rng, shift)).p < 0.05 for _ in range(30)]) > 0.9


def test_what_is_alike_beneath_frames_that_flicker_is_seen():
    rng = np.random.default_rng(1)
    slow = [(t, 0.3 * d + rng.normal(size=d.size)) for t, d in drives(1, 300, 20.0, rng)]
    assert not compare_blocks(slow).enough
    assert compare_blocks(drives(1, 300, 0.05, rng)).enough


def test_what_differs_from_drive_to_drive_alone_makes_drives_the_units():
    found = compare_blocks(drives(7, 20, 0.05, np.random.default_rng(1), of_drive=5.0))
    assert (found.enough, found.units) == (True, 7)
    assert found.block_s == pytest.approx(20.0)
    fewer = compare_blocks(drives(5, 20, 0.05, np.random.default_rng(1), of_drive=5.0))
    assert not fewer.enough


def test_blocks_are_equal_parts_of_drives():
    """Of one drive ten, of a tenth of its length each: their sums are those that NumPy splits it into."""
    ((times, differences),) = drives(1, 200, 0.05, np.random.default_rng(4), shift=0.1)
    found = compare_blocks([(times, differences)])
    assert (found.units, found.block_s) == (10, pytest.approx(20.0))
    sums = differences.reshape(10, -1).sum(axis=1)
    assert found.p == sign_flip_p(sums)
    interval = stats.ttest_1samp(sums / (20 * RATE), 0).confidence_interval()
    np.testing.assert_allclose((found.low, found.high), interval, rtol=1e-3)


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
    assert (nothing.enough, nothing.units) == (False, 0)
    assert np.isnan([nothing.difference, nothing.p, nothing.low, nothing.high]).all()
    same = compare_blocks([(np.arange(1200) * 10**8, np.zeros(1200))])
    assert (same.enough, same.p, same.difference, same.low, same.high) == (True, 1.0, 0.0, 0.0, 0.0)
    few = compare_drives(drives(FEWEST - 1, 10, 0, np.random.default_rng(0)))
    assert (few.enough, np.isnan(few.p), np.isnan(few.low)) == (False, True, True)
    with pytest.raises(ValueError, match="longer than 0 s, found 0"):
        compare_blocks([], 0.0)
