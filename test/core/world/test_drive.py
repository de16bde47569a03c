"""Samples of the world, and drives played from it."""

from dataclasses import replace

import numpy as np
import pytest

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.spikes import spike_counts
from spike_depth_core.world import DrivePlayer, World, vehicle_rig


@pytest.fixture(scope="module")
def rig() -> SensorRig:
    camera = PinholeCamera.from_focal(104, 64, 86.0)
    frame = PinholeCamera.from_focal(120, 72, 95.0)
    poses = {"rgb": pose((0.1, 0.0, 0.0)), "nir": pose((0.1, 0.0, 0.0)), "thermal": pose((0.0, -0.1, 0.0))}
    return SensorRig({"spikes": camera, "rgb": frame, "nir": frame, "thermal": camera}, poses)


def test_a_sample_has_all_sensors_and_their_truth(rig):
    sample = World(3, "day", rig).sample(2.0)
    assert sample.sensors == ("spikes", "rgb", "nir", "thermal")
    assert sample.time_ns == sample.spikes.end_ns == 2_000_000_000
    assert len(sample.spikes) == 256
    assert sample.thermal.dtype == np.uint16
    assert 25_000 < np.median(sample.thermal) < 33_000  # -23 to 57 degrees Celsius
    for sensor in sample.sensors:
        depth = sample.depth[sensor]
        assert depth.shape == sample.size(sensor)
        assert (depth > 0).all()
        assert np.isfinite(depth[-5:]).all()
    assert sample.depth["rgb"] is sample.depth["nir"]  # one rendering where camera and pose are the same
    assert sample.meta["condition"] == "day"
    assert sample.meta["seed"] == 3


def test_the_same_arguments_give_the_same_sample(rig):
    first, second = (World(8, None, rig).sample(1.5, planes=32) for _ in range(2))
    np.testing.assert_array_equal(first.spikes.data, second.spikes.data)
    np.testing.assert_array_equal(first.rgb, second.rgb)
    np.testing.assert_array_equal(first.thermal, second.thermal)
    assert first.meta == second.meta
    later = World(8, None, rig).sample(1.6, planes=32)
    assert (later.spikes.data != first.spikes.data).any()


def test_speed_is_that_of_the_vehicle(rig):
    world = World(3, "day", rig, layout="country", speed=20.0)
    places = [world.world_from("spikes", time)[:3, 3] for time in (2.0, 2.5)]
    mean = np.linalg.norm(places[1] - places[0]) / 0.5
    assert abs(np.mean([world.speed(time) for time in np.linspace(2.0, 2.5, 11)]) - mean) < 0.05
    assert world.sample(2.0, 1).meta["speed"] == round(world.speed(2.0), 3)


def test_a_day_is_brighter_than_a_night(rig):
    rates = {}
    for condition in ("day", "night"):
        samples = [World(seed, condition, rig).sample(2.0, sensors=("spikes",)) for seed in range(4)]
        lower = [spike_counts(sample.spikes, [256])[0][32:] / 256 for sample in samples]
        rates[condition] = np.median(lower)
    assert 0.05 < rates["day"] < 0.6
    assert rates["night"] < 0.25 * rates["day"]


