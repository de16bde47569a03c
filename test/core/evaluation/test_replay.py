from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from spike_depth_core.bags import BagReader, messages, types
from spike_depth_core.bags.sensors import find_sensors
from spike_depth_core.cli.main import app
from spike_depth_core.cli.options import parse_topics
from spike_depth_core.evaluation.replay import Replay
from spike_depth_core.evaluation.replay_report import figures_of
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.inference.moments import sample_from_moment
from spike_depth_core.networks.checkpoint import save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.streams import Frame, Moment
from test.core.bags.recordings import (
    FRAME_NS,
    ODOMETRY,
    START_NS,
    Written,
    small_recording,
    with_lidar,
    with_odometry,
    write_recording,
)
from test.core.factories import ground_depth, small_rig

RIG = small_rig(64, 48)
TRUTH = "/truth/depth/image_rect"
SMALL = Architecture(sensors=("spikes", "rgb"), widths=(8, 8, 8, 8, 8), trunk_blocks=1, pixels=64 * 64)


@pytest.fixture(scope="module")
def recording() -> list[Written]:
    # Before the first frame there are planes enough for a window.
    return small_recording(rig=RIG)


@pytest.fixture(scope="module")
def path(tmp_path_factory, recording):
    return write_recording(tmp_path_factory.mktemp("bag") / "a.mcap", recording)


@pytest.fixture(scope="module")
def estimator() -> DepthEstimator:
    return DepthEstimator.untrained(0, SMALL)


def replayed(path, estimator, **options):
    bag = BagReader(path)
    run = Replay(bag, estimator, find_sensors(bag), RIG, **options)
    return run, list(run.frames())


def received(recording: list[Written], by_ns: int) -> list[Written]:
    """The same messages, received so much later than their stamps tell."""
    return [(topic, kind, message, time_ns + by_ns) for topic, kind, message, time_ns in recording]


def test_depth_is_what_the_estimator_says_of_each_moment(path, estimator, recording):
    run, frames = replayed(path, estimator)
    packets = [messages.spikes_from_message(m) for _, kind, m, _ in recording if kind == types.SPIKE_PACKET]
    planes = np.concatenate([packet.data for packet in packets])
    images = {messages.stamp_ns(m): messages.image_from_message(m) for topic, _, m, _ in recording if "rgb/im" in topic}
    assert len(frames) == 5
    for frame in frames:
        time_ns = frame.estimate.time_ns
        last = (time_ns - START_NS) // 50_000
        first = last - estimator.spike_planes
        # The spikes are those of the first packet's type, cut by hand.
        spikes = type(packets[0])(planes[first:last], 64, 50_000, START_NS + first * 50_000) if first >= 0 else None
        rgb = Frame(time_ns, images[time_ns], RIG.cameras["rgb"])
        sample = sample_from_moment(Moment(time_ns, spikes, {"rgb": rgb}), RIG, RIG.cameras, "spikes")
        expected = estimator.estimate(sample, "spikes", frame.estimate.sensors)
        assert np.array_equal(frame.estimate.depth, expected.depth)
    assert {f.estimate.sensors for f in frames} == {("spikes", "rgb")}
    assert run.counts()["spikes"]["lost"] == 0


def test_the_same_bag_gives_the_same_checksum(path, estimator, recording, tmp_path):
    first, _ = replayed(path, estimator)
    again, _ = replayed(path, estimator)
    assert first.digest == again.digest
    changed = [w for w in recording if w[0] != "/rgb/image_raw" or messages.stamp_ns(w[2]) != START_NS + 3 * FRAME_NS]
    other, _ = replayed(write_recording(tmp_path / "b.db3", changed), estimator)
    assert other.digest != first.digest
    same, _ = replayed(write_recording(tmp_path / "c.db3", recording), estimator)
    assert same.digest == first.digest


def test_depth_is_scored_against_images(path, estimator):
    run, frames = replayed(path, estimator, truth=TRUTH)
    truth = ground_depth(RIG.cameras["spikes"])
    inside = (truth > 1) & (truth < 80)
    for frame in frames:
        assert np.array_equal(frame.truth, truth)
        clipped = np.clip(frame.estimate.depth, 1, 80)
        assert frame.abs_rel == pytest.approx(np.mean(np.abs(clipped - truth)[inside] / truth[inside]), rel=1e-3)
    assert run.evaluation.mean()["frames"] == 5
    assert run.timeline.abs_rel == [frame.abs_rel for frame in frames]
    assert not run.unscored


