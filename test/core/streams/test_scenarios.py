"""A table of what goes wrong on a vehicle, and what becomes of every output and every input.

Each scenario bends the messages of a second's drive: three sensors, a frame of each camera every 40 ms, packets of 64
planes. They are handed in at the times at which they would arrive, and moments are asked for after each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.streams import Frame, Moment, Synchronizer, Timing

MS = 1_000_000
PERIOD = 50_000
PACKET_NS = 64 * PERIOD
CAMERA = PinholeCamera.from_focal(4, 3, 5.0)
DATA = np.zeros((64, 3, 1), np.uint8)
IMAGE = np.zeros((3, 4), np.uint8)
FRAMES_MS = list(range(40, 1000, 40))
ALL = ("spikes", "rgb", "thermal")


@dataclass(frozen=True)
class Message:
    """One message: its stamp and its arrival in nanoseconds, and a packet's number."""

    sensor: str
    stamp: int
    arrival: int
    seq: int = 0


def drive() -> list[Message]:
    """A second in which nothing is wrong: packets arrive 1 ms after their end, frames 6 and 9 ms after their stamp."""
    packets = [Message("spikes", i * PACKET_NS, (i + 1) * PACKET_NS + MS, i) for i in range(312)]
    rgb = [Message("rgb", time * MS, (time + 6) * MS) for time in FRAMES_MS]
    thermal = [Message("thermal", time * MS, (time + 9) * MS) for time in FRAMES_MS]
    return packets + rgb + thermal


