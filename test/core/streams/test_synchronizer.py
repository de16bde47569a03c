"""Scenarios of sensors that come late, never, twice or from another time, with a clock that the test turns."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.streams import Frame, SensorTiming, Synchronizer, Timing
from spike_depth_core.streams.collector import FrameCollector
from spike_depth_core.streams.synchronizer import RATE

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

    def __init__(self, timing: Timing | None = None, planes: int = 128, sensors=("spikes", "rgb", "thermal")):
        self.clock = Clock()
        self.sync = Synchronizer(planes, sensors, timing or Timing(), self.clock, capacity=4096)
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


TIMEOUT = SensorTiming().timeout_ns


def test_a_moment_is_the_time_of_the_trigger_with_the_spikes_that_end_there():
    rig = Rig()
    rig.spikes(100 * MS)
    rig.frame("rgb", 90 * MS)
    assert rig.sync.collect() is not None  # thermal has never been seen: it is not waited for
    rig.frame("thermal", 95 * MS)
    rig.spikes(140 * MS)
    rig.frame("rgb", 123 * MS)
    rig.frame("thermal", 128 * MS)
    moment = rig.sync.collect()
    assert moment.time_ns == 123 * MS
    assert 0 <= moment.time_ns - moment.spikes.end_ns < PERIOD  # not the end of a packet
    assert len(moment.spikes) == 128
    assert {name: frame.time_ns for name, frame in moment.frames.items()} == {
        "rgb": 123 * MS,
        "thermal": 128 * MS,
    }
    assert moment.sensors == ("spikes", "rgb", "thermal")
    assert rig.sync.collect() is None


@pytest.mark.parametrize(
    ("trigger", "times"), [("auto", [100, 133]), ("rgb", [100, 133]), ("thermal", [110, 143]), ("nir", [100, 133])]
)
def test_the_trigger_sets_the_pace(trigger, times):
    rig = Rig(Timing(trigger=trigger))
    rig.spikes(90 * MS)
    rig.frame("rgb", 67 * MS)
    rig.frame("thermal", 77 * MS)
    rig.sync.collect()
    moments = []
    for time_ms in range(91, 160):
        rig.spikes(time_ms * MS)
        if time_ms in (100, 133):
            rig.frame("rgb", time_ms * MS)
        if time_ms in (110, 143):
            rig.frame("thermal", time_ms * MS)
        moments.append(rig.sync.collect())
    assert [moment.time_ns // MS for moment in moments if moment] == times


def test_a_fixed_rate_has_moments_at_even_times_whatever_the_cameras_do():
    rig = Rig(Timing(trigger=RATE, interval_ns=20 * MS))
    moments = []
    for time_ms in range(50, 400):
        rig.spikes(time_ms * MS)
        if time_ms % 33 == 0 and time_ms < 200:
            rig.frame("rgb", time_ms * MS)
        moments.append(rig.sync.collect())
    moments = [moment for moment in moments if moment]
    assert len(moments) >= 16
    assert set(np.diff([moment.time_ns for moment in moments])) == {20 * MS}
    for moment in moments:
        assert 0 <= moment.time_ns - moment.spikes.end_ns < PERIOD
        nearest = 33 * MS * round(moment.time_ns / (33 * MS))
        if 66 * MS <= nearest < 200 * MS:
            assert moment.frames["rgb"].time_ns == nearest
        elif nearest > 200 * MS:
            assert moment.frames == {}


def test_a_time_of_which_nothing_is_known_gives_way_to_the_one_before():
    rig = Rig(Timing(trigger=RATE, interval_ns=20 * MS), sensors=("spikes",))
    rig.spikes(50 * MS)
    rig.seq += 7
    rig.packet(rig.seq * PACKET_NS)  # alone behind the gap, it makes no window
    newest_ns = rig.seq * PACKET_NS
    assert rig.sync.collect().time_ns == newest_ns - 20 * MS


def test_the_fixed_rate_goes_over_to_the_cameras_without_spikes():
    rig = Rig(Timing(trigger=RATE, interval_ns=20 * MS))
    rig.frame("rgb", 100 * MS)
    assert rig.sync.collect().time_ns == 100 * MS


def test_offsets_are_added_to_the_stamps():
    rig = Rig(Timing(sensors={"spikes": SensorTiming(offset_ns=-2 * MS), "rgb": SensorTiming(offset_ns=-7 * MS)}))
    rig.spikes(100 * MS)
    rig.frame("rgb", 90 * MS)
    moment = rig.sync.collect()
    assert moment.time_ns == moment.frames["rgb"].time_ns == 83 * MS
    assert 0 <= 83 * MS - moment.spikes.end_ns < PERIOD


@pytest.mark.parametrize(("noise_ms", "paired"), [(11, True), (10, True), (9, False)])
def test_the_noise_window_is_that_of_the_sensor(noise_ms, paired):
    rig = Rig(Timing(trigger="rgb", sensors={"thermal": SensorTiming(noise_ns=noise_ms * MS)}))
    rig.frame("rgb", 100 * MS)
    rig.frame("thermal", 110 * MS)
    assert ("thermal" in rig.sync.collect().frames) == paired


def test_a_nearer_frame_that_is_due_is_waited_for():
    """At 60 Hz a frame 16 ms before is within the noise window, but the next will be nearer."""
    rig = Rig(Timing(trigger="rgb"))
    for time_ms in (50, 66, 83):
        rig.frame("thermal", time_ms * MS)
    rig.frame("rgb", 99 * MS)
    assert rig.sync.collect() is None
    rig.frame("thermal", 100 * MS)
    assert rig.sync.collect().frames["thermal"].time_ns == 100 * MS


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
    rig.spikes(100 * MS + TIMEOUT + PACKET_NS + MS)
    moment = rig.sync.collect()
    assert (moment.time_ns, set(moment.frames)) == (100 * MS, {"rgb"})


@pytest.mark.parametrize(("timeout_ms", "ready"), [(40, False), (4, True)])
def test_the_timeout_is_that_of_the_sensor(timeout_ms, ready):
    rig = Rig(Timing(sensors={"thermal": SensorTiming(timeout_ns=timeout_ms * MS)}))
    rig.frame("thermal", 66 * MS)
    rig.spikes(110 * MS)
    rig.frame("rgb", 100 * MS)
    assert (rig.sync.collect() is not None) == ready


def test_the_clock_ends_the_waiting_when_no_data_comes():
    rig = Rig()
    for time_ns in (66 * MS, 100 * MS):
        rig.frame("rgb", time_ns)
        if time_ns < 100 * MS:
            rig.frame("thermal", time_ns)
            rig.sync.collect()
    assert rig.sync.collect() is None
    rig.clock.now += TIMEOUT + 1
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
    assert counts["dropped"] == {"unused": 30 - 9}  # what is alive may still ask for the last 267 ms


def drive(timing: Timing, rate_hz: dict[str, int], delay_ms: dict[str, int], capacity: int = 8192, seconds: int = 2):
    """The moments of sensors at their rates, each of which delivers so late."""
    clock = Clock()
    sync = Synchronizer(128, ("spikes", *rate_hz), timing, clock, capacity=capacity)
    due = [((i + 1) * PACKET_NS, "spikes", i) for i in range(seconds * 10**9 // PACKET_NS)]
    for sensor, rate in rate_hz.items():
        due += [(i * 10**9 // rate + delay_ms.get(sensor, 0) * MS, sensor, i) for i in range(seconds * rate)]
    moments = []
    for arrival, sensor, number in sorted(due):
        clock.now = arrival
        if sensor == "spikes":
            sync.add_spikes(PackedSpikes(DATA, 8, PERIOD, number * PACKET_NS), number)
        else:
            time_ns = number * 10**9 // rate_hz[sensor]
            sync.add_frame(sensor, Frame(time_ns, np.zeros((3, 4), np.uint8), CAMERA))
        while (moment := sync.collect()) is not None:
            moments.append(moment)
    return moments


@pytest.mark.parametrize(
    ("trigger", "rgb_hz", "delay_ms", "timeout_ms"),
    [
        ("rgb", 60, 180, 230),
        ("rgb", 120, 100, 120),
        ("rgb", 30, 30, 40),
        (50, 30, 80, 120),
        (30, 30, 150, 200),
        ("thermal", 120, 100, 15),
    ],
)
def test_a_sensor_that_is_slow_to_deliver_is_waited_for_as_long_as_it_may_take(trigger, rgb_hz, delay_ms, timeout_ms):
    slow = {"thermal": SensorTiming(timeout_ns=timeout_ms * MS)}
    if isinstance(trigger, int):
        timing = Timing(trigger=RATE, interval_ns=10**9 // trigger, sensors=slow)
    else:
        timing = Timing(trigger=trigger, sensors=slow)
    moments = drive(timing, {"rgb": rgb_hz, "thermal": 30}, {"thermal": delay_ms})
    whole = [m for m in moments if m.time_ns >= 10**9 and m.sensors == ("spikes", "rgb", "thermal")]
    assert len(whole) >= 25  # of a second, in which the thermal camera delivers 30 times


def test_moments_go_on_where_frames_come_faster_than_they_can_be_held():
    """500 frames a second are held for 128 ms, and the other camera may take 400."""
    timing = Timing(trigger="rgb", alive_ns=600 * MS, sensors={"thermal": SensorTiming(timeout_ns=400 * MS)})
    moments = drive(timing, {"rgb": 500, "thermal": 10}, {"thermal": 350})
    last = [moment for moment in moments if 10**9 <= moment.time_ns < 1.8 * 10**9]
    assert len(last) > 300
    assert {moment.sensors for moment in last} == {("spikes", "rgb")}


def test_spikes_alone_and_frames_alone():
    rig = Rig()
    rig.spikes(250 * MS)
    assert rig.sync.collect() is None  # the trigger may yet come
    rig.spikes(300 * MS)
    moment = rig.sync.collect()
    assert moment.spikes is not None
    assert moment.frames == {}
    assert rig.sync.collect() is None
    rig = Rig()
    rig.frame("thermal", 10 * MS)
    moment = rig.sync.collect()
    assert moment.spikes is None
    assert moment.sensors == ("thermal",)


def test_cameras_that_fall_silent_no_longer_set_the_pace():
    rig = Rig()
    rig.spikes(110 * MS)
    rig.frame("rgb", 100 * MS)
    assert rig.sync.collect().time_ns == 100 * MS
    rig.spikes(300 * MS)
    assert rig.sync.collect() is None
    rig.spikes(400 * MS)
    assert rig.sync.collect().time_ns == rig.seq * PACKET_NS


def test_frames_that_come_a_little_early_for_the_interval_are_taken():
    """A camera at 10.1 Hz, asked for 10 moments a second: not every second frame."""
    rig = Rig(Timing(interval_ns=100 * MS), sensors=("rgb",))
    for index in range(1, 11):
        rig.frame("rgb", index * 99 * MS)
        assert rig.sync.collect().time_ns == index * 99 * MS


def test_a_frame_that_comes_again_is_told_from_one_that_comes_late():
    rig = Rig(sensors=("rgb",))
    for time_ms in (100, 133, 166, 133, 150):
        rig.frame("rgb", time_ms * MS)
    assert rig.counts("rgb")["dropped"] == {"repeated": 1, "late": 1}


def test_so_many_frames_are_held_however_old_they_are():
    collector = FrameCollector(capacity=3)
    for second in range(5):
        collector.add(Frame(second * 1000 * MS, np.zeros((3, 4), np.uint8), CAMERA), 0, span_ns=0)
    assert [held.frame.time_ns // MS for held in collector.held] == [2000, 3000, 4000]
    assert collector.ledger.dropped == {"unused": 2}


def test_a_least_interval_limits_the_rate_and_can_be_changed():
    rig = Rig(Timing(interval_ns=100 * MS))
    times = []
    for index in range(1, 61):
        if index == 31:
            rig.sync.timing = Timing()
        rig.spikes(index * 33 * MS + 5 * MS)
        rig.frame("rgb", index * 33 * MS)
        moment = rig.sync.collect()
        if moment:
            times.append(moment.time_ns)
    slow = [time_ns for time_ns in times if time_ns <= 30 * 33 * MS]
    assert (np.diff(slow) >= 75 * MS).all()
    assert len(slow) == 10
    assert len(times) - len(slow) == 30


def test_sensors_come_and_go_with_their_account():
    rig = Rig()
    rig.spikes(100 * MS)
    rig.frame("rgb", 90 * MS)
    rig.frame("thermal", 90 * MS)
    assert rig.sync.collect().sensors == ("spikes", "rgb", "thermal")
    rig.frame("thermal", 99 * MS)
    rig.sync.set_sensors(("rgb", "nir"))
    assert rig.counts("thermal")["dropped"] == {"removed": 1}
    rig.spikes(140 * MS)  # what is under way when a sensor is removed is nobody's
    rig.frame("thermal", 133 * MS)
    rig.frame("rgb", 133 * MS)
    rig.frame("nir", 133 * MS)
    assert rig.sync.collect().sensors == ("rgb", "nir")
    for counts in rig.sync.counts().values():
        assert counts["received"] == counts["used"] + sum(counts["dropped"].values()) + counts["pending"]
    rig.sync.set_sensors(("spikes", "rgb", "thermal"))
    rig.spikes(200 * MS)
    rig.frame("rgb", 190 * MS)
    assert rig.sync.collect().sensors == ("spikes", "rgb")
    assert rig.counts("spikes")["lost"] == 0


def test_what_is_held_of_a_sensor_that_stays_is_paired_though_others_come_and_go():
    rig = Rig(Timing(trigger="rgb"))
    rig.frame("thermal", 100 * MS)
    rig.sync.set_sensors(("rgb", "nir", "thermal"))
    rig.frame("rgb", 105 * MS)
    assert set(rig.sync.collect().frames) == {"rgb", "thermal"}
    assert rig.counts("thermal")["used"] == 1


@pytest.mark.parametrize("reason", ["malformed", "jumped"])
def test_a_packet_that_is_refused_is_not_counted_as_lost_besides(reason):
    rig = Rig(sensors=("spikes",))
    rig.packet(0)
    if reason == "malformed":
        rig.sync.reject("spikes", reason, rig.seq)
        rig.seq += 1
    else:
        rig.packet(3_600_000 * MS)
    rig.packet(2 * PACKET_NS)
    counts = rig.counts("spikes")
    assert (counts["received"], counts["dropped"], counts["lost"]) == (3, {reason: 1}, 0)


def test_a_moment_has_its_planes_however_few_are_to_be_held():
    sync = Synchronizer(4 * PACKET, ("spikes",), Timing(trigger=RATE), Clock(), capacity=PACKET)
    for seq in range(5):
        sync.add_spikes(PackedSpikes(DATA, 8, PERIOD, seq * PACKET_NS), seq)
    assert len(sync.collect().spikes) == 4 * PACKET


@pytest.mark.parametrize("last", ["spikes", "rgb"])
def test_who_waits_is_woken_by_the_input_that_completes_a_moment(last, monkeypatch):
    rig = Rig(sensors=("spikes", "rgb"))
    rig.spikes(40 * MS)
    if last == "spikes":
        rig.frame("rgb", 50 * MS)
    found, woken, waiting = [], [], threading.Event()
    wait = rig.sync._changed.wait

    def patient(_):  # not the hundredth of a second after which it looks in any case
        waiting.set()
        woken.append(wait(20.0))

    monkeypatch.setattr(rig.sync._changed, "wait", patient)
    waiter = threading.Thread(target=lambda: found.append(rig.sync.wait(60.0)))
    waiter.start()
    waiting.wait()
    if last == "spikes":
        rig.spikes(60 * MS)
    else:
        rig.frame("rgb", 30 * MS)
    waiter.join()
    assert found[0].sensors == ("spikes", "rgb")
    assert all(woken)


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


def test_no_moment_is_made_of_a_part_of_what_is_taken_in_together():
    rig = Rig(Timing(), sensors=("spikes", "rgb"))
    rig.spikes(20 * MS)
    found, asking = [], threading.Event()

    def ask():
        asking.set()
        found.append(rig.sync.wait(30.0))

    asker = threading.Thread(target=ask)
    with rig.sync.together():
        rig.frame("rgb", 50 * MS)
        asker.start()
        asking.wait()
        rig.clock.now += 10 * TIMEOUT  # whoever takes the batch in has been kept from it
        asker.join(0.1)  # ends at once where there is a moment
        rig.spikes(60 * MS)
    asker.join()
    assert found[0].sensors == ("spikes", "rgb")


def test_how_long_a_sensor_has_been_silent_is_known_by_the_stamps_of_the_others():
    rig = Rig()
    assert rig.sync.age_ns("rgb") is None
    rig.frame("rgb", 92 * MS)
    rig.frame("thermal", 60 * MS)
    assert (rig.sync.age_ns("rgb"), rig.sync.age_ns("thermal"), rig.sync.age_ns("spikes")) == (0, 32 * MS, None)
    rig.frame("rgb", 125 * MS)
    assert rig.sync.age_ns("thermal") == 65 * MS


def test_how_far_the_clocks_of_the_sensors_are_apart_is_known():
    rig = Rig()
    rig.spikes(100 * MS)
    rig.frame("rgb", 92 * MS)
    rig.frame("thermal", 3_700_096 * MS)
    assert rig.sync.skew_ns("rgb") == 92 * MS - rig.seq * PACKET_NS
    assert rig.sync.skew_ns("thermal") == 3_700_096 * MS - rig.seq * PACKET_NS


@pytest.mark.parametrize(
    ("kind", "name"),
    [(SensorTiming, "noise_ns"), (SensorTiming, "timeout_ns"), (Timing, "interval_ns"), (Timing, "alive_ns")],
)
def test_negative_timing_is_refused(kind, name):
    with pytest.raises(ValueError, match=name):
        kind(**{name: -1})


events = st.one_of(
    st.tuples(st.sampled_from(["rgb", "thermal"]), st.integers(0, 3000)),
    st.tuples(st.just("spikes"), st.integers(0, 3000), st.integers(0, 200)),
    st.tuples(st.just("collect")),
    st.tuples(st.just("reject"), st.sampled_from(["rgb", "spikes"])),
    st.tuples(st.just("tick"), st.integers(0, 400)),
    st.tuples(st.just("timing"), st.sampled_from(["auto", "rgb", "rate"]), st.integers(0, 50)),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(events, max_size=120))
def test_inputs_add_up_whatever_comes(sequence):
    """Any order of stamps, numbers, jumps and questions: nothing is lost from the books, moments are in order."""
    rig = Rig(planes=64)
    sent = dict.fromkeys(("spikes", "rgb", "thermal"), 0)
    epoch, last_ns = 0, None
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
                        assert abs(frame.time_ns - moment.time_ns) <= SensorTiming().noise_ns
                    if moment.spikes is not None:
                        early_ns = moment.time_ns - moment.spikes.end_ns
                        assert 0 <= early_ns <= SensorTiming().noise_ns
                    assert moment.epoch >= epoch
                    assert last_ns is None or moment.epoch > epoch or moment.time_ns > last_ns
                    epoch, last_ns = moment.epoch, moment.time_ns
            case ("timing", trigger, interval_ms):
                rig.sync.timing = Timing(trigger, interval_ms * MS)
            case (sensor, time_ms):
                rig.frame(sensor, time_ms * MS)
                sent[sensor] += 1
    for sensor, counts in rig.sync.counts().items():
        assert counts["received"] == sent[sensor]
        assert counts["pending"] >= 0
        assert counts["received"] == counts["used"] + sum(counts["dropped"].values()) + counts["pending"]
    held = sum(not packet.used for packet in rig.sync._ring._packets)
    assert rig.sync.counts()["spikes"]["pending"] == held
