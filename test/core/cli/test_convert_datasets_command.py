"""`spike-depth convert spike-kitti` and `convert dataset` from the outside: sets of data in, sets of data out."""

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from spike_depth_core.cli.main import app
from spike_depth_core.samples.files import list_samples, load_sample
from spike_depth_core.samples.readers.spike_kitti import SpikeKitti, spikes_path
from spike_depth_core.spikes.video import linear_grey
from test.core.samples.readers.kitti_raw_layout import DATE, DRIVE, picture, write_drive


def run(*arguments: object):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def test_the_spike_kitti_set_is_made_and_read_back(tmp_path):
    kitti, out = tmp_path / "kitti", tmp_path / "spike_kitti"
    write_drive(kitti, frames=4)
    small = ("--planes", 32, "--width", 40, "--height", 12)
    result = run("spike-kitti", "--kitti", kitti, "--out", out, *small)
    assert result.exit_code == 0, result.output
    assert "6 frames of 32 planes, 1 drives" in result.output.replace("\n", "")
    stored = np.load(out / DRIVE / "image_04/data/spike/r32/0000000002.npy")
    assert (stored.dtype, stored.shape) == (np.uint8, (32, 12, 40))

    data = SpikeKitti(out, "all", planes=32)
    assert [frame.number for frame in data.frames] == [1, 2, 3]
    for sample in data:
        number = sample.meta["frame"]
        assert sample.images == ("spikes", "rgb", "spikes_right", "rgb_right")
        assert sample.spikes.end_ns == sample.time_ns
        np.testing.assert_array_equal(sample.rgb, picture(number))
        assert np.isfinite(sample.depth["spikes"]).sum() == 1
        # An ideal camera's rate is 0.6 of the light between the frame before and this one, to within a spike.
        for spikes, first in ((sample.spikes, 0), (sample.spikes_right, 100)):
            light = np.mean([linear_grey(resized(first + k, 40, 12)) for k in (number - 1, number)], axis=0)
            assert np.abs(spikes.planes().sum(0) - 0.6 * 32 * light).max() < 1.1

    # What is there is kept; what is lost is made again as it was, with the charge of the frames before it.
    lost = spikes_path(out, DRIVE, "image_04", 3, 32)
    kept = spikes_path(out, DRIVE, "image_04", 1, 32)
    before, written = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    assert run("spike-kitti", "--kitti", kitti, "--out", out, *small).exit_code == 0
    assert lost.read_bytes() == before
    assert kept.stat().st_mtime_ns == written


def test_a_spike_kitti_set_is_of_one_camera_and_may_grow(tmp_path):
    write_drive(tmp_path / "kitti", frames=4)
    first = ("spike-kitti", "--kitti", tmp_path / "kitti", "--out", tmp_path / "set", "--planes", 8, "--frames", 3)
    small = ("--width", 40, "--height", 12)
    assert run(*first, *small).exit_code == 0
    made = sorted((tmp_path / "set").rglob("*.npy"))
    assert len(made) == 4
    for changed in ((*small, "--camera", "physical"), (*small, "--seed", 1), ("--width", 32, "--height", 12)):
        refused = run(*first[:-2], *changed)
        assert refused.exit_code == 2
        assert "asked for those of" in refused.output.replace("\n", " ")
    assert sorted((tmp_path / "set").rglob("*.npy")) == made
    assert run(*first[:-2], *small).exit_code == 0
    assert len(sorted((tmp_path / "set").rglob("*.npy"))) == 6
    (tmp_path / "set" / "spikes_r8.json").unlink()
    assert "unknown origin" in run(*first, *small).output.replace("\n", " ")


def test_the_two_cameras_of_a_pair_are_not_in_step(tmp_path):
    """Else where both see the same light their spikes would match at no disparity, whatever the distance."""
    folder = write_drive(tmp_path, frames=2)
    for number in range(2):
        name = f"data/{number:010d}.png"
        (folder / "image_03" / name).write_bytes((folder / "image_02" / name).read_bytes())
    result = run("spike-kitti", "--kitti", tmp_path, "--out", tmp_path, "--width", 40, "--height", 12)
    assert result.exit_code == 0, result.output
    left, right = (np.load(spikes_path(tmp_path, DRIVE, camera, 1)).astype(int) for camera in ("image_04", "image_05"))
    assert np.abs(left.sum(0) - right.sum(0)).max() <= 1
    rate = left.mean(0)
    expected = (2 * rate * (1 - rate)).mean()  # of two that know nothing of each other
    assert abs((left != right).mean() - expected) < 0.1 * expected


def resized(seed: int, width: int, height: int) -> np.ndarray:
    return np.array(Image.fromarray(picture(seed)).resize((width, height), Image.Resampling.BILINEAR))


def test_spikes_can_be_added_to_kitti_itself(tmp_path):
    write_drive(tmp_path, frames=5)
    (tmp_path / DRIVE / "image_03").rename(tmp_path / "away")
    (tmp_path / DRIVE / "image_02/data" / f"{2:010d}.png").unlink()  # nothing is known of the light around it
    result = run(
        "spike-kitti", "--kitti", tmp_path, "--out", tmp_path, "--planes", 8, "--width", 16, "--height", 8,
        "--camera", "physical", "--seed", 3,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    made = sorted(path.stem for path in (tmp_path / DRIVE / "image_04").rglob("*.npy"))
    assert made == [f"{1:010d}", f"{4:010d}"]
    assert not (tmp_path / DRIVE / "image_05").exists()
    assert SpikeKitti(tmp_path, "all", planes=8)[0].images == ("spikes", "rgb")


def test_a_data_set_becomes_samples(tmp_path):
    kitti, out = tmp_path / "kitti", tmp_path / "samples"
    write_drive(kitti)
    result = run(
        "dataset", "--dataset", "kitti_raw", "--root", kitti, "--split", "all", "--size", "32x16", "--out", out
    )
    assert result.exit_code == 0, result.output
    samples = [load_sample(path) for path in list_samples(out)]
    assert [sample.meta["frame"] for sample in samples] == [0, 1, 2]
    assert {sample.meta["sequence"] for sample in samples} == {DRIVE}
    assert samples[0].size("rgb") == samples[0].size("rgb_right") == (16, 32)
    assert samples[0].rig.cameras["rgb"].width == 32
    assert np.isfinite(samples[0].depth["rgb"]).sum() == 1
    step = np.linalg.inv(samples[0].world_from_reference) @ samples[1].world_from_reference
    assert abs(step[2, 3] - 1) < 2e-3


def test_faults_are_one_line(tmp_path):
    write_drive(tmp_path, frames=3)
    (tmp_path / DATE / "calib_velo_to_cam.txt").unlink()
    kitti_raw = ["dataset", "--dataset", "kitti_raw", "--root", tmp_path, "--out", tmp_path]
    for arguments, message in (
        (["spike-kitti", "--kitti", tmp_path / "none", "--out", tmp_path], "none is not a folder"),
        (["spike-kitti", "--kitti", tmp_path, "--out", tmp_path, "--planes", 6], "multiple of 4"),
        (["spike-kitti", "--kitti", tmp_path, "--out", tmp_path], "calib_velo_to_cam.txt"),
        (["dataset", "--dataset", "x", "--root", tmp_path, "--out", tmp_path], "data sets are kitti_raw"),
        (kitti_raw, "kitti_raw has the splits"),
        ([*kitti_raw, "--split", "all", "--size", "6"], "--size is WIDTHxHEIGHT, such as 640x192; found '6'"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2, result.output
        assert message in result.output.replace("\n", "")
        assert "Traceback" not in result.output
