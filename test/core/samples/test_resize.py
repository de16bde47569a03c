"""Samples of another size: the same rays see the same things."""

import numpy as np

from spike_depth_core.samples.resize import resize_depth, resize_picture, resize_sample
from test.core.factories import ground_depth, stereo_sample


def test_pictures_keep_their_light_and_their_type():
    rng = np.random.default_rng(0)
    for image in (
        rng.integers(0, 256, (40, 60, 3), dtype=np.uint8),
        rng.integers(0, 256, (40, 60), dtype=np.uint8),
        rng.integers(20_000, 30_000, (40, 60)).astype(np.uint16),
    ):
        half = resize_picture(image, 30, 20)
        assert half.dtype == image.dtype
        assert half.shape[:2] == (20, 30)
        assert abs(half.mean() - image.mean()) < 0.01 * image.mean()
        assert half.astype(float).std() < 0.7 * image.astype(float).std()  # averaged, not picked


def test_depth_is_picked_and_no_point_is_lost():
    sparse = np.full((40, 60), np.nan, np.float32)
    sparse[10, 21], sparse[11, 20] = 7.0, 5.0  # both in pixel (5, 10) of half the size: the nearer one counts
    sparse[33, 7] = 20.0
    half = resize_depth(sparse, 30, 20)
    assert {(int(v), int(u)): float(half[v, u]) for v, u in np.argwhere(np.isfinite(half))} == {
        (5, 10): 5.0,
        (16, 3): 20.0,
    }
    edge = np.full((4, 4), 3.0, np.float32)
    edge[:, 2:] = 9.0
    edge[0] = np.inf
    assert set(np.unique(resize_depth(edge, 3, 3))) == {3.0, 9.0, np.inf}  # nothing between the two surfaces
    np.testing.assert_array_equal(resize_depth(edge, 4, 4), edge)


def test_a_sample_keeps_its_rays():
    sample = stereo_sample(2)
    resized = resize_sample(sample, 64, 24)
    for name in ("rgb", "nir", "thermal", "rgb_right"):
        assert resized.size(name) == (24, 64)
    assert resized.spikes is sample.spikes
    assert resized.rig.cameras["spikes"] == sample.rig.cameras["spikes"]
    # On a level road, depth is the height over the ray's slope, to within half an old row.
    camera = resized.rig.cameras["rgb"]
    expected = ground_depth(camera)
    known = np.isfinite(resized.depth["rgb"]) & (expected < 30)
    assert known.mean() > 0.2
    slopes = 1.65 / resized.depth["rgb"][known] - 1.65 / expected[known]
    assert np.abs(slopes).max() <= 0.51 / sample.rig.cameras["rgb"].fy
