"""Weights between two checkpoints: the straight line, what validation chooses on it, and what is refused."""

import dataclasses
import math

import pytest
import torch
from typer.testing import CliRunner

from spike_depth_core.cli.main import app
from spike_depth_core.networks.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork, Prediction
from spike_depth_core.networks.stereo import StereoNetwork
from spike_depth_core.samples.files import sample_path, save_sample
from spike_depth_core.training import sources
from spike_depth_core.training.blending import blended, scored
from spike_depth_core.training.validation import Validation, median, served
from spike_depth_core.training.world_data import FORMATS
from test.core.factories import small_sample

SMALL = Architecture(widths=(8, 8, 16, 16, 16), trunk_blocks=1, pixels=32 * 64)
SHIFT = "decoder.head.bias"


def network(seed=0, shift=0.0):
    """Random but for the bias of log-depth: `shift` moves every answer by so much."""
    torch.manual_seed(seed)
    made = DepthNetwork(SMALL).eval()
    with torch.no_grad():
        made.get_parameter(SHIFT)[0] += shift
    return made


def test_weights_and_statistics_lie_on_the_straight_line():
    first, second = network(0), network(1)
    with torch.no_grad():
        second.get_buffer("trunk.0.norm.running_mean").fill_(4.0)
    a, b, c = (x.state_dict() for x in (first, second, blended(first, second, 0.25)))
    for name, value in c.items():
        expected = 0.75 * a[name] + 0.25 * b[name] if value.is_floating_point() else b[name]
        torch.testing.assert_close(value, expected)
    assert (c["trunk.0.norm.running_mean"] == 1.0).all()
    for share, end in ((0.0, a), (1.0, b)):
        assert all(torch.equal(v, end[k]) for k, v in blended(first, second, share).state_dict().items())


def test_what_was_trained_on_larger_pictures_works_on_those():
    first, second = network(0), network(1)
    second.architecture = dataclasses.replace(SMALL, pixels=64 * 96)
    for share in (0.0, 0.5):
        assert blended(first, second, share).architecture == second.architecture


def test_stereo_networks_are_blended_too():
    architecture = dataclasses.replace(SMALL, stereo=True)
    found = blended(StereoNetwork(architecture), StereoNetwork(architecture), 0.5)
    assert isinstance(found, StereoNetwork)


def test_of_an_uncalibrated_network_the_median_is_judged(streets):
    first, second = network(), network(1)
    for calibrated, answer in ((True, served), (False, median)):
        found = scored(first, second, [0.0], {"vehicle": streets}, calibrated)
        expected = streets.score(first, torch.device("cpu"), answer)
        assert found[0.0] == pytest.approx({f"vehicle/{name}": value for name, value in expected.items()})


def test_what_cannot_be_blended_is_refused():
    other = DepthNetwork(dataclasses.replace(SMALL, trunk_blocks=2))
    with pytest.raises(ValueError, match="one architecture"):
        blended(network(), other, 0.5)
    with pytest.raises(ValueError, match=r"0 to 1, found 1\.5"):
        blended(network(), network(), 1.5)


@pytest.fixture
def streets(tmp_path, monkeypatch):
    """Level roads of which the answer is right but for the bias of the network: told 1.65 m, as it is."""
    (tmp_path / "streets").mkdir()
    for i in range(2):
        save_sample(sample_path(tmp_path / "streets", i), small_sample(i, planes=16))
    validation = Validation(tmp_path / "streets", [("rgb",), ("thermal",)])
    monkeypatch.setattr(sources, "validations_in", lambda folder: {"vehicle": validation})
    return validation


def saved(path, made, parent=None):
    return save_checkpoint(path, made, CheckpointInfo(SMALL, training={"recipe": "supervised"}, parent=parent))


