"""The accuracy benchmark from rendering to tables, on tiny streets and with an untrained network."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image

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


def test_kitti_frames_are_seen_by_a_spike_camera_that_stands_still(accuracy, tmp_path):
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, 48:] = 188  # half of the light of white: ((188 / 255 + .055) / 1.055) ** 2.4 = .503
    Image.fromarray(picture).save(tmp_path / "000000.png")
    np.array([[10.0, 0.0, -1.6, 0.0]], "<f4").tofile(tmp_path / "000000.bin")
    (tmp_path / "000000.txt").write_text(
        "P2: 80 0 47.5 0 0 80 31.5 0 0 0 1 0\nR0_rect: 1 0 0 0 1 0 0 0 1\nTr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n"
    )
    sample = accuracy.KittiSpikes(tmp_path, 128)[0]
    assert sample.sensors == ("spikes",)
    planes = sample.spikes.planes()
    assert planes.shape == (128, 192, 640)
    counts = planes.sum(0)
    assert counts[:, :300].max() == 0
    assert set(np.unique(counts[:, 340:])) <= {38, 39}  # 128 * .6 * .503 = 38.6, from any charge
    camera, depth = sample.rig.cameras["spikes"], sample.depth["spikes"]
    assert camera.fx == pytest.approx(80 * 640 / 96)
    row, column = np.argwhere(np.isfinite(depth))[0]
    assert depth[row, column] == pytest.approx(10.0)
    assert (camera.cy + camera.fy * 1.6 / 10, camera.cx) == pytest.approx((row, column), abs=4)  # a pixel was 6.7 by 3


def test_kitti_table_names_every_sensor_and_the_prior_once(accuracy):
    from spike_depth_core.evaluation.evaluate import Evaluation

    camera = PinholeCamera.from_focal(8, 8, 8)
    truth = np.full((8, 8), 10.0, np.float32)
    real = {}
    for sensor, factor in (("rgb", 1.1), ("spikes", 1.2)):
        real[sensor,] = Evaluation(RowPrior.fit([(truth * factor, camera)]))
        real[sensor,].add(truth * factor * factor, truth, camera)
    rows = accuracy.kitti_rows(real)
    assert [row[0] for row in rows[:4]] == ["RGB", "RGB, median-scaled", "spikes", "spikes, median-scaled"]
    assert [row[0] for row in rows[4:]] == ["row prior", "row prior, median-scaled"]
    assert [row[1] for row in rows] == ["0.210", "0.000", "0.440", "0.000", "0.100", "0.000"]  # RGB's prior
