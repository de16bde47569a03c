"""`spike-depth info` on every kind of file it knows, and on what is none of them."""

from pathlib import Path

import numpy as np
import pytest
import zstandard
from typer.testing import CliRunner

from spike_depth_core.cli.main import app
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.inference.onnx_export import DECODE, encoder_of, save_export
from spike_depth_core.networks.checkpoint import CheckpointInfo
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.samples import DepthSample
from spike_depth_core.samples.files import SampleSummary, encode_sample, sample_path, save_sample
from spike_depth_core.samples.shards import ShardWriter
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.spikes.formats import write_spikes

ROOT = Path(__file__).parents[3]


def run(*arguments):
    return CliRunner().invoke(app, ["info", *map(str, arguments)])


def planes(rate_every=4):
    spikes = np.zeros((20, 6, 16), np.uint8)
    spikes[::rate_every] = 1
    return PackedSpikes.from_planes(spikes)


def sample(condition="night"):
    depth = np.array([[np.inf, 3.5], [20.0, np.nan]], np.float32)
    return DepthSample(
        SensorRig.single("rgb", PinholeCamera.from_focal(2, 2, 2)),
        rgb=np.zeros((2, 2, 3), np.uint8),
        depth={"rgb": depth},
        meta={"seed": 77, "condition": condition},
    )


@pytest.mark.parametrize("name", ["a.dat", "a.npy", "a.npz"])
def test_spike_recordings(tmp_path, name):
    write_spikes(tmp_path / name, planes())
    result = run(tmp_path / name, "--height", 6, "--width", 16)
    assert result.exit_code == 0, result.stderr
    for text in ("spike recording", "20 of 16x6 pixels", "20,000 planes/s", "0.2500 spikes a plane", "1.000 ms"):
        assert text in result.stdout


def test_a_sample_and_a_folder_of_them(tmp_path):
    for index, condition in enumerate(("night", "day", "night")):
        save_sample(sample_path(tmp_path, index), sample(condition))
    one = run(sample_path(tmp_path, 0)).stdout
    for text in ("sample", "2x2", "3.5 to 20.0 m in 50% of the pixels, 25% sky", "77", "night"):
        assert text in one
    folder = run(tmp_path).stdout
    assert "2 night, 1 day" in folder


def test_a_checkpoint(tmp_path):
    from spike_depth_core.networks.checkpoint import CheckpointInfo, save_checkpoint
    from spike_depth_core.networks.depth_network import DepthNetwork

    network = DepthNetwork()
    about = CheckpointInfo(network.architecture, training={"recipe": "supervised", "steps": 12})
    sha256 = save_checkpoint(tmp_path / "c", network, about).sha256
    count = sum(tensor.numel() for tensor in network.state_dict().values())
    for path in (tmp_path / "c.safetensors", tmp_path / "c.json", tmp_path):
        result = run(path)
        assert result.exit_code == 0, result.stderr
        for text in (sha256, f"{count / 1e6:.2f} M values", "training: steps", "12", "random weights"):
            assert text in result.stdout


def test_a_folder_of_graphs(tmp_path):
    architecture = Architecture(sensors=("spikes", "thermal"))
    names = (DECODE, *map(encoder_of, architecture.sensors))
    graphs = {name: bytes(1_000_000) for name in names}
    save_export(tmp_path, graphs, CheckpointInfo(architecture, sha256="5ha256"), {})
    result = run(tmp_path)
    assert result.exit_code == 0, result.stderr
    for text in ("exported graphs", "spikes, thermal", "3, 3.00 MB", "5ha256", "random weights"):
        assert text in result.stdout
    (tmp_path / "decode.onnx").unlink()
    assert "cannot read" in run(tmp_path).stderr


def test_a_folder_of_shards(tmp_path):
    with ShardWriter(tmp_path, "a.tar") as shard:
        for index, condition in enumerate(("night", "day", "night")):
            found = sample(condition)
            shard.add(f"{index:07d}", encode_sample(found), SampleSummary.of(found).to_dict())
    result = run(tmp_path)
    assert result.exit_code == 0, result.stderr
    for text in ("samples", "3, 0.0 MB", "2 night, 1 day", "first: rgb", "2x2"):
        assert text in result.stdout