def test_validation_chooses_how_far_to_go(streets, tmp_path):
    """The first says 30 % too near, the second 30 % too far: half-way is right."""
    with torch.no_grad():
        flat = network()
        flat.decoder.head.weight.zero_()
        flat.get_parameter(SHIFT).copy_(torch.tensor([0.0, -6.0]))  # sure: served is the median
    ends = []
    for shift in (-0.3, 0.3):
        end = blended(flat, flat, 0.0)
        with torch.no_grad():
            end.get_parameter(SHIFT)[0] += shift
        ends.append(end)
    first = saved(tmp_path / "first.safetensors", ends[0])
    second = saved(tmp_path / "second.safetensors", ends[1], parent=first.sha256)
    paths = [str(tmp_path / f"{name}.safetensors") for name in ("first", "second")]
    data = ["--data", str(tmp_path), "--data", str(tmp_path / "streets")]
    found = CliRunner().invoke(app, ["blend", *paths, *data, "--out", str(tmp_path / "out")])
    assert found.exit_code == 0, found.output
    made, info = load_checkpoint(tmp_path / "out" / "checkpoint.safetensors")
    blend = info.training["blend"]
    assert blend["share"] == 0.5
    assert blend["of"] == [first.sha256, second.sha256]
    assert info.parent == second.sha256
    assert info.training["recipe"] == "supervised"
    assert list(info.training["validation_abs_rel"]) == [
        f"{folder}/vehicle/{sensor}" for folder in (tmp_path.name, "streets") for sensor in ("rgb", "thermal")
    ]
    torch.testing.assert_close(made.get_parameter(SHIFT)[0], torch.tensor(0.0), atol=1e-6, rtol=0)
    means = blend["validation_mean"]
    assert means["0.5"] == min(means.values()) < 0.5 * min(means["0"], means["1"])


def test_a_folder_that_cannot_judge_is_named(tmp_path):
    first = saved(tmp_path / "first.safetensors", network())
    saved(tmp_path / "second.safetensors", network(1), parent=first.sha256)
    paths = [str(tmp_path / f"{name}.safetensors") for name in ("first", "second")]
    with pytest.raises(ValueError, match=f"{tmp_path} holds neither samples for validation nor rendered streets"):
        sources.validations_in(tmp_path)
    found = CliRunner().invoke(app, ["blend", *paths, "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert found.exit_code != 0
    assert not (tmp_path / "out").exists()


def test_figures_of_two_folders_are_told_apart_by_their_names(tmp_path):
    arguments = ["blend", "default", "default", "--data", f"{tmp_path}/a/set", "--data", f"{tmp_path}/b/set"]
    found = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert found.exit_code != 0
    assert "names of their own" in str(found.exception or "") + found.output


def test_only_descendants_are_blended(streets, tmp_path):
    first = saved(tmp_path / "first.safetensors", network())
    saved(tmp_path / "second.safetensors", network(1), parent="f" * 64)
    paths = [str(tmp_path / f"{name}.safetensors") for name in ("first", "second")]
    found = CliRunner().invoke(app, ["blend", *paths, "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert found.exit_code != 0
    assert "was not trained from" in str(found.exception or found.output) + found.output
    assert first.sha256 in str(found.exception or "") + found.output
    assert not (tmp_path / "out").exists()


def test_what_lies_between_two_of_several_trainings_is_shown(streets, tmp_path):
    names = ("first", "between", "second")
    parent = None
    for seed, name in enumerate(names):
        parent = saved(tmp_path / f"{name}.safetensors", network(seed), parent).sha256
    first, between, second = (str(tmp_path / f"{name}.safetensors") for name in names)
    rest = ["--data", str(tmp_path), "--share", "0.5", "--out", str(tmp_path / "out")]
    for through in ([], ["--through", second]):
        found = CliRunner().invoke(app, ["blend", first, second, *through, *rest])
        assert "was not trained from" in str(found.exception or "") + found.output
        assert not (tmp_path / "out").exists()
    found = CliRunner().invoke(app, ["blend", first, second, "--through", between, *rest])
    assert found.exit_code == 0, found.output
    made, _ = load_checkpoint(tmp_path / "out" / "checkpoint.safetensors")
    ends = [network(seed).get_parameter(SHIFT) for seed in (0, 2)]
    torch.testing.assert_close(made.get_parameter(SHIFT), sum(ends) / 2, atol=1e-4, rtol=1e-3)


def test_what_is_served_is_what_the_estimator_gives():
    one = Prediction(torch.tensor([[[math.log(10.0)]]]), torch.tensor([[[math.log(0.2)]]]), [])
    # The least expected relative error of a Laplace distribution of log-depth, b = 0.2: -b ln(1 + b) / (1 - b).
    assert float(served(one)) == pytest.approx(10 * math.exp(-0.2 * math.log(1.2) / 0.8))


def test_each_kind_of_street_that_is_learned_from_is_validated_on(tmp_path):
    for kind in FORMATS:
        (tmp_path / "validation" / kind.name).mkdir(parents=True)
        save_sample(sample_path(tmp_path / "validation" / kind.name, 0), small_sample(0, planes=16))
    found = sources.streets_validations(tmp_path)
    assert {name: ["+".join(s) for s in v.subsets] for name, v in found.items()} == {
        "vehicle": ["spikes+rgb+nir+thermal", "spikes", "rgb", "thermal", "spikes+thermal"],
        "wide": ["rgb"],
        "aside": ["rgb"],
        "yards": ["rgb"],
    }
