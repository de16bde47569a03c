"""`spike-depth infer` from the outside: which backend runs what, what is assumed is said, errors before the work."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from spike_depth_core.cli.main import app
from spike_depth_core.evaluation.pictures import bars
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.metrics import frame_metrics
from spike_depth_core.networks.checkpoint import CheckpointInfo, save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.spikes import PackedSpikes, write_spikes
from test.core.factories import undistorted

SMALL = Architecture(("spikes", "rgb"), (8, 8, 16, 16, 16), 1, pixels=2048)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a small untrained checkpoint, a recording of 300 planes and a picture."""
    folder = tmp_path_factory.mktemp("files")
    torch.manual_seed(0)
    save_checkpoint(folder / "small.safetensors", DepthNetwork(SMALL), CheckpointInfo(SMALL))
    random = np.random.default_rng(0)
    planes = random.integers(0, 2, (300, 32, 64), dtype=np.uint8)
    write_spikes(folder / "s.dat", PackedSpikes.from_planes(planes))
    Image.fromarray(random.integers(0, 256, (32, 64, 3), dtype=np.uint8)).save(folder / "c.png")
    return folder


def run(files, out, *more, checkpoint="small.safetensors", looks_at="spikes"):
    source = ["--spikes", files / "s.dat", "--height", 32, "--width", 64] if looks_at == "spikes" else []
    arguments = [*source, "--checkpoint", files / checkpoint, "--out", out, *more]
    return CliRunner().invoke(app, ["infer", *map(str, arguments)])


def test_the_picture_may_be_smaller_than_what_was_trained_on(files, tmp_path):
    assert run(files, tmp_path / "a", "--focal", 50).exit_code == 0
    assert run(files, tmp_path / "b", "--focal", 50, "--pixels", 1024).exit_code == 0
    found = [json.loads((tmp_path / name / "metrics.json").read_text())["pixels"] for name in ("a", "b")]
    assert found == [2048, 1024]
    one, other = (np.load(tmp_path / name / "depth.npy") for name in ("a", "b"))
    assert one.shape == other.shape
    assert not np.allclose(one, other, rtol=1e-3)


@pytest.fixture
def never_loads(monkeypatch):
    """Whatever is found only when the network is loaded or has computed is found too late."""

    def load(*_):
        raise AssertionError("the network is loaded")

    monkeypatch.setattr(DepthEstimator, "load", load)


def test_a_folder_of_graphs_needs_no_backend_and_a_checkpoint_is_pytorchs(files, tmp_path):
    pytest.importorskip("onnx", reason="requirements/export.txt is not installed")
    pytest.importorskip("onnxruntime", reason="requirements/export.txt is not installed")
    graphs = tmp_path / "onnx"
    exported = CliRunner().invoke(
        app, ["export", "--checkpoint", str(files / "small.safetensors"), "--out", str(graphs)]
    )
    assert exported.exit_code == 0, exported.output
    result = run(files, tmp_path / "a", "--focal", 50, checkpoint=graphs)  # the line of docs/export.md
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "a" / "metrics.json").read_text())["backend"] == "onnxruntime"
    assert run(files, tmp_path / "b", "--focal", 50).exit_code == 0
    assert json.loads((tmp_path / "b" / "metrics.json").read_text())["backend"] == "torch"
    depths = [np.load(tmp_path / name / "depth.npy") for name in ("a", "b")]
    np.testing.assert_allclose(*depths, rtol=1e-3)
    result = run(files, tmp_path / "c", "--focal", 50, "--backend", "torch", checkpoint=graphs)
    assert result.exit_code == 2
    assert "which the backend torch does not run" in result.stderr


def test_a_folder_without_graphs_is_told_from_one_with_them(files, tmp_path):
    result = run(files, tmp_path / "out", "--focal", 50, checkpoint="")
    assert result.exit_code == 2
    assert f"{files}/export.json" in result.stderr
    assert "a folder that `spike-depth export` wrote has it" in result.stderr


@pytest.mark.parametrize("focal", [0, -5, "nan"])
def test_a_focal_length_that_is_none_is_refused(files, tmp_path, focal):
    result = run(files, tmp_path / "out", "--focal", focal)
    assert result.exit_code == 2
    assert "focal lengths must be positive" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("end", "used"), [(3, 3), (255, 255), (256, 256), (300, 256)])
def test_fewer_planes_than_the_network_looks_at_are_said(files, tmp_path, end, used):
    result = run(files, tmp_path, "--focal", 50, "--end", end)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "metrics.json").read_text())["spike_planes"] == used
    assert (f"depth is of {used} spike planes" in result.stderr) == (used < 256)
    assert "looks at 256" in result.stderr or used == 256


def test_a_picture_alone_has_no_planes_to_tell_of(files, tmp_path):
    result = run(files, tmp_path, "--rgb", files / "c.png", "--focal", 50, looks_at="rgb")
    assert result.exit_code == 0, result.output
    assert "spike_planes" not in json.loads((tmp_path / "metrics.json").read_text())


