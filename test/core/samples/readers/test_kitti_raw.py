"""KITTI raw in its exact layout: depth, stereo and poses by hand, splits of the published sizes, faults named."""

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from spike_depth_core.samples.readers import kitti_splits
from spike_depth_core.samples.readers.dataset import Frame
from spike_depth_core.samples.readers.kitti_raw import KittiRaw, pose_of_oxts, read_oxts
from test.core.samples.readers.kitti_raw_layout import (
    CX,
    CY,
    DRIVE,
    FOCAL,
    HEIGHT,
    IMU,
    LEFT,
    LIDAR,
    RIGHT,
    WIDTH,
    packet,
    picture,
    write_drive,
)


def test_a_frame_is_read_whole(tmp_path):
    write_drive(tmp_path)
    data = KittiRaw(tmp_path, "all")
    assert len(data) == 3
    sample = data[1]
    assert sample.images == ("rgb", "rgb_right")
    np.testing.assert_array_equal(sample.rgb, picture(1))
    np.testing.assert_array_equal(sample.rgb_right, picture(101))
    assert sample.meta == {"dataset": "KITTI raw", "sequence": DRIVE, "frame": 1}
    assert sample.rig.height == 1.65
    # 2011-09-26 13:02:25 UTC is 1317042145 s.
    assert sample.time_ns == 1_317_042_145_164_389_445
    assert data[2].time_ns - sample.time_ns == 100_000_000


def test_the_sweep_is_seen_from_the_left_camera(tmp_path):
    points = np.array([[10, -2, -1, 0], [10.02, -2, -1, 0], [-5, 0, 0, 0]])  # the second is hidden, the third behind
    write_drive(tmp_path, points=points)
    depth = KittiRaw(tmp_path, "all")[0].depth["rgb"]
    # By hand: camera axes (right, down, forward) of (forward, left, up).
    x, y, z = np.array([2.0, 1.0, 10.0]) + LIDAR + LEFT
    u, v = round(FOCAL * x / z + CX), round(FOCAL * y / z + CY)
    assert np.argwhere(np.isfinite(depth)).tolist() == [[v, u]]
    assert depth[v, u] == pytest.approx(z)


def test_the_right_camera_lies_a_baseline_to_the_right(tmp_path):
    write_drive(tmp_path)
    rig = KittiRaw(tmp_path, "all")[0].rig
    np.testing.assert_allclose(rig.reference_from("rgb_right")[:3, 3], LEFT - RIGHT, atol=1e-9)
    assert rig.cameras["rgb_right"] == rig.cameras["rgb"]


def test_poses_move_as_the_vehicle_does(tmp_path):
    write_drive(tmp_path)
    data = KittiRaw(tmp_path, "all")
    poses = [sample.world_from_reference for sample in data]
    # A metre a frame, straight on: the next camera is a metre along this one's optical axis.
    step = np.linalg.inv(poses[0]) @ poses[1]
    np.testing.assert_allclose(step[:3, :3], np.eye(3), atol=1e-9)
    np.testing.assert_allclose(step[:3, 3], [0, 0, 1], atol=2e-3)
    # In the world: to the north-east, with the camera level. The camera lies ahead of the inertial unit.
    np.testing.assert_allclose(poses[0][:3, 2], [np.sqrt(0.5), np.sqrt(0.5), 0], atol=1e-9)
    np.testing.assert_allclose(poses[0][:3, 1], [0, 0, -1], atol=1e-9)
    right, down, forward = -(np.array([-IMU[1], -IMU[2], IMU[0]]) + LIDAR + LEFT)  # from the unit to the camera
    expected = right * np.array([np.sqrt(0.5), -np.sqrt(0.5), 0]) + forward * np.array([np.sqrt(0.5), np.sqrt(0.5), 0])
    np.testing.assert_allclose(poses[0][:3, 3], expected + np.array([0, 0, -down]), atol=1e-6)


def test_a_banked_pose_is_that_of_its_euler_angles(tmp_path):
    (tmp_path / "a.txt").write_text(packet(3.0, -4.0, 2.0, roll=0.1, pitch=-0.2))
    (tmp_path / "b.txt").write_text(packet(0.0, 0.0))
    moved = read_oxts(tmp_path / "a.txt")
    found = pose_of_oxts(moved, read_oxts(tmp_path / "b.txt"))
    np.testing.assert_allclose(found[:3, 3], [3, -4, 2], atol=1e-4)
    np.testing.assert_allclose(found[:3, :3], Rotation.from_euler("ZYX", moved[[5, 4, 3]]).as_matrix(), atol=1e-12)


