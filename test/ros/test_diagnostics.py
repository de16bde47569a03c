"""Names and keys that dashboards rely on, and that the documentation has them."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from spike_depth_core.streams import JitterMeter
from spike_depth_ros.depth_diagnostics import NAMES, DepthDiagnostics
from spike_depth_ros.diagnostics import ERROR, OK, WARN, Findings
from spike_depth_ros.pipeline import Tally
from test.ros.harness import MS, SENSORS, TIMEOUT_S, CountingEstimator, Observer, Vehicle
from test.ros.test_degraded import ALL, Drive
from test.ros.test_lifecycle import ACTIVATE, CONFIGURE, Manager

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def scene(graph):
    graph.add_depth_node(hardware_id="car 7")
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    vehicle.connect(observer.wait)
    return vehicle, observer


def run(vehicle, observer, until, what):
    def step():
        vehicle.announce()
        vehicle.send_spikes(10)
        vehicle.send_frame("rgb")
        vehicle.send_frame("thermal")
        return until()

    return observer.wait(step, what)


def test_six_statuses_with_documented_keys(scene):
    vehicle, observer = scene
    run(vehicle, observer, lambda: int(observer.status("depth_node: inference").get("published", 0)) > 5, "depth")
    arrays = observer.received["diagnostics"]
    assert all([s.name for s in array.status] == [f"depth_node: {name}" for name in NAMES] for array in arrays)
    assert {s.hardware_id for array in arrays for s in array.status} == {"car 7"}
    text = (ROOT / "docs" / "ros.md").read_text()
    for name in NAMES:
        section = text.partition(f"\n`depth_node: {name}`")[2].partition("\n`depth_node: ")[0]
        documented = {
            key for cell in re.findall(r"^\| (.+?) \|", section, re.M) for key in re.findall(r"`([^`]+)`", cell)
        }
        keys = set(observer.status(f"depth_node: {name}")) - {"level", "message"}
        pattern = re.compile(f"^({'|'.join(SENSORS)})/")
        general = {re.sub(r"/(\w+)$", "/<reason>", k) if k.startswith(("skipped/",)) else k for k in keys}
        general = {
            key if key in documented else re.sub(r"dropped/\w+$", "dropped/<reason>", pattern.sub("<sensor>/", key))
            for key in general
        }
        assert general <= documented, f"docs/ros.md does not have these of {name}"


def test_nodes_side_by_side_have_statuses_of_their_own(graph):
    for side in ("left", "right"):
        graph.add_depth_node(cli_args=["--ros-args", "-r", f"__ns:=/{side}"])
    observer = graph.add(Observer)

    def by_node():
        """The names of the statuses, by the full name of the node that its model's gives."""
        arrays = observer.received["diagnostics"]
        nodes = [{pair.key: pair.value for s in a.status for pair in s.values}.get("node") for a in arrays]
        return {node: [s.name for s in array.status] for node, array in zip(nodes, arrays, strict=True)}

    names = observer.wait(lambda: len(found := by_node()) == 2 and found, "both")
    assert names == {
        f"/{side}/depth_node": [f"{side}/depth_node: {name}" for name in NAMES] for side in ("left", "right")
    }


def test_a_camera_slower_than_the_reports_delivers_all_the_same(graph):
    node = graph.add_depth_node(sensors=["rgb"], silence=60.0)
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    vehicle.connect(observer.wait, ("rgb",))

    def received():
        vehicle.announce()
        vehicle.send_frame("rgb")
        vehicle.time_ns += 100 * MS
        return int(observer.counts("rgb").get("used", 0)) > 0

    observer.wait(received, "a frame")
    node._diagnostics._begin_ns = 0  # it has been active for long
    observer.received["diagnostics"].clear()
    arrays = observer.wait(lambda: len(found := observer.received["diagnostics"]) > 5 and found[-3:], "more reports")
    for array in arrays:
        inputs = array.status[0]
        assert (inputs.level, inputs.message) == (OK, "receiving")
        assert {pair.key: pair.value for pair in inputs.values}["rgb/state"] == "receiving"


NO_MOMENT = "no depth: what comes makes no moment"


