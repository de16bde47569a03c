"""KITTI object frames: real ones, and small files that are wrong."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spike_depth_core.samples.readers import kitti, kitti_object
from spike_depth_core.samples.readers.kitti_object import KittiObject

FOLDER = Path(__file__).parents[5] / "shared" / "data" / "kitti"
needs_kitti = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the KITTI sample frames are not at {FOLDER}")


@needs_kitti
@pytest.mark.parametrize(("name", "points", "size"), [("000000", 20_285, (1224, 370)), ("000001", 18_630, (1242, 375))])
def test_real_frames(name, points, size):
    shapes = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}
    calibration = kitti.read_matrices(FOLDER / f"{name}.txt", shapes)
    rectified = np.pad(calibration["R0_rect"] @ calibration["Tr_velo_to_cam"], ((0, 1), (0, 0)))
    rectified[3, 3] = 1
    seen = kitti.project(kitti.read_points(FOLDER / f"{name}.bin"), calibration["P2"] @ rectified)
    width, height = size
    inside = (seen[:, 0] >= 0) & (seen[:, 0] < width) & (seen[:, 1] >= 0) & (seen[:, 1] < height)
    assert int(inside.sum()) == points  # the count that the sample data's own description gives
    sample = kitti_object.read_frame(FOLDER, name)
    assert sample.sensors == ("rgb",)
    assert sample.rgb.shape == (height, width, 3)
    depth = sample.depth["rgb"]
    known = np.isfinite(depth)
    # Two points in one pixel are rare in one sweep, and half a pixel of border decides over a few more.
    assert abs(int(known.sum()) - points) < 0.005 * points
    assert depth[known].min() > 4
    assert depth[known].max() < 79
    # The LiDAR looks at the street: nothing at the top, the nearest points at the bottom.
    assert not known[: height // 5].any()
    assert np.nanmedian(depth[-60:]) < 10 < np.nanmedian(depth[height // 2 : height // 2 + 30])


def write_frame(folder, points, calibration=None):
    """A tiny frame with an identity-like calibration: LiDAR x forward, y left, z up."""
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(folder / "a.png")
    np.asarray(points, "<f4").tofile(folder / "a.bin")
    (folder / "a.txt").write_text(
        calibration
        or "P2: 4 0 3 0 0 4 2 0 0 0 1 0\nR0_rect: 1 0 0 0 1 0 0 0 1\n\nTr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n"
    )


def test_projection_by_hand(tmp_path):
    write_frame(
        tmp_path,
        [
            [2, 0, 0, 0],  # straight ahead: pixel (3, 2), 2 m
            [4, 0, 0, 0],  # behind it: hidden
            [4, -2, -1, 0],  # 2 m right, 1 m down at 4 m: (3 + 2, 2 + 1)
            [-4, 0, 0, 0],  # behind the camera
            [1, 0, 9, 0],  # far above the image
        ],
    )
    depth = kitti_object.read_frame(tmp_path, "a").depth["rgb"]
    assert np.argwhere(np.isfinite(depth)).tolist() == [[2, 3], [3, 5]]
    assert depth[2, 3] == 2
    assert depth[3, 5] == 4


def test_the_published_layout_is_found(tmp_path):
    write_frame(tmp_path, [[2, 0, 0, 0]])
    assert kitti_object.list_frames(tmp_path) == ["a"]
    for name, folder in (("a.png", "image_2"), ("a.bin", "velodyne"), ("a.txt", "calib")):
        (tmp_path / folder).mkdir()
        (tmp_path / name).rename(tmp_path / folder / name)
    assert kitti_object.list_frames(tmp_path) == ["a"]
    assert kitti_object.read_frame(tmp_path, "a").depth["rgb"][2, 3] == 2


def test_a_pair_of_the_published_layout(tmp_path):
    write_frame(
        tmp_path,
        [[2, 0, 0, 0]],
        "P2: 4 0 3 0.4 0 4 2 0 0 0 1 0\nP3: 4 0 3 -1.6 0 4 2 0 0 0 1 0\nR0_rect: 1 0 0 0 1 0 0 0 1\n"
        "Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n",
    )
    for name, folder in (("a.png", "image_2"), ("a.bin", "velodyne"), ("a.txt", "calib")):
        (tmp_path / folder).mkdir()
        (tmp_path / name).rename(tmp_path / folder / name)
    (tmp_path / "image_3").mkdir()
    Image.fromarray(np.full((6, 8, 3), 7, np.uint8)).save(tmp_path / "image_3" / "a.png")
    data = KittiObject(tmp_path)
    assert len(data) == 1
    sample = data[0]
    assert sample.images == ("rgb", "rgb_right")
    assert sample.rgb_right[0, 0, 0] == 7
    np.testing.assert_allclose(sample.rig.reference_from("rgb_right")[:3, 3], [0.5, 0, 0], atol=1e-12)
    assert data.neighbour(data.frames[0], 1) is None
    (tmp_path / "image_3" / "a.png").unlink()
    with pytest.raises(ValueError, match=r"image_3/a.png"):
        data[0]


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="no KITTI frames"):
        kitti_object.list_frames(tmp_path)
    with pytest.raises(ValueError, match="is not a folder"):
        kitti_object.list_frames(tmp_path / "none")
    write_frame(tmp_path, [[2, 0, 0, 0]], "P2: 1 2 3\n")
    with pytest.raises(ValueError, match=r"a\.txt: P2 takes 12 values, found 3"):
        kitti_object.read_frame(tmp_path, "a")
    write_frame(tmp_path, [[2, 0, 0, 0]], "P0: 1\n")
    with pytest.raises(ValueError, match="lacks P2; it has P0"):
        kitti_object.read_frame(tmp_path, "a")
    write_frame(tmp_path, [1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match=r"a\.bin: .* found 20 bytes"):
        kitti_object.read_frame(tmp_path, "a")
