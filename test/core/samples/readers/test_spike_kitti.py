"""Spike-KITTI in its exact layout: planes between frames, geometry of the resized camera, the older bit order."""

import numpy as np
import pytest

from spike_depth_core.samples.readers.dataset import Frame
from spike_depth_core.samples.readers.kitti_raw import KittiRaw
from spike_depth_core.samples.readers.spike_kitti import SpikeKitti, read_reversed_dat, spikes_path
from test.core.samples.readers.kitti_raw_layout import DRIVE, HEIGHT, WIDTH, write_drive

PLANES = 4


def planes_of(seed: int, height: int = 2 * HEIGHT, width: int = 3 * WIDTH) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (PLANES, height, width), dtype=np.uint8)


@pytest.fixture
def root(tmp_path):
    """Three frames; spikes of the two that have any, as float64, the type that the published simulator leaves."""
    write_drive(tmp_path, points=np.array([[10.0, -2.0, -1.0, 0.0]]))
    for camera, seed in (("image_04", 0), ("image_05", 50)):
        for number in (1, 2):
            path = spikes_path(tmp_path, DRIVE, camera, number, PLANES)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, planes_of(seed + number).astype(np.float64))
    return tmp_path


def test_the_paths_are_those_of_the_published_loader(root):
    assert (root / DRIVE / "image_04/data/spike/r4/0000000001.npy").is_file()
    assert str(spikes_path("x", "date/drive", "image_05", 7)) == "x/date/drive/image_05/data/spike/r128/0000000007.npy"


def test_spikes_fill_the_time_between_frames(root):
    data = SpikeKitti(root, "all", planes=PLANES)
    assert [frame.number for frame in data.frames] == [1, 2]  # no spikes before the first frame
    sample = data[0]
    assert sample.images == ("spikes", "rgb", "spikes_right", "rgb_right")
    np.testing.assert_array_equal(sample.spikes.planes(), planes_of(1))
    np.testing.assert_array_equal(sample.spikes_right.planes(), planes_of(51))
    assert sample.spikes.period_ns == 25_000_000  # 0.1 s of 4 planes
    assert sample.spikes.end_ns == sample.time_ns == KittiRaw(root, "all")[1].time_ns
    assert data[1].spikes.start_ns == sample.spikes.end_ns
    assert sample.meta == {"dataset": "Spike-KITTI", "sequence": DRIVE, "frame": 1}


def test_spikes_see_what_the_picture_sees(root):
    sample = SpikeKitti(root, "all", planes=PLANES)[0]
    np.testing.assert_array_equal(sample.rig.transform("spikes", "rgb"), np.eye(4))
    np.testing.assert_array_equal(sample.rig.transform("spikes_right", "rgb_right"), np.eye(4))
    # The same ray, to within half a pixel of the coarser picture, and the same metres.
    rays = {}
    for name in ("rgb", "spikes"):
        ((v, u),) = np.argwhere(np.isfinite(sample.depth[name]))
        camera = sample.rig.cameras[name]
        rays[name] = np.array([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy])
        assert sample.depth[name][v, u] == pytest.approx(10.0 - 0.27)
    fine = sample.rig.cameras["rgb"]
    assert (np.abs(rays["rgb"] - rays["spikes"]) <= 0.5 / fine.fx + 0.5 / sample.rig.cameras["spikes"].fx).all()
    assert sample.rig.cameras["spikes"].fx == 3 * fine.fx
    assert sample.rig.cameras["spikes"].fy == 2 * fine.fy


def test_the_older_form_has_the_leftmost_pixel_in_the_highest_bit(tmp_path):
    planes = np.random.default_rng(3).integers(0, 2, (2, 3, 16), dtype=np.uint8)
    # As its loader reads it: a byte at a time, the highest bit first, row by row.
    data = bytearray()
    for bits in planes.reshape(-1, 8):
        data.append(sum(int(bit) << (7 - i) for i, bit in enumerate(bits)))
    (tmp_path / "a.dat").write_bytes(data)
    np.testing.assert_array_equal(read_reversed_dat(tmp_path / "a.dat", 3, 16).planes(), planes)
    (tmp_path / "b.dat").write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"b.dat: expected planes of 6 bytes \(16x3 pixels\), found 11 bytes"):
        read_reversed_dat(tmp_path / "b.dat", 3, 16)


def test_the_older_form_is_found_beside_the_frames(root):
    folder = root / DRIVE / "image_04"
    planes = np.random.default_rng(3).integers(0, 2, (PLANES, 192, 640), dtype=np.uint8)
    (folder / f"{1:010d}.dat").write_bytes(np.packbits(planes).tobytes())
    data = SpikeKitti(root, "all", planes=PLANES)
    np.testing.assert_array_equal(data[0].spikes.planes(), planes_of(1))  # the newer form wins
    spikes_path(root, DRIVE, "image_04", 1, PLANES).unlink()
    np.testing.assert_array_equal(data[0].spikes.planes(), planes)


def test_what_is_missing_or_broken_is_named(root):
    (root / "list.txt").write_text(f"{DRIVE} 1 l\n{DRIVE} 0 l\n")
    said = r"frame without spikes: there is no .*image_04/data/spike/r128/0000000001.npy"
    with pytest.raises(ValueError, match=said):
        SpikeKitti(root, str(root / "list.txt"), planes=128)
    with pytest.raises(ValueError, match="no frames of split 'all' of spike_kitti"):
        SpikeKitti(root, "all", planes=128)
    assert SpikeKitti(root, "all").planes == PLANES  # of the only folder that there is
    data = SpikeKitti(root, "all", planes=PLANES)
    path = spikes_path(root, DRIVE, "image_04", 1, PLANES)
    np.save(path, planes_of(1)[:3])
    with pytest.raises(ValueError, match=r"image_04/data/spike/r4/0000000001.npy: 4 planes were expected, found 3"):
        data[0]
    np.save(path, planes_of(1) * 0.5)
    with pytest.raises(ValueError, match=r"0000000001.npy: planes hold zeros and ones, found 0.5"):
        data[0]
    path.unlink()
    with pytest.raises(OSError, match=r"0000000001.npy"):
        data[0]
    assert len(SpikeKitti(root, "all", planes=PLANES)) == 1  # of a whole drive, what there is
    with pytest.raises(ValueError, match="there are no spikes before its first frame"):
        data.read(Frame(DRIVE, 0))
