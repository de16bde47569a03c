"""The ring against a naive list of single planes with their times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.streams import SpikeRing

PERIOD = 50_000


def packet(start_plane: int, count: int, width: int = 16, height: int = 3) -> PackedSpikes:
    """Planes whose bytes tell their number."""
    numbers = np.arange(start_plane, start_plane + count) % 251
    data = np.repeat(numbers, height * width // 8).reshape(count, height, width // 8).astype(np.uint8)
    return PackedSpikes(data, width, PERIOD, start_plane * PERIOD)


def numbers_of(window: PackedSpikes) -> list[int]:
    return window.data[:, 0, 0].tolist()


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=1, max_size=30),
    lost=st.sets(st.integers(0, 29)),
    capacity=st.integers(1, 120),
    count=st.integers(1, 40),
    end=st.integers(-5 * PERIOD, 400 * PERIOD),
    tolerance=st.none() | st.integers(0, 100 * PERIOD),
)
def test_window_is_the_newest_unbroken_run_before_the_time(sizes, lost, capacity, count, end, tolerance):
    ring = SpikeRing(capacity)
    planes: list[tuple[int, int]] = []  # (number, run) of every plane that arrived
    start = run = 0
    for seq, size in enumerate(sizes):
        if seq in lost:
            run += 1
        else:
            ring.add(packet(start, size), seq)
            planes += [(number, run) for number in range(start, start + size)]
        start += size
    held = planes[len(planes) - len(ring) :]
    early = [plane for plane in held if (plane[0] + 1) * PERIOD <= end]
    windows = [early[i : i + count] for i in range(len(early) - count + 1)]
    whole = [w for w in windows if len({run for _, run in w}) == 1]
    if tolerance is not None:
        whole = [w for w in whole if end - (w[-1][0] + 1) * PERIOD <= tolerance]

    window = ring.window(count, end, tolerance)

    assert len(ring) >= min(capacity, len(planes))
    assert (window is not None) == bool(whole)
    if window is not None:
        assert numbers_of(window) == [number % 251 for number, _ in whole[-1]]
        assert window.start_ns == whole[-1][0][0] * PERIOD
        assert window.end_ns <= end


@settings(max_examples=100, deadline=None)
@given(
    arrivals=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)), max_size=60),
    asked=st.sets(st.integers(0, 60)),
)
def test_every_packet_is_used_dropped_or_pending(arrivals, asked):
    ring = SpikeRing(capacity=40)
    for index, (seq, size) in enumerate(arrivals):
        ring.add(packet(seq * 8, size), seq)
        if index in asked:
            ring.window(10)
    ledger = ring.ledger
    assert ledger.received == len(arrivals)
    assert ledger.received == ledger.used + ledger.dropped.total() + ledger.pending
    unused = sum(not held.used for held in ring._packets)
    assert ledger.pending == unused


def test_gaps_in_the_numbers_are_losses():
    ring = SpikeRing(1000)
    for seq in (7, 8, 11, 12, 20):
        ring.add(packet(seq * 4, 4), seq)
    assert (ring.ledger.lost, ring.ledger.breaks) == (2 + 7, 2)
    assert numbers_of(ring.window(4)) == list(range(80, 84))
    assert numbers_of(ring.window(8)) == list(range(44, 52))
    assert ring.window(9) is None
    assert ring.window(8, tolerance_ns=7 * 4 * PERIOD) is None


def test_a_rejected_packet_is_missing_but_not_lost():
    ring = SpikeRing(1000)
    ring.add(packet(0, 4), 0)
    ring.skip(1)
    ring.skip(10**18)  # a damaged number
    ring.add(packet(8, 4), 2)
    ring.add(packet(16, 4), 4)
    assert ring.ledger.lost == 1
    assert ring.window(5, end_ns=12 * PERIOD) is None


def test_repeated_and_overtaken_packets_are_dropped():
    ring = SpikeRing(1000)
    for seq in (0, 1, 1, 3, 2, 4):
        ring.add(packet(seq * 4, 4), seq)
    assert ring.ledger.dropped == {"late": 2}
    assert ring.ledger.lost == 1


def test_a_publisher_that_starts_anew_is_followed_without_inventing_losses():
    ring = SpikeRing(1000)
    ring.add(packet(0, 4), 500)
    ring.add(packet(40, 4), 0)
    ring.add(packet(44, 4), 1)
    assert (ring.ledger.lost, ring.ledger.breaks) == (0, 1)
    assert numbers_of(ring.window(8)) == list(range(40, 48))


def test_what_is_left_out_on_purpose_breaks_nothing():
    ring = SpikeRing(1000)
    ring.add(packet(0, 4), 0)
    ring.interrupt()
    ring.add(packet(40, 4), 10)
    ring.clear()
    ring.add(packet(80, 4), 20)
    assert (ring.ledger.lost, ring.ledger.breaks) == (0, 0)


@pytest.mark.parametrize("change", ["size", "width", "period", "jump"])
def test_no_window_reaches_across_a_change(change):
    ring = SpikeRing(1000)
    ring.add(packet(0, 4), 0)
    after = packet(4, 4)
    if change == "size":
        after = packet(4, 4, width=24)
    elif change == "width":  # rows of as many bytes
        after = PackedSpikes(after.data, after.width - 1, PERIOD, after.start_ns)
    elif change == "period":
        after = PackedSpikes(after.data, after.width, 2 * PERIOD, after.start_ns)
    else:
        after = PackedSpikes(after.data, after.width, PERIOD, after.start_ns + ring.jitter_ns + 1)
    ring.add(after, 1)
    assert ring.window(4) is not None
    assert ring.window(5) is None
    assert ring.ledger.breaks == 1


def test_stamps_that_wobble_do_not_break_the_run():
    ring = SpikeRing(1000)
    for seq, wobble in enumerate((0, 300_000, -200_000, 100_000)):
        planes = packet(seq * 4, 4)
        ring.add(PackedSpikes(planes.data, planes.width, PERIOD, planes.start_ns + wobble), seq)
    window = ring.window(16)
    assert numbers_of(window) == list(range(16))
    assert window.end_ns == 16 * PERIOD + 100_000
    assert ring.ledger.breaks == 0


def test_a_window_that_ends_too_early_is_refused():
    ring = SpikeRing(1000)
    ring.add(packet(0, 4), 0)
    assert ring.window(4, end_ns=6 * PERIOD, tolerance_ns=2 * PERIOD) is not None
    assert ring.window(4, end_ns=6 * PERIOD, tolerance_ns=2 * PERIOD - 1) is None


def test_memory_is_bounded():
    ring = SpikeRing(capacity=64)
    for seq in range(1000):
        ring.add(packet(seq * 16, 16), seq)
    assert len(ring) == 64
    assert len(ring._packets) == 4


def test_the_capacity_must_be_positive():
    with pytest.raises(ValueError, match="capacity of 0"):
        SpikeRing(0)
