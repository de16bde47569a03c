"""`spike-depth simulate` from the outside: every file it promises, and that they agree."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from spike_depth_core.cli.main import app
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.samples.files import list_samples, load_sample
from spike_depth_core.spikes import read_spikes
from spike_depth_core.world import World
from spike_depth_core.world.towns import TOWNS


def run(*arguments: object):
    return CliRunner().invoke(app, ["simulate", *map(str, arguments)])


def test_files_of_a_drive(tmp_path):
    camera = PinholeCamera.from_focal(64, 40, 50.0)
    rig = SensorRig({s: camera for s in ("spikes", "rgb", "nir", "thermal")}, {}, "spikes")
    rig.save(tmp_path / "small.yaml")
    out = tmp_path / "drive"
    result = run(
        "--seed", 5, "--frames", 2, "--condition", "night", "--rig", tmp_path / "small.yaml", "--planes", 64,
        "--speed", 8, "--layout", "suburb", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "seed 5, night, suburb" in result.output
    drive = json.loads((out / "drive.json").read_text())
    assert drive["condition"] == "night"
    poses = np.array([moment["world_from_reference"] for moment in drive["moments"]])
    assert abs(np.linalg.norm(poses[1, :3, 3] - poses[0, :3, 3]) - 0.5 * 8) < 1.0  # half a second apart
    samples = [load_sample(path) for path in list_samples(out / "samples")]
    assert len(samples) == 2
    for k, sample in enumerate(samples):
        spikes = read_spikes(out / f"{k:06d}_spikes.dat", 40, 64)
        np.testing.assert_array_equal(spikes.data, sample.spikes.data)
        for sensor in ("rgb", "nir", "thermal"):
            stored = np.asarray(Image.open(out / f"{k:06d}_{sensor}.png"))
            np.testing.assert_array_equal(stored, getattr(sample, sensor))
        depth = np.load(out / f"{k:06d}_depth.npy")
        np.testing.assert_allclose(depth, sample.depth["spikes"], rtol=1e-3)
    used = SensorRig.load(out / "rig.yaml")
    assert 1.45 <= used.height <= 1.85  # the seed's, where the rig does not know it
    assert replace(used, height=None).to_dict() == rig.to_dict()
    assert Image.open(out / "contact_sheet.png").size[0] > 1000


def test_an_unknown_condition_is_an_error_in_one_line(tmp_path):
    result = run("--condition", "noon", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "noon" in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_a_file_where_the_folder_should_be_is_found_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(World, "frames", lambda *_: pytest.fail("it is rendered"))
    (tmp_path / "taken").write_text("mine")
    result = run("--out", tmp_path / "taken")
    assert result.exit_code == 2
    assert f"--out {tmp_path / 'taken'}: a folder was expected" in result.output


def test_help_names_what_there_is():
    text = " ".join(run("--help").output.replace("│", " ").split())
    assert "000000_spikes.dat" in text
    assert "|".join(TOWNS) in text


def test_a_stereo_drive_in_the_rain_of_the_second_town(tmp_path):
    camera = PinholeCamera.from_focal(64, 40, 50.0)
    rig = SensorRig(
        {name: camera for name in ("spikes", "rgb", "spikes_right", "rgb_right")},
        {name: pose((0.54, 0.0, 0.0)) for name in ("spikes_right", "rgb_right")},
    )
    rig.save(tmp_path / "stereo.yaml")
    out = tmp_path / "drive"
    result = run(
        "--seed", 5, "--frames", 1, "--condition", "day", "--rig", tmp_path / "stereo.yaml", "--planes", 16,
        "--weather", "rain", "--town", "second", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    drive = json.loads((out / "drive.json").read_text())
    assert (drive["weather"], drive["town"]) == ("rain", "second")
    assert drive["rain"] > 0
    sample = load_sample(list_samples(out / "samples")[0])
    spikes = read_spikes(out / "000000_spikes_right.dat", 40, 64)
    np.testing.assert_array_equal(spikes.data, sample.spikes_right.data)
    stored = np.asarray(Image.open(out / "000000_rgb_right.png"))
    np.testing.assert_array_equal(stored, sample.rgb_right)


def test_a_shorter_drive_takes_the_place_of_a_longer_one(tmp_path):
    SensorRig.single("rgb", PinholeCamera.from_focal(32, 20, 25.0)).save(tmp_path / "small.yaml")
    out = tmp_path / "drive"
    base = ("--rig", tmp_path / "small.yaml", "--planes", 4, "--condition", "day", "--out", out)
    assert run("--frames", 3, *base).exit_code == 0
    mine = out / "000002_notes.txt"
    mine.write_text("mine")
    assert run("--frames", 1, *base).exit_code == 0
    assert len(list_samples(out / "samples")) == 1
    numbered = {path.name for path in out.glob("00000*")}
    assert numbered == {"000000_rgb.png", "000000_depth.npy", "000002_notes.txt"}

    (out / "samples" / "frames.json").write_text("{}")  # as `convert dataset` leaves it
    before = sorted(out.rglob("*"))
    result = run("--frames", 1, *base)
    assert result.exit_code == 2
    assert "frames.json, which simulate has not written: choose another --out" in result.stderr
    assert sorted(out.rglob("*")) == before


def test_a_drive_longer_than_the_street_costs_nothing(tmp_path):
    SensorRig.single("rgb", PinholeCamera.from_focal(32, 20, 25.0)).save(tmp_path / "small.yaml")
    out = tmp_path / "drive"
    base = ("--rig", tmp_path / "small.yaml", "--planes", 4, "--condition", "day", "--out", out)
    assert run("--frames", 1, *base).exit_code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    result = run("--rate", 0.01, "--frames", 6, *base)
    assert result.exit_code == 2
    assert "from 1 to 501 s: a scene lasts from -1 to 301 s" in result.stderr
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bag", "a.mcap", "--frames", 2, "--rate", 2], "--frames, --rate: not of a --bag, "),
        (["--bag", "a.mcap", "--planes", 256], "--planes: not of a --bag, "),
        (["--bag", "a.mcap", "--out", "out"], "--out: not of a --bag, "),
        (["--duration", 2], "--duration belongs to --bag; --frames says how many moments there are"),
    ],
)
def test_what_would_have_no_effect_is_refused(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(tmp_path.iterdir())
