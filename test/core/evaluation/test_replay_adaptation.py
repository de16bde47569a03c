"""Learning from a bag: each moment is estimated before it is learned from, and the same bag gives the same weights."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from spike_depth_core.adaptation import (
    AdaptationOptions,
    AdaptationSession,
    GateOptions,
    GuardOptions,
    Snapshots,
    originals,
)
from spike_depth_core.bags import BagReader
from spike_depth_core.bags.sensors import find_sensors
from spike_depth_core.cli.main import app
from spike_depth_core.evaluation.replay import Replay
from spike_depth_core.evaluation.replay_adaptation import ReplayAdaptation, View, rows_of
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.networks.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.resources import config_path
from spike_depth_core.samples.files import sample_path, save_sample
from test.core.bags.recordings import ODOMETRY, small_recording, with_odometry, write_recording
from test.core.factories import small_rig, small_sample

RIG = small_rig(64, 48)
TRUTH = "/truth/depth/image_rect"
SMALL = Architecture(widths=(8, 8, 8, 8, 8), trunk_blocks=1, pixels=64 * 64)
# Whatever has been learned from two moments is accepted.
EASY = AdaptationOptions(
    students=(("spikes",),),
    teacher_sensors=("spikes", "rgb"),
    learning_rate=1e-2,
    original=1,
    replay=0,
    held_out=2,
    review_every=2,
    gate=GateOptions(interval_s=0.0, motion=0.0, alignment=-2.0, max_uncertainty=99.0),
    guard=GuardOptions(9.0, 9.0, 9.0, least_held_out=1, fused_bound=9.0, drift_bound=9.0),
)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("bag") / "a.mcap", small_recording(rig=RIG))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("first") / "first.safetensors"
    save_checkpoint(path, DepthNetwork(SMALL), CheckpointInfo(SMALL, depth_range=(0.5, 100.0)))
    return path


@pytest.fixture(scope="module")
def example():
    return small_sample(7, planes=16, rig=dataclasses.replace(small_rig(), height=1.65))


def learned(bag, checkpoint, folder, example, odometry=None, interval_s=0.0):
    estimator = DepthEstimator.load(checkpoint)
    session = AdaptationSession(checkpoint, Snapshots(folder), EASY, resume=False)
    session.begin([example])
    adaptation = ReplayAdaptation(session, estimator, steps=2, interval_s=interval_s)
    reader = BagReader(bag)
    run = Replay(reader, estimator, find_sensors(reader), RIG, truth=TRUTH, odometry=odometry)
    return run, adaptation, list(adaptation.watch(run.frames()))


def test_before_and_after_over_time_and_the_same_again(bag, checkpoint, example, tmp_path):
    run, adaptation, frames = learned(bag, checkpoint, tmp_path / "a", example)
    assert len(frames) == 5
    assert adaptation.changes
    both, alone = adaptation.views["spikes+rgb"], adaptation.views["spikes"]
    np.testing.assert_allclose(both.frozen, run.timeline.abs_rel, rtol=1e-5)
    change = adaptation.changes[0][0]
    for view in (both, alone):
        assert view.times_ns == run.timeline.times_ns
        changed = [a != f for a, f in zip(view.adapted, view.frozen, strict=True)]
        # The weights that a moment brings are in service from the next one on.
        assert changed == [time_ns > change for time_ns in view.times_ns]
    network, info = load_checkpoint(adaptation.session.path)
    assert adaptation.changes[-1][1] == info.sha256
    last = frames[-1]
    serving = DepthEstimator(network, info).estimate(last.sample, "spikes", ("spikes",))
    if adaptation.changes[-1][0] < last.estimate.time_ns:
        truth = last.truth
        seen = np.isfinite(truth) & (truth > 1) & (truth < 80)
        error = np.abs(np.clip(serving.depth, 1, 80) - truth)[seen] / truth[seen]
        assert alone.adapted[-1] == pytest.approx(float(error.mean()), rel=1e-3)
    _, again, _ = learned(bag, checkpoint, tmp_path / "b", example)
    assert again.digest == adaptation.digest
    assert again.session.service.sha256 == adaptation.session.service.sha256


def test_moments_between_are_compared_with_those_that_are_learned_from(checkpoint, example, tmp_path):
    path = write_recording(tmp_path / "a.mcap", with_odometry(small_recording(rig=RIG)))
    counts = []
    for odometry in (ODOMETRY, None):
        folder = tmp_path / str(odometry).strip("/")
        _, adaptation, frames = learned(path, checkpoint, folder, example, odometry, interval_s=0.06)
        status = adaptation.session.status()
        assert len(frames) == 5
        assert sum(status["moments"].values()) == 3  # the first, and those at twice the interval of frames
        counts.append(status["measured_moments"])
    assert counts == [2, 0]


def test_a_frame_without_a_truth_in_range_is_passed_over(checkpoint, example, tmp_path):
    """As LiDAR points beside the picture leave one."""
    recording = small_recording(rig=RIG)
    number = [i for i, written in enumerate(recording) if written[0] == TRUTH][1]
    topic, kind, message, time_ns = recording[number]
    blank = np.full(message.height * message.width, np.inf, np.float32).view(np.uint8)
    recording[number] = (topic, kind, dataclasses.replace(message, data=blank), time_ns)
    _, adaptation, frames = learned(write_recording(tmp_path / "a.mcap", recording), checkpoint, tmp_path, example)
    assert len(frames) == 5
    assert len(adaptation.views["spikes"].times_ns) == 4


def test_the_summary_by_hand():
    second = 1_000_000_000
    view = View("spikes", [k * 4 * second for k in range(6)], [0.4] * 6, [0.4, 0.4, 0.4, 0.5, 0.2, 0.2])
    assert [round(start) for start, _, _ in view.windows()] == [0, 10, 20]
    summary = view.summary()
    assert summary["gain"] == pytest.approx(1 - 2.1 / 2.4)
    assert summary["gain_in_the_last_window"] == pytest.approx(0.5)
    assert summary["worst_window"] == pytest.approx(0.0)


def replayed(bag, checkpoint, out, *arguments):
    known = ["replay", str(bag), "--checkpoint", str(checkpoint), "--out", str(out), "--adapt", "--no-video"]
    return CliRunner().invoke(app, [*known, "--depth", "none", *arguments])


def test_the_command_reports_both(bag, checkpoint, example, tmp_path):
    save_sample(sample_path(tmp_path, 0), example)
    out = tmp_path / "out"
    done = replayed(bag, checkpoint, out, "--original", str(tmp_path), "--originals", "1", "--truth", TRUTH)
    assert done.exit_code == 0, done.output
    assert "Learning on the road" in done.output
    found = json.loads((out / "metrics.json").read_text())["adaptation"]
    assert set(found["views"]) == {"spikes+rgb", "spikes"}
    assert found["status"]["service_sha256"] == found["status"]["first_sha256"]
    assert sum(found["status"]["moments"].values()) == 1  # the bag is shorter than the interval
    rows = dict(rows_of(found))
    assert rows["moments learned from"].startswith("0 of 1") or rows["moments learned from"].startswith("1 of 1")
    assert "Learning on the road" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("sensors", "said"), [(("spikes", "rgb"), "knows only spikes, rgb: spikes+thermal"), (("rgb",), "no student")]
)
def test_a_checkpoint_of_fewer_sensors_teaches_the_students_that_it_knows(bag, example, tmp_path, sensors, said):
    save_sample(sample_path(tmp_path, 0), example)
    few = dataclasses.replace(SMALL, sensors=sensors)
    save_checkpoint(tmp_path / "few.safetensors", DepthNetwork(few), CheckpointInfo(few))
    done = replayed(bag, tmp_path / "few.safetensors", tmp_path / "out", "--original", str(tmp_path))
    assert (done.exit_code == 0) == ("spikes" in sensors)
    assert said in " ".join(done.output.split())


def test_as_many_originals_as_the_node_has(bag, checkpoint, example, tmp_path, monkeypatch):
    asked = []

    def rendered(count, scale):
        asked.append(count)
        return iter([example])

    monkeypatch.setattr(originals, "rendered_originals", rendered)
    done = replayed(bag, checkpoint, tmp_path)
    assert done.exit_code == 0, done.output
    node = yaml.safe_load(config_path("adaptation.yaml").read_text())["/**"]["ros__parameters"]
    assert asked == [node["originals"]]


def test_a_second_replay_takes_the_place_of_the_first(bag, checkpoint, example, tmp_path):
    save_sample(sample_path(tmp_path, 0), example)
    kept = Snapshots(tmp_path / "out" / "snapshots")
    network, info = load_checkpoint(checkpoint)
    earlier = kept.save(network, info, {})
    kept.serve(earlier.sha256)
    done = replayed(bag, kept.paths()[0], tmp_path / "out", "--original", str(tmp_path))
    assert done.exit_code != 0
    assert "choose another --out" in " ".join(done.output.split())
    assert (kept.hashes(), kept.serving()) == ([earlier.sha256], earlier.sha256)
    done = replayed(bag, checkpoint, tmp_path / "out", "--original", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert list(kept.folder.iterdir()) == []
