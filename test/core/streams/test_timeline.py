"""Jumps of time, told from disorder, with a clock that the test turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spike_depth_core.streams.timeline import BEFORE_RESET, JUMPED, Timeline

MS = 1_000_000
JUMP = 500 * MS


class Streams:
    """A timeline with a clock that goes on with each input."""

    def __init__(self, *names: str, told_ms: int | None = None):
        """`told_ms`: what the clock for stamps tells at the beginning, where there is one."""
        self.now, self.told_ms = 0, told_ms
        stamps = None if told_ms is None else lambda: self.now + self.told_ms * MS
        self.timeline = Timeline(names, JUMP, lambda: self.now, stamps)

    def __call__(self, name: str, time_ms: int, after_ms: int = 10) -> str | None:
        self.now += after_ms * MS
        return self.timeline.admit(name, time_ms * MS, time_ms * MS)

    def start(self, time_ms: int = 10_000) -> None:
        for step in range(3):
            for name in self.timeline._streams:
                assert self(name, time_ms + 33 * step) is None


@pytest.mark.parametrize("jump_ms", [-600, -9_000, 5_000, 3_600_000])
def test_a_jump_is_believed_with_the_second_stamp_and_begins_one_epoch(jump_ms):
    streams = Streams("spikes", "rgb")
    streams.start()
    assert streams("spikes", 10_100 + jump_ms) == JUMPED
    assert streams.timeline.epoch == 0
    assert streams("spikes", 10_133 + jump_ms) is None
    assert streams.timeline.epoch == 1
    assert streams("rgb", 10_140 + jump_ms) is None  # fits the new time: it has jumped too
    assert streams("rgb", 10_173 + jump_ms) is None
    assert streams.timeline.epoch == 1
    assert streams.timeline.newest() == {"spikes": (10_133 + jump_ms) * MS, "rgb": (10_173 + jump_ms) * MS}


@pytest.mark.parametrize("jump_ms", [-9_000, 3_600_000])
@pytest.mark.parametrize(("names", "told_ms"), [(("spikes", "rgb"), 10_000), (("spikes", "rgb", "thermal"), None)])
def test_a_clock_that_jumps_alone_against_most_takes_no_other_stream_with_it(names, told_ms, jump_ms):
    streams = Streams(*names, told_ms=told_ms)
    streams.start()
    assert streams("rgb", 10_100 + jump_ms) == JUMPED
    for step in range(20):
        assert streams("rgb", 10_133 + jump_ms + 33 * step) is None  # what it tells of its own time is followed
        assert streams.timeline.moved == ({"rgb"} if step == 0 else set())
        assert all(streams(name, 10_133 + 33 * step) is None for name in names if name != "rgb")
    assert streams.timeline.epoch == 0
    assert "rgb" not in streams.timeline.agreed(JUMP)
    assert streams.timeline.skew_ns("rgb") == pytest.approx(jump_ms * MS, abs=50 * MS)
    assert streams("rgb", 11_000) == JUMPED
    assert streams("rgb", 11_033) is None
    assert streams.timeline.moved == {"rgb"}
    assert streams.timeline.epoch == 0
    assert set(streams.timeline.agreed(JUMP)) == set(names)


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 20_000), st.sampled_from([0, 50, 100, 90_000, 90_050]))),
    st.sampled_from([None, 10_000, 90_000]),
)
def test_whatever_one_of_three_streams_says_the_two_others_go_on(stamps_ms, told_ms):
    streams = Streams("spikes", "rgb", "thermal", told_ms=told_ms)
    for step, stamp_ms in enumerate(stamps_ms):
        assert streams("spikes", 10_000 + 33 * step) is None
        assert streams("rgb", 10_010 + 33 * step) is None
        if stamp_ms is not None:
            streams("thermal", stamp_ms)
        assert streams.timeline.moved <= {"thermal"}
        assert {"spikes", "rgb"} <= streams.timeline.agreed(JUMP).keys()
    assert streams.timeline.epoch == 0


@pytest.mark.parametrize("jump_ms", [-9_000, 3_600_000])
@pytest.mark.parametrize("told_ms", [None, 90_000])
def test_time_has_jumped_when_the_second_stream_jumps_to_where_the_first_is(jump_ms, told_ms):
    """A recording that starts over: nothing more is lost than the one stamp that was not believed."""
    streams = Streams("spikes", "rgb", "thermal", told_ms=told_ms)
    streams.start()
    assert streams("spikes", 10_100 + jump_ms) == JUMPED
    assert streams("spikes", 10_110 + jump_ms) is None
    assert streams.timeline.epoch == 0
    assert streams("rgb", 10_120 + jump_ms) is None
    assert streams.timeline.epoch == 1
    assert streams.timeline.moved == {"rgb", "thermal"}  # what has come of spikes is of the new time
    assert streams("thermal", 10_099) == BEFORE_RESET
    assert streams("thermal", 10_130 + jump_ms) is None
    assert streams("spikes", 10_140 + jump_ms) is None
    assert streams.timeline.epoch == 1
    assert streams.timeline.newest().keys() == {"spikes", "rgb", "thermal"}


def test_one_against_one_time_has_jumped_when_the_clock_for_stamps_says_so_too():
    streams = Streams("spikes", "rgb", told_ms=10_000)
    streams.start()
    streams.told_ms = 1_000
    assert streams("spikes", 1_100) == JUMPED
    assert streams("spikes", 1_110) is None
    assert streams.timeline.epoch == 1


@pytest.mark.parametrize("told_ms", [None, 10_000])
def test_a_stream_that_is_the_only_one_says_what_time_it_is(told_ms):
    """As those have that were there before: they are silent."""
    streams = Streams("spikes", "rgb", "thermal", told_ms=told_ms)
    streams.start()
    assert streams("spikes", 40, after_ms=3_000) == JUMPED
    assert streams("spikes", 73) is None
    assert streams.timeline.epoch == 1
    assert streams.timeline.newest() == {"spikes": 73 * MS}


@pytest.mark.parametrize("wrong_ms", [0, 5_000, 90_000])
@pytest.mark.parametrize("apart_ms", [0, 1_000])
def test_a_single_wrong_stamp_is_dropped_and_changes_nothing(wrong_ms, apart_ms):
    streams = Streams("spikes", "rgb")
    streams.start()
    for step in range(5):  # one wrong stamp in two: never two in a row that go on from one another
        assert streams("rgb", wrong_ms + apart_ms * step) == JUMPED
        assert streams("rgb", 10_100 + 33 * step) is None
        assert streams("spikes", 10_100 + 33 * step) is None
    assert streams.timeline.epoch == 0


@pytest.mark.parametrize("back_ms", [1, 33, 499])
def test_disorder_is_no_jump(back_ms):
    streams = Streams("rgb")
    streams.start()
    assert streams("rgb", 10_066 - back_ms) is None
    assert streams.timeline.newest() == {"rgb": 10_066 * MS}
    assert streams.timeline.epoch == 0


def test_a_sensor_that_was_away_has_not_jumped():
    streams = Streams("spikes", "rgb")
    streams.start()
    for step in range(1, 1000):
        assert streams("spikes", 10_066 + 10 * step) is None
    assert streams("rgb", 10_066 + 10_000) is None
    assert streams.timeline.epoch == 0


def test_what_is_still_under_way_of_the_old_time_is_told_apart():
    streams = Streams("spikes", "rgb")
    streams.start()
    streams("spikes", 40)
    streams("spikes", 73)
    assert streams("rgb", 10_099) == BEFORE_RESET
    assert streams("rgb", 10_132) == BEFORE_RESET
    assert streams("rgb", 80) is None
    assert streams.timeline.epoch == 1


def test_what_a_busy_machine_has_held_up_for_seconds_makes_no_second_jump():
    streams = Streams("spikes", "rgb")
    streams.start()
    streams("spikes", 40)
    streams("spikes", 73)
    for late in range(10_099, 10_499, 33):
        assert streams("rgb", late, after_ms=300) == BEFORE_RESET
    assert streams("rgb", 106) is None
    assert streams("rgb", 139) is None
    assert streams.timeline.epoch == 1


def test_a_stream_far_behind_the_others_whose_clock_never_jumped_is_taken_again_in_the_end():
    streams = Streams("spikes", "rgb")
    for step in range(3):
        assert streams("spikes", 20_000 + 33 * step) is None
        assert streams("rgb", 5_000 + 33 * step) is None  # a clock of its own
    streams("spikes", 100_040)
    streams("spikes", 100_073)
    assert streams.timeline.epoch == 1
    reasons = [streams("rgb", 5_099 + 1000 * i, after_ms=1000) for i in range(12)]
    assert reasons[0] == BEFORE_RESET
    assert reasons[-1] is None


@pytest.mark.parametrize("to_ms", [40, 3_600_040])
@pytest.mark.parametrize("jumping", [("spikes",), ("spikes", "rgb")])
def test_a_stream_whose_clock_never_jumped_is_taken_again(jumping, to_ms):
    streams = Streams(*jumping, "thermal")
    streams.start()
    streams("spikes", to_ms)
    for step, name in enumerate(jumping):
        assert streams(name, to_ms + 33 * (1 + step)) is None
    assert streams("thermal", 10_099) == BEFORE_RESET
    assert streams("thermal", 10_132 + 500, after_ms=501) is None
    assert streams.timeline.epoch == 1
    assert streams.timeline.skew_ns("thermal") == (10_632 - to_ms - 33 * len(jumping)) * MS


def test_after_a_jump_of_all_one_may_be_off_and_return_as_before():
    streams = Streams("spikes", "rgb", "thermal")
    streams.start()
    assert streams("spikes", 40) == JUMPED
    assert [streams(name, 50 + 10 * k) for k, name in enumerate(("spikes", "rgb", "thermal"))] == [None] * 3
    assert streams.timeline.epoch == 1
    for step, off_ms in enumerate((90_000, 90_000, 0, 0)):
        assert streams("thermal", 100 + 33 * step + off_ms) == (JUMPED if step in (0, 2) else None)
        assert streams("spikes", 110 + 33 * step) is None
        assert streams("rgb", 120 + 33 * step) is None
    assert streams.timeline.epoch == 1
    assert set(streams.timeline.agreed(JUMP)) == {"spikes", "rgb", "thermal"}


def test_a_stream_that_has_long_been_silent_is_no_witness():
    streams = Streams("spikes", "rgb", "thermal")
    streams.start()
    assert streams("rgb", 90_000) == JUMPED
    assert streams("rgb", 90_033) is None  # and then nothing more
    for step in range(90):
        assert streams("spikes", 10_100 + 33 * step, after_ms=20) is None
        assert streams("thermal", 10_110 + 33 * step, after_ms=13) is None
    assert streams("spikes", 90_033 + 90 * 33) == JUMPED  # where that one would be now


def test_those_that_are_silent_do_not_outvote_a_recording_that_is_played_faster():
    streams = Streams("spikes", "rgb", "thermal")
    streams.start()
    for step in range(100):
        assert streams("thermal", 10_100 + 66 * step, after_ms=33) is None
    assert set(streams.timeline.agreed(JUMP)) == {"thermal"}


def test_a_stream_that_is_removed_is_forgotten():
    streams = Streams("spikes", "rgb")
    streams.start()
    streams("spikes", 40)
    streams("spikes", 73)
    streams.timeline.remove("spikes")
    assert streams.timeline.newest() == {}
    assert streams("rgb", 10_099) is None
    streams.timeline.add("spikes")
    assert streams("spikes", 10_100) is None
    assert set(streams.timeline.newest()) == {"spikes", "rgb"}