def test_improved_depth_is_found_in_the_drive_and_in_its_own_archive(tmp_path):
    folder = write_drive(tmp_path)
    stored = np.zeros((HEIGHT, WIDTH), np.uint16)
    stored[12, 30] = 2560
    for place in (folder, tmp_path / "val" / DRIVE.split("/")[1]):
        maps = place / "proj_depth" / "groundtruth" / "image_02"
        maps.mkdir(parents=True)
        Image.fromarray(stored).save(maps / f"{1:010d}.png")
        data = KittiRaw(tmp_path, "all", depth="improved")
        assert data.frames == (Frame(DRIVE, 1),)  # the others have none
        depth = data[0].depth["rgb"]
        assert np.argwhere(np.isfinite(depth)).tolist() == [[12, 30]]
        assert depth[12, 30] == 10
        (maps / f"{1:010d}.png").unlink()
        maps.rmdir()  # an empty folder would hide the next place


@pytest.mark.parametrize("split", ["bicross_train", "bicross_test"])
def test_bicross_is_measured_by_improved_depth(tmp_path, split):
    """Its counts of frames are those of the drives less the first and the last five, which have none."""
    drive = {"bicross_train": kitti_splits.BICROSS_TRAIN, "bicross_test": kitti_splits.BICROSS_TEST}[split][0]
    maps = write_drive(tmp_path, drive) / "proj_depth" / "groundtruth" / "image_02"
    maps.mkdir(parents=True)
    Image.fromarray(np.full((HEIGHT, WIDTH), 2560, np.uint16)).save(maps / f"{1:010d}.png")
    data = KittiRaw(tmp_path, split, partial=True)
    assert data.frames == (Frame(drive, 1),)
    assert (data[0].depth["rgb"] == 10).all()
    assert len(KittiRaw(tmp_path, split, depth="lidar", partial=True)) == 3


def test_neighbours_need_not_be_in_the_split(tmp_path):
    drive = kitti_splits.EIGEN_TEST[0].sequence
    write_drive(tmp_path, drive, frames=8)
    (tmp_path / "list.txt").write_text(
        f"{drive} 0000000003 l\n{drive} 3 r\n{drive}/image_02/data/0000000007.png x 721\n"
    )
    data = KittiRaw(tmp_path, str(tmp_path / "list.txt"))
    assert data.frames == (Frame(drive, 3), Frame(drive, 7))
    before = data.neighbour(data.frames[0], -1)
    assert before == Frame(drive, 2)
    np.testing.assert_array_equal(data.read(before).rgb, picture(2))
    assert data.neighbour(data.frames[1], 1) is None
    assert data.neighbour(Frame(drive, 0), -1) is None


def test_splits_have_the_published_sizes():
    assert len(set(kitti_splits.EIGEN_TEST)) == 697
    assert len({frame.sequence for frame in kitti_splits.EIGEN_TEST}) == 28
    assert len(set(kitti_splits.EIGEN_BENCHMARK)) == 652
    assert set(kitti_splits.EIGEN_BENCHMARK) < set(kitti_splits.EIGEN_TEST)
    assert min(frame.number for frame in kitti_splits.EIGEN_BENCHMARK) >= 5
    assert len(set(kitti_splits.EIGEN_TRAIN)) == 33
    assert not {frame.sequence for frame in kitti_splits.EIGEN_TEST} & set(kitti_splits.EIGEN_TRAIN)
    # BiCross counts 128 planes a frame: 83k in the Eigen test.
    assert round(652 * 128 / 1000) == 83
    assert len(kitti_splits.BICROSS_TRAIN) == 6
    assert "2011_09_26/2011_09_26_drive_0039_sync" in kitti_splits.BICROSS_TEST


