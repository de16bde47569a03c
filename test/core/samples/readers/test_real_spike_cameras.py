"""Outdoor-Spike, Respike and PKU-Spike-Stereo in their exact layouts, with a camera's recording where it is at hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spike_depth_core.samples.readers.dataset import Frame
from spike_depth_core.samples.readers.outdoor_spike import OutdoorSpike
from spike_depth_core.samples.readers.pku_spike_stereo import PkuSpikeStereo
from spike_depth_core.samples.readers.respike import Respike
from spike_depth_core.spikes import PackedSpikes, write_spikes

RECORDING = Path(__file__).parents[5] / "shared" / "data" / "spikes" / "reds_301x250x400.dat"
PICTURE = RECORDING.with_name("reds_301x250x400_middle.png")
needs_recording = pytest.mark.skipif(not RECORDING.is_file(), reason=f"no spike recording at {RECORDING}")
HEIGHT, WIDTH = 250, 400


def planes_of(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, (count, HEIGHT, WIDTH), dtype=np.uint8)


def write_dat(path: Path, planes: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_spikes(path, PackedSpikes.from_planes(planes))


def write_pfm(path: Path, values: np.ndarray, order: str = "<") -> None:
    """Rows bottom up; the scale's sign is the byte order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = f"Pf\n{values.shape[1]} {values.shape[0]}\n{-1.0 if order == '<' else 1.0}\n"
    path.write_bytes(header.encode() + values[::-1].astype(f"{order}f4").tobytes())


def resemblance(planes: np.ndarray) -> float:
    """Pearson correlation of the mean firing rate around plane 150 with the picture taken then."""
    picture = np.asarray(Image.open(PICTURE).convert("L"), np.float64)
    return float(np.corrcoef(planes.mean(0).ravel(), picture.ravel())[0, 1])


# Outdoor-Spike


def test_windows_follow_one_another(tmp_path):
    planes = planes_of(0, 11)
    write_dat(tmp_path / "b.dat", planes)
    write_dat(tmp_path / "a.dat", planes_of(1, 3))
    data = OutdoorSpike(tmp_path, planes=4, step=3)
    assert data.frames == (Frame("b", 0), Frame("b", 1), Frame("b", 2))  # the other is too short for a window
    sample = data[2]
    np.testing.assert_array_equal(sample.spikes.planes(), planes[6:10])
    assert sample.time_ns == sample.spikes.end_ns == 10 * 50_000
    assert sample.rig.cameras["spikes"].fx == 320
    assert sample.meta["calibration"] == "focal length assumed"
    assert OutdoorSpike(tmp_path, planes=4, focal=500.0)[0].rig.cameras["spikes"].fx == 500
    assert data.neighbour(Frame("b", 1), 1) == Frame("b", 2)
    assert data.neighbour(Frame("b", 2), 1) is None


def test_faults_of_outdoor_spike_are_named(tmp_path):
    with pytest.raises(ValueError, match="no frames of split 'all' of outdoor_spike"):
        OutdoorSpike(tmp_path)
    with pytest.raises(ValueError, match="must be positive, found 0"):
        OutdoorSpike(tmp_path, planes=0)
    (tmp_path / "a.dat").write_bytes(bytes(12_501))
    with pytest.raises(ValueError, match=r"a.dat: expected a whole number of planes of 12500 bytes"):
        OutdoorSpike(tmp_path)
    write_dat(tmp_path / "a.dat", planes_of(0, 4))
    with pytest.raises(ValueError, match=r"a.dat has 4 planes, no window 1 of 4"):
        OutdoorSpike(tmp_path, planes=4).read(Frame("a", 1))


@needs_recording
def test_a_cameras_recording_is_read_the_right_way_round(tmp_path):
    (tmp_path / RECORDING.name).symlink_to(RECORDING)
    data = OutdoorSpike(tmp_path, planes=41, step=130)
    assert len(data) == 3
    assert resemblance(data[1].spikes.planes()) > 0.985  # planes 130 to 170; 0.952 with the bits reversed


# Respike