@pytest.mark.parametrize("option", [["--verify"], ["--sheet", "x.png"]])
def test_what_only_a_data_set_has_is_not_passed_over(tmp_path, option):
    save_sample(sample_path(tmp_path, 0), sample())
    for path in (tmp_path, sample_path(tmp_path, 0), ROOT / "config" / "rigs" / "vehicle.yaml"):
        result = run(path, *option)
        assert result.exit_code == 2
        assert f"{option[0]}: only of a data set that spike-depth extract has made" in result.stderr
        assert not result.stdout


def test_a_size_is_of_a_spike_recording_alone(tmp_path):
    save_sample(sample_path(tmp_path, 0), sample())
    for path in (tmp_path, sample_path(tmp_path, 0), ROOT / "config" / "rigs" / "vehicle.yaml"):
        result = run(path, "--height", 16)
        assert result.exit_code == 2
        assert "--height: only of a spike recording" in result.stderr
        assert not result.stdout


def test_a_rig_is_told_whole(tmp_path):
    camera = PinholeCamera.from_focal(8, 4, 5)
    half = 0.5**0.5
    poses = {"rgb": pose((0.1, 0.0, 0.0), (0.0, half, 0.0, half))}
    SensorRig({"spikes": camera, "rgb": camera}, poses, height=1.23).save(tmp_path / "a.yaml")
    SensorRig.single("rgb", camera).save(tmp_path / "b.yaml")
    text = run(tmp_path / "a.yaml").stdout
    spikes, rgb = (next(line for line in text.splitlines() if line.startswith(name)) for name in ("spikes", "rgb"))
    assert "turned by 90 degrees, quaternion (0, 0.7071, 0, 0.7071)" in rgb
    assert "turned" not in spikes
    assert "1.23 m over the road" in text
    assert "height     not known" in run(tmp_path / "b.yaml").stdout


def test_the_shipped_rig():
    result = run(ROOT / "config" / "rigs" / "vehicle.yaml")
    for text in ("sensor rig", "400x250, f = 330 px", "thermal"):
        assert text in result.stdout


@pytest.mark.parametrize("name", ["a.mcap", "a.db3", "drive"])
def test_a_bag(tmp_path, name):
    from spike_depth_core.bags import BagWriter, types
    from spike_depth_core.bags.recording import record_spikes

    with BagWriter(tmp_path / name, custom={"street": "seed 7"}) as bag:
        record_spikes(iter([planes()]), bag, 5)
        bag.add_topic("/rgb/image_raw", types.IMAGE)
    result = run(tmp_path / name)
    for text in ("bag", "/spikes/packets", "spike_depth/msg/SpikePacket", "/rgb/image_raw", "0.001 s", "seed 7"):
        assert text in result.stdout
    if name != "drive":
        (tmp_path / f"{name}.zstd").write_bytes(zstandard.compress((tmp_path / name).read_bytes()))
        assert "/spikes/packets" in run(tmp_path / f"{name}.zstd").stdout
    if name == "a.mcap":
        data = (tmp_path / name).read_bytes()
        (tmp_path / "cut.mcap").write_bytes(data[: len(data) // 2])
        assert "cut short" in run(tmp_path / "cut.mcap").stdout
    if name == "a.db3":
        data = (tmp_path / name).read_bytes()
        (tmp_path / "cut.db3").write_bytes(data[: len(data) * 9 // 10])
        assert "not known" in run(tmp_path / "cut.db3").stdout


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"x", "found .txt"),
        ("a.npz", b"not a zip", "is not an .npz file"),
        ("a.dat", b"123", "expected a whole number of planes"),
        ("a.json", b"{}", "is not a checkpoint description"),
    ],
)
def test_wrong_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    result = run(tmp_path / name)
    assert result.exit_code == 2
    assert name in result.stderr
    assert message in result.stderr


def test_nothing_there(tmp_path):
    assert "does not exist" in run(tmp_path / "none").stderr
    assert "found none" in run(tmp_path).stderr
