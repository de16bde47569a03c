"""Depth carried from camera to camera, against planes and lenses that are known."""

import dataclasses

import numpy as np
import pytest

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.geometry.projection import carry_depth, depth_of_points, points_of_depth
from spike_depth_core.geometry.rig import pose

SOURCE = PinholeCamera.from_focal(80, 60, 70.0)
TARGET = PinholeCamera.from_focal(120, 90, 110.0)


def plane(camera: PinholeCamera, normal: np.ndarray, distance: float) -> np.ndarray:
    """Depth of the plane n . p = distance; +inf where a ray does not meet it."""
    x, y = np.meshgrid(*camera.slopes())
    along = normal[0] * x + normal[1] * y + normal[2]
    return np.where(along > 1e-9, distance / np.maximum(along, 1e-9), np.inf)


def test_the_same_camera_sees_the_same_depth():
    depth = plane(SOURCE, np.array([0.0, 1.0, 0.0]), 1.5).astype(np.float32)
    depth[:3] = np.nan
    np.testing.assert_allclose(carry_depth(depth, SOURCE, SOURCE, np.eye(4)), depth, rtol=1e-6)


@pytest.mark.parametrize("normal", [(0.0, 0.0, 1.0), (0.1, 0.3, 1.0), (0.0, 1.0, 0.05)])
def test_a_plane_is_the_plane_from_elsewhere(normal):
    """n . p = d of the source is n' . p' = d + n' . t of the target, with n' = R n."""
    move = pose((0.3, -0.1, 0.2), (0.02, -0.03, 0.01, 1.0))
    turned = move[:3, :3] @ np.array(normal)
    carried = carry_depth(plane(SOURCE, np.array(normal), 9.0), SOURCE, TARGET, move)
    expected = plane(TARGET, turned, 9.0 + turned @ move[:3, 3])
    both = np.isfinite(carried) & np.isfinite(expected) & (expected < 60)
    inner = np.s_[10:-10, 10:-10]
    assert np.isnan(carried[inner]).mean() < 0.01  # the footprint leaves no holes
    # A pixel of the source is up to 1.6 of the target away from where it is drawn.
    error = np.abs(carried[both] / expected[both] - 1)
    assert np.median(error) < 0.02


def test_a_near_wall_hides_what_is_behind_it():
    depth = np.full((60, 80), 30.0, np.float32)
    depth[:, :40] = 5.0
    beside = carry_depth(depth, SOURCE, SOURCE, pose((-0.5, 0.0, 0.0)))  # 7 pixels at 5 m, one at 30 m
    assert (beside[:, :33] == 5.0).all()
    assert np.isnan(beside[:, 34:38]).all()  # seen from here only
    assert (beside[:, 40:-2] == 30.0).all()


def test_the_sky_stays_where_it_is():
    depth = np.full((60, 80), np.inf, np.float32)
    depth[30:] = 10.0
    moved = carry_depth(depth, SOURCE, SOURCE, pose((1.0, 0.0, 0.0)))
    assert np.isposinf(moved[:30]).all()


def test_a_lens_bends_where_points_fall():
    bent = dataclasses.replace(TARGET, distortion=(-0.3, 0.0, 0.001, -0.002, 0.0))
    ray = np.array([[0.3, -0.2, 1.0]])
    r2 = 0.3**2 + 0.2**2
    radial = 1 - 0.3 * r2
    x = 0.3 * radial + 2 * 0.001 * 0.3 * -0.2 - 0.002 * (r2 + 2 * 0.09)
    y = -0.2 * radial + 0.001 * (r2 + 2 * 0.04) + 2 * -0.002 * 0.3 * -0.2
    depth = depth_of_points(7 * ray, np.eye(4), bent)
    ((row, column),) = np.argwhere(np.isfinite(depth))
    assert (row, column) == (round(y * bent.fy + bent.cy), round(x * bent.fx + bent.cx))
    assert depth[row, column] == 7.0
    # Far outside of the image the polynomial would fold points back into it.
    away = 1.8
    assert 0 <= (away * (1 - 0.3 * away**2) + 3 * -0.002 * away**2) * bent.fx + bent.cx < bent.width
    assert np.isnan(depth_of_points(np.array([[away, 0.0, 1.0]]), np.eye(4), bent)).all()


def test_a_depth_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"depth is \(60, 80\), its camera \(90, 120\)"):
        points_of_depth(np.ones((60, 80)), TARGET)


def test_no_background_shows_through_where_pixels_are_not_square():
    source = PinholeCamera.from_focal(60, 40, 50)
    target = PinholeCamera(60, 120, 50.0, 150.0, 29.5, 59.5)
    found = carry_depth(np.full((40, 60), 7.0, np.float32), source, target, np.eye(4))
    assert np.isfinite(found[3:-3, 3:-3]).all()