def test_a_truth_that_comes_late_or_not_at_all(tmp_path, estimator, recording):
    late = [(t, k, m, ns + 100_000_000 if t == TRUTH else ns) for t, k, m, ns in recording]
    run, frames = replayed(write_recording(tmp_path / "late.mcap", late), estimator, truth=TRUTH)
    assert [frame.abs_rel is not None for frame in frames] == 5 * [True]
    times = [frame.estimate.time_ns for frame in frames]
    assert times == sorted(times)
    few = [w for w in recording if w[0] != TRUTH or messages.stamp_ns(w[2]) == START_NS + 2 * FRAME_NS]
    run, frames = replayed(write_recording(tmp_path / "few.mcap", few), estimator, truth=TRUTH)
    assert [frame.abs_rel is not None for frame in frames] == [False, True, False, False, False]
    assert run.unscored == {"no truth near in time": 4}


@pytest.mark.parametrize("by_ns", [3_600_000_000_000, -37_000_000_000])
def test_the_time_of_reception_does_not_matter_to_what_belongs_together(tmp_path, estimator, recording, by_ns):
    posed = with_odometry(recording, 0.3)
    bags = [write_recording(tmp_path / "a.mcap", posed), write_recording(tmp_path / "b.mcap", received(posed, by_ns))]
    for parallax in (False, True):
        (run, frames), (moved, others) = (
            replayed(bag, estimator, truth=TRUTH, odometry=ODOMETRY, parallax=parallax) for bag in bags
        )
        assert moved.digest == run.digest
        assert [frame.abs_rel for frame in others] == [frame.abs_rel for frame in frames]
        assert not moved.unscored
        for frame, other in zip(frames, others, strict=True):
            assert np.array_equal(frame.sample.world_from_reference, other.sample.world_from_reference)


class WatchedReader(BagReader):
    """A bag that knows how far it has been read."""

    now_ns = 0

    def messages(self, *args, **options):
        for message in super().messages(*args, **options):
            self.now_ns = message.time_ns
            yield message


@pytest.mark.parametrize(
    ("by_ns", "parallax"), [(0, False), (0, True), (-3_600_000_000_000, False), (-3_600_000_000_000, True)]
)
def test_frames_are_not_held_for_odometry_that_has_ended(tmp_path, estimator, by_ns, parallax):
    # Truth and poses are there at once, the sensors 0.3 s later.
    delay_ns = 300_000_000
    posed = with_odometry(small_recording(1.0, rig=RIG))
    ended = [w for w in posed if w[0] != ODOMETRY or w[3] < START_NS + 6 * FRAME_NS]
    late = [(t, k, m, ns + (0 if t in (TRUTH, ODOMETRY) else delay_ns)) for t, k, m, ns in ended]
    bag = WatchedReader(write_recording(tmp_path / "a.mcap", received(late, by_ns)))
    topics = find_sensors(bag)
    run = Replay(bag, estimator, topics, RIG, truth=TRUTH, rate_hz=10.0, odometry=ODOMETRY, parallax=parallax)
    held_ns = [bag.now_ns - by_ns - delay_ns - frame.estimate.time_ns for frame in run.frames()]
    assert len(held_ns) == 10
    assert max(held_ns) < 500_000_000 + 4 * FRAME_NS
    assert run.unplaced == {"no pose near in time": 8}
    assert not run.unscored


def test_a_truth_in_another_frame_is_not_compared(tmp_path, estimator, recording):
    moved = []
    for topic, kind, message, time_ns in recording:
        if topic == TRUTH:
            stamp = messages.stamp_ns(message)
            message = messages.image_to_message(messages.image_from_message(message), "32FC1", stamp, "elsewhere")
        moved.append((topic, kind, message, time_ns))
    run, _ = replayed(write_recording(tmp_path / "a.mcap", moved), estimator, truth=TRUTH)
    assert not run.evaluation.frames
    assert run.unscored == {"truth: it is in elsewhere, the depth in spikes_optical_frame": 5}


