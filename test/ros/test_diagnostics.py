"""Names and keys that dashboards rely on, and that the documentation has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spike_depth_ros.depth_diagnostics import NAMES
from spike_depth_ros.diagnostics import OK, WARN, Findings
from test.ros.harness import MS, SENSORS, Observer, Vehicle

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
        general = {re.sub(r"dropped/\w+$", "dropped/<reason>", pattern.sub("<sensor>/", key)) for key in general}
        assert general <= documented, f"docs/ros.md does not have these of {name}"


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