def test_packets_that_never_make_a_run_are_an_error_with_the_cause(graph):
    """A driver that does not count its packets: each of them comes, and no planes of two can be joined."""
    graph.add_depth_node(sensors=["spikes"], silence=0.3)
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    vehicle.connect(observer.wait, ("spikes",))

    def said(name, text):
        vehicle.announce()
        vehicle.send_spikes(1)
        vehicle.seq = 0
        status = observer.status(f"depth_node: {name}")
        return status if text in status.get("message", "") else None

    status = observer.wait(lambda: said("inference", NO_MOMENT), "the error")
    assert (status["level"], status["published"]) == (ERROR, "0")
    status = observer.wait(lambda: said("inputs", "do not go on where the one before ended"), "why")
    assert status["level"] == WARN
    assert int(status["spikes/breaks"]) > 0
    assert status["spikes/lost"] == "0"


def test_stamps_that_stand_still_are_the_cause_that_is_told(graph):
    graph.add_depth_node(sensors=["rgb"], silence=0.3)
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    vehicle.connect(observer.wait, ("rgb",))

    def told():
        vehicle.announce()
        vehicle.send_frame("rgb")
        status = observer.status("depth_node: inputs")
        return status if "bear a stamp that has been" in status.get("message", "") else None

    assert observer.wait(told, "the warning")["level"] == WARN
    vehicle.time_ns += 1000 * MS

    def forgotten():
        vehicle.announce()
        vehicle.send_frame("rgb")
        vehicle.send_frame("rgb")  # as a topic of two publishers has it
        vehicle.time_ns += 100 * MS
        status = observer.status("depth_node: inputs")
        return status.get("message") == "receiving" and int(status["rgb/dropped/repeated"]) > 0

    observer.wait(forgotten, "the end of it")


def test_an_estimate_that_takes_long_is_one_of_a_moment(graph):
    class Slow(CountingEstimator):
        asked_for, go_on = threading.Event(), threading.Event()

        def estimate(self, *arguments):
            self.asked_for.set()
            self.go_on.wait(TIMEOUT_S)
            return super().estimate(*arguments)

    graph.add_depth_node(lambda _: Slow(), sensors=["spikes"], silence=0.1, autostart=False)
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    Slow.go_on.set()  # it is tried at the configuration
    assert Manager(graph, observer)(CONFIGURE, ACTIVATE) == [True, True]
    Slow.asked_for.clear()
    Slow.go_on.clear()
    vehicle.connect(observer.wait, ("spikes",))

    def reports(count):
        vehicle.announce()
        vehicle.send_spikes(1)
        return len(observer.received["diagnostics"]) > count

    observer.wait(lambda: reports(0) and Slow.asked_for.is_set(), "an estimate")
    observer.received["diagnostics"].clear()
    observer.wait(lambda: reports(10), "reports in the meantime")
    Slow.go_on.set()
    messages = {s.message for array in observer.received["diagnostics"] for s in array.status}
    assert NO_MOMENT not in messages


def test_a_required_camera_slower_than_the_depth_is_no_error_until_it_stops(graph):
    drive = Drive(graph, thermal__required=True)
    drive.until_used(*ALL)

    def slow():
        drive.round(*ALL)
        drive.round("spikes", "rgb")
        drive.round("spikes", "rgb")
        return float(drive.observer.status("depth_node: jitter").get("thermal/period_ms", 0)) > 90

    def skipped():
        return int(drive.observer.status("depth_node: inference").get("skipped/no_thermal", 0))

    drive.wait(slow, "the period of thermal to be known")
    drive.observer.received["diagnostics"].clear()
    drive.wait(skipped, "a report")
    before, published = skipped(), drive.node._pipeline.tally.published
    drive.wait(lambda: slow() and skipped() > before + 3, "moments without thermal")
    assert drive.node._pipeline.tally.published > published

    def said(text=""):
        statuses = [s for m in drive.observer.received["diagnostics"] for s in m.status]
        return {s.level for s in statuses if s.name == "depth_node: inference" and text in s.message}

    assert said() == {OK}
    drive.wait(lambda: drive.round("spikes", "rgb") or said("no depth: no thermal") == {ERROR}, "the error")


