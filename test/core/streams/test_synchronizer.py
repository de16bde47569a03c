"""Scenarios of sensors that come late, never, twice or from another time, with a clock that the test turns."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.streams import Frame, Synchronizer, Timing

MS = 1_000_000
PERIOD = 50_000
PACKET = 64
PACKET_NS = PACKET * PERIOD  # 3.2 ms
CAMERA = PinholeCamera.from_focal(4, 3, 5.0)
DATA = np.zeros((PACKET, 3, 1), np.uint8)


class Clock:
    def __init__(self):
        self.now = 0

    def __call__(self) -> int:
        return self.now


class Rig:
    """A synchronizer with a spike stream and cameras, driven by the time of the data."""

    def __init__(self, timing: Timing | None = None, planes: int = 128):
        self.clock = Clock()
        self.sync = Synchronizer(planes, ("rgb", "thermal"), timing or Timing(), self.clock, capacity=4096)
        self.seq = 0

    def spikes(self, until_ns: int, offset_ns: int = 0) -> None:
        """Send packets until the stream reaches a time."""
        while (self.seq + 1) * PACKET_NS <= until_ns:
            self.packet(self.seq * PACKET_NS + offset_ns)

    def packet(self, start_ns: int) -> None:
        self.sync.add_spikes(PackedSpikes(DATA, 8, PERIOD, start_ns), self.seq)
        self.seq += 1

    def frame(self, sensor: str, time_ns: int) -> None:
        self.sync.add_frame(sensor, Frame(time_ns, np.zeros((3, 4), np.uint8), CAMERA))

    def counts(self, sensor: str) -> dict:
        return self.sync.counts()[sensor]


def test_a_moment_is_the_time_of_the_frames_with_the_spikes_that_end_there():
    rig = Rig()
    rig.spikes(100 * MS)
    rig.frame("rgb", 90 * MS)
    assert rig.sync.collect() is not None  # thermal has never been seen: it is not waited for
    rig.frame("thermal", 95 * MS)
    rig.spikes(140 * MS)
    rig.frame("rgb", 123 * MS)
    rig.frame("thermal", 128 * MS)
    moment = rig.sync.collect()
    assert moment.time_ns == 128 * MS
    assert 0 <= moment.time_ns - moment.spikes.end_ns < PERIOD
    assert len(moment.spikes) == 128
    assert {name: frame.time_ns for name, frame in moment.frames.items()} == {
        "rgb": 123 * MS,
        "thermal": 128 * MS,
    }
    assert rig.sync.collect() is None


def test_a_frame_waits_for_the_spikes_to_reach_it():
    rig = Rig()
    rig.spikes(90 * MS)
    rig.frame("rgb", 96 * MS)
    assert rig.sync.collect() is None
    rig.spikes(100 * MS)
    assert rig.sync.collect().time_ns == 96 * MS


def test_a_camera_that_is_alive_is_waited_for_but_not_for_long():
    rig = Rig()
    rig.spikes(100 * MS)
    rig.frame("rgb", 66 * MS)
    rig.frame("thermal", 66 * MS)
    assert rig.sync.collect().time_ns == 66 * MS
    rig.frame("rgb", 100 * MS)
    assert rig.sync.collect() is None
    rig.spikes(100 * MS + rig.sync.timing.wait_ns + PACKET_NS + MS)
    moment = rig.sync.collect()
    assert (moment.time_ns, set(moment.frames)) == (100 * MS, {"rgb"})


def test_the_clock_ends_the_waiting_when_no_data_comes():
    rig = Rig()
    for time_ns in (66 * MS, 100 * MS):
        rig.frame("rgb", time_ns)
        if time_ns < 100 * MS:
            rig.frame("thermal", time_ns)
            rig.sync.collect()
    assert rig.sync.collect() is None
    rig.clock.now += rig.sync.timing.wait_ns + 1
    assert rig.sync.collect().time_ns == 100 * MS


def test_the_latest_wins_and_the_superseded_are_counted():
    rig = Rig()
    for index in range(1, 31):
        rig.spikes(index * 33 * MS + 5 * MS)
        rig.frame("rgb", index * 33 * MS)
    assert rig.sync.collect().time_ns == 30 * 33 * MS
    assert rig.sync.collect() is None
    counts = rig.counts("rgb")
    assert counts["received"] == 30
    assert counts["used"] == 1
    assert counts["dropped"] == {"unused": 30 - 8}


def test_spikes_alone_and_frames_alone():
    rig = Rig()
    rig.spikes(50 * MS)
    moment = rig.sync.collect()
    assert moment.spikes is not None
    assert moment.frames == {}
    assert rig.sync.collect() is None
    rig = Rig()
    rig.frame("thermal", 10 * MS)
    moment = rig.sync.collect()
    assert moment.spikes is None
    assert set(moment.frames) == {"thermal"}


def test_cameras_that_fall_silent_no_longer_set_the_pace():
    rig = Rig()
    rig.spikes(110 * MS)
    rig.frame("rgb", 100 * MS)
    assert rig.sync.collect().time_ns == 100 * MS
    rig.spikes(300 * MS)
    assert rig.sync.collect() is None
    rig.spikes(400 * MS)
    assert rig.sync.collect().time_ns == rig.seq * PACKET_NS


def test_after_a_loss_moments_come_again_once_the_window_is_whole():
    rig = Rig()
    rig.spikes(100 * MS)
    rig.seq += 2  # two packets are lost
    rig.spikes(rig.seq * PACKET_NS + PACKET_NS)
    rig.frame("rgb", rig.seq * PACKET_NS)
    assert rig.sync.collect() is None
    rig.spikes(rig.seq * PACKET_NS + PACKET_NS)
    rig.frame("rgb", rig.seq * PACKET_NS)
    assert rig.sync.collect().time_ns == rig.seq * PACKET_NS
    assert rig.counts("spikes")["lost"] == 2


def test_a_least_interval_limits_the_rate():
    rig = Rig(Timing(interval_ns=100 * MS))
    times = []
    for index in range(1, 31):
        rig.spikes(index * 33 * MS + 5 * MS)
        rig.frame("rgb", index * 33 * MS)
        moment = rig.sync.collect()
        if moment:
            times.append(moment.time_ns)
    assert (np.diff(times) >= 100 * MS).all()
    assert len(times) == 8


def test_repeated_and_overtaken_frames_are_dropped():
    rig = Rig()
    for time_ms in (33, 66, 66, 50, 99):
        rig.frame("rgb", time_ms * MS)
    assert rig.counts("rgb")["dropped"] == {"repeated": 1, "late": 1}


def test_a_recording_that_starts_over_resets_everything_once():
    rig = Rig()

    def play(start_ms: int) -> list[int]:
        moments = []
        for index in range(10):
            time_ns = (start_ms + 33 * index) * MS
            for step in range(10):
                rig.packet(time_ns - (10 - step) * PACKET_NS)
            rig.frame("rgb", time_ns)
            rig.frame("thermal", time_ns)
            moment = rig.sync.collect()
            if moment:
                moments.append(moment.time_ns // MS)
        return moments

    first = play(10_000)
    assert len(first) == 10
    rig.frame("rgb", 10_300 * MS + 29 * MS)  # consumed or not, it is of the old time
    rig.packet(40 * MS)  # the spikes are the first to jump back
    rig.frame("rgb", 10_300 * MS + 62 * MS)  # the camera's last frame of the old time is still under way
    assert rig.counts("rgb")["dropped"]["before_reset"] == 1
    second = play(100)
    assert second == [100 + 33 * index for index in range(10)]
    assert sum(rig.counts(name)["resets"] for name in ("spikes", "rgb", "thermal")) == 1


def test_a_stream_whose_clock_never_jumped_is_taken_again():
    rig = Rig()
    rig.spikes(20_000 * MS)
    rig.frame("rgb", 20_000 * MS)
    rig.seq = 0
    rig.spikes(10 * MS)  # the spike camera's clock starts over
    rig.frame("rgb", 20_033 * MS)
    assert rig.counts("rgb")["dropped"]["before_reset"] == 1
    rig.clock.now += rig.sync.timing.back_ns + 1
    rig.frame("rgb", 20_066 * MS)
    assert rig.sync.collect().time_ns == 20_066 * MS


def test_waiting_ends_with_a_moment_a_timeout_or_closing():
    rig = Rig()
    done = []
    waiter = threading.Thread(target=lambda: done.append(rig.sync.wait(60.0)))
    waiter.start()
    rig.frame("rgb", 5 * MS)
    waiter.join(20)
    assert done[0].time_ns == 5 * MS
    assert rig.sync.wait(0.0) is None
    waiter = threading.Thread(target=lambda: done.append(rig.sync.wait(60.0)))
    waiter.start()
    rig.sync.close()
    waiter.join(20)
    assert done[1] is None


@pytest.mark.parametrize("name", ["tolerance_ns", "wait_ns", "back_ns"])
def test_negative_timing_is_refused(name):
    with pytest.raises(ValueError, match=name):
        Timing(**{name: -1})


events = st.one_of(
    st.tuples(st.sampled_from(["rgb", "thermal"]), st.integers(0, 3000)),
    st.tuples(st.just("spikes"), st.integers(0, 3000), st.integers(0, 200)),
    st.tuples(st.just("collect")),
    st.tuples(st.just("reject"), st.sampled_from(["rgb", "spikes"])),
    st.tuples(st.just("tick"), st.integers(0, 400)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(events, max_size=120))
def test_inputs_add_up_whatever_comes(sequence):
    """Any order of stamps, numbers, jumps and questions: nothing is lost from the books, moments are in order."""
    rig = Rig(planes=64)
    sent = dict.fromkeys(("spikes", "rgb", "thermal"), 0)
    for event in sequence:
        match event:
            case ("spikes", time_ms, seq):
                rig.sync.add_spikes(PackedSpikes(DATA, 8, PERIOD, time_ms * MS), seq)
                sent["spikes"] += 1
            case ("reject", sensor):
                rig.sync.reject(sensor, "malformed")
                sent[sensor] += 1
            case ("tick", milliseconds):
                rig.clock.now += milliseconds * MS
            case ("collect",):
                moment = rig.sync.collect()
                if moment is not None:
                    assert moment.spikes is not None or moment.frames
                    for frame in moment.frames.values():
                        assert abs(frame.time_ns - moment.time_ns) <= rig.sync.timing.tolerance_ns
            case (sensor, time_ms):
                rig.frame(sensor, time_ms * MS)
                sent[sensor] += 1
    for sensor, counts in rig.sync.counts().items():
        assert counts["received"] == sent[sensor]
        assert counts["pending"] >= 0
        assert counts["received"] == counts["used"] + sum(counts["dropped"].values()) + counts["pending"]
    held = sum(not packet.used for packet in rig.sync._ring._packets)
    assert rig.sync.counts()["spikes"]["pending"] == held
