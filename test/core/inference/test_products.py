"""What is made of an estimate, against closed forms and a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.geometry.rig import pose
from spike_depth_core.inference import DepthEstimate
from spike_depth_core.inference.products import HIDDEN, Limits, colours_of, disparity, millimetres, points_of

CAMERA = PinholeCamera(6, 4, 5.0, 4.0, 2.5, 1.25)


def estimate(depth, uncertainty=None):
    depth = np.asarray(depth, np.float32)
    uncertainty = np.full_like(depth, 0.1) if uncertainty is None else np.asarray(uncertainty, np.float32)
    return DepthEstimate(depth, uncertainty, CAMERA, "spikes", ("spikes",), 0)


@pytest.mark.parametrize(
    ("infinite", "expected"),
    [(False, [np.nan, 1.0, 5.0, np.nan, np.nan]), (True, [-np.inf, 1.0, 5.0, np.inf, np.nan])],
)
def test_depth_outside_the_range(infinite, expected):
    before = estimate([[0.5, 1.0, 5.0, 5.1, np.nan]])
    limited = Limits(1.0, 5.0, infinite=infinite)(before)
    np.testing.assert_array_equal(limited.depth[0], np.float32(expected))
    assert before.depth[0, 0] == 0.5  # the estimate itself is left as it is
    np.testing.assert_array_equal(limited.uncertainty, before.uncertainty)


def test_uncertain_depth_is_unknown():
    given = estimate([[1, 2, 3, 4]], [[0.1, 0.3, 0.31, np.nan]])
    np.testing.assert_array_equal(Limits(largest_uncertainty=0.3)(given).depth, [[1, 2, np.nan, np.nan]])
    np.testing.assert_array_equal(Limits()(given).depth, given.depth)


@pytest.mark.parametrize(("near", "far"), [(5.0, 5.0), (-1.0, 2.0), (np.nan, 2.0)])
def test_a_range_that_is_none_is_refused(near, far):
    with pytest.raises(ValueError, match="from near to far"):
        Limits(near, far)


def test_millimetres():
    depth = np.float32([0.0, 1.2344, 1.2346, 65.535, 65.6, 1e9, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(millimetres(depth), [0, 1234, 1235, 65535, 0, 0, 0, 0, 0])
    assert millimetres(depth).dtype == np.uint16


def test_disparity():
    found = disparity(np.float32([10.0, 0.5, np.inf, np.nan, -np.inf]), 400.0, 0.1)
    np.testing.assert_allclose(found, [4.0, 80.0, 0.0, np.nan, np.nan])
    assert found.dtype == np.float32


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_points_project_to_their_pixels(stride):
    depth = np.random.default_rng(0).uniform(1, 50, (4, 6)).astype(np.float32)
    depth[0, 0], depth[2, 3] = np.nan, np.inf
    points = points_of(depth, CAMERA, stride)
    assert points.dtype == np.float32
    for row in range(points.shape[0]):
        for column in range(points.shape[1]):
            x, y, z = points[row, column]
            if not np.isfinite(depth[row * stride, column * stride]):
                assert np.isnan([x, y, z]).all()
                continue
            assert z == depth[row * stride, column * stride]
            assert x / z * 5.0 + 2.5 == pytest.approx(column * stride, abs=1e-5)
            assert y / z * 4.0 + 1.25 == pytest.approx(row * stride, abs=1e-5)


def test_colours_are_those_of_the_pixels_that_the_points_project_to():
    rng = np.random.default_rng(1)
    camera = PinholeCamera(60, 40, 50.0, 50.0, 29.5, 19.5, (0.05, -0.02, 0.001, -0.002, 0.01))
    camera_from_points = pose((0.1, -0.05, 0.02), (0.01, -0.02, 0.005, 1.0))
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    points = points_of(np.full((30, 50), 10.0, np.float32), PinholeCamera.from_focal(50, 30, 40.0))
    points[3, 3] = np.nan
    found = colours_of(points, image, camera, camera_from_points)
    k1, k2, p1, p2, k3 = camera.distortion
    seen = 0
    for row, column in np.ndindex(30, 50):
        x, y, z = camera_from_points[:3, :3] @ points[row, column] + camera_from_points[:3, 3]
        x, y = x / z, y / z
        r = x * x + y * y
        radial = 1 + k1 * r + k2 * r**2 + k3 * r**3
        u = 50 * (x * radial + 2 * p1 * x * y + p2 * (r + 2 * x * x)) + 29.5
        v = 50 * (y * radial + p1 * (r + 2 * y * y) + 2 * p2 * x * y) + 19.5
        if not np.isfinite(u) or not (-0.49 < u < 59.49 and -0.49 < v < 39.49):
            if not (np.isfinite(u) and -0.51 < u < 59.51 and -0.51 < v < 39.51):
                assert (found[row, column] == HIDDEN).all()
        elif min(u % 1, v % 1) > 0.51 or max(u % 1, v % 1) < 0.49:  # rounding is not in doubt
            seen += 1
            np.testing.assert_array_equal(found[row, column], image[round(v), round(u)])
    assert seen > 500


def test_colours_against_a_plain_loop_with_points_behind_the_camera_and_beyond_its_borders():
    rng = np.random.default_rng(2)
    camera = PinholeCamera(61, 40, 50.0, 50.0, 30.0, 19.5)  # a column more than whole cells
    image = rng.integers(0, 128, (40, 61, 3), dtype=np.uint8)
    pixels = rng.integers((-2, -2), (63, 42), (4000, 2))
    z = rng.uniform(2.0, 6.0, 4000) * rng.choice([-1.0, 1.0], 4000)
    slopes = (pixels + rng.uniform(-0.4, 0.4, pixels.shape) - (30.0, 19.5)) / 50.0
    points = np.concatenate([slopes * z[:, None], z[:, None]], axis=1).astype(np.float32)
    found = colours_of(points[None], image, camera, np.eye(4))[0]
    inside = (points[:, 2] > 0) & (pixels >= 0).all(axis=1) & (pixels < (61, 40)).all(axis=1)
    nearest = {}
    for (u, v), depth in zip(pixels[inside].tolist(), points[inside, 2].tolist(), strict=True):
        nearest[u // 3, v // 3] = min(depth, nearest.get((u // 3, v // 3), np.inf))
    shown = [i for i in np.flatnonzero(inside) if points[i, 2] <= 1.3 * nearest[tuple((pixels[i] // 3).tolist())]]
    assert 500 < len(shown) < inside.sum()
    expected = np.full((4000, 3), HIDDEN, np.uint8)
    expected[shown] = image[pixels[shown, 1], pixels[shown, 0]]
    np.testing.assert_array_equal(found, expected)


def test_what_a_lens_would_fold_into_its_picture_has_no_colour():
    """With k1 = -0.5 slopes beyond (2 / 3)^0.5 come back towards the middle: 1.3 to 0.2."""
    camera = PinholeCamera(60, 40, 50.0, 50.0, 29.5, 19.5, (-0.5, 0.0, 0.0, 0.0, 0.0))
    points = np.float32([[[1.3, 0.0, 1.0], [0.2, 0.0, 1.0]]])
    found = colours_of(points, np.zeros((40, 60, 3), np.uint8), camera, np.eye(4))
    assert found[0, :, 0].tolist() == [HIDDEN, 0]


def test_what_is_hidden_from_the_camera_has_no_colour():
    """A wall at 20 m behind a board at 2 m; from 0.5 m to the right the board hides other parts of the wall."""
    depth_camera = PinholeCamera.from_focal(80, 20, 80.0)
    depth = np.full((20, 80), 20.0, np.float32)
    depth[:, 30:50] = 2.0
    image = np.full((20, 80, 3), 255, np.uint8)
    camera_from_points = pose((-0.5, 0.0, 0.0))
    found = colours_of(points_of(depth, depth_camera), image, depth_camera, camera_from_points)
    shown = (found[10] == 255).all(axis=1)
    board = np.flatnonzero(depth[10] == 2.0)
    assert shown[board].all()
    # The board appears 80 * 0.5 / 2 = 20 pixels further left, the wall 2: columns 12 to 31 of the wall lie behind it.
    assert not shown[14:28].any()
    assert shown[50:].all()
    assert shown[2:11].all()
