"""MS2 in its exact layout, with the calibration of its cars and the real frame where it is at hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spike_depth_core.samples.readers import ms2
from spike_depth_core.samples.readers.dataset import Frame
from spike_depth_core.samples.readers.ms2 import Ms2

REAL = Path(__file__).parents[5] / "shared" / "data" / "ms2"
SEQUENCE = ms2.SEQUENCES["val"][0]
SIZES = {"rgb": (24, 76), "nir": (22, 80), "thr": (16, 40)}


def intrinsics(focal: float, cx: float, cy: float) -> np.ndarray:
    return np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])


# Of one of MS2's sequences. The thermal camera looks 9 degrees up from where the near infrared one does.
CALIBRATION = {
    "K_rgbL": intrinsics(764.51387058, 579.54701233, 153.00541306),
    "K_rgbR": intrinsics(764.51387058, 579.54701233, 153.00541306),
    "K_nirL": intrinsics(638.90606689, 632.70062256, 163.07611084),
    "K_nirR": intrinsics(638.90606689, 632.70062256, 163.07611084),
    "K_thrL": intrinsics(387.78695052, 300.82013702, 151.62576294),
    "K_thrR": intrinsics(387.78695052, 300.82013702, 151.62576294),
    "R_rgbR": np.eye(3, dtype=int),
    "T_rgbR": np.array([[-299.18420531], [0], [0]]),
    "R_nirR": np.eye(3, dtype=int),
    "T_nirR": np.array([[-50.25276169], [0], [0]]),
    "R_thrR": np.eye(3, dtype=int),
    "T_thrR": np.array([[-303.89951424], [0], [0]]),
    "R_nir2rgb": np.array(
        [
            [0.999963, -0.00479652, 0.00714131],
            [0.00473284, 0.99994913, 0.00890767],
            [-0.00718367, -0.00887354, 0.99993483],
        ]
    ),
    "T_nir2rgb": np.array([[53.8984183], [1.5663741], [22.51569933]]),
    "R_nir2thr": np.array(
        [
            [0.99997306, 0.00532102, 0.0050567],
            [-0.00441541, 0.98632901, -0.16472884],
            [-0.0058641, 0.16470207, 0.98632593],
        ]
    ),
    "T_nir2thr": np.array([[65.32481066], [326.85614226], [590.69386997]]),
}


def picture(folder: str, side: str, number: int) -> np.ndarray:
    seed = list(SIZES).index(folder) * 100 + number + 1000 * (side == "right")
    rng = np.random.default_rng(seed)
    if folder == "rgb":
        return rng.integers(0, 256, (*SIZES[folder], 3), dtype=np.uint8)
    if folder == "nir":
        return rng.integers(0, 256, SIZES[folder], dtype=np.uint8)
    return rng.integers(20_000, 30_000, SIZES[folder]).astype(np.uint16)


def write_sequence(root: Path, sequence: str, frames: int, depth: bool = True) -> None:
    folder = root / "sync_data" / sequence
    for kind, size in SIZES.items():
        for side in ("left", "right"):
            (folder / kind / f"img_{side}").mkdir(parents=True)
            for number in range(frames):
                Image.fromarray(picture(kind, side, number)).save(folder / kind / f"img_{side}" / f"{number:06d}.png")
        if depth:
            maps = root / "proj_depth" / sequence / kind / "depth_filtered"
            maps.mkdir(parents=True)
            stored = np.zeros(size, np.uint16)
            stored[5, 6] = 256 * 12 + 128
            for number in range(frames):
                Image.fromarray(stored).save(maps / f"{number:06d}.png")
            poses = root / "odom" / sequence / kind
            poses.mkdir(parents=True)
            for number in range(frames):
                pose = np.eye(4)
                pose[2, 3] = 0.5 * number
                np.savetxt(poses / f"{number:06d}.txt", pose.reshape(1, 16))
    np.save(folder / "calib.npy", np.array(CALIBRATION))


@pytest.fixture
def root(tmp_path):
    for sequence, frames in zip(ms2.SEQUENCES["val"], (4, 1, 2), strict=True):
        write_sequence(tmp_path, sequence, frames)
    return tmp_path


def test_a_frame_is_read_whole(root):
    data = Ms2(root, "val")
    # Every third frame of the three sequences' seven.
    assert data.frames == (Frame(SEQUENCE, 0), Frame(SEQUENCE, 3), Frame(ms2.SEQUENCES["val"][2], 1))
    sample = data[1]
    assert sample.images == ("rgb", "nir", "thermal", "rgb_right", "nir_right", "thermal_right")
    for sensor, folder in ms2.FOLDERS.items():
        np.testing.assert_array_equal(getattr(sample, sensor), picture(folder, "left", 3))
        np.testing.assert_array_equal(getattr(sample, f"{sensor}_right"), picture(folder, "right", 3))
        assert np.argwhere(np.isfinite(sample.depth[sensor])).tolist() == [[5, 6]]
        assert sample.depth[sensor][5, 6] == 12.5
    assert sample.thermal.dtype == np.uint16
    assert sample.world_from_reference[2, 3] == 1.5
    assert sample.meta == {"dataset": "MS2", "sequence": SEQUENCE, "frame": 3}
    assert data.neighbour(data.frames[1], -1) == Frame(SEQUENCE, 2)


def test_the_rig_moves_points_as_the_calibration_does(root):
    rig = Ms2(root, "val")[0].rig
    assert rig.reference == "rgb"
    point = np.array([0.7, -0.2, 9.0, 1.0])  # in the near infrared camera, metres
    for sensor, key in (("rgb", "nir2rgb"), ("thermal", "nir2thr")):
        expected = CALIBRATION[f"R_{key}"] @ point[:3] + CALIBRATION[f"T_{key}"][:, 0] / 1000
        np.testing.assert_allclose((rig.transform(sensor, "nir") @ point)[:3], expected, atol=1e-6)
    for sensor, baseline in (("rgb", 0.29918), ("nir", 0.05025), ("thermal", 0.3039)):
        step = rig.transform(sensor, f"{sensor}_right")
        np.testing.assert_allclose(step[:3, 3], [baseline, 0, 0], atol=1e-4)


def test_only_what_is_asked_for_is_read(root):
    sample = Ms2(root, "val", sensors=("thermal", "nir"), stereo=False)[0]
    assert sample.images == ("nir", "thermal")
    assert sample.rig.reference == "thermal"
    assert set(sample.rig.cameras) == {"nir", "thermal"}
    with pytest.raises(ValueError, match="sensors of ms2 are some of rgb, nir, thermal"):
        Ms2(root, "val", sensors=("lidar",))


def test_splits_are_the_published_ones(tmp_path):
    assert {split: len(names) for split, names in ms2.SEQUENCES.items()} == {
        "train": 8, "val": 3, "test_day": 3, "test_night": 3, "test_rain": 3, "test": 9,
    }  # fmt: skip
    assert len({name for names in ms2.SEQUENCES.values() for name in names}) == 20
    write_sequence(tmp_path, ms2.SEQUENCES["test_rain"][0], 21, depth=False)
    with pytest.raises(ValueError, match=r"split test_rain takes 3 folders, 2 are missing: _2021-08-06-16-45-28"):
        Ms2(tmp_path, "test_rain")
    data = Ms2(tmp_path, "test_rain", partial=True)
    assert [frame.number for frame in data.frames] == [0, 10, 20]
    assert data[0].depth == {}
    assert len(Ms2(tmp_path, "all")) == 21
    assert len(Ms2(tmp_path, "test_rain", step=1, partial=True)) == 21


def test_what_is_missing_or_broken_is_named(root):
    data = Ms2(root, "val")
    (root / "odom" / SEQUENCE / "rgb" / "000000.txt").write_text("1 0 0")
    with pytest.raises(ValueError, match=r"rgb/000000.txt: a pose is 4x4 numbers, found 3"):
        data[0]
    depth = root / "proj_depth" / SEQUENCE / "nir" / "depth_filtered" / "000000.png"
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(depth)
    with pytest.raises(ValueError, match=r"nir/depth_filtered/000000.png: depth is stored in 16 bits, found uint8"):
        data[0]
    Image.fromarray(np.ones((4, 4), np.uint16)).save(depth)
    with pytest.raises(ValueError, match=rf"depth of nir in frame 0 of {SEQUENCE} is 4x4 pixels, its picture 80x22"):
        data[0]
    (root / "sync_data" / SEQUENCE / "thr" / "img_right" / "000000.png").unlink()
    depth.unlink()
    with pytest.raises(ValueError, match=r"no file .*nir/depth_filtered/000000.png"):
        data[0]
    np.save(root / "sync_data" / SEQUENCE / "calib.npy", np.array({"K_rgbL": np.eye(3)}))
    with pytest.raises(ValueError, match=r"calib.npy: the calibration lacks T_nir2rgb; it has K_rgbL"):
        Ms2(root, "val", sensors=("rgb",))[1]


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no frame of MS2 at {REAL}")
def test_the_real_frame(tmp_path):
    folder = tmp_path / "sync_data" / SEQUENCE
    for kind in SIZES:
        for side in ("left", "right"):
            (folder / kind / f"img_{side}").mkdir(parents=True)
            (folder / kind / f"img_{side}" / "000011.png").symlink_to(REAL / f"000011_{side}_{kind}.png")
    np.save(folder / "calib.npy", np.array(CALIBRATION))
    (sample,) = Ms2(tmp_path, "val", partial=True)
    sizes = {name: sample.size(name) for name in sample.images}
    assert sizes["rgb"] == sizes["rgb_right"] == (384, 1224)
    assert sizes["nir"] == sizes["nir_right"] == (352, 1280)
    assert sizes["thermal"] == sizes["thermal_right"] == (256, 640)
    for sensor in ("rgb", "nir", "thermal"):
        # What the left camera sees lies to the left in the right-hand picture: the right camera is to the right. The
        # road of the lower rows is as far as a positive baseline of the calibration says: 5 to 40 m.
        left, right = (
            np.asarray(getattr(sample, name), np.float64).reshape(*sizes[name], -1).mean(-1)
            for name in (sensor, f"{sensor}_right")
        )
        rows = slice(int(0.55 * left.shape[0]), int(0.75 * left.shape[0]))
        shifts = np.arange(-49, 50, 2)
        scores = [likeness(left[rows], right[rows], shift) for shift in shifts]
        baseline = sample.rig.transform(sensor, f"{sensor}_right")[0, 3]
        metres = sample.rig.cameras[sensor].fx * baseline / shifts[int(np.argmax(scores))]
        assert 5 < metres < 40, sensor


def likeness(left: np.ndarray, right: np.ndarray, shift: int) -> float:
    """Correlation of horizontal gradients when the right-hand picture is moved to the right by some pixels."""
    a, b = (np.diff(image, axis=1) for image in (left, right))
    width = a.shape[1] - abs(shift)
    a, b = a[:, max(0, shift) :][:, :width], b[:, max(0, -shift) :][:, :width]
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
