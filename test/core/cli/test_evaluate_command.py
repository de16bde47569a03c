"""`spike-depth evaluate` from arguments to files, with an untrained network on tiny frames."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from spike_depth_core.cli.main import app
from spike_depth_core.cli.options import parse_sensors
from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.networks.checkpoint import CheckpointInfo, save_checkpoint
from spike_depth_core.networks.depth_network import DepthNetwork
from spike_depth_core.samples.files import sample_path, save_sample
from test.core.factories import small_sample


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An untrained network with the row prior of a flat road, 1.6 m below the camera."""
    camera = PinholeCamera.from_focal(4, 200, 100)
    rows = 1.6 / np.maximum(camera.slopes()[1], 1e-6)
    prior = RowPrior.fit([(np.repeat(rows[:, None], 4, axis=1), camera)])
    torch.manual_seed(0)
    network = DepthNetwork()
    path = tmp_path_factory.mktemp("checkpoint") / "c.safetensors"
    save_checkpoint(path, network, CheckpointInfo(network.architecture, row_prior=prior.to_dict()))
    return path


@pytest.fixture(scope="module")
def kitti(tmp_path_factory):
    """Three frames of a flat road, 1.6 m below the camera, as KITTI would store them."""
    folder = tmp_path_factory.mktemp("kitti")
    generator = np.random.default_rng(0)
    for name in ("000000", "000001", "000002"):
        Image.fromarray(generator.integers(0, 256, (64, 96, 3), dtype=np.uint8)).save(folder / f"{name}.png")
        forward, left = generator.uniform(4, 40, 400), generator.uniform(-3, 3, 400)
        points = np.column_stack([forward, left, np.full(400, -1.6), np.zeros(400)])
        points.astype("<f4").tofile(folder / f"{name}.bin")
        (folder / f"{name}.txt").write_text(
            "P2: 80 0 47.5 0 0 80 31.5 0 0 0 1 0\n"
            "R0_rect: 1 0 0 0 1 0 0 0 1\n"
            "Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n"
        )
    return folder


def test_a_negative_seed_of_streets_is_named_with_its_option(tmp_path):
    result = run("--world", -5, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "--world is the seed of the first street, 0 or more; found -5" in result.stderr
    assert not (tmp_path / "out").exists()


def test_kitti_frames_give_all_results(kitti, checkpoint, tmp_path):
    out = tmp_path / "deep" / "out"
    result = run("--kitti", kitti, "--checkpoint", checkpoint, "--sensors", "rgb", "--out", out)
    assert result.exit_code == 0, result.stderr
    found = {path.name for path in out.iterdir()}
    assert found >= {"metrics.json", "table.md", "report.html", "best.png", "median.png", "worst.png"}
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["frames"], metrics["scaling"], metrics["crop"]) == (3, "none", "garg")
    # The road is exactly what the prior expects, but for the rounding of points to pixels.
    assert metrics["row_prior_abs_rel"] < 0.08 < metrics["abs_rel"]
    assert metrics["sensors"] == ["rgb"]
    assert metrics["reference"] == "rgb"
    assert "row prior, median-scaled" in result.stdout
    assert "row prior, median-scaled" in (out / "table.md").read_text()


def test_what_an_earlier_evaluation_has_drawn_is_not_left(kitti, checkpoint, tmp_path):
    one = tmp_path / "one"
    one.mkdir()
    for path in kitti.glob("000000.*"):
        (one / path.name).write_bytes(path.read_bytes())
    base = ("--checkpoint", checkpoint, "--sensors", "rgb", "--out", tmp_path / "out")
    assert run("--kitti", kitti, *base).exit_code == 0
    (tmp_path / "out" / "notes.md").write_text("mine")
    result = run("--kitti", one, *base)
    assert result.exit_code == 0, result.stderr
    names = ["best.png", "metrics.json", "report.html", "table.md"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([*names, "notes.md"])
    assert result.stdout.splitlines()[-1] == f"{tmp_path / 'out'}/: {', '.join(names)}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of BAGS, --world, --kitti, --samples, --dataset; found none"),
        (["--dataset", "kitti_raw"], "--dataset and --root belong together"),
        (["--world", "1", "--split", "eigen_test"], "--split and --partial belong to --dataset"),
        (["--dataset", "nuscenes", "--root", "."], "data sets are kitti_raw, kitti_object, "),
        (["--dataset", "kitti_raw", "--root", "."], "kitti_raw has the splits eigen_train, "),
        (["--world", "1", "--kitti", "x"], "found --world, --kitti"),
        (["--kitti", "x", "--condition", "night"], "--condition belongs to --world"),
        (["--kitti", "x", "--frames", "1"], "--frames belongs to --world"),
        (["--kitti", "x", "--sensors", "rgb,lidar"], "--sensors takes some of spikes,rgb,nir,thermal"),
        (["--kitti", "x", "--reference", "lidar"], "--reference is one of"),
        (["--kitti", "none"], "none is not a folder"),
        (["--samples", "none"], "none"),
        (["--kitti", "x", "--device", "cuda:99"], "cuda:99"),
    ],
)
def test_wrong_arguments_are_one_line(arguments, message, checkpoint, tmp_path):
    result = run(*arguments, "--checkpoint", checkpoint, "--out", tmp_path / "out")
    assert result.exit_code == 2, result.stdout
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_sensors_are_put_in_order():
    known = ("spikes", "rgb", "nir", "thermal")
    assert parse_sensors("thermal, spikes", known) == ("spikes", "thermal")
    assert parse_sensors(None, known) is None
    with pytest.raises(ValueError, match="found ','"):
        parse_sensors(",", known)


def test_where_the_samples_lie_is_told(checkpoint, tmp_path):
    for name in ("samples", "empty"):
        (tmp_path / name).mkdir()
    save_sample(sample_path(tmp_path / "samples", 0), small_sample())
    result = run("--samples", tmp_path, "--checkpoint", checkpoint, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert f"in {tmp_path}; there are in {tmp_path / 'samples'}\n" in result.stderr
