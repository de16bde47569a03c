"""Sample files: nothing lost but the half float of depth, parts read alone, damage named."""

import dataclasses
import json
import resource

import numpy as np
import pytest

from spike_depth_core.samples.files import list_samples, load_sample, sample_path, save_sample
from test.core.factories import small_sample, stereo_sample


def test_round_trip(tmp_path):
    sample = small_sample(3)
    save_sample(sample_path(tmp_path, 5), sample)
    again = load_sample(list_samples(tmp_path)[0])
    assert again.sensors == sample.sensors
    np.testing.assert_array_equal(again.spikes.data, sample.spikes.data)
    assert (again.spikes.width, again.spikes.period_ns) == (sample.spikes.width, sample.spikes.period_ns)
    for sensor in ("rgb", "nir", "thermal"):
        np.testing.assert_array_equal(getattr(again, sensor), getattr(sample, sensor))
    for sensor, depth in sample.depth.items():
        near = np.isfinite(depth) & (depth < 1000)
        np.testing.assert_allclose(again.depth[sensor][near], depth[near], rtol=5e-4)
        assert (np.isinf(again.depth[sensor]) == ~near)[depth > 70000].all()
    assert again.meta == sample.meta
    assert again.time_ns == sample.time_ns


def test_only_what_is_asked_for_is_read(tmp_path):
    save_sample(sample_path(tmp_path, 0), small_sample())
    part = load_sample(sample_path(tmp_path, 0), {"thermal"}, {"rgb"})
    assert part.sensors == ("thermal",)
    assert set(part.depth) == {"rgb"}


@pytest.mark.parametrize("keep", [0, 10, 3000])
def test_a_damaged_file_names_itself(tmp_path, keep):
    path = sample_path(tmp_path, 0)
    save_sample(path, small_sample())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"0000000\.npz"):
        load_sample(path)


def test_depth_of_another_size_than_its_camera_names_the_file(tmp_path):
    sample = small_sample()
    path = sample_path(tmp_path, 0)
    save_sample(path, sample)
    with np.load(path) as file:
        arrays = dict(file)
    half = sample.depth["rgb"][::2, ::2]
    np.savez(path, **{name: half if name.startswith("depth") else array for name, array in arrays.items()})
    with pytest.raises(ValueError, match=r"0000000\.npz is not a readable sample file: depth of \w+ is 64x40 pixels"):
        load_sample(path)
    with pytest.raises(ValueError, match="depth of rgb is "):
        dataclasses.replace(sample, depth={"rgb": half})


def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path):
    path = sample_path(tmp_path, 0)
    path.write_bytes(b"an earlier sample")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            save_sample(path, small_sample())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"an earlier sample"


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no sample files"):
        list_samples(tmp_path)


def test_sensors_behind_one_lens_store_one_depth_map(tmp_path):
    sample = small_sample()
    depth = sample.depth["rgb"]
    shared = dataclasses.replace(sample, depth={"rgb": depth, "nir": depth})
    save_sample(sample_path(tmp_path, 0), shared)
    save_sample(sample_path(tmp_path, 1), dataclasses.replace(sample, depth={"rgb": depth, "nir": depth.copy()}))
    assert sample_path(tmp_path, 0).stat().st_size < sample_path(tmp_path, 1).stat().st_size - depth.size
    again = load_sample(sample_path(tmp_path, 0), (), ("nir",))
    np.testing.assert_array_equal(again.depth["nir"], depth.astype(np.float16))


def test_right_hand_images_and_the_pose_survive(tmp_path):
    sample = stereo_sample(4)
    save_sample(sample_path(tmp_path, 0), sample)
    again = load_sample(sample_path(tmp_path, 0))
    assert again.images == ("spikes", "rgb", "nir", "thermal", "spikes_right", "rgb_right")
    assert again.sensors == ("spikes", "rgb", "nir", "thermal")
    np.testing.assert_array_equal(again.rgb_right, sample.rgb_right)
    np.testing.assert_array_equal(again.spikes_right.data, sample.spikes_right.data)
    assert again.spikes_right.start_ns == sample.spikes_right.start_ns
    np.testing.assert_array_equal(again.world_from_reference, sample.world_from_reference)
    np.testing.assert_allclose(again.rig.reference_from("rgb_right"), sample.rig.reference_from("rgb_right"))
    # A training that names its sensors pays for no others.
    assert load_sample(sample_path(tmp_path, 0), {"rgb"}).images == ("rgb",)
    assert load_sample(sample_path(tmp_path, 0), {"rgb_right"}, ()).images == ("rgb_right",)


def test_how_far_each_image_is_off_the_moment_survives(tmp_path):
    sample = dataclasses.replace(small_sample(), offsets_ns={"rgb": -1_500_000, "thermal": 7, "spikes": 0})
    save_sample(sample_path(tmp_path, 0), sample)
    assert load_sample(sample_path(tmp_path, 0)).offsets_ns == sample.offsets_ns
    assert load_sample(sample_path(tmp_path, 0), {"thermal"}).offsets_ns == {"thermal": 7}


def test_a_file_of_before_right_hand_images_is_read(tmp_path):
    """The keys that were written first are enough."""
    sample = small_sample(1)
    path = sample_path(tmp_path, 0)
    save_sample(path, sample)
    with np.load(path) as file:
        assert set(file.files) >= {"description", "spikes", "rgb", "nir", "thermal", "depth_spikes"}
        about = json.loads(file["description"].tobytes())
    assert set(about) == {"rig", "time_ns", "meta", "spikes", "depth"}
    assert load_sample(path).world_from_reference is None


def test_a_right_hand_image_without_its_camera_is_refused():
    sample = small_sample()
    with pytest.raises(ValueError, match="the sample has rgb_right, but its rig has only"):
        dataclasses.replace(sample, rgb_right=sample.rgb)
    with pytest.raises(ValueError, match="world_from_reference must be a finite 4x4"):
        dataclasses.replace(sample, world_from_reference=np.eye(3))
