"""ONNX graphs compute what PyTorch does, for any sensors and sizes; what cannot be exported or loaded is named."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from spike_depth_core.inference import DepthEstimator, onnx_export
from spike_depth_core.inference.onnx_export import ExportError, export, load_export, save_export
from spike_depth_core.inference.onnx_network import OnnxNetwork, largest_difference, random_inputs, subsets
from spike_depth_core.networks.checkpoint import CheckpointInfo, save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.networks.folding import folded
from spike_depth_core.networks.stereo import build_network
from test.core.factories import small_sample

pytest.importorskip("onnx", reason="requirements/export.txt is not installed")
pytest.importorskip("onnxruntime", reason="requirements/export.txt is not installed")

SMALL = Architecture(widths=(8, 8, 16, 16, 16), trunk_blocks=1)


def trained(architecture, seed):
    """A network whose every weight and statistic matters."""
    torch.manual_seed(seed)
    network = build_network(architecture)
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.add_(0.1 * torch.rand_like(value) if "var" in name else 0.1 * torch.randn_like(value))
    return network.eval()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(path, trained(SMALL, 1), CheckpointInfo(SMALL))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("export")
    network = trained(SMALL, 1)
    save_export(path, export(network), CheckpointInfo(SMALL), {})
    return path


@pytest.mark.parametrize(
    "architecture", [SMALL, Architecture(("rgb", "spikes"), (8, 8, 16, 16, 16), 1, "mean", spiking_steps=2)]
)
def test_every_set_of_sensors_and_any_size_agree_with_pytorch(architecture):
    network = trained(architecture, 2)
    exported = OnnxNetwork(export(network), architecture)
    plain = folded(network)
    spread = float(plain(random_inputs(architecture, (64, 96))).log_depth.std())
    assert spread > 0.01  # else there would be nothing to agree about
    for sensors in subsets(architecture.sensors):
        for size in ((64, 96), (96, 32)):
            # Spikes of neurons on their threshold may fall either way.
            difference = largest_difference(plain, exported, sensors, size)
            assert max(difference.values()) < (1e-4 if not architecture.spiking_steps else 0.05)


def test_networks_of_one_architecture_keep_their_own_weights():
    networks = [trained(SMALL, seed) for seed in (3, 4)]
    exported = [OnnxNetwork(export(network), SMALL) for network in networks]
    inputs = random_inputs(SMALL, (64, 96))
    depths = [network(inputs).log_depth for network in exported]
    assert float((depths[0] - depths[1]).abs().max()) > 0.01
    for network, depth in zip(networks, depths, strict=True):
        np.testing.assert_allclose(folded(network)(inputs).log_depth, depth, atol=1e-4)


def test_tracing_leaves_the_random_numbers_alone():
    onnx_export._traced.cache_clear()
    network = trained(SMALL, 5)
    torch.manual_seed(6)
    expected = torch.rand(3)
    torch.manual_seed(6)
    export(network)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("reference", ["spikes", "thermal"])
def test_the_estimator_gives_the_same_depth_by_either(checkpoint, folder, reference):
    sample = small_sample()
    one = DepthEstimator.load(checkpoint)
    for other in (DepthEstimator.load(checkpoint, backend="onnxruntime"), DepthEstimator.load(folder, backend="auto")):
        assert (one.backend, other.backend) == ("torch", "onnxruntime")
        assert (one.sensors, one.spike_planes) == (other.sensors, other.spike_planes)
        for sensors in (None, ("rgb",), ("spikes", "thermal")):
            expected, found = (e.estimate(sample, reference, sensors) for e in (one, other))
            np.testing.assert_allclose(found.depth, expected.depth, rtol=1e-4)
            np.testing.assert_allclose(found.uncertainty, expected.uncertainty, rtol=1e-4)
            assert (found.sensors, found.reference) == (expected.sensors, expected.reference)


def test_a_picture_of_another_size_is_as_of_a_checkpoint_that_was_trained_on_it(checkpoint, folder, tmp_path):
    sample = small_sample()  # 64x48
    smaller = replace(SMALL, pixels=1024)
    save_checkpoint(tmp_path / "smaller.safetensors", trained(SMALL, 1), CheckpointInfo(smaller))
    expected = DepthEstimator.load(tmp_path / "smaller.safetensors").estimate(sample, "rgb", ("rgb",)).depth
    for one in (checkpoint, folder):
        for backend in ("torch", "onnxruntime")[one == folder :]:
            own = DepthEstimator.load(one, backend=backend)
            other = DepthEstimator.load(one, backend=backend, pixels=1024)
            assert (own.pixels, other.pixels) == (SMALL.pixels, 1024)
            np.testing.assert_allclose(other.estimate(sample, "rgb", ("rgb",)).depth, expected, rtol=1e-4)
            assert np.abs(own.estimate(sample, "rgb", ("rgb",)).depth / expected - 1).max() > 1e-2
    with pytest.raises(ValueError, match=r"a whole number of 1024 to [0-9]+ was expected, found 5"):
        DepthEstimator.load(checkpoint, pixels=5)


def test_auto_takes_what_is_there_and_can(checkpoint, tmp_path, monkeypatch):
    assert DepthEstimator.load(checkpoint, backend="auto").backend == "onnxruntime"
    similarity = Architecture(("rgb",), (8, 8, 16, 16, 16), 1, fusion="similarity")
    save_checkpoint(tmp_path / "s.safetensors", DepthNetwork(similarity), CheckpointInfo(similarity))
    assert DepthEstimator.load(tmp_path / "s.safetensors", backend="auto").backend == "torch"
    monkeypatch.setattr("spike_depth_core.inference.estimator.installed", lambda: False)
    assert DepthEstimator.load(checkpoint, backend="auto").backend == "torch"


def test_one_that_is_missing_is_named(checkpoint, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ExportError, match=r"package 'onnxruntime'.*pip install '\.\[export\]'"):
        DepthEstimator.load(checkpoint, backend="onnxruntime")


@pytest.mark.parametrize(("changes", "said"), [({"stereo": True}, "stereo"), ({"fusion": "similarity"}, "similarity")])
def test_networks_without_such_graphs_are_refused(changes, said):
    network = build_network(Architecture(("rgb",), (8, 8, 16, 16, 16), 1, **changes))
    with pytest.raises(ExportError, match=said):
        export(network)


def test_a_backend_that_cannot_be_is_refused(checkpoint, folder):
    with pytest.raises(ValueError, match="unknown backend 'tensorrt'"):
        DepthEstimator.load(checkpoint, backend="tensorrt")
    with pytest.raises(ValueError, match="does not run"):
        DepthEstimator.load(folder, backend="torch")


def test_sensors_that_the_network_does_not_know_and_batches_are_refused(folder):
    graphs, info = load_export(folder)
    exported = OnnxNetwork(graphs, info.architecture)
    inputs = random_inputs(SMALL, (32, 64))
    inputs.images["radar"] = inputs.images["rgb"]
    with pytest.raises(ValueError, match="radar"):
        exported(inputs)
    inputs = random_inputs(SMALL, (32, 64))
    inputs.camera = inputs.camera.repeat(2, 1)
    with pytest.raises(ValueError, match="one sample at a time, found 2"):
        exported(inputs)


def copied(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return json.loads((tmp_path / "export.json").read_text())


def test_what_is_wrong_with_an_export_is_named(folder, tmp_path):
    with pytest.raises(ExportError, match=r"cannot read .*export\.json.*spike-depth export"):
        load_export(tmp_path)
    description = copied(folder, tmp_path)
    file = tmp_path / "decode.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(ExportError, match=r"decode\.onnx: sha256 .* expected from export\.json, found"):
        load_export(tmp_path)
    file.unlink()
    with pytest.raises(ExportError, match=r"cannot read .*decode\.onnx"):
        load_export(tmp_path)
    for change, said in (
        ({"schema": 2}, "schema 1 expected, found 2"),
        ({"network": {}}, "does not describe an export"),
        ({"graphs": {"decode": description["graphs"]["decode"]}}, "encode_nir, encode_rgb.* expected, found decode"),
        ({"graphs": description["graphs"] | {"decode": {"file": "../decode.onnx", "sha256": ""}}}, "not a file of its"),
    ):
        (tmp_path / "export.json").write_text(json.dumps(description | change))
        with pytest.raises(ExportError, match=said):
            load_export(tmp_path)


def test_a_file_that_is_no_graph_is_named(folder):
    graphs, info = load_export(folder)
    with pytest.raises(ExportError, match="does not take 'decode'"):
        OnnxNetwork(graphs | {"decode": b"nothing"}, info.architecture)