@pytest.mark.parametrize("truth", [False, True])
def test_every_map_of_the_picture_has_its_scale(files, tmp_path, truth):
    np.save(tmp_path / "truth.npy", np.full((32, 64), 9.0, np.float32))
    more = ["--truth", tmp_path / "truth.npy"] if truth else []
    assert run(files, tmp_path, "--focal", 50, *more).exit_code == 0
    which = ["depth", "uncertainty", *(["error"] if truth else [])]
    expected = bars(380 * len(which), which)  # narrower, and the figures overlap
    picture = np.asarray(Image.open(tmp_path / "depth.png"))
    bottom = picture[-64:, :, :]  # where the scales are, below the maps
    rows, columns = (a - b + 1 for a, b in zip(bottom.shape[:2], expected.shape[:2], strict=True))
    places = ((y, x) for y in range(rows) for x in range(min(columns, 64)))
    assert any((bottom[y : y + expected.shape[0], x : x + expected.shape[1]] == expected).all() for y, x in places)


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--spikes", "nothere.dat", "there is no file {}"),
        ("--spikes", "", "{} is a folder"),
        ("--rig", "nothere.yaml", "there is no file {}"),
        ("--rgb", "nothere.png", "there is no file {}"),
        ("--truth", "nothere.npy", "there is no file {}"),
        ("--truth", "archive.npz", "{}: named .npy, but it is an archive"),
        ("--truth", "text.npy", "{}: depth is a float array [H, W], found <U1"),
        ("--out", "taken", "--out {}: a folder was expected"),
        ("--out", "taken/deeper", "--out {}: a folder was expected"),
    ],
)
def test_a_path_that_will_not_do_is_named_before_the_work(files, tmp_path, never_loads, option, name, message):
    (tmp_path / "taken").write_text("mine")
    np.savez(tmp_path / "archive.npz", depth=np.ones((32, 64), np.float32))
    np.save(tmp_path / "text.npy", np.full((32, 64), "9"))
    path = tmp_path / name
    result = run(files, tmp_path / "out", *(["--focal", 50] if option != "--rig" else []), option, path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"spike-depth infer: error: {message.format(path)}")
    assert result.stderr.count("\n") == 1


def test_a_checkpoint_that_is_not_there_is_named_as_it_was_typed(files, tmp_path):
    result = run(files, tmp_path / "out", "--focal", 50, checkpoint="nope.safetensors")
    assert result.exit_code == 2
    assert result.stderr == f"spike-depth infer: error: there is no checkpoint {files / 'nope.safetensors'}\n"


def test_a_truth_of_another_size_leaves_nothing_behind(files, tmp_path):
    np.save(tmp_path / "truth.npy", np.full((64, 32), 9.0, np.float32))
    result = run(files, tmp_path / "out", "--focal", 50, "--truth", tmp_path / "truth.npy")
    assert result.exit_code == 2
    assert "true depth of 64x32 pixels was expected, found 32x64" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("distortion", [(), (-0.3, 0.05, 0.0, 0.0, 0.0)])
def test_a_truth_is_of_the_picture_as_it_is_and_depth_of_the_rectified_one(files, tmp_path, distortion):
    camera = PinholeCamera(64, 32, 50.0, 50.0, 31.5, 15.5, distortion)
    SensorRig.single("rgb", camera).save(tmp_path / "rig.yaml")
    x, y = np.meshgrid(*camera.slopes())

    def depth_of(x, y):  # a bowl, whose rim the lens moves most
        return (10 + 40 * (x * x + y * y)).astype(np.float32)

    np.save(tmp_path / "truth.npy", depth_of(*undistorted(x, y, distortion)))
    more = ["--rgb", files / "c.png", "--rig", tmp_path / "rig.yaml", "--truth", tmp_path / "truth.npy"]
    result = run(files, tmp_path / "out", *more, looks_at="rgb")
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    depth = np.load(tmp_path / "out" / "depth.npy")
    expected = frame_metrics(depth, depth_of(x, y))["abs_rel"]
    assert metrics["abs_rel"] == pytest.approx(expected, rel=0.01)
    assert metrics["rectified"] == bool(distortion)


def test_a_picture_that_lies_on_its_side_is_set_upright(files, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # as a phone that is held upright writes it
    upright = np.asarray(Image.open(files / "c.png"))
    Image.fromarray(np.rot90(upright)).save(tmp_path / "side.png", exif=exif)
    for name, path in (("upright", files / "c.png"), ("side", tmp_path / "side.png")):
        result = run(files, tmp_path / name, "--rgb", path, "--focal", 50, looks_at="rgb")
        assert result.exit_code == 0, result.output
    depths = [np.load(tmp_path / name / "depth.npy") for name in ("upright", "side")]
    np.testing.assert_array_equal(*depths)


@pytest.mark.parametrize("option", ["--height", "--width"])
def test_a_recording_without_pixels_is_refused(files, tmp_path, never_loads, option):
    result = run(files, tmp_path / "out", "--focal", 50, option, 0)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr


def test_a_file_that_is_no_checkpoint_is_named_as_it_was_typed(files, tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(b"weights of something else")
    result = run(files, tmp_path / "out", "--focal", 50, checkpoint=path)
    assert result.exit_code == 2
    assert f"error: {path}: a checkpoint is a .safetensors with its .json beside it" in result.stderr
