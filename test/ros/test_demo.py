"""The demonstration: the whole graph, from the street to the page."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from spike_depth.msg import AdaptationStatus

from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.evaluation.evaluate import Evaluation
from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.networks.checkpoint import CheckpointInfo, save_checkpoint
from spike_depth_core.networks.depth_network import DepthNetwork
from spike_depth_ros import demo_results
from spike_depth_ros.demo_graph import adaptation_of
from spike_depth_ros.demo_results import Drive, Frame, at_rate
from spike_depth_ros.learner import STATES

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 500  # of a fresh checkout, whose kernels are yet to be compiled


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    network = DepthNetwork()
    prior = RowPrior(np.array([-1.0, 0.0, 1.0]), np.log([30.0, 30.0, 3.0]))
    path = tmp_path_factory.mktemp("checkpoint") / "untrained.safetensors"
    save_checkpoint(path, network, CheckpointInfo(network.architecture, row_prior=prior.to_dict()))
    return path


def demo(*arguments: str) -> subprocess.Popen:
    # A domain of its own: the demonstration looks for one itself.
    environment = {name: value for name, value in os.environ.items() if name != "ROS_DOMAIN_ID"}
    return subprocess.Popen(
        [sys.executable, "-m", "spike_depth_ros.demo", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_the_demonstration_measures_the_graph_and_writes_what_it_found(checkpoint, tmp_path):
    with demo("--seconds", "2", "--checkpoint", str(checkpoint), "--out", str(tmp_path), "--adapt") as process:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["packets_sent"] == 625  # 2 s of 20,000 planes in packets of 64
    assert metrics["packets_received"] + metrics["packets_lost"] == 625
    assert metrics["depth_frames"] >= metrics["frames"] > 0
    assert 0 < metrics["latency_ms_p50"] <= metrics["latency_ms_p99"]
    for key in ("planes_per_second", "depth_hz", "abs_rel", "row_prior_abs_rel", "rmse", "a1", "silog"):
        assert np.isfinite(metrics[key]), key
    assert (tmp_path / "demo.mp4").stat().st_size > 1000
    page = (tmp_path / "report.html").read_text()
    assert "data:video/mp4;base64," in page
    assert "http" not in page.split("<body")[1].replace("http://www.w3.org", "")  # all of it is inside
    for text in ("spike packets lost", "row prior", "learning on the road"):
        assert text in output
    assert metrics["adaptation"]["statuses"] > 0
    assert metrics["adaptation"]["states"][0] in STATES


def test_ctrl_c_while_rendering_ends_it_cleanly(checkpoint, tmp_path):
    with demo("--seconds", "60", "--checkpoint", str(checkpoint), "--out", str(tmp_path)) as process:
        for line in process.stdout:
            if "rendering" in line:
                break
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert "nothing to report" in output


@pytest.mark.parametrize("moment", ["import", "start"])
def test_ctrl_c_at_the_beginning_ends_it_cleanly(checkpoint, moment):
    with demo("--checkpoint", str(checkpoint)) as process:
        if moment == "start":
            process.stdout.readline()
        else:
            wait_for_handler(process.pid)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    assert "Traceback" not in output


def wait_for_handler(pid: int) -> None:
    """Wait until a process listens for signals itself: Python alone catches SIGINT, but not SIGTERM."""
    while not signals_caught(pid) & (1 << (signal.SIGTERM - 1)):
        time.sleep(0.005)


def signals_caught(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)


def test_a_checkpoint_that_is_not_there_is_named():
    with demo("--checkpoint", "/nowhere/x.safetensors") as process:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1
    assert "/nowhere/x" in output
    assert "Traceback" not in output


def frames(times):
    depth = np.full((4, 8), 10.0, np.float32)
    return [Frame(time_s, {"depth": depth}) for time_s in times]


def test_the_video_shows_at_each_tick_the_newest_frame():
    shown = [frame.time_s for frame in at_rate(frames([0.0, 0.07, 0.13, 0.5]), 10.0)]
    assert shown == [0.0, 0.13, 0.13, 0.13, 0.13, 0.5]


def test_what_was_learned_is_told_as_it_changed():
    def said(state, **values):
        return AdaptationStatus(state=state, **values)

    statuses = [
        said(AdaptationStatus.PREPARING, loss=math.nan),
        said(AdaptationStatus.WATCHING, loss=math.nan, reason="no moment yet", running_sha256="a" * 64),
        said(AdaptationStatus.LEARNING, loss=0.5, steps=1, running_sha256="a" * 64),
        said(AdaptationStatus.LEARNING, loss=0.25, steps=7, accepted=9, moments=12, swaps=1, running_sha256="b" * 64),
    ]
    found = adaptation_of(statuses)
    assert found["states"] == ["preparing", "watching", "learning"]
    assert (found["losses"], found["running"]) == ([0.5, 0.25], ["a" * 64, "b" * 64])
    rows = dict(demo_results.adaptation_rows(found))
    assert rows["learning on the road"] == "preparing, watching, learning"
    assert rows["moments learned from"] == "9 of 12; 7 steps"
    assert rows["loss, first and last step"] == "0.500, 0.250"
    assert rows["weights that depth was made with"] == "aaaaaaaa, bbbbbbbb"
    assert demo_results.adaptation_rows({}) == []
    assert dict(demo_results.adaptation_rows(adaptation_of([])))["learning on the road"] == "nothing was heard of it"


@pytest.mark.parametrize(("behind_ms", "told"), [(math.nan, False), (40.0, False), (4200.0, True)])
def test_a_simulator_that_cannot_keep_up_is_told_beside_the_latency(behind_ms, told):
    metrics = dict.fromkeys(("packets_sent", "packets_received", "packets_lost", "depth_frames"), 9)
    metrics |= dict.fromkeys(("planes_per_second", "depth_hz", "latency_ms_p50", "latency_ms_p99", "abs_rel"), 1.0)
    metrics |= {"row_prior_abs_rel": None, "simulator_behind_ms_max": behind_ms}
    rows = dict(demo_results.headline_rows(metrics))
    assert ("4200 ms" in " ".join(rows.values())) == told
    assert any("simulator" in name for name in rows) == told


def test_metrics_have_the_percentiles_of_all_latencies_and_the_accuracy_of_what_was_kept():
    evaluation = Evaluation()
    truth, camera = np.full((4, 8), 8.0, np.float32), PinholeCamera.from_focal(8, 4, 8.0)
    evaluation.add(frames([0.0])[0].images["depth"], truth, camera)
    latencies = list(range(101))
    drive = Drive({"packets_lost": 3}, latencies, [], frames([0.0]), evaluation, [], "command")
    metrics = drive.metrics()
    assert (metrics["latency_ms_p50"], metrics["latency_ms_p99"], metrics["packets_lost"]) == (50.0, 99.0, 3)
    assert metrics["abs_rel"] == pytest.approx(0.25)


def test_a_sheet_is_drawn_of_whatever_there_is():
    everything = {
        "depth": np.full((4, 8), 10.0, np.float32),
        "truth": np.full((4, 8), np.inf, np.float32),
        "rgb": np.zeros((6, 10, 3), np.uint8),
        "spikes": np.zeros((4, 8), np.uint8),
        "thermal": np.full((5, 9), 29_000, np.uint16),
    }
    blanks = {name: np.zeros_like(image) for name, image in everything.items()}
    sizes = set()
    for left_out in (None, "truth", "rgb", "spikes", "thermal"):
        images = {name: image for name, image in everything.items() if name != left_out}
        sizes.add(demo_results.video_sheet(Frame(0.0, images), blanks).shape)
    assert len(sizes) == 1  # a video's pictures are of one size