def test_lidar_points_are_a_truth_too(tmp_path, estimator, recording):
    unplaced = write_recording(tmp_path / "unplaced.mcap", with_lidar(recording, placed=False))
    run, _ = replayed(unplaced, estimator, truth="/lidar/points")
    (reason,) = run.unscored
    assert "/tf_static does not say how 'lidar' lies to 'spikes_optical_frame'" in reason
    run, frames = replayed(
        write_recording(tmp_path / "a.mcap", with_lidar(recording)), estimator, truth="/lidar/points"
    )
    for frame in frames:
        seen = np.isfinite(frame.truth)
        assert 300 < seen.sum() <= 1200
        np.testing.assert_allclose(frame.truth[seen], 12.0, atol=1e-4)
        assert frame.abs_rel == pytest.approx(
            np.mean(np.abs(np.clip(frame.estimate.depth[seen], 1, 80) - 12) / 12), rel=1e-3
        )


def test_samples_have_their_place_where_there_is_odometry(tmp_path, estimator, recording):
    path = write_recording(tmp_path / "a.mcap", with_odometry(recording, 0.3))
    _, frames = replayed(path, estimator, odometry=ODOMETRY)
    begin_ns = START_NS + FRAME_NS
    places = [frame.sample.world_from_reference for frame in frames]
    driven = [0.3 * (frame.sample.time_ns - begin_ns) / FRAME_NS for frame in frames]
    np.testing.assert_allclose([place[2, 3] for place in places], driven, atol=1e-6)
    _, without = replayed(path, estimator)
    assert all(frame.sample.world_from_reference is None for frame in without)
    assert [frame.abs_rel for frame in frames] == [frame.abs_rel for frame in without]


def test_by_parallax_the_moments_before_have_a_say(tmp_path, estimator, recording):
    driven = write_recording(tmp_path / "a.mcap", with_odometry(recording, 0.3))
    run, frames = replayed(driven, estimator, odometry=ODOMETRY, parallax=True)
    _, alone = replayed(driven, estimator, odometry=ODOMETRY)
    assert [frame.estimate.time_ns for frame in frames] == [frame.estimate.time_ns for frame in alone]
    changed = [not np.array_equal(a.estimate.depth, b.estimate.depth) for a, b in zip(frames, alone, strict=True)]
    assert changed == [False] + [True] * (len(frames) - 1)  # before the first there is none
    assert [share > 0 for share in run.timeline.measured] == changed
    standing = write_recording(tmp_path / "b.mcap", with_odometry(recording, 0.0))
    run, _ = replayed(standing, estimator, odometry=ODOMETRY, parallax=True)
    assert not any(run.timeline.measured)


def test_odometry_of_which_nothing_can_be_made_is_told(tmp_path, estimator, recording):
    posed = with_odometry(recording, 0.3)
    for child, told in (
        ("wheel", "no transform from 'wheel' to any sensor"),
        ("", "poses not usable (child_frame_id)"),
    ):
        for written in posed:
            if written[0] == ODOMETRY:
                written[2].child_frame_id = child
        bag = write_recording(tmp_path / f"{child or 'none'}.mcap", posed)
        run, frames = replayed(bag, estimator, odometry=ODOMETRY, parallax=True)
        assert any(told in line for line in run.complaints())
        figures = figures_of(run, 1.0)
        assert figures["measured_frames"] == 0
        assert sum(figures["unplaced"].values()) == len(frames)


def test_fewer_depth_images_are_asked_for_by_their_rate(path, estimator):
    _, frames = replayed(path, estimator, rate_hz=15.0)
    assert len(frames) == 3


def test_sensors_may_be_left_out(path, estimator):
    _, frames = replayed(path, estimator, sensors=("rgb",))
    assert {frame.estimate.sensors for frame in frames} == {("rgb",)}
    assert {frame.frame_id for frame in frames} == {"rgb_optical_frame"}
    with pytest.raises(ValueError, match="has no nir for the reference"):
        replayed(path, estimator, reference="nir")


