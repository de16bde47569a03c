"""`spike-depth benchmark`: names what it does not know, and drives the online suite to a page."""

import json
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from spike_depth_core.cli import main
from spike_depth_core.evaluation.suites import PRESETS, SUITES, load_suite
from spike_depth_core.evaluation.suites.domains import domain_folders
from spike_depth_core.evaluation.suites.online import SCENARIOS
from spike_depth_core.networks.checkpoint import CheckpointInfo, save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "online", "--preset", "huge"], "there is no preset 'huge'"),
        (["--suite", "online", "--device", "cuda", "--join", "x.json"], "--device, --join: not of the suite online"),
        (["--suite", "unified", "--checkpoint", "x"], "--checkpoint belongs to the suite online"),
        (
            ["--suite", "cross"],
            "there is no suite 'cross'; there are bicross, r2sdepth, align_and_fuse, adu_depth, unified and online",
        ),
    ],
)
def test_what_it_does_not_know_is_named(arguments, message, tmp_path):
    result = CliRunner().invoke(main.app, ["benchmark", *arguments, "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize("suite", ["unified", "online"])
def test_charts_that_could_not_be_drawn_are_said_before_the_training(suite, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(main.app, ["benchmark", "--suite", suite, "--preset", "smoke", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "need matplotlib; install the extra `report`" in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "[]", '{"rows": {"all": [{"seed": 0}]}}'], ids=["empty", "a list", "no views"])
def test_what_is_joined_has_to_be_a_suites_page(content, tmp_path):
    (tmp_path / "unified.json").write_text(content)
    arguments = ["--suite", "unified", "--preset", "smoke", "--join", str(tmp_path / "unified.json")]
    result = CliRunner().invoke(main.app, ["benchmark", *arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "has no rows of a suite" in result.output.replace("\n", " ")
    assert not (tmp_path / "out" / "data").exists()


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Where the suites' domains are rendered: once, for all that ask for the same."""
    return tmp_path_factory.mktemp("samples")


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_of_trainings_runs_from_nothing_to_its_page(suite, samples, tmp_path):
    arguments = ["benchmark", "--suite", suite, "--preset", "smoke", "--seeds", "1", "--workers", "1"]
    arguments += ["--data", str(samples), "--device", "cpu", "--out", str(tmp_path)]
    result = CliRunner().invoke(main.app, arguments)
    assert result.exit_code == 0, result.output
    page = json.loads((tmp_path / f"{suite}.json").read_text())
    assert set(page["rows"]) == {"row prior", *(row.name for row in load_suite(suite).rows)}
    for row, results in page["rows"].items():
        for view, scores in results[0]["views"].items():
            assert 0 < scores["abs_rel"] < 5, (row, view)
    assert page["findings"]
    about = page["about"]["optimiser steps of a seed"]
    stages = {stage["key"]: stage["steps"] for (row,) in page["rows"].values() for stage in row.get("stages", ())}
    assert about.startswith(f"{sum(stages.values())};")


def test_suites_share_the_samples_of_equal_domains():
    def folders(suite):
        return domain_folders(load_suite(suite), PRESETS["small"], Path("data"))

    assert folders("bicross") == folders("unified")
    assert folders("adu_depth")["source"] == folders("bicross")["source"]
    assert folders("r2sdepth")["source"] != folders("bicross")["source"]  # sequences of frames
    assert len({str(path) for suite in SUITES for path in folders(suite).values()}) == 4


def test_the_online_suite_ends_in_a_page_and_is_not_driven_twice(tmp_path):
    torch.manual_seed(0)
    network = DepthNetwork(Architecture(widths=(8, 8, 8, 8, 8), trunk_blocks=1, pixels=64 * 96))
    save_checkpoint(tmp_path / "c", network, CheckpointInfo(network.architecture))
    arguments = ["benchmark", "--suite", "online", "--preset", "smoke", "--seeds", "1", "--out", str(tmp_path / "out")]
    arguments += ["--checkpoint", str(tmp_path / "c.safetensors")]
    result = CliRunner().invoke(main.app, arguments)
    assert result.exit_code == 0, result.output
    page = json.loads((tmp_path / "out" / "online.json").read_text())
    assert {r["scenario"]["name"] for r in page["results"]} == {scenario.name for scenario in SCENARIOS}
    kept = sorted((tmp_path / "out" / "smoke").rglob("*.json"))
    before = [path.stat().st_mtime_ns for path in kept]
    assert len(kept) == len(page["results"])
    assert CliRunner().invoke(main.app, arguments).exit_code == 0
    assert [path.stat().st_mtime_ns for path in kept] == before