def as_stored(planes: np.ndarray) -> np.ndarray:
    """What Respike's authors saved: upside down, and each eight columns mirrored (the inverse of their loader)."""
    stored = planes[:, ::-1].copy()
    for byte in range(WIDTH // 8):
        stored[:, :, 8 * byte : 8 * byte + 8] = stored[:, :, 8 * byte : 8 * byte + 8][:, :, ::-1]
    return stored


@pytest.fixture
def respike(tmp_path):
    for number, name in enumerate(("0001", "0003")):
        folder = tmp_path / "indoor" / "spike" / "val" / "desk" / "left"
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{name}.npy", as_stored(planes_of(number, 5)).astype(np.float32))
        picture = tmp_path / "indoor" / "reconstruction" / "val" / "desk" / "left" / f"{name}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((HEIGHT, WIDTH), 40 + number, np.uint8)).save(picture)
        depth = np.linspace(0.0, 4.99, HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
        write_pfm(tmp_path / "indoor" / "depth_trans" / "val" / "desk" / f"{name}.pfm", depth, "<>"[number])
    return tmp_path


def test_respike_is_turned_the_right_way_round(respike):
    data = Respike(respike, "indoor_val", planes=4)
    assert data.frames == (Frame("indoor/val/desk", 0), Frame("indoor/val/desk", 1))
    for number, sample in enumerate(data):
        np.testing.assert_array_equal(sample.spikes.planes(), planes_of(number, 5)[:4])
        assert (sample.rgb == 40 + number).all()
        assert np.isnan(sample.depth["spikes"][0, 0])  # 0 m is unknown
        assert sample.depth["spikes"][-1, -1] == np.float32(4.99)
        assert sample.depth["spikes"][0, -1] < sample.depth["spikes"][1, 0]
    assert data[1].meta["file"] == "0003"


@needs_recording
def test_the_trap_of_respike_on_a_real_recording(tmp_path):
    """The camera's file, unpacked with numpy's default bit order and not flipped, is what Respike holds."""
    raw = np.fromfile(RECORDING, np.uint8).reshape(-1, HEIGHT, WIDTH // 8)[130:171]
    folder = tmp_path / "outdoor" / "spike" / "train" / "road" / "left"
    folder.mkdir(parents=True)
    np.save(folder / "a.npy", np.unpackbits(raw, axis=2))
    write_pfm(tmp_path / "outdoor" / "depth_trans" / "train" / "road" / "a.pfm", np.ones((HEIGHT, WIDTH)))
    sample = Respike(tmp_path, "outdoor_train", planes=41)[0]
    assert resemblance(sample.spikes.planes()) > 0.985
    assert sample.images == ("spikes",)  # no pictures were made of it


def test_faults_of_respike_are_named(respike):
    with pytest.raises(ValueError, match=r"0001.npy: at least 128 planes were expected, found 5"):
        Respike(respike, "indoor_val")[0]
    data = Respike(respike, "indoor_val", planes=4)
    pfm = respike / "indoor" / "depth_trans" / "val" / "desk" / "0001.pfm"
    for content, message in (
        (b"P5\n4 4\n255\n", "is not a Portable Float Map: it begins with b'P5"),
        (b"PF\n400 250\n-1\n", "one channel was expected, found a colour map"),
        (b"Pf\n400 250\n-1.0\n1234", "400x250 values take 400000 bytes, found 4"),
        (b"Pf\n1 1\n-1.0\n1234", "is 1x1 pixels, its spikes 400x250"),
    ):
        pfm.write_bytes(content)
        with pytest.raises(ValueError, match=rf"0001.pfm.*{message}"):
            data[0]
    pfm.write_bytes(b"Pf\n1 1\ne\n1234")
    with pytest.raises(ValueError, match=r"0001.pfm: its scale is a number, found 'e'"):
        data[0]
    pfm.unlink()
    assert [sample.meta["file"] for sample in Respike(respike, "indoor_val", planes=4)] == ["0003"]  # as BiCross has it


# PKU-Spike-Stereo


@pytest.fixture
def pku(tmp_path):
    """Five indoor scenes of two recordings and one outdoor scene of one."""
    depth = np.full((HEIGHT, WIDTH), 3.5, np.float32)
    depth[0, :3] = np.nan, np.inf, -np.inf  # what a ZED camera says of unknown, too far, too near
    for kind, scenes, recordings in (("indoor", 5, 2), ("outdoor", 1, 1)):
        for scene in range(scenes):
            for recording in range(recordings):
                for side in ("left", "right"):
                    folder = tmp_path / kind / side / f"{scene:04d}" / f"{recording:04d}"
                    write_dat(folder / f"{recording:04d}.dat", planes_of(10 * scene + recording + (side == "right"), 6))
                    if side == "left":
                        np.save(folder / f"{recording:04d}_gt.npy", depth)
    return tmp_path


def test_scenes_are_split_four_to_one(pku):
    sizes = {split: len(PkuSpikeStereo(pku, split)) for split in ("indoor_train", "indoor_val", "outdoor_val", "val")}
    assert sizes == {"indoor_train": 8, "indoor_val": 2, "outdoor_val": 1, "val": 3}
    assert PkuSpikeStereo(pku, "indoor_val").frames[1] == Frame("indoor/0004", 1)


def test_a_pair_needs_a_baseline(pku):
    sample = PkuSpikeStereo(pku, "indoor_train", planes=2)[3]
    assert sample.images == ("spikes",)
    np.testing.assert_array_equal(sample.spikes.planes(), planes_of(11, 6)[2:4])
    assert np.isnan(sample.depth["spikes"][0, :3]).all()
    assert (sample.depth["spikes"][1:] == 3.5).all()
    pair = PkuSpikeStereo(pku, "indoor_train", baseline=0.12, focal=400.0)[3]
    np.testing.assert_array_equal(pair.spikes_right.planes(), planes_of(12, 6))
    np.testing.assert_array_equal(pair.rig.reference_from("spikes_right")[:3, 3], [0.12, 0, 0])
    assert pair.meta["calibration"] == "focal length as told"


def test_faults_of_pku_spike_stereo_are_named(pku):
    with pytest.raises(ValueError, match=r"a baseline is positive metres to the right, found -0.1"):
        PkuSpikeStereo(pku, "train", baseline=-0.1)
    data = PkuSpikeStereo(pku, "outdoor_val", baseline=0.1)
    (pku / "outdoor/right/0000/0000/0000.dat").unlink()
    with pytest.raises(ValueError, match=r"expected one \*.dat in .*right/0000/0000, found 0"):
        data[0]
    (pku / "outdoor/left/0000/0000/0000_gt.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"0000_gt.npy: not a readable .npy of depth"):
        data[0]