@dataclass
class Outcome:
    """What came of a scenario.

    Attributes:
        moments: all that were handed out.
        sensors: by the time of the moment in milliseconds, which sensors it had.
        counts: by sensor, see `Ledger`.
        delays_ms: from the time of each moment to when it was handed out.
    """

    moments: list[Moment] = field(default_factory=list)
    counts: dict = field(default_factory=dict)
    delays_ms: list[float] = field(default_factory=list)

    @property
    def sensors(self) -> dict[int, tuple[str, ...]]:
        return {moment.time_ns // MS: moment.sensors for moment in self.moments}


def play(messages: list[Message], trigger: str = "rgb", stamps: Callable[[int], int] | None = None) -> Outcome:
    now = 0
    told = None if stamps is None else lambda: stamps(now)
    sync = Synchronizer(128, ALL, Timing(trigger=trigger), lambda: now, stamps=told)
    outcome = Outcome()
    for message in sorted(messages, key=lambda message: message.arrival):
        now = message.arrival
        if message.sensor == "spikes":
            sync.add_spikes(PackedSpikes(DATA, 8, PERIOD, message.stamp), message.seq)
        else:
            sync.add_frame(message.sensor, Frame(message.stamp, IMAGE, CAMERA))
        while (moment := sync.collect()) is not None:
            outcome.moments.append(moment)
            outcome.delays_ms.append((now - moment.time_ns) / MS)
    outcome.counts = sync.counts()
    sent = {sensor: sum(message.sensor == sensor for message in messages) for sensor in ALL}
    for sensor, counts in outcome.counts.items():
        assert counts["received"] == sent[sensor]
        assert counts["received"] == counts["used"] + sum(counts["dropped"].values()) + counts["pending"]
    return outcome


def only(messages: list[Message], keep: Callable[[Message], bool]) -> list[Message]:
    return [message for message in messages if keep(message)]


def changed(messages: list[Message], sensor: str, **changes: Callable[[Message], int]) -> list[Message]:
    return [
        replace(m, **{name: change(m) for name, change in changes.items()}) if m.sensor == sensor else m
        for m in messages
    ]


def expect(outcome: Outcome, usual: tuple[str, ...] = ALL, **others: tuple[str, ...]) -> None:
    """One moment a frame, with these sensors, but others at the times (in ms, after an underscore) named. The first may
    come before a camera has been heard of."""
    expected = {time: usual for time in FRAMES_MS} | {int(k[1:]): v for k, v in others.items()}
    first = FRAMES_MS[0]
    assert set(outcome.sensors[first]) <= set(expected[first])
    assert outcome.sensors | {first: ()} == expected | {first: ()}
    assert len(outcome.moments) == len(FRAMES_MS)


def test_nothing_wrong():
    outcome = play(drive())
    expect(outcome)
    assert outcome.counts["rgb"]["used"] == len(FRAMES_MS)
    assert outcome.counts["thermal"]["used"] == len(FRAMES_MS) - 1  # not heard of before the first moment
    assert max(outcome.delays_ms) <= 9  # complete with the last of its inputs


def test_jitter_of_stamps_and_arrivals():
    rng = np.random.default_rng(0)
    messages = changed(
        drive(),
        "thermal",
        stamp=lambda m: m.stamp + int(rng.integers(-5 * MS, 5 * MS)),
        arrival=lambda m: m.arrival + int(rng.integers(0, 5 * MS)),
    )
    messages = changed(messages, "spikes", stamp=lambda m: m.stamp + int(rng.integers(-MS, MS)))
    expect(play(messages))


@pytest.mark.parametrize("missing", ALL)
def test_a_sensor_that_is_not_there(missing):
    outcome = play(only(drive(), lambda m: m.sensor != missing), trigger="auto")
    expect(outcome, tuple(sensor for sensor in ALL if sensor != missing))
    assert max(outcome.delays_ms) <= 9


@pytest.mark.parametrize("lost", ["rgb", "thermal"])
def test_a_camera_that_vanishes_and_returns(lost):
    outcome = play(only(drive(), lambda m: m.sensor != lost or not 380 * MS < m.stamp < 780 * MS))
    for time, sensors in outcome.sensors.items():
        if 40 < time < 380 or time > 800:  # in full with the second frame after its return
            assert sensors == ALL
        elif 40 < time < 800 and time in FRAMES_MS:
            assert set(sensors) == {"spikes", "thermal" if lost == "rgb" else "rgb"}
    times = list(outcome.sensors)
    # The other camera takes over the pace within the time after which a sensor counts as dead.
    assert max(np.diff(times)) <= 250 + 40 + 15
    assert outcome.counts[lost]["lost"] == 0


def test_spikes_that_vanish_and_return():
    outcome = play(only(drive(), lambda m: m.sensor != "spikes" or not 380 * MS < m.stamp < 700 * MS))
    assert outcome.counts["spikes"]["lost"] == 100
    for time, sensors in outcome.sensors.items():
        assert ("spikes" in sensors) == (time < 380 + 17 or time >= 720)
    assert list(outcome.sensors) == FRAMES_MS


def test_a_short_gap_of_spikes_is_bridged_by_planes_from_before_it():
    outcome = play(only(drive(), lambda m: m.sensor != "spikes" or m.seq not in (160, 161)))  # 512.0 to 518.4 ms
    assert outcome.counts["spikes"]["lost"] == 2
    expect(outcome)
    at_gap = next(m for m in outcome.moments if m.time_ns == 520 * MS)
    assert at_gap.spikes.end_ns == 512 * MS


def test_duplicates():
    outcome = play([copy for message in drive() for copy in (message, message)])
    expect(outcome)
    assert outcome.counts["rgb"]["dropped"]["repeated"] == len(FRAMES_MS)
    assert outcome.counts["thermal"]["dropped"]["repeated"] == len(FRAMES_MS)
    assert outcome.counts["spikes"]["dropped"]["late"] == 312
    assert outcome.counts["spikes"]["lost"] == 0


def test_out_of_order():
    """Two neighbours of each stream change places."""
    order = {400: 447, 440: 446}
    messages = changed(drive(), "rgb", arrival=lambda m: order.get(m.stamp // MS, m.arrival // MS) * MS)
    messages = changed(messages, "spikes", arrival=lambda m: m.arrival + (4 * MS if m.seq == 200 else 0))
    outcome = play(messages)
    assert outcome.counts["rgb"]["dropped"] == {"late": 1}
    assert outcome.counts["spikes"]["dropped"]["late"] == 1
    assert outcome.counts["spikes"]["lost"] == 1
    assert set(outcome.sensors) == set(FRAMES_MS) - {400}
    assert all(outcome.sensors[time] == ALL for time in outcome.sensors if time > 40)


def test_a_frame_that_comes_too_late():
    messages = changed(drive(), "thermal", arrival=lambda m: m.arrival + (30 * MS if m.stamp == 520 * MS else 0))
    outcome = play(messages)
    expect(outcome, _520=("spikes", "rgb"))
    delay = outcome.delays_ms[FRAMES_MS.index(520)]
    assert 15 < delay <= 15 + 4  # waited for as long as its timeout, then gone on
    assert outcome.counts["thermal"]["used"] == len(FRAMES_MS) - 2


def test_a_burst():
    """Nothing arrives for 300 ms, then everything at once: the latest wins, and every input is accounted for."""
    messages = [replace(m, arrival=700 * MS) if 400 * MS < m.arrival < 700 * MS else m for m in drive()]
    outcome = play(sorted(messages, key=lambda m: m.stamp))
    times = list(outcome.sensors)
    assert times == sorted(times)
    assert set(FRAMES_MS) - set(times) <= set(range(400, 700))
    assert all(outcome.sensors[time] == ALL for time in FRAMES_MS if 40 < time < 380 or time > 720)
    assert outcome.counts["spikes"]["lost"] == 0
    assert all(counts["resets"] == 0 for counts in outcome.counts.values())


def test_silence_of_everything_and_recovery():
    outcome = play(only(drive(), lambda m: not 300 * MS < m.stamp < 780 * MS))
    assert [time for time in outcome.sensors if 330 < time < 780] == []
    assert [outcome.sensors[time] for time in (840, 880, 920, 960)] == [ALL] * 4
    assert all(counts["resets"] == 0 for counts in outcome.counts.values())


@pytest.mark.parametrize("jump_ms", [-1_000, -60_000, 60_000])
@pytest.mark.parametrize("follows_ms", [None, 0, 50, 9_000])
def test_a_clock_that_jumps(jump_ms, follows_ms):
    """A recording that starts over, or a clock that is set: one reset, and depth in both times, also where the node's
    clock, if it is of that time, follows later."""
    base = 100_000 * MS

    def stamps(now: int) -> int:
        return base + now + ((jump_ms - 1000) * MS if now >= (1000 + follows_ms) * MS else 0)

    first = [replace(m, stamp=m.stamp + base) for m in drive()]
    second = [replace(m, stamp=m.stamp + base + jump_ms * MS, arrival=m.arrival + 1000 * MS) for m in drive()]
    outcome = play(first + second, stamps=None if follows_ms is None else stamps)
    assert sum(counts["resets"] for counts in outcome.counts.values()) == 1
    assert [moment.epoch for moment in outcome.moments] == [0] * 24 + [1] * 24
    after = [moment for moment in outcome.moments if moment.epoch == 1]
    assert [(m.time_ns - base) // MS - jump_ms for m in after] == FRAMES_MS
    assert outcome.counts["spikes"]["dropped"]["jumped"] == 1
    assert outcome.counts["spikes"]["lost"] == 0


def test_single_wrong_stamps():
    messages = changed(drive(), "rgb", stamp=lambda m: 0 if m.stamp == 600 * MS else m.stamp)
    messages = changed(messages, "thermal", stamp=lambda m: 10**15 if m.stamp == 760 * MS else m.stamp)
    outcome = play(messages)
    assert outcome.counts["rgb"]["dropped"]["jumped"] == outcome.counts["thermal"]["dropped"]["jumped"] == 1
    assert all(counts["resets"] == 0 for counts in outcome.counts.values())
    assert set(outcome.sensors) == set(FRAMES_MS) - {600}
    assert outcome.sensors[760] == ("spikes", "rgb")


TAI_MS = 37_000  # what TAI is ahead of UTC


@pytest.mark.parametrize("ahead", ["rgb", "thermal"])
@pytest.mark.parametrize("trigger", ["rgb", "auto"])
def test_a_sensor_whose_clock_is_ahead_is_left_out_and_takes_nothing_over(ahead, trigger):
    others = tuple(sensor for sensor in ALL if sensor != ahead)
    outcome = play(changed(drive(), ahead, stamp=lambda m: m.stamp + TAI_MS * MS), trigger)
    later = outcome.moments[-15:]  # at first it stands one against one, and the trigger is waited for
    assert {moment.sensors for moment in later} == {others}
    assert [moment.time_ns // MS for moment in later] == FRAMES_MS[-15:]


def test_a_sensor_whose_clock_is_ahead_may_vanish():
    messages = changed(drive(), "thermal", stamp=lambda m: m.stamp + TAI_MS * MS)
    outcome = play(only(messages, lambda m: m.sensor != "thermal" or m.arrival < 400 * MS))
    assert outcome.sensors[920] == outcome.sensors[320] == ("spikes", "rgb")
    assert set(FRAMES_MS[2:]) <= set(outcome.sensors)


@pytest.mark.parametrize("step_ms", [-TAI_MS, TAI_MS, 3_600_000])
@pytest.mark.parametrize("stepping", ALL)
def test_a_sensor_whose_clock_steps_is_left_out_and_takes_nothing_with_it(stepping, step_ms):
    base = 100_000 * MS
    messages = [replace(m, stamp=m.stamp + base) for m in drive()]
    messages = changed(
        messages, stepping, stamp=lambda m: m.stamp + (step_ms * MS if 380 * MS < m.stamp - base < 780 * MS else 0)
    )
    outcome = play(messages, "auto")
    others = tuple(sensor for sensor in ALL if sensor != stepping)
    sensors = {(m.time_ns - base) // MS: m.sensors for m in outcome.moments}
    assert set(sensors) <= set(FRAMES_MS)  # none at a time that only one has
    assert [sensors[time] for time in range(440, 780, 40)] == [others] * 9
    assert [sensors[time] for time in range(880, 1000, 40)] == [ALL] * 3
    assert {moment.epoch for moment in outcome.moments} == {0}
    for sensor, counts in outcome.counts.items():
        assert counts["resets"] == (2 if sensor == stepping else 0)
        assert not counts["dropped"].get("before_reset", 0)


@pytest.mark.parametrize("first", ["rgb", "thermal"])
def test_a_first_stamp_that_is_wrong_costs_that_frame(first):
    messages = changed(drive(), first, stamp=lambda m: m.stamp + (3_600_000 * MS if m.stamp == 40 * MS else 0))
    outcome = play(messages, "auto")
    times = [moment.time_ns // MS for moment in outcome.moments]
    assert times[-20:] == FRAMES_MS[-20:]  # an hour later nobody was asked again
    assert all(moment.sensors == ALL for moment in outcome.moments[-20:])
    assert outcome.moments[-1].epoch <= 1


@pytest.mark.parametrize("ahead_ms", [TAI_MS, -TAI_MS])
def test_of_two_sensors_the_one_is_right_that_is_of_the_nodes_time(ahead_ms):
    messages = only(drive(), lambda m: m.sensor != "thermal")
    messages = changed(messages, "rgb", stamp=lambda m: m.stamp + ahead_ms * MS)
    messages = [replace(m, stamp=m.stamp + 100_000 * MS) for m in messages]
    spikes_are_right = play(messages, "auto", stamps=lambda now: now + 100_000 * MS)
    assert {m.sensors for m in spikes_are_right.moments[5:]} == {("spikes",)}
    rgb_is_right = play(messages, "auto", stamps=lambda now: now + (100_000 + ahead_ms) * MS)
    assert {m.sensors for m in rgb_is_right.moments[5:]} == {("rgb",)}


def test_spikes_at_a_fixed_rate_through_all_of_it():
    messages = only(drive(), lambda m: m.sensor == "spikes" and m.seq not in (160, 161))
    now = 0
    sync = Synchronizer(128, ALL, Timing(trigger="rate", interval_ns=25 * MS), lambda: now)
    times = []
    for message in messages:
        now = message.arrival
        sync.add_spikes(PackedSpikes(DATA, 8, PERIOD, message.stamp), message.seq)
        while (moment := sync.collect()) is not None:
            times.append(moment.time_ns)
    assert set(np.diff(times)) == {25 * MS}
    assert len(times) >= 38
