"""The accuracy benchmark from rendering to tables, on tiny streets and with an untrained network."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer

from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.evaluation.frames import WorldFrames
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.networks.checkpoint import CheckpointInfo, save_checkpoint
from spike_depth_core.networks.depth_network import DepthNetwork
from spike_depth_core.samples import DepthSample
from spike_depth_core.spikes import PackedSpikes

ROOT = Path(__file__).parents[2]
CAMERA = PinholeCamera.from_focal(64, 32, 50)
SENSORS = ("spikes", "rgb", "nir", "thermal")


@pytest.fixture
def accuracy():
    spec = importlib.util.spec_from_file_location("accuracy", ROOT / "benchmarks" / "accuracy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tiny_street(self, index):
    """A sample of a `WorldFrames`, a hundred times faster than the world."""
    generator = np.random.default_rng(self.seed + index)
    noise = lambda *shape: generator.integers(0, 256, shape, dtype=np.uint8)  # noqa: E731
    depth = np.repeat(np.geomspace(60, 3, 32)[:, None], 64, axis=1).astype(np.float32)
    depth *= generator.uniform(0.9, 1.1, depth.shape).astype(np.float32)
    return DepthSample(
        SensorRig(dict.fromkeys(SENSORS, CAMERA)),
        spikes=PackedSpikes.from_planes((noise(16, 32, 64) < 50).astype(np.uint8)),
        rgb=noise(32, 64, 3),
        nir=noise(32, 64),
        thermal=noise(32, 64).astype(np.uint16),
        depth=dict.fromkeys(SENSORS, depth),
        meta={"seed": self.seed + index, "condition": self.condition or ("day", "night")[index % 2]},
    )


def test_all_tables_are_written(accuracy, monkeypatch, tmp_path):
    monkeypatch.setattr(WorldFrames, "__getitem__", tiny_street)
    prior = RowPrior.fit([(WorldFrames(1, 1)[0].depth["rgb"], CAMERA)])
    torch.manual_seed(0)
    network = DepthNetwork()
    checkpoint = tmp_path / "c.safetensors"
    save_checkpoint(checkpoint, network, CheckpointInfo(network.architecture, row_prior=prior.to_dict()))
    results = tmp_path / "docs" / "results"
    with pytest.raises(typer.BadParameter, match="no folder"):  # before anything is rendered
        accuracy.main(frames=2, checkpoint=checkpoint, kitti=tmp_path / "none", workers=1, device="cpu", out=results)
    assert not results.exists()
    accuracy.main(frames=2, checkpoint=checkpoint, kitti=None, workers=1, device="cpu", out=results)
    read = json.loads((results / "accuracy.json").read_text())
    assert set(read["mixed"]) == {"+".join(subset) for subset in accuracy.SUBSETS}
    assert set(read["night"]) == {"+".join(subset) for subset in accuracy.NIGHT_SUBSETS}
    assert read["kitti"] is None
    night = read["night"]["spikes"]
    assert len(night["abs_rel_of_frames"]) == night["frames"] == 2
    assert list(night["by_condition"]) == ["night"]
    assert list(read["mixed"]["rgb"]["by_condition"]) == ["day", "night"]
    assert night["row_prior_abs_rel"] < 0.1 < night["abs_rel"]  # noise of 10 % around the prior; a network of noise
    page = (results / "accuracy.md").read_text()
    for text in (
        "| spikes + thermal |",
        "| row prior, RGB camera |",
        "### By light",
        "### By distance",
        "of the streets",
    ):
        assert text in page, text
    assert (tmp_path / "docs" / "images" / "accuracy_by_distance.png").is_file()


def test_advantage_is_paired(accuracy):
    from spike_depth_core.evaluation.evaluate import Evaluation

    truth = np.full((8, 8), 10.0, np.float32)
    results = {}
    for name, factors in (("spikes", (1.1, 1.2, 1.3)), ("rgb", (1.15, 1.25, 1.2))):
        results[name,] = Evaluation()
        for factor in factors:
            results[name,].add(truth * factor, truth, PinholeCamera.from_focal(8, 8, 8))
    text = accuracy.advantage(results, ("spikes",), ("rgb",))
    assert "spikes is 0.000 below that from RGB" in text  # +0.05, +0.05, -0.10
    assert "(95% interval -0.100 to 0.050)" in text
    assert "lower in 67% of" in text
