"""`spike-depth train` on rendered domains: what a recipe's stages ask for is rendered, said, and learned from."""

import pytest
from typer.testing import CliRunner

from spike_depth_core.cli import main
from spike_depth_core.networks.checkpoint import load_checkpoint
from spike_depth_core.samples.files import list_samples, load_sample, sample_path, save_sample
from spike_depth_core.training import sources
from spike_depth_core.training.domain_needs import DomainNeeds
from test.core.factories import small_sample

TINY = ["--frames", "8", "--validation-frames", "4", "--steps", "4", "--batch-size", "2", "--pixels", "1024"]


def train(recipe, out, *more):
    arguments = ["train", "--recipe", recipe, "--out", str(out), *TINY, "--device", "cpu", "--workers", "0", *more]
    return CliRunner().invoke(main.app, arguments)


def test_domains_are_rendered_as_the_recipe_asks_for_them(tmp_path):
    result = train("bicross", tmp_path)
    assert result.exit_code == 0, result.output
    assert "bicross learns from source: spikes, rgb; target: spikes" in result.output
    source, target = sorted((tmp_path / "data" / "domains").iterdir())
    assert (source.name.split("_")[0], target.name.split("_")[0]) == ("source", "target")
    assert {path.name for path in source.iterdir()} == {"train", "validation"}
    assert {path.name for path in target.iterdir()} == {"train"}  # no label of it chooses anything
    assert len(list_samples(target / "train")) == 8
    assert load_sample(list_samples(target / "train")[0]).images == ("spikes",)
    info = load_checkpoint(tmp_path / "checkpoint.safetensors")[1]
    assert info.training["recipe"] == "cross_domain"
    assert info.training["domains"]["target"]["town"] == "second"
    assert info.row_prior
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    assert train("bicross", tmp_path).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")} == before


def test_sequences_are_rendered_where_neighbours_are_compared(tmp_path):
    result = train("r2sdepth", tmp_path)
    assert result.exit_code == 0, result.output
    assert "r2sdepth learns from source: spikes, rgb, sequences of 3 frames" in result.output
    (source,) = (tmp_path / "data" / "domains").iterdir()
    sequences = [load_sample(path, sensors=()).meta["sequence"] for path in list_samples(source / "train")]
    assert sequences == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert load_checkpoint(tmp_path / "checkpoint.safetensors")[1].training["recipe"] == "self_distillation"


def test_a_training_learns_from_as_many_as_it_asked_for_whatever_others_have_rendered(tmp_path, monkeypatch):
    """Sequences of three frames: for 8 there are 9."""

    def render(folder, domain, split, sequences):
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(3 * sequences):
            save_sample(sample_path(folder, i), small_sample(i, planes=8))
        yield 3 * sequences, 3 * sequences

    monkeypatch.setattr(sources, "render_domain", render)
    needs = {"source": DomainNeeds(("spikes", "rgb"), 3)}
    for frames, validation_frames, trained, judged in ((8, 4, 9, 6), (20, 10, 21, 12), (8, 4, 9, 6)):
        source = sources.rendered_domains(tmp_path, needs, 1024, frames, validation_frames)()
        assert len(source.data["source"]) == trained
        assert source.about["domains"]["source"]["samples"] == trained
        assert sum(len(batch) for batch in source.validations["source"].batches) == judged


@pytest.mark.parametrize("recipe", ["supervised", "r2sdepth"])
def test_a_folder_without_data_is_said_before_streets_are_rendered_into_it(recipe, tmp_path, monkeypatch):
    def render(folder, *arguments):
        yield 3, 40
        raise ValueError("rendered long enough")

    monkeypatch.setattr(sources, "render_samples", render)
    monkeypatch.setattr(sources, "render_domain", render)
    folder = tmp_path / "dta"
    result = train(recipe, tmp_path / "run", "--data", str(folder), "--validation-frames", "6")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"{folder} holds no data set: rendering 37 streets into it")
    assert lines[1:] == ["spike-depth train: error: rendered long enough"]


def test_too_few_streets_for_validation_are_refused_before_those_for_training_are_rendered(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(sources, "render_samples", lambda *arguments: asked.append(arguments) or iter(()))
    result = train("supervised", tmp_path, "--validation-frames", "5")
    assert result.exit_code == 2
    assert "validation: at least 6 samples, one of each format, asked for 5" in result.stderr
    assert not asked


@pytest.mark.parametrize("option", ["--stop-after", "--seed"])
def test_what_cannot_be_negative_is_refused(option, tmp_path):
    result = train("supervised", tmp_path, option, "-1")
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr
    assert not list(tmp_path.iterdir())


def test_patience_needs_validations_and_a_stop_names_no_checkpoint_that_is_not_there(tmp_path):
    (tmp_path / "data" / "train").mkdir(parents=True)
    for i in range(2):
        save_sample(sample_path(tmp_path / "data" / "train", i), small_sample(i, planes=16))
    data = ["--data", str(tmp_path / "data")]
    refused = train("supervised", tmp_path / "out", *data, "--patience", "1")
    assert refused.exit_code == 2
    assert "--patience counts validations" in refused.output
    stopped = train("supervised", tmp_path / "out", *data, "--stop-after", "0")
    assert stopped.exit_code == 0, stopped.output
    assert "stopped by --stop-after" in stopped.output
    assert "checkpoint.safetensors" not in stopped.output
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


def test_settings_of_the_recipe_are_of_its_stages_and_what_is_none_is_named_first(tmp_path, monkeypatch):
    made = []

    def render(*_):
        raise ValueError("no streets are needed")

    def needs(stages):
        made.extend(stages)
        raise ValueError("made")

    monkeypatch.setattr(sources, "render_domain", render)
    monkeypatch.setattr("spike_depth_core.training.domain_needs.needs_of", needs)
    result = train("r2sdepth", tmp_path, "--set", "motion=odometry", "--set", "fused_share=0.25")
    assert result.stderr.endswith("error: made\n")
    assert [(stage.recipe.motion, stage.share) for stage in made] == [("odometry", 0.25), ("odometry", 0.75)]
    for given, said in (
        (["moton=odometry"], "r2sdepth has no setting 'moton'"),
        (["branch=spikes", "feature_weight=1"], "r2sdepth: branch, feature_weight do not go together"),
    ):
        result = train("r2sdepth", tmp_path, *(word for setting in given for word in ("--set", setting)))
        assert result.exit_code == 2
        assert said in result.stderr


def test_an_unknown_recipe_is_named(tmp_path):
    result = train("nothing", tmp_path)
    assert result.exit_code == 2
    assert "there is no recipe 'nothing'" in result.output


def test_a_device_that_will_not_do_is_named_before_streets_are_rendered(tmp_path):
    result = train("supervised", tmp_path, "--device", "meta")
    assert result.exit_code == 2
    assert "unknown device 'meta'" in result.stderr
    assert not list(tmp_path.iterdir())
