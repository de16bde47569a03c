"""Domains: what they fix, and that their samples are what they say."""

import numpy as np
import pytest
import yaml

from spike_depth_core.resources import config_path
from spike_depth_core.spikes import spike_counts
from spike_depth_core.world.domains import SPLITS, Domain, Look, PhysicalSpikes
from spike_depth_core.world.mediate import Frame, MediateSpikes
from spike_depth_core.world.render import RenderPass

SIZE = (40, 64)
NAMES = ("source", "target")


@pytest.fixture(scope="module")
def source() -> Domain:
    return Domain.load("source", SIZE)


@pytest.fixture(scope="module")
def target() -> Domain:
    return Domain.load("target", SIZE)


def same(a, b):
    assert a.images == b.images
    for image in a.images:
        x, y = getattr(a, image), getattr(b, image)
        np.testing.assert_array_equal(getattr(x, "data", x), getattr(y, "data", y))
        np.testing.assert_array_equal(a.depth[image], b.depth[image])
    assert a.meta == b.meta


def test_no_street_is_in_two_splits_or_domains_and_none_is_reserved():
    ranges = [ends for name in NAMES for ends in Domain.load(name).seeds.values()]
    assert len(ranges) == 6
    for i, (first, beyond) in enumerate(ranges):
        assert 0 <= first < beyond <= 900_000
        for other_first, other_beyond in ranges[i + 1 :]:
            assert beyond <= other_first or other_beyond <= first
    assert SPLITS["train"][1] <= SPLITS["validation"][0] < SPLITS["validation"][1] <= SPLITS["test"][0]


def test_the_domains_are_those_of_the_methods(source, target):
    assert source.town == "first"
    assert source.looks == (Look("day", "clear"),)
    assert source.spikes == MediateSpikes(planes=128)
    assert target.town == "second"
    assert isinstance(target.spikes, PhysicalSpikes)
    assert {look.condition for look in target.looks} == {"day", "dusk", "night"}
    assert {look.weather for look in target.looks} == {"clear", "rain", "fog"}
    assert all((look.condition, look.weather) != ("day", "clear") for look in target.looks)
    assert sum(look.share for look in target.looks) == pytest.approx(1.0)


def test_conditions_are_the_targets_town_and_splits_with_clear_days_among_them(target):
    conditions = Domain.load("conditions", SIZE)
    assert (conditions.town, conditions.spikes, conditions.seeds) == (target.town, target.spikes, target.seeds)
    drawn = [conditions.look("test", k) for k in range(100)]
    for condition, weather in (("day", "clear"), ("dusk", "clear"), ("night", "clear"), ("day", "rain")):
        assert sum((look.condition, look.weather) == (condition, weather) for look in drawn) >= 10
    assert sum(look.share for look in conditions.looks) == pytest.approx(1.0)


def test_looks_come_in_their_shares(target):
    drawn = [target.look("train", k) for k in range(2000)]
    for look in target.looks:
        assert drawn.count(look) / 2000 == pytest.approx(look.share, abs=0.04)
    world = target.world("train", 5)
    assert (world.condition, world.scene.weather.kind) == (drawn[5].condition, drawn[5].weather)