def test_whole_drives_and_parts_of_them(tmp_path):
    for drive in kitti_splits.EIGEN_TRAIN[:2]:
        write_drive(tmp_path, drive, frames=2)
    with pytest.raises(ValueError, match=r"eigen_train takes 33 folders, 31 are missing: .*drive_0011_sync, .*partial"):
        KittiRaw(tmp_path, "eigen_train")
    data = KittiRaw(tmp_path, "eigen_train", partial=True)
    assert [frame.number for frame in data.frames] == [0, 1, 0, 1]
    # A sweep that was never recorded, as a few were not: the frame is left out.
    (tmp_path / kitti_splits.EIGEN_TRAIN[0] / "velodyne_points" / "data" / f"{1:010d}.bin").unlink()
    assert len(KittiRaw(tmp_path, "eigen_train", partial=True)) == 3
    assert len(KittiRaw(tmp_path, "eigen_train", depth="none", partial=True)) == 4
    with pytest.raises(ValueError, match="28 are missing"):
        KittiRaw(tmp_path, "eigen_test", partial=True)


def test_what_is_missing_or_broken_is_named(tmp_path):
    with pytest.raises(ValueError, match="is not a folder"):
        KittiRaw(tmp_path / "none", "all")
    with pytest.raises(ValueError, match="no drives of KITTI raw in"):
        KittiRaw(tmp_path, "all")
    folder = write_drive(tmp_path)
    with pytest.raises(ValueError, match=r"kitti_raw has the splits eigen_train, .*; found 'test'"):
        KittiRaw(tmp_path, "test")
    with pytest.raises(ValueError, match="depth of kitti_raw is one of lidar, improved, none; found 'dense'"):
        KittiRaw(tmp_path, "all", depth="dense")
    (tmp_path / "list.txt").write_text("2011_09_26 0001 0000000001\n")
    with pytest.raises(ValueError, match=r"list.txt, line 1: expected a frame of KITTI raw"):
        KittiRaw(tmp_path, str(tmp_path / "list.txt"))
    data = KittiRaw(tmp_path, "all")
    (folder / "velodyne_points" / "data" / f"{0:010d}.bin").write_bytes(b"12345")
    with pytest.raises(ValueError, match=r"velodyne_points/data/0000000000.bin: .* found 5 bytes"):
        data[0]
    (folder / "oxts" / "data" / f"{1:010d}.txt").write_text("1 2 3")
    with pytest.raises(ValueError, match=r"oxts/data/0000000001.txt: an OXTS packet has 30 values, found 3"):
        data[1]
    (folder / "oxts" / "data" / f"{1:010d}.txt").write_text("inf " * 30)
    with pytest.raises(ValueError, match=r"oxts/data/0000000001.txt: a place and an attitude are finite"):
        data[1]
    Image.fromarray(picture(0, 20, 10)).save(folder / "image_02" / "data" / f"{2:010d}.png")
    with pytest.raises(ValueError, match=r"0000000002.png is 20x10 pixels, but its calibration is for 62x19"):
        data[2]
    (folder / "image_03" / "data" / f"{0:010d}.png").unlink()
    with pytest.raises(ValueError, match=r"there is no file .*image_03/data/0000000000.png"):
        KittiRaw(tmp_path, "all", depth="none")[0]
    (folder.parent / "calib_cam_to_cam.txt").write_text("S_rect_02: inf 19\n")
    with pytest.raises(ValueError, match=r"calib_cam_to_cam.txt: S_rect_02 takes finite values, found inf 19"):
        KittiRaw(tmp_path, "all")[1]
    (folder.parent / "calib_cam_to_cam.txt").write_text("R_rect_00: 1 0 0\n")
    with pytest.raises(ValueError, match=r"calib_cam_to_cam.txt: the calibration lacks S_rect_02; it has R_rect_00"):
        KittiRaw(tmp_path, "all")[1]


def test_drives_without_stereo_poses_and_times(tmp_path):
    """Many copies hold the left pictures alone, as .jpg."""
    folder = write_drive(tmp_path)
    for name in ("image_03", "oxts"):
        (folder / name).rename(tmp_path / name)
    (folder / "image_02" / "timestamps.txt").unlink()
    for path in (folder / "image_02" / "data").glob("*.png"):
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    sample = KittiRaw(tmp_path, "all")[2]
    assert sample.images == ("rgb",)
    assert sample.world_from_reference is None
    assert sample.time_ns == 200_000_000
