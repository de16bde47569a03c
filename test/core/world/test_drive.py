"""Samples of the world, and drives played from it."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.spikes import spike_counts
from spike_depth_core.world import DrivePlayer, World, vehicle_rig
from spike_depth_core.world.weather import Weather


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


def test_a_heading_turns_the_rig_to_the_right_about_its_place():
    camera = PinholeCamera.from_focal(121, 61, 60.0)
    angle = 0.4
    ahead, turned = (
        World(4, "day", SensorRig({"rgb": camera}, {}, "rgb"), heading=h).sample(2.0, sensors=("rgb",))
        for h in (0.0, angle)
    )
    here, there = ahead.world_from_reference, turned.world_from_reference
    np.testing.assert_allclose(there[:3, 3], here[:3, 3])
    np.testing.assert_allclose(there[:3, 2], np.cos(angle) * here[:3, 2] + np.sin(angle) * here[:3, 0], atol=1e-12)
    # A ray through both pictures meets the same surface at the same distance.
    v, u = np.mgrid[:61, :50]
    x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
    z = np.cos(angle) - np.sin(angle) * x  # in the camera that looks ahead
    columns = np.rint(camera.fx * (np.sin(angle) + np.cos(angle) * x) / z + camera.cx).astype(int)
    rows = np.rint(camera.fy * y / z + camera.cy).astype(int)
    seen = (columns >= 0) & (columns < 121) & (rows >= 0) & (rows < 61)
    assert seen.sum() > 1000
    first = turned.depth["rgb"][v[seen], u[seen]]
    second = ahead.depth["rgb"][rows[seen], columns[seen]] / z[seen]
    near = (first < 30) & (second < 30)
    assert near.sum() > 500
    assert np.median(np.abs(first[near] / second[near] - 1)) < 0.03  # pixels are rounded


def test_a_tilt_turns_the_rig_up_about_its_place_and_its_own_side(rig):
    angle = 0.1
    level, tilted = (World(4, "day", rig, heading=0.5, tilt=t).world_from_reference(2.0) for t in (0.0, angle))
    np.testing.assert_allclose(tilted[:3, 3], level[:3, 3])
    np.testing.assert_allclose(tilted[:3, 0], level[:3, 0], atol=1e-12)  # right stays right
    np.testing.assert_allclose(tilted[:3, 2], np.cos(angle) * level[:3, 2] - np.sin(angle) * level[:3, 1], atol=1e-12)
    assert tilted[2, 2] > level[2, 2] + 0.09  # z of the world is up


def test_a_rig_looks_neither_behind_nor_into_the_sky(rig):
    with pytest.raises(ValueError, match="heading must be within"):
        World(4, rig=rig, heading=2.0)
    with pytest.raises(ValueError, match="tilt must be within"):
        World(4, rig=rig, tilt=-0.6)


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


@pytest.fixture(scope="module")
def stereo(rig) -> SensorRig:
    cameras = {**rig.cameras, "spikes_right": rig.cameras["spikes"], "rgb_right": rig.cameras["rgb"]}
    poses = {**rig.poses, "spikes_right": pose((0.54, 0.0, 0.0)), "rgb_right": pose((0.64, 0.0, 0.0))}
    return SensorRig(cameras, poses)


def test_a_stereo_pair_differs_by_the_disparity(stereo):
    world = World(11, "day", stereo, supersample=1, speed=8.0, layout="town")
    passes = world.render(2.0, ("rgb", "rgb_right"))
    left, right = passes["rgb"], passes["rgb_right"]
    camera = stereo.cameras["rgb"]
    disparity = camera.fx * 0.54 / left.depth
    v, u = np.mgrid[: camera.height, : camera.width]
    inside = np.isfinite(left.depth) & (u - disparity > 0) & (u + disparity < camera.width - 1) & (disparity > 2.0)
    # What stands on the road: the road itself looks the same wherever one is along a row.
    upright = inside & (left.depth < 0.9 * np.median(left.depth, axis=1, keepdims=True))
    assert inside.sum() > 1500
    assert upright.sum() > 150

    def fitting(sign, chosen):
        place = np.clip(np.rint(u + sign * disparity), 0, camera.width - 1).astype(int)
        found, colour = right.depth[v, place][chosen], right.radiance[v, place, 1][chosen]
        same = np.corrcoef(np.log(colour), np.log(left.radiance[chosen][:, 1]))[0, 1]
        return (np.abs(found / left.depth[chosen] - 1.0) < 0.05).mean(), same

    depth, colour = fitting(-1, inside)
    assert depth > 0.88  # the rest is hidden from one of the two, or at an edge
    assert colour > 0.75
    depth, colour = fitting(-1, upright)
    assert depth > 0.75
    wrong_depth, wrong_colour = fitting(1, upright)
    assert wrong_depth < 0.4
    assert wrong_colour < colour - 0.2


def test_a_right_hand_camera_is_of_the_same_model_and_has_noise_of_its_own(stereo):
    together = SensorRig(stereo.cameras, {**stereo.poses, "spikes_right": np.eye(4), "rgb_right": stereo.poses["rgb"]})
    sample = World(4, "dusk", together).sample(2.0, planes=64)
    assert sample.images == ("spikes", "rgb", "nir", "thermal", "spikes_right", "rgb_right")
    assert sample.depth["spikes_right"] is sample.depth["spikes"]
    # One place, one light, one exposure: what differs is noise.
    difference = sample.rgb.astype(float) - sample.rgb_right
    assert 0.0 < np.abs(difference).mean() < 12.0
    assert abs(difference.mean()) < 0.5
    rates = [spike_counts(s, [64])[0] / 64 for s in (sample.spikes, sample.spikes_right)]
    assert (sample.spikes.data != sample.spikes_right.data).any()
    assert rates[0].mean() == pytest.approx(rates[1].mean(), rel=0.02)
    assert sample.spikes_right.end_ns == sample.spikes.end_ns


def test_frames_know_their_place_in_the_sequence_and_in_the_world(rig):
    world = World(3, "day", rig, layout="country", speed=20.0)
    frames = list(world.frames(3, rate_hz=10.0, start_s=2.0, planes=8, sensors=("rgb",), sequence=77))
    assert [sample.meta["frame"] for sample in frames] == [0, 1, 2]
    assert {sample.meta["sequence"] for sample in frames} == {77}
    for k, sample in enumerate(frames):
        np.testing.assert_allclose(sample.world_from_reference, world.world_from("spikes", 2.0 + k / 10))
    step = np.linalg.inv(frames[0].world_from_reference) @ frames[1].world_from_reference
    assert step[2, 3] == pytest.approx(2.0, rel=0.1)  # 20 m/s for 0.1 s, ahead
    assert world.sample(2.0, 8, ("rgb",)).meta["sequence"] == 3
    # Points of the still world that one frame sees lie where the next one sees them.
    camera, first, second = rig.cameras["rgb"], frames[0].depth["rgb"], frames[1].depth["rgb"]
    to_world = [s.world_from_reference @ rig.reference_from("rgb") for s in frames[:2]]
    v, u = np.mgrid[: camera.height, : camera.width]
    ray = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u, float)], -1)
    hit = np.isfinite(first) & (first < 40.0)
    points = (ray * first[..., None])[hit] @ to_world[0][:3, :3].T + to_world[0][:3, 3]
    local = (points - to_world[1][:3, 3]) @ to_world[1][:3, :3]
    place = np.rint(local[:, :2] / local[:, 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]).astype(int)
    inside = (place >= 0).all(1) & (place < [camera.width, camera.height]).all(1) & (local[:, 2] > 1.0)
    seen = second[place[inside, 1], place[inside, 0]]
    assert inside.sum() > 1000
    assert (np.abs(seen / local[inside, 2] - 1.0) < 0.05).mean() > 0.85


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 6, "rate_hz": 0.01}, "from 1 to 501 s: a scene lasts from -1 to 301 s"),
        ({"count": 1, "start_s": 301.5}, "from 301.5 to 301.5 s"),
        ({"count": 1, "start_s": float("nan")}, "from nan to nan s"),
        ({"count": 2, "rate_hz": 0.0}, "rate_hz must be above 0, found 0"),
        ({"count": 2, "rate_hz": float("inf")}, "rate_hz must be above 0, found inf"),
        ({"count": 2, "sensors": ("sonar",)}, "sensors must be some of .*, found .*sonar"),
        ({"count": 2, "sensors": ("rgb_right",)}, "the rig has no rgb_right"),
    ],
)
def test_frames_that_cannot_be_are_refused_when_they_are_asked_for(rig, options, message):
    world = World(3, "day", rig)
    with pytest.raises(ValueError, match=message):
        world.frames(**options)  # none is taken


def test_rain_reaches_every_sensor(rig):
    dry, wet = (
        World(4, "day", rig, weather=dataclasses.replace(Weather.rain(50.0), rain_mm_h=rate, visibility_m=2000.0))
        for rate in (0.0, 50.0)
    )
    passes = wet.render(2.0, ("rgb",))["rgb"]
    assert len(passes.rain.diameters) > 1000
    assert dry.render(2.0, ("rgb",))["rgb"].rain is None
    sensor = wet.suite.rgb
    seen = sensor.observe(passes, 1)
    assert (seen != sensor.observe(dataclasses.replace(passes, rain=None), 1)).mean() > 0.02
    spikes = wet.suite.spikes.observe(passes, 64, 0, 1)
    assert (spikes.data != wet.suite.spikes.observe(dataclasses.replace(passes, rain=None), 64, 0, 1).data).any()
    assert wet.sample(2.0, 8, ("rgb",)).meta["rain"] == 50.0


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
    assert player.image("rgb", 4).shape == (72, 120, 3)
    assert player.image("thermal", 0).dtype == np.uint16
    assert player.sensors == ("rgb", "thermal")
    assert player.frame_time_ns(3) == 300_000_000
    with pytest.raises(KeyError, match="not with 'nir'"):
        player.image("nir", 0)


def test_frames_of_a_drive_are_those_of_the_world(player, rig):
    sample = World(3, "day", rig, supersample=1, speed=10.0).sample(2.2, sensors=("spikes", "rgb", "thermal"))
    np.testing.assert_array_equal(player.image("rgb", 2), sample.rgb)
    np.testing.assert_array_equal(player.image("thermal", 2), sample.thermal)
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duration_s": 400.0}, "from 1 to 401 s: a scene lasts from -1 to 301 s"),
        ({"duration_s": 20.0, "start_s": 290.0}, "from 290 to 310 s"),
        ({"start_s": -3.0}, "from -3 to "),
        ({"start_s": float("nan")}, "from nan to "),
        ({"duration_s": -5.0}, "duration_s must be above 0, found -5"),
        ({"duration_s": float("nan")}, "duration_s must be above 0, found nan"),
        ({"duration_s": float("inf")}, "duration_s must be above 0, found inf"),
        ({"rate_hz": 0.0}, "rate_hz must be above 0, found 0"),
        ({"rate_hz": float("nan")}, "rate_hz must be above 0, found nan"),
        (
            {"sensors": ("spikes",)},
            r"sensors must be frame cameras of the rig, \['nir', 'rgb', 'thermal'\], found 'spikes'",
        ),
        ({"sensors": ("rgb", "sonar")}, "found 'sonar'"),
    ],
)
def test_a_drive_that_cannot_be_is_refused_before_the_work(rig, options, message):
    with pytest.raises(ValueError, match=message):
        DrivePlayer.prepare(
            3, **{"duration_s": 1.0, "condition": "day", "rig": rig, "workers": 0, **options},
            progress=lambda *_: pytest.fail("it is rendered"),
        )  # fmt: skip


def test_a_drive_may_last_to_the_end_of_the_scene(rig):
    player = DrivePlayer.prepare(3, 0.4, "day", rig, rate_hz=5.0, sensors=(), start_s=300.6, workers=0)
    assert player.start_s + player.duration_s == pytest.approx(301.0)
    moved = np.linalg.inv(player.pose(0)) @ player.pose(2)
    assert moved[2, 3] == pytest.approx(0.4 * player.world.speed(300.8), rel=0.05, abs=1e-3)
    world = World(3, "day", rig)
    world.frames(604, rate_hz=2.01)  # the last is 6e-14 s beyond, by rounding
    first = next(world.frames(1, start_s=-1.0, planes=4, sensors=("spikes",)))
    assert np.isfinite(first.depth["spikes"][-5:]).all()


def test_worker_processes_make_the_same_drive(rig):
    drives = [
        DrivePlayer.prepare(3, 1.2, "night", rig, rate_hz=10.0, start_s=2.0, workers=workers, sensors=("thermal",))
        for workers in (0, 1)
    ]
    np.testing.assert_array_equal(drives[0].planes(2000).data, drives[1].planes(2000).data)
    np.testing.assert_array_equal(drives[0].image("thermal", 12), drives[1].image("thermal", 12))


def test_a_drive_in_the_rain_plays_its_drops(rig):
    options = {"weather": Weather.rain(40.0), "layout": "town", "speed": 10.0}
    player = DrivePlayer.prepare(3, 0.1, "day", rig, rate_hz=10.0, start_s=2.0, workers=0, sensors=(), **options)
    wet = player.planes(1000)
    again = player.again()
    again._field = None
    dry = again.planes(1000)
    counts = [spike_counts(spikes, [1000])[0].astype(float) for spikes in (wet, dry)]
    assert (np.abs(counts[0] - counts[1]) > 2).mean() > 0.003  # a drop that passes changes some
    assert counts[0].mean() == pytest.approx(counts[1].mean(), rel=0.03)
    again = player.again()
    np.testing.assert_array_equal(again.planes(1000).data, wet.data)


@pytest.mark.parametrize("at", [0, 1700])
def test_spikes_of_a_rainy_drive_see_the_drops_and_the_lamps_of_its_frames(rig, at):
    options = {"weather": Weather.rain(40.0), "layout": "town", "speed": 10.0}
    player = DrivePlayer.prepare(3, 0.1, "night", rig, rate_hz=10.0, start_s=2.0, workers=0, sensors=(), **options)
    player.planes(at)
    player.planes(64)
    spikes = player._rain
    frames = World(3, "night", rig, **options).render(player.start_s + player._rain_s, ("spikes",))["spikes"].rain
    # Their diameters tell drops apart.
    _, here, there = np.intersect1d(spikes.diameters, frames.diameters, return_indices=True)
    assert len(here) == len(spikes.diameters) > 300
    np.testing.assert_allclose(spikes.places[here], frames.places[there], atol=1e-9)
    np.testing.assert_allclose(spikes.lamplight[here], frames.lamplight[there], rtol=1e-6)
    missing = np.setdiff1d(np.arange(len(frames.diameters)), there)
    assert len(missing) > 300
    # Left out are the faint ones alone; those at the edges aside, which the longer time of the frames brings into view.
    u, v = (frames.places[missing, :2] / frames.places[missing, 2:]).T * rig.cameras["spikes"].fx
    inside = (np.abs(u) < 50) & (np.abs(v) < 30) & (frames.places[missing, 2] > 0.4)
    assert (frames.places[missing, 2] > 800 * frames.diameters[missing])[inside].all()