def test_a_source_sample_has_mediate_spikes_of_its_frames(source):
    first, second, third = source.sequence("validation", 4)
    for k, sample in enumerate((first, second, third)):
        assert sample.images == ("spikes", "rgb")
        assert (sample.meta["sequence"], sample.meta["frame"], sample.meta["domain"]) == (500_004, k, "source")
        assert (sample.meta["condition"], sample.meta["weather"], sample.meta["town"]) == ("day", "clear", "first")
        assert len(sample.spikes) == 128
        assert sample.spikes.end_ns == sample.time_ns
        assert sample.spikes.period_ns * 128 == pytest.approx(1e8, rel=1e-6)
        assert sample.depth["spikes"] is sample.depth["rgb"]
        assert sample.world_from_reference.shape == (4, 4)
    assert second.time_ns - first.time_ns == pytest.approx(1e8, abs=2)
    # Grey over two is the rate, between that of the two frames.
    grey = [s.rgb @ np.array([0.299, 0.587, 0.114]) / 255 for s in (first, second)]
    rate = spike_counts(second.spikes, [128])[0] / 128
    assert rate.mean() == pytest.approx(np.mean(grey) / 2, rel=0.03)
    assert np.corrcoef(rate.ravel(), ((grey[0] + grey[1]) / 2).ravel())[0, 1] > 0.93


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_that_of_its_sequence(name, source, target):
    domain = {"source": source, "target": target}[name]
    sequence = list(domain.sequence("test", 3))
    assert len(sequence) == domain.frames == 3
    same(domain.sample("test", 3 * 3 + 2), sequence[2])
    same(next(domain.sequence("test", 3, frames=1)), sequence[0])
    assert domain.sample("test", 3).meta["sequence"] == domain.seeds["test"][0] + 1


def test_a_target_sample_is_of_the_physical_camera(target):
    sample = target.sample("train", 0)
    assert sample.images == ("spikes", "rgb", "nir")
    assert len(sample.spikes) == 256
    assert sample.spikes.period_ns == 50_000
    assert sample.meta["town"] == "second"
    assert sample.meta["sequence"] == 250_000


def test_right_hand_images_come_when_asked_for(source):
    stereo = Domain.load("source", SIZE, sensors=("spikes", "rgb", "rgb_right", "spikes_right"), frames=1)
    sample = stereo.sample("validation", 4)
    assert sample.images == ("spikes", "rgb", "spikes_right", "rgb_right")
    assert sample.rig.reference_from("rgb_right")[0, 3] == pytest.approx(0.54)
    plain = next(source.sequence("validation", 4))
    np.testing.assert_array_equal(sample.rgb, plain.rgb)
    np.testing.assert_array_equal(sample.spikes.data, plain.spikes.data)


def test_pictures_scale_with_the_reference():
    rig = Domain.load("source", (100, 160)).rig
    assert (rig.cameras["rgb"].height, rig.cameras["rgb"].width) == (100, 160)
    assert rig.cameras["rgb"].fx == pytest.approx(330.0 * 160 / 400)
    assert (rig.cameras["thermal"].height, rig.cameras["thermal"].width) == (80, 128)


def moving(images, depth=10.0, velocity=0.0):
    """Frames of a flat scene that moves sideways, pixels a second."""
    frames = []
    for image in images:
        height, width, _ = image.shape
        flow = np.zeros((height, width, 2), np.float32)
        flow[..., 0] = velocity
        flat = np.full((height, width), depth, np.float32)
        frames.append(Frame(image, RenderPass(np.zeros((height, width, 4), np.float32), flat, flat, flow)))
    return frames


def naive(greys, threshold, charges):
    """Integrate and fire, plane after plane."""
    fired = []
    for grey in greys:
        charges = charges + grey
        spike = charges >= threshold
        charges = charges - threshold * spike
        fired.append(spike)
    return np.array(fired)


def test_mediate_spikes_are_those_of_an_ideal_pixel():
    image = np.zeros((8, 16, 3), np.uint8)
    image[:] = (np.arange(16) * 17)[None, :, None]
    spikes = MediateSpikes(interpolation="blend").simulate(*moving([image, image]), 0.1, 10**9, 3)
    counts = spike_counts(spikes, [128])[0]
    expected = 128 * (np.arange(16) * 17 / 255) / 2.0
    assert np.abs(counts - expected).max() <= 1.01
    assert counts[:, 5].std() > 0.0  # pixels start at charges of their own
    assert counts.mean(0) == pytest.approx(expected, abs=0.6)
    # The intervals are those of integration, whatever the first charge was.
    planes = np.unpackbits(spikes.data, axis=-1, bitorder="little")[:, 0, 6]
    times = np.flatnonzero(planes)
    twin = np.flatnonzero(naive(np.full(128, 6 * 17 / 255), 2.0, np.zeros(1))[:, 0])
    assert set(np.diff(times)) <= set(np.diff(twin))


