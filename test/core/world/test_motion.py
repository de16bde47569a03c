"""Moving rendered light: against shifts known exactly, and against the renderer itself."""

import numpy as np
import pytest

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.world import World
from spike_depth_core.world.motion import Motion


def smooth_picture(height: int, width: int, shift_x: float = 0.0, shift_y: float = 0.0) -> np.ndarray:
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return (0.5 + 0.3 * np.sin((x - shift_x) / 5) * np.cos((y - shift_y) / 7)).astype(np.float32)


def test_a_picture_under_uniform_velocity_is_shifted():
    velocity = np.broadcast_to(np.float32([120.0, -60.0]), (40, 60, 2)).copy()
    motion = Motion(velocity, np.full((40, 60), 10.0, np.float32), 0.05)
    for dt in (0.0, 0.02, -0.035):
        moved = motion.moved(smooth_picture(40, 60), dt)
        expected = smooth_picture(40, 60, 120 * dt, -60 * dt)
        np.testing.assert_allclose(moved[8:-8, 8:-8], expected[8:-8, 8:-8], atol=0.012)  # bilinear


def square_over_ground(left: int, width: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A bright square, 5 m away and moving to the right, before a dark wall 20 m away that stands still."""
    light = np.full((48, 96), 0.1, np.float32)
    depth = np.full((48, 96), 20.0, np.float32)
    velocity = np.zeros((48, 96, 2), np.float32)
    square = slice(16, 32), slice(left, left + width)
    light[square], depth[square], velocity[square] = 0.9, 5.0, (500.0, 0.0)
    return light, depth, velocity


@pytest.mark.parametrize("dt", [-0.03, -0.01, 0.02, 0.04])
def test_a_near_surface_covers_and_uncovers_the_far_one(dt):
    light, depth, velocity = square_over_ground(40)
    expected, _, _ = square_over_ground(40 + round(500 * dt))
    moved = Motion(velocity, depth, 0.04).moved(light, dt)
    assert np.mean(np.abs(moved - expected) > 0.05) < 0.01


@pytest.mark.parametrize("dt", [-0.03, 0.03])
def test_what_a_near_surface_uncovers_moves_on_its_own(dt):
    # A post moves to the right, the striped wall behind it to the left, as when a camera turns after the post.
    def street(shift: int) -> np.ndarray:
        light = np.broadcast_to(0.2 + 0.1 * ((np.arange(96) + shift) // 6 % 2), (48, 96)).astype(np.float32)
        light[:, 46 + shift : 50 + shift] = 0.9
        return light

    depth = np.full((48, 96), 20.0, np.float32)
    velocity = np.full((48, 96, 2), (-500.0, 0.0), np.float32)
    depth[:, 46:50], velocity[:, 46:50] = 5.0, (500.0, 0.0)
    moved = Motion(velocity, depth, 0.03).moved(street(0), dt)
    error = np.abs(moved - street(round(500 * dt)))[:, 20:-20]
    assert error.max() < 0.15  # no second post
    assert np.mean(error > 0.03) < 0.09  # but the stripes that the post hides are not known


def test_exposure_blurs_along_the_velocity_only():
    light, depth, velocity = square_over_ground(40)
    blurred = Motion(velocity, depth, 0.02).exposed(light[..., None], -0.01, 0.01)[..., 0]
    # The edge at column 40 sweeps from 35 to 45: covered for a growing part of the exposure.
    ramp = blurred[24, 35:45]
    expected = 0.1 + 0.8 * (np.arange(35, 45) + 0.5 - 35) / 10
    np.testing.assert_allclose(ramp, expected, atol=0.09)
    np.testing.assert_allclose(blurred[:14], 0.1, atol=1e-6)
    np.testing.assert_allclose(blurred[18:30, 47:53], 0.9, atol=1e-6)


def test_moved_light_is_what_the_renderer_sees_at_that_time():
    rig = SensorRig.single("spikes", PinholeCamera.from_focal(160, 96, 130.0))
    world = World(7, "day", rig, supersample=2, layout="town", speed=12.0)
    earlier, now = (world.render(time, ("spikes",))["spikes"] for time in (2.0, 2.04))

    def picture(light: np.ndarray) -> np.ndarray:
        """Means of 4x4 pixels, without the border: the texture of a road is finer than the pixels."""
        return light[8:-8, 8:-8].reshape(20, 4, 36, 4).mean((1, 3))

    light = now.radiance.mean(2)
    truth = picture(earlier.radiance.mean(2))
    motion = Motion(now.velocity, now.depth, 0.04)
    still, moved, wrong = (
        np.abs(picture(image) - truth).mean()
        for image in (light, motion.moved(light, -0.04), motion.moved(light, 0.04))
    )
    assert moved < 0.8 * still
    assert wrong > 1.2 * still


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"velocity must be \[H, W, 2\] for depth \(4, 6\), found \(6, 4, 2\)"):
        Motion(np.zeros((6, 4, 2), np.float32), np.ones((4, 6), np.float32), 0.1)


def test_beyond_the_border_the_picture_is_mirrored():
    picture = smooth_picture(20, 30)
    velocity = np.broadcast_to(np.float32([-100.0, 0.0]), (20, 30, 2)).copy()
    moved = Motion(velocity, np.full((20, 30), 10.0, np.float32), 0.05).moved(picture, 0.05)
    np.testing.assert_allclose(moved[:, 25:], picture[:, 28:23:-1], atol=1e-6)
