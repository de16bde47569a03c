"""`spike-depth export`: writes what the estimator takes, and nothing where the graphs do not agree."""

import json

import pytest
import torch
from typer.testing import CliRunner

from spike_depth_core.cli.main import app
from spike_depth_core.inference import DepthEstimator, onnx_export, onnx_network
from spike_depth_core.networks.checkpoint import CheckpointInfo, save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork

pytest.importorskip("onnx", reason="requirements/export.txt is not installed")
pytest.importorskip("onnxruntime", reason="requirements/export.txt is not installed")

SMALL = Architecture(("spikes", "thermal"), (8, 8, 16, 16, 16), 1)


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, DepthNetwork(SMALL), CheckpointInfo(SMALL))
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def test_writes_graphs_and_how_they_were_checked(checkpoint, tmp_path):
    out = tmp_path / "onnx"
    result = run("--checkpoint", checkpoint, "--out", out)
    assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} == {
        "encode_spikes.onnx",
        "encode_thermal.onnx",
        "decode.onnx",
        "export.json",
    }
    check = json.loads((out / "export.json").read_text())["check"]
    assert check["sets_of_sensors"] == 3
    assert set(check["largest_differences"]) == {"256x160", "160x96", "64x256"}
    assert 0 < max(max(entry.values()) for entry in check["largest_differences"].values()) < 1e-4
    assert DepthEstimator.load(out, backend="onnxruntime").info.architecture == SMALL


def test_a_file_where_the_folder_should_be_is_found_before_the_work(checkpoint, monkeypatch):
    monkeypatch.setattr(onnx_export, "export", lambda *_: pytest.fail("it is exported"))
    result = run("--checkpoint", checkpoint, "--out", checkpoint)
    assert result.exit_code == 2
    assert f"--out {checkpoint}: a folder was expected" in result.output


def test_graphs_that_do_not_agree_are_not_written(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_network, "largest_difference", lambda *_: {"log_depth": float("nan"), "log_scale": 0.0})
    result = run("--checkpoint", checkpoint, "--out", tmp_path / "onnx")
    assert result.exit_code != 0
    assert "ONNX differs from PyTorch" in result.output
    assert not (tmp_path / "onnx").exists()