def test_frames_are_interpolated_along_the_motion_or_blended():
    # A bright bar goes from column 20 to column 40 within the 0.1 s.
    images = [np.full((16, 64, 3), 10, np.uint8) for _ in range(2)]
    images[0][:, 18:22], images[1][:, 38:42] = 250, 250
    frames = moving(images, velocity=200.0)
    middle = {}
    for how in ("motion", "blend"):
        spikes = MediateSpikes(interpolation=how).simulate(*frames, 0.1, 0, 1)
        planes = np.unpackbits(spikes.data, axis=-1, bitorder="little")[56:72, :, :64]
        middle[how] = planes.mean((0, 1))
    assert abs(middle["motion"].argmax() - 30) <= 2
    assert middle["motion"][30] > 0.3
    assert middle["blend"][30] < 0.1
    assert middle["blend"][20] > 0.15
    assert middle["blend"][40] > 0.15


def test_grey_is_as_stored_or_linear():
    image = np.full((1, 1, 3), 128, np.uint8)
    assert MediateSpikes().grey(image)[0, 0] == pytest.approx(128 / 255, rel=1e-5)
    assert MediateSpikes(linearised=True).grey(image)[0, 0] == pytest.approx(
        ((128 / 255 + 0.055) / 1.055) ** 2.4, rel=1e-4
    )


def written(tmp_path, **changes):
    data = yaml.safe_load(config_path("domains/source.yaml").read_text()) | changes
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"town": "fourth"}, "town must be one of"),
        ({"looks": [{"condition": "noon", "weather": "clear"}]}, "condition must be one of .* found 'noon'"),
        ({"looks": [{"condition": "day", "weather": "snow"}]}, "weather must be one of .* found 'snow'"),
        ({"looks": []}, "at least one look"),
        ({"spikes": {"planes": 4}}, "spikes must have a model"),
        ({"spikes": {"model": "mediate", "planes": 6}}, "multiple of 4, found 6"),
        ({"spikes": {"model": "mediate", "interpolation": "magic"}}, "interpolation must be one of"),
        ({"sensors": ["lidar"]}, "sensors must be some of the rig's"),
        ({"frames": 0}, "frames and rate_hz must be positive, found 0"),
        ({"seeds": 5}, "seeds are first and beyond by split, found 5"),
        ({"seeds": {"train": [0, 5]}}, "seeds must be given for"),
        (
            {"seeds": {"train": [0, 500_001], "validation": [500_000, 600_000], "test": [700_000, 800_000]}},
            "seeds of train must lie within 0 to 500000",
        ),
        ({"speed": 3}, "expected .* found .*speed"),
        ({"rig": "rigs/vehicle.yaml"}, "mediate spikes have the pixels of rgb"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path, changes, message):
    path = written(tmp_path, **changes)
    with pytest.raises(ValueError, match=rf"broken\.yaml is not a valid domain: .*{message}"):
        Domain.load(path)


def test_a_key_that_stands_twice_is_named_with_its_line(tmp_path):
    path = written(tmp_path)
    path.write_text(path.read_text() + "frames: 3\n")
    with pytest.raises(ValueError, match=r"(?s)broken\.yaml is not a valid domain: .*'frames' stands there again"):
        Domain.load(path)


def test_what_is_wrong_in_a_call_is_named(source):
    with pytest.raises(ValueError, match=r"domain must be one of \['conditions', 'source', 'target'\].* found 'moon'"):
        Domain.load("moon")
    with pytest.raises(ValueError, match=r"split must be one of .* found 'tests'"):
        source.sample("tests", 0)
    with pytest.raises(ValueError, match="source has sequences 0 to 99999 for validation, asked for 100000"):
        source.seed("validation", 100_000)
