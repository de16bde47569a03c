"""Right-hand images on the network's canvas: the same modality, and a disparity of f b / z along the rows."""

import numpy as np
import pytest
import torch

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.networks.preprocess import RGB_MEAN, RGB_STD, depth_in_camera, network_camera, normalised, prepare
from spike_depth_core.recipes import Supervised
from spike_depth_core.recipes.views import mirrored, paired
from spike_depth_core.samples import DepthSample
from spike_depth_core.samples.batch import collate
from spike_depth_core.samples.resize import resize_depth
from test.core.factories import stereo_sample, undistorted, wall_pair, wall_texture

TILTED = pose((0.3, -0.2, 0.1), (0.05, -0.1, 0.02, 0.99))


def pair_on_canvas(depths, baseline_m=0.5):
    """Walls at some depths, on a canvas that is zoomed and shifted differently for each."""
    batch = collate([wall_pair(z, seed=i, baseline_m=baseline_m, rig_pose=TILTED) for i, z in enumerate(depths)])
    camera = torch.tensor([[77.0, 77.0, 47.5, 31.5], [90.0, 90.0, 40.0, 20.0], [60.0, 60.0, 60.0, 40.0]])
    return prepare(batch, "rgb", ("rgb", "rgb_right"), camera[: len(depths)], (64, 128))


def colours(image):
    return (image[:, :-1] * RGB_STD + RGB_MEAN).permute(0, 2, 3, 1)


def test_right_hand_pictures_on_the_reference_canvas_keep_their_disparity():
    """Both look the same way, so the homography at infinity is the identity rotation: of a wall at z the canvas shows
    in the right picture at u what it shows in the left one at u + f b / z, f that of the canvas."""
    depths, b = (4.0, 9.0, 25.0), 0.5
    inputs = pair_on_canvas(depths, b)
    camera, size = inputs.camera, (64, 128)
    for i, z in enumerate(depths):
        fx, fy, cx, cy = (float(v) for v in camera[i])
        u, v = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
        for name, shift in (("rgb", 0.0), ("rgb_right", fx * b / z)):
            expected = wall_texture(i)((u + shift - cx) / fx, (v - cy) / fy)
            seen = inputs.images[name][i, -1].numpy() > 0.5
            found = colours(inputs.images[name])[i].numpy()
            assert seen.mean() > 0.3
            # eight bits and bilinear sampling; a shift of half a pixel would be 0.03 off in the mean
            assert np.abs(found - np.clip(expected, 0, 1))[seen].mean() < 0.006
        torch.testing.assert_close(inputs.images["rgb_right"][i, -1], inputs.images["rgb"][i, -1])
    apart = inputs.centres["rgb_right"] - inputs.centres["rgb"]
    torch.testing.assert_close(apart, torch.tensor([[b, 0.0, 0.0]] * 3), atol=1e-6, rtol=0)


def with_depth(depth):
    """A batch of one picture with a true depth [H, W]."""
    height, width = depth.shape
    rig = SensorRig.single("rgb", PinholeCamera.from_focal(width, height, width))
    return collate([DepthSample(rig, rgb=np.zeros((height, width, 3), np.uint8), depth={"rgb": depth})])


def test_a_sparse_truth_is_not_thinned_by_scaling_down():
    """As when the sample is made smaller beforehand. At 7 to 3 no point lies between two pixels."""
    rng = np.random.default_rng(0)
    depth = np.where(rng.random((56, 98)) < 0.05, rng.uniform(2, 60, (56, 98)), np.nan).astype(np.float32)
    depth[:14, :20] = np.where(rng.random((14, 20)) < 0.1, np.inf, depth[:14, :20])  # sky that is as sparse
    batch = with_depth(depth)
    camera, size = network_camera(batch.cameras["rgb"], 56, 98, 24 * 42)
    found = depth_in_camera(batch, "rgb", camera, size)[0].numpy()
    expected = np.full(size, np.nan, np.float32)
    expected[4:28, 11:53] = resize_depth(depth, 42, 24)
    np.testing.assert_array_equal(found, expected)
    assert np.isfinite(found).sum() > 0.75 * np.isfinite(depth).sum()
    assert np.isinf(found).any()


