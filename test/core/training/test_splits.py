"""Splits never put neighbours on two sides, keep to their shares, and stay what they are."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from spike_depth_core.training.splits import BLOCK, DRIVE, SPLITS, divide, parse_shares

S = 1_000_000_000


def shares_of(units, seconds):
    """Seconds by split of recordings that begin at 0 and are so long."""
    found = dict.fromkeys(SPLITS, 0.0)
    for unit in units:
        stop = seconds[unit.recording] * S if unit.stop_ns is None else unit.stop_ns
        found[unit.split] += (stop - (unit.start_ns or 0)) / S
    return found


def test_drives_stay_whole():
    names = [f"drive{i}" for i in range(20)]
    units = divide([(0, 65 * S)] * 20, names)
    by_drive = {name: {u.split for u in units if u.recording == i} for i, name in enumerate(names)}
    assert all(len(splits) == 1 for splits in by_drive.values())
    assert [sum(splits == {s} for splits in by_drive.values()) for s in SPLITS] == [16, 2, 2]
    # A drive is worked on in parts that meet: nothing is left out, nothing is twice.
    parts = [u for u in units if u.recording == 3]
    assert len(parts) == 3
    assert (parts[0].start_ns, parts[-1].stop_ns) == (None, None)
    assert all(a.stop_ns == b.start_ns and b.gap_ns == 0 for a, b in pairwise(parts))


def test_the_order_of_the_bags_does_not_matter_but_the_seed_does():
    names = [f"drive{i}" for i in range(20)]

    def splits(names, seed=0):
        units = divide([(0, 5 * S)] * len(names), names, seed=seed)
        return {names[u.recording]: u.split for u in units}

    assert splits(names) == splits(names[::-1])
    assert splits(names) != splits(names, seed=1)


@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    seconds=st.lists(st.integers(30, 2000), min_size=1, max_size=5),
    block=st.integers(8, 60),
    gap=st.integers(0, 4),
    weights=st.tuples(st.integers(1, 10), st.integers(0, 5), st.integers(0, 5)),
)
def test_blocks_of_different_splits_are_a_gap_apart(seconds, block, gap, weights):
    shares = [w / sum(weights) for w in weights]
    names = [str(i) for i in range(len(seconds))]
    assume(sum(max(1, round(s / block)) for s in seconds) >= 3)
    units = divide([(0, s * S) for s in seconds], names, BLOCK, shares, block * S, gap * S)
    for one, other in pairwise(units):
        if one.recording == other.recording:
            assert other.stop_ns is None or other.start_ns < other.stop_ns
            assert other.start_ns - one.stop_ns == (gap * S if one.split != other.split else 0)
    counts = {s: sum(u.split == s for u in units) for s in SPLITS}
    for split, share in zip(SPLITS, shares, strict=True):
        assert (counts[split] == 0) == (share == 0)
        assert abs(counts[split] - share * len(units)) < 3  # rounding, and one for each split that would have none


def test_blocks_keep_to_the_shares_and_are_spread():
    units = divide([(0, 2000 * S)], ["a"], BLOCK, (0.8, 0.1, 0.1), 20 * S, 2 * S)
    found = shares_of(units, [2000])
    total = sum(found.values())
    assert found["train"] / total == pytest.approx(0.8, abs=0.03)
    assert found["test"] / total == pytest.approx(0.1, abs=0.03)
    places = [u.number for u in units if u.split == "test"]
    assert len(places) == 10
    assert max(b - a for a, b in pairwise(places)) <= 12


def test_a_drive_can_be_told_what_it_is_for():
    names = ["night", "day", "dusk"]
    units = divide([(0, 10 * S)] * 3, names, DRIVE, (1, 0, 0), assigned={"night": "test"})
    assert {names[u.recording]: u.split for u in units} == {"night": "test", "day": "train", "dusk": "train"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"how": "moment"}, "split is 'drive' or 'block', found 'moment'"),
        ({"names": ["a", "a"]}, r"names of their own, found \['a', 'a'\]"),
        ({}, "2 drives cannot be shared by train, validation, test: split by blocks"),
        ({"assigned": {"c": "test"}}, "can be told for a, b; found test=c"),
        ({"how": BLOCK, "block_ns": S, "gap_ns": S}, "a gap of 1 s leaves too little of blocks of 1 s"),
        ({"how": BLOCK, "block_ns": 100 * S}, "2 blocks cannot be shared by .*: take shorter blocks"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    arguments = {"spans": [(0, 30 * S)] * 2, "names": ["a", "b"], **arguments}
    with pytest.raises(ValueError, match=message):
        divide(**arguments)


def test_shares_are_read():
    assert parse_shares("80,10,10") == pytest.approx((0.8, 0.1, 0.1))
    assert parse_shares("1, 0, 0") == (1.0, 0.0, 0.0)
    for text in ("80,20", "a,b,c", "-1,1,1", "0,0,0"):
        with pytest.raises(ValueError, match="such as 80,10,10; found"):
            parse_shares(text)