def test_only_what_is_asked_for_and_what_there_is(rig):
    world = World(3, "day", rig)
    assert world.sample(2.0, sensors=("thermal",)).sensors == ("thermal",)
    with pytest.raises(ValueError, match="sensors must be some of"):
        world.sample(2.0, sensors=("lidar",))
    alone = World(3, "day", SensorRig.single("rgb", rig.cameras["rgb"]))
    assert alone.sample(2.0).sensors == ("rgb",)
    with pytest.raises(ValueError, match="the rig has no spikes"):
        alone.sample(2.0, sensors=("spikes",))
    bent = replace(rig.cameras["rgb"], distortion=(0.1, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="undistorted cameras only, but rgb has distortion"):
        World(3, "day", SensorRig.single("rgb", bent))


def test_the_default_rig_is_the_vehicle():
    rig = World(1).rig
    assert replace(rig, height=None).to_dict() == replace(vehicle_rig(), height=None).to_dict()
    assert 1.45 <= rig.height <= 1.85


def test_the_reference_camera_is_as_high_over_the_road_as_the_rig_says(rig):
    world, lower = World(3, rig=replace(rig, height=2.5)), World(3, rig=replace(rig, height=1.2))
    for time_s in (1.0, 2.0):
        raised = world.world_from("spikes", time_s)[2, 3] - lower.world_from("spikes", time_s)[2, 3]
        assert raised == pytest.approx(1.3)
    assert world.rig.height == 2.5
    assert vehicle_rig().cameras["spikes"].width == 400


@pytest.fixture(scope="module")
def player(rig) -> DrivePlayer:
    return DrivePlayer.prepare(3, 0.4, "day", rig, rate_hz=10.0, start_s=2.0, workers=0, speed=10.0)


def test_a_drive_has_its_frames_and_planes(player):
    assert player.frame_count == 5
    assert player.duration_s == pytest.approx(0.4)
    assert player.rgb(4).shape == (72, 120, 3)
    assert player.thermal(0).dtype == np.uint16
    assert player.sensors == ("rgb", "thermal")
    assert player.frame_time_ns(3) == 300_000_000
    with pytest.raises(KeyError, match="not with 'nir'"):
        player.image("nir", 0)


def test_frames_of_a_drive_are_those_of_the_world(player, rig):
    sample = World(3, "day", rig, supersample=1, speed=10.0).sample(2.2, sensors=("spikes", "rgb", "thermal"))
    np.testing.assert_array_equal(player.rgb(2), sample.rgb)
    np.testing.assert_array_equal(player.thermal(2), sample.thermal)
    np.testing.assert_array_equal(player.depth(2), sample.depth["spikes"])


def test_planes_of_a_drive_go_on_in_time_and_end(rig):
    player = DrivePlayer.prepare(3, 0.1, "day", rig, rate_hz=10.0, start_s=2.0, workers=0, sensors=())
    end_ns = 0
    total = 0
    while len(spikes := player.planes(64)):
        assert spikes.start_ns == end_ns
        end_ns = spikes.end_ns
        total += len(spikes)
    assert total == 2000
    assert end_ns == 100_000_000
    assert player.planes_left == 0


def test_planes_of_a_drive_are_those_of_the_moment(rig):
    # Between key frames the light is moved and blended: compare with renderings of moments between them.
    player = DrivePlayer.prepare(3, 0.2, "day", rig, 10.0, (), start_s=2.0, workers=0, supersample=2, speed=10.0)
    world = World(3, "day", rig, supersample=2, speed=10.0)
    rates = []
    for window in range(15):
        rate = spike_counts(player.planes(256), [256])[0] / 256
        if window % 4 == 3:
            moment = 2.0 + (window + 1) * 256 * 50e-6
            truth = spike_counts(world.sample(moment, sensors=("spikes",)).spikes, [256])[0] / 256
            assert np.corrcoef(rate.ravel(), truth.ravel())[0, 1] > 0.965
            assert abs(rate.mean() - truth.mean()) < 0.01
        rates.append(rate.mean())
    assert np.abs(np.diff(rates)).max() < 0.012  # no pumping at the key frames


def test_what_progress_raises_stops_the_work(rig):
    seen = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        DrivePlayer.prepare(3, 3.0, "day", rig, rate_hz=10.0, workers=0, progress=progress, sensors=())
    assert seen[0] == (0, 31)
    assert len(seen) == 2


def test_worker_processes_make_the_same_drive(rig):
    drives = [
        DrivePlayer.prepare(3, 1.2, "night", rig, rate_hz=10.0, start_s=2.0, workers=workers, sensors=("thermal",))
        for workers in (0, 1)
    ]
    np.testing.assert_array_equal(drives[0].planes(2000).data, drives[1].planes(2000).data)
    np.testing.assert_array_equal(drives[0].thermal(12), drives[1].thermal(12))