def test_a_dense_truth_is_picked_at_the_centre_with_its_sky():
    rng = np.random.default_rng(1)
    depth = np.where(rng.random((60, 90)) < 0.4, np.inf, rng.uniform(2, 60, (60, 90))).astype(np.float32)
    batch = with_depth(depth)
    focal, (cx, cy) = 90.0, (44.5, 29.5)
    for fx, ox, oy in ((31.0, 13.3, 10.2), (80.0, 31.1, 17.7), (200.0, 40.0, 20.0)):
        found = depth_in_camera(batch, "rgb", torch.tensor([[fx, fx, ox, oy]]), (32, 64))[0].numpy()
        u = np.rint((np.arange(64) - ox) * focal / fx + cx).astype(int)
        v = np.rint((np.arange(32) - oy) * focal / fx + cy).astype(int)
        expected = np.full((32, 64), np.nan, np.float32)
        rows, columns = (v >= 0) & (v < 60), (u >= 0) & (u < 90)
        expected[np.ix_(rows, columns)] = depth[np.ix_(v[rows], u[columns])]
        np.testing.assert_array_equal(found, expected)


def test_distortion_is_undone_by_the_canvas_and_by_the_depth():
    """A wall through a wide lens: on the canvas each pixel shows what lies in its own direction."""
    camera = PinholeCamera(96, 64, 70.0, 70.0, 47.5, 31.5, (-0.25, 0.06, 0.002, -0.001, 0.0))
    canvas = np.array([[70.0, 70.0, 47.5, 31.5]], np.float32)
    v, u = np.mgrid[:64, :96].astype(float)
    x, y = undistorted((u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, camera.distortion)
    picture = np.round(255 * np.clip(wall_texture(7)(x, y), 0, 1)).astype(np.uint8)
    sample = DepthSample(SensorRig.single("rgb", camera), rgb=picture)
    inputs = prepare(collate([sample]), "rgb", ("rgb",), torch.from_numpy(canvas), (64, 96))
    seen = inputs.images["rgb"][0, -1].numpy() > 0.5
    found, plain = colours(inputs.images["rgb"])[0].numpy(), (u - camera.cx) / camera.fx
    expected = np.clip(wall_texture(7)(plain, (v - camera.cy) / camera.fy), 0, 1)
    assert seen.mean() > 0.9
    assert np.abs(found - expected)[seen].mean() < 0.006
    assert np.abs(picture / 255 - expected)[seen].mean() > 0.02  # as it would be if nothing were undone
    assert DepthEstimator.untrained().estimate(sample).camera.distortion == ()


@pytest.mark.parametrize("sensor", ["spikes", "rgb", "nir", "thermal"])
def test_a_right_hand_image_is_normalised_as_its_modality(sensor):
    batch = collate([stereo_sample(0)])
    image, width = batch.images[sensor], batch.sizes[sensor][1]
    assert torch.equal(normalised(f"{sensor}_right", image, width), normalised(sensor, image, width))


def test_a_mirrored_pair_has_its_second_camera_on_the_other_side():
    """In the mirror the wall's shift is that of a camera at -b."""
    inputs = pair_on_canvas((4.0,) * 2)
    many, _ = mirrored(inputs, torch.zeros(2, 64, 128), torch.Generator().manual_seed(2))
    apart = (many.centres["rgb_right"] - many.centres["rgb"])[:, 0]
    flipped = apart < 0
    assert flipped.tolist().count(True) == 1
    for i, is_flipped in enumerate(flipped.tolist()):
        fx, fy, cx, cy = (float(v) for v in many.camera[i])
        sign = -1.0 if is_flipped else 1.0
        u, v = np.meshgrid(np.arange(128), np.arange(64))
        for name, shift in (("rgb", 0.0), ("rgb_right", float(apart[i]))):
            x = (u - cx) / fx + shift / 4.0  # what this camera sees at u, in slopes of the first camera
            expected = wall_texture(i)(sign * x, (v - cy) / fy)
            seen = many.images[name][i, -1].numpy() > 0.5
            found = colours(many.images[name])[i].numpy()
            assert np.abs(found - np.clip(expected, 0, 1))[seen].mean() < 0.006


def test_the_looks_of_a_pair_change_alike():
    """Without a shift both eyes see one picture, and still do after the change, noise apart."""
    inputs = pair_on_canvas((1e6,) * 2)
    before = inputs.images["rgb"].clone()
    Supervised(jitter=1.0).augment(inputs, torch.Generator().manual_seed(1))
    left, right = inputs.images["rgb"], inputs.images["rgb_right"]
    assert (left - before).abs().mean() > 0.2
    assert (left - right).abs().mean() < 0.1
    assert not torch.equal(left, right)  # the noise is each eye's own


def test_pairs_stand_together_and_others_alone():
    assert paired(["spikes", "rgb", "nir", "rgb_right", "thermal_right"]) == [
        ("spikes",),
        ("rgb", "rgb_right"),
        ("nir",),
        ("thermal_right",),
    ]