def test_a_report_is_made_while_moments_go_on_being_skipped():
    tally = Tally()

    class Reason(str):
        def __format__(self, spec):  # in the midst of the report
            tally.skipped[f"no_{len(tally.skipped)}"] += 1
            return super().__format__(spec)

    tally.skipped[Reason("no_rgb")] += 1
    pipeline = SimpleNamespace(
        tally=tally,
        settings=SimpleNamespace(required=("rgb",)),
        policy=SimpleNamespace(reference=None),
        parallax=None,
        inputs=SimpleNamespace(sensors=()),
    )
    outputs = SimpleNamespace(publishers=(), heard=lambda: ())
    status = DepthDiagnostics("depth_node", "", None).inference(pipeline, outputs)
    assert (status.level, status.message) == (ERROR, "no depth: no rgb")
    assert {pair.key: pair.value for pair in status.values}["skipped/no_rgb"] == "1"


@pytest.mark.parametrize("reports_hz", [0.1, 1.0, 20.0])
@pytest.mark.parametrize(("every", "level"), [(50, OK), (3, WARN)])
def test_how_evenly_a_sensor_comes_is_judged_alike_however_often_it_is_asked(reports_hz, every, level):
    """A minute of a camera of 30 Hz, one in so many of whose steps is twice as long."""
    meter, silent = JitterMeter(), False
    inputs = SimpleNamespace(jitter={"rgb": meter}, sensors=("rgb",), age_ns=lambda _: 10**10 if silent else 0)
    pipeline = SimpleNamespace(tally=Tally(), inputs=inputs, settings=SimpleNamespace(silence=2.0))
    diagnostics, time_ns, levels = DepthDiagnostics("depth_node", "", None), 0, []
    for number in range(1800):
        time_ns += 33 * MS * (1 if number % every else 2)
        meter.add(time_ns)
        if time_ns > (len(levels) + 1) / reports_hz * 1e9:
            levels.append(diagnostics.jitter(pipeline).level)
    assert set(levels[round(5 * reports_hz) :]) == {level}
    silent = True
    assert diagnostics.jitter(pipeline).level == OK


def test_rates_ages_and_steps_are_measured(scene):
    vehicle, observer = scene
    run(vehicle, observer, lambda: int(observer.status("depth_node: inference").get("published", 0)) > 10, "depth")
    spikes = observer.counts("spikes")
    assert float(spikes["rate_hz"]) > 0
    assert 0 <= float(spikes["age_ms"]) < 60_000
    assert float(spikes["planes_per_second"]) == pytest.approx(64 * float(spikes["rate_hz"]), rel=0.05)
    latency = observer.status("depth_node: latency")
    for step in ("pairing", "estimate", "publish", "latency", "transport"):
        assert float(latency[f"{step}_ms_p50"]) <= float(latency[f"{step}_ms_p99"])
    jitter = observer.status("depth_node: jitter")
    assert float(jitter["frame_rate_msg"]) > 0
    assert float(jitter["rgb/period_ms"]) == pytest.approx(32.0)  # ten packets of 3.2 ms
    model = observer.status("depth_node: model")
    assert (model["state"], model["sensors"]) == ("active", ",".join(SENSORS))


def test_clocks_that_are_not_one_are_named(scene):
    vehicle, observer = scene

    def step():
        vehicle.announce()
        vehicle.send_spikes(10)
        vehicle.send_frame("thermal", vehicle.time_ns - 3_600_000 * MS)
        status = observer.status("depth_node: inputs")
        # About an hour: on a busy machine some of the spikes come before the frame, some after.
        behind = re.search(r"thermal are (\d+)\.\d s behind", status.get("message", ""))
        return status if behind and abs(int(behind[1]) - 3600) < 60 else None

    assert observer.wait(step, "the skew")["level"] == WARN


def test_findings_are_as_bad_as_the_worst():
    findings = Findings()
    assert (findings.level, findings.message("well")) == (OK, "well")
    findings.add(WARN, "one")
    findings.add(OK, "two")
    assert (findings.level, findings.message("well")) == (WARN, "one; two")
