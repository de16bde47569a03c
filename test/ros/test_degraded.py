"""Any sensor may vanish and return: depth goes on with what is left, in the same frame, and says so."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from spike_depth_ros.diagnostics import ERROR, OK, WARN
from spike_depth_ros.messages import camera_from_message, image_from_message
from spike_depth_ros.time import from_stamp
from test.ros.harness import CAMERAS, MS, CountingEstimator, Observer, Vehicle, counting

ALL = ("spikes", "rgb", "thermal")


class Drive:
    """Sends rounds of 33 ms of the sensors that are there. By the stamps, a sensor that is left out counts as dead
    after two of them; the clock, which a busy machine does not keep, plays no part."""

    def __init__(self, graph, load=counting, **parameters):
        self.node = graph.add_depth_node(load, sensors=list(ALL), silence=0.3, alive=0.05, **parameters)
        self.vehicle, self.observer = graph.add(Vehicle), graph.add(Observer)
        self.vehicle.connect(self.observer.wait, ALL)
        self.wait = self.observer.wait

    def received(self, sensors: tuple[str, ...]) -> dict[str, int]:
        """How many messages have come to the node."""
        counts = self.node._pipeline.sync.counts()
        return {sensor: counts[sensor]["received"] for sensor in sensors}

    def round(self, *sensors: str) -> None:
        vehicle, before = self.vehicle, self.received(sensors)
        vehicle.announce()
        if "spikes" in sensors:
            vehicle.send_spikes(10)
        else:
            vehicle.time_ns += 33 * MS
        for sensor in sensors:
            if sensor != "spikes":
                vehicle.send_frame(sensor)

        def arrived():
            return all(n >= before[s] + (10 if s == "spikes" else 1) for s, n in self.received(sensors).items())

        def estimated():
            last = self.node._pipeline.tally.last
            return last is not None and last.time_ns >= vehicle.time_ns

        # Or queues overflow on a busy machine. What is sent before the node is known to listen does not arrive.
        self.observer.wait_a_little(arrived, 5.0)
        # Where there is to be no depth there is nothing to wait for; else the next round must not overtake it.
        self.observer.wait_a_little(estimated)

    def until_used(self, *sensors: str):
        """Send rounds of these sensors until a depth image is made of them all, and of no others."""
        begin = self.vehicle.time_ns

        def used():
            self.round(*sensors)
            last = self.node._pipeline.tally.last
            return last is not None and last.time_ns > begin and last.sensors == sensors and last

        estimate = self.wait(used, f"depth of {sensors}")

        def arrived():
            return [m for m in self.observer.received["image_rect"] if from_stamp(m.header.stamp) == estimate.time_ns]

        message = self.wait(arrived, "the depth image")[0]
        return message, estimate

    def status(self, name: str, condition):
        def holds():
            status = self.observer.status(f"depth_node: {name}")
            return status if status and condition(status) else None

        return self.wait(holds, f"the status of {name}")


@pytest.mark.parametrize("away", ALL)
def test_a_sensor_vanishes_and_returns(graph, away):
    drive = Drive(graph)
    message, full = drive.until_used(*ALL)
    assert message.header.frame_id == "spikes_optical_frame"
    left = tuple(sensor for sensor in ALL if sensor != away)
    message, degraded = drive.until_used(*left)
    # In the same frame, with the same intrinsics: who uses the depth need not know.
    assert message.header.frame_id == "spikes_optical_frame"
    assert image_from_message(message).shape == (CAMERAS["spikes"].height, CAMERAS["spikes"].width)
    assert camera_from_message(drive.observer.received["camera_info"][-1]) == CAMERAS["spikes"]
    # Of the estimator it is a tenth for each sensor that is not used; that one was there before makes it grow.
    assert full.uncertainty[0, 0] == pytest.approx(0.1)
    assert degraded.uncertainty[0, 0] == pytest.approx(0.2 * 1.15)

    def says_so(status):
        drive.round(*left)
        return away in status["missing"].split(",")

    status = drive.status("inference", says_so)
    assert status["level"] == WARN
    assert f"degraded: without {away}" in status["message"]
    drive.until_used(*ALL)
    drive.status("inference", lambda s: drive.round(*ALL) or "degraded" not in s["message"])


def test_a_camera_slower_than_the_depth_is_missed_only_when_it_stops(graph):
    """Thermal comes with every fourth depth image: the others are made without it, and nothing is wrong with that."""
    drive = Drive(graph)
    drive.until_used(*ALL)

    def slow():
        drive.round(*ALL)
        for _ in range(3):
            drive.round("spikes", "rgb")
        return float(drive.observer.status("depth_node: jitter").get("thermal/period_ms", 0)) > 120

    drive.wait(slow, "the period of thermal to be known")
    drive.observer.received["uncertainty"].clear()
    drive.observer.received["diagnostics"].clear()
    drive.wait(lambda: slow() and len(drive.observer.received["uncertainty"]) > 8, "more depth")
    made = {float(image_from_message(m)[0, 0]) for m in drive.observer.received["uncertainty"]}
    # Of the estimator, with thermal and without.
    assert made == {np.float32(0.1), np.float32(0.2)}
    messages = [s.message for m in drive.observer.received["diagnostics"] for s in m.status]
    assert not [message for message in messages if "degraded" in message]

    drive.status("inference", lambda s: drive.round("spikes", "rgb") or "degraded: without thermal" in s["message"])
    assert drive.node._pipeline.tally.last.uncertainty[0, 0] == pytest.approx(0.2 * 1.15)


@pytest.mark.parametrize("step_ms", [-10_000_000, 3_600_000])
def test_a_camera_that_comes_back_with_another_clock_takes_nothing_with_it(graph, step_ms):
    drive = Drive(graph)
    drive.until_used(*ALL)
    drive.until_used("spikes", "rgb")
    begin_ns, sync = drive.vehicle.time_ns, drive.node._pipeline.sync
    drive.observer.received["image_rect"].clear()

    def returned(status):
        drive.round("spikes", "rgb")
        drive.vehicle.send_frame("thermal", drive.vehicle.time_ns + step_ms * MS)
        return len(drive.observer.received["image_rect"]) > 8 and int(status["thermal/received"]) > 8

    status = drive.status("inputs", returned)
    stamps = [from_stamp(message.header.stamp) for message in drive.observer.received["image_rect"]]
    assert all(begin_ns - 1_000 * MS < stamp <= drive.vehicle.time_ns for stamp in stamps)
    assert sync.epoch == 0
    assert [status.get(f"{sensor}/dropped/before_reset", "0") for sensor in ALL] == ["0"] * 3
    assert status["thermal/resets"] == "1"


def test_a_camera_that_is_never_in_time_is_missed_though_it_delivers(graph):
    drive = Drive(graph, thermal__noise_window=0.005)
    drive.until_used("spikes", "rgb")

    def late():
        before = drive.received(("thermal",))["thermal"]
        drive.round("spikes", "rgb")
        # Less than what makes it count as away, more than what it may be from any moment.
        drive.vehicle.send_frame("thermal", drive.vehicle.time_ns - 16 * MS)
        drive.observer.wait_a_little(lambda: drive.received(("thermal",))["thermal"] > before, 5.0)

    # Where a busy machine sends rounds more than `silence` apart, that they make no moment meanwhile is an error, too.
    drive.status("inference", lambda s: late() or (s["message"], s["level"]) == ("degraded: without thermal", WARN))


def test_a_camera_that_the_network_does_not_know_is_not_missed_and_named_once(graph):
    class OfTwo(CountingEstimator):
        sensors = ("spikes", "rgb")

    drive = Drive(graph, lambda _: OfTwo())
    pipeline, logged = drive.node._pipeline, []
    drive.node._reporter._logger = SimpleNamespace(warning=logged.append, error=logged.append)
    drive.wait(lambda: drive.round(*ALL) or pipeline.tally.published > 5, "depth")
    assert [text for text in logged if "network" in text] == [
        "thermal is received but not used: the network knows spikes, rgb"
    ]
    drive.wait(lambda: drive.round("spikes", "rgb") or pipeline.sync.age_ns("thermal") > 300 * MS, "its end")
    assert pipeline.tally.last.uncertainty[0, 0] == pytest.approx(0.2)
    drive.observer.received["diagnostics"].clear()
    status = drive.status("inference", lambda s: True)
    assert (status["level"], status["message"], status["missing"]) == (OK, "estimating", "")


def test_all_at_once_one_after_the_other(graph):
    drive = Drive(graph)
    for sensors in (ALL, ("rgb",), ("spikes",), ("thermal",), ("rgb", "thermal"), ALL):
        message, _ = drive.until_used(*sensors)
        assert message.header.frame_id == "spikes_optical_frame"


def test_a_required_sensor_that_is_away_stops_the_depth_and_is_an_error(graph):
    drive = Drive(graph, thermal__required=True)
    drive.until_used(*ALL)

    def said():
        drive.round("spikes", "rgb")
        statuses = [s for m in drive.observer.received["diagnostics"] for s in m.status]
        return [s for s in statuses if s.name == "depth_node: inference" and "no depth: no thermal" in s.message]

    assert drive.wait(said, "the error")[0].level == ERROR
    assert int(drive.observer.status("depth_node: inference")["skipped/no_thermal"]) > 0
    drive.until_used(*ALL)
    drive.status("inference", lambda s: drive.round(*ALL) or s["level"] != ERROR)


def test_silence_of_all_is_an_error_and_no_output(graph):
    drive = Drive(graph)
    drive.until_used(*ALL)
    status = drive.status("inputs", lambda s: "no sensor delivers" in s["message"])
    assert status["level"] == ERROR
    count = len(drive.observer.received["image_rect"])
    drive.status("inputs", lambda s: "no sensor delivers" in s["message"])
    assert len(drive.observer.received["image_rect"]) == count
    drive.until_used(*ALL)


def test_a_reference_that_is_named_is_kept_whatever_comes(graph):
    drive = Drive(graph, reference="rgb")
    message, estimate = drive.until_used(*ALL)
    assert message.header.frame_id == "rgb_optical_frame"
    assert estimate.camera == CAMERAS["rgb"]
    message, _ = drive.until_used("spikes", "thermal")
    assert message.header.frame_id == "rgb_optical_frame"
    assert np.isfinite(image_from_message(message)).any()


def test_without_spikes_from_the_beginning_depth_is_in_the_frame_of_the_next(graph):
    drive = Drive(graph, patience=0.05)
    message, _ = drive.until_used("rgb", "thermal")
    assert message.header.frame_id == "rgb_optical_frame"
    message, _ = drive.until_used(*ALL)
    assert message.header.frame_id == "spikes_optical_frame"


def test_depth_waits_for_a_preferred_sensor_that_is_expected(graph):
    drive = Drive(graph, patience=3600.0)
    status = drive.status("inference", lambda s: drive.round("rgb") or int(s.get("skipped/waiting_for_spikes", 0)) > 1)
    assert status["published"] == "0"
    drive.until_used("spikes", "rgb")