def test_the_command(path, tmp_path, estimator):
    network = DepthNetwork(SMALL)
    save_checkpoint(tmp_path / "small.safetensors", network, estimator.info)
    out = tmp_path / "out"
    base = ["replay", str(path), "--checkpoint", str(tmp_path / "small.safetensors"), "--out", str(out)]
    result = CliRunner().invoke(app, [*base, "--truth", TRUTH], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["depth_frames"] == metrics["frames"] == 5
    assert metrics["topics"] == {"spikes": "/spikes/packets", "rgb": "/rgb/image_raw"}
    depth = BagReader(out / "depth.mcap")
    assert depth.damage == []
    stamps = [messages.stamp_ns(m.decode()) for m in depth.messages(["/depth_node/depth/image_rect"])]
    assert stamps == [START_NS + k * FRAME_NS for k in range(1, 6)]
    page = (out / "report.html").read_text()
    for text in ("Accuracy", "Is the uncertainty worth something?", "Over time", "Worst", "<video"):
        assert text in page
    again = CliRunner().invoke(app, [*base, "--depth", "files", "--no-video"], catch_exceptions=False)
    assert again.exit_code == 0, again.output
    assert json.loads((out / "metrics.json").read_text())["depth_sha256"] == metrics["depth_sha256"]
    assert len(list((out / "depth").iterdir())) == 5
    assert written(again, out) == ["depth", "metrics.json", "report.html"]
    assert sorted(path.name for path in out.iterdir()) == written(again, out)  # what was of the first is gone
    (out / "depth" / "notes.txt").write_text("mine")
    third = CliRunner().invoke(app, [*base, "--depth", "files", "--no-video", "--duration", "0.1"])
    assert third.exit_code == 0, third.output
    assert len(list((out / "depth").glob("*.npz"))) < 5
    last = CliRunner().invoke(app, [*base, "--depth", "none", "--no-video"])
    assert written(last, out) == ["metrics.json", "report.html"]
    assert [path.name for path in (out / "depth").iterdir()] == ["notes.txt"]


def written(result, out) -> list[str]:
    """The files that a command says it has written."""
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[-1].removeprefix(f"{out}/: ").split(", ")


def test_a_bag_in_the_place_of_the_result_is_not_removed(path, tmp_path, estimator):
    save_checkpoint(tmp_path / "small.safetensors", DepthNetwork(SMALL), estimator.info)
    bag = tmp_path / "depth.mcap"
    bag.write_bytes(path.read_bytes())
    base = ["replay", str(bag), "--checkpoint", str(tmp_path / "small.safetensors"), "--out", str(tmp_path)]
    result = CliRunner().invoke(app, base)
    assert result.exit_code == 2
    assert f"{bag} is read, and would be replaced: choose another --out" in result.stderr
    assert bag.read_bytes() == path.read_bytes()


def test_what_the_command_cannot_do_is_one_clear_line(path, tmp_path):
    with pytest.raises(ValueError, match="--topic takes SENSOR=TOPIC, found 'rgb'"):
        parse_topics(["rgb"])
    with pytest.raises(ValueError, match="one topic a sensor, found /a and /b for rgb"):
        parse_topics(["rgb=/a", "nir=/c", "rgb=/b"])
    result = CliRunner().invoke(app, ["replay", str(path), "--truth", "/nothing", "--out", str(tmp_path)])
    assert result.exit_code == 2
    result = CliRunner().invoke(app, ["replay", str(tmp_path / "gone.mcap")])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--adapt-steps", "1"], "--adapt-steps belongs to --adapt"),
        (["--adapt-interval", "0.5", "--parallax"], "--adapt-interval belongs to --adapt"),
        (["--original", "x", "--originals", "3"], "--original, --originals belongs to --adapt"),
        (["--odometry", "/odom"], "--odometry belongs to --adapt and --parallax"),
        (["--adapt", "--pixels", "2048"], "--adapt learns with pictures of the checkpoint's own size"),
    ],
)
def test_options_without_effect_are_refused(path, tmp_path, arguments, said):
    result = CliRunner().invoke(app, ["replay", str(path), "--out", str(tmp_path / "out"), *arguments])
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out").exists()
