"""A toy suite, run for real: rows are trained once, start where they should, and are compared as their findings say."""

import dataclasses
import json

import numpy as np
import pytest

from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.evaluation.suites.runner import SuiteRun
from spike_depth_core.evaluation.suites.suite import (
    ROW_PRIOR_ROW,
    Finding,
    Preset,
    Row,
    Suite,
    View,
    at_least,
)
from spike_depth_core.evaluation.suites.table import scores, write_page
from spike_depth_core.networks.checkpoint import load_checkpoint
from spike_depth_core.recipes import Stage, Supervised
from spike_depth_core.samples.files import list_samples, load_sample, sample_path, save_sample
from test.core.factories import small_sample

TINY = Preset(3, 2, 1e-3, 64 * 96, (8, 8, 8, 8, 8), 4, 2, 3)


def supervised(architecture, seed):
    return (Stage(Supervised(architecture, seed=seed)),)


def compared(found) -> list[Finding]:
    return [at_least("gain of more", found["first"]["spikes"] - found["more"]["spikes"], -10.0)]


SUITE = Suite(
    "toy",
    "Toy",
    (Row("first", supervised), Row("more", supervised, start="first", steps=0.5, views=("spikes",))),
    (View("spikes", "source", ("spikes",)), View("dusk", "source", ("spikes", "rgb"), condition="dusk")),
    compared,
    domains={"source": {}},
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for number, (split, count) in enumerate((("train", 4), ("validation", 2), ("test", 3))):
        (folder / "source" / split).mkdir(parents=True)
        for i in range(count):
            sample = small_sample(100 * number + i, planes=16)
            if i == 1:
                sample = dataclasses.replace(sample, meta={**sample.meta, "condition": "dusk"})
            save_sample(sample_path(folder / "source" / split, i), sample)
    return folder


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    run = SuiteRun(SUITE, TINY, data, tmp_path_factory.mktemp("out"))
    for seed in range(2):
        run.run_seed(seed)
    return run


def test_rows_start_where_they_say_and_are_measured_in_their_views(done):
    result = {row: json.loads(done.result_path(1, row).read_text()) for row in (ROW_PRIOR_ROW, "first", "more")}
    assert {row: set(r["views"]) for row, r in result.items()} == {
        ROW_PRIOR_ROW: {"spikes", "dusk"},
        "first": {"spikes", "dusk"},
        "more": {"spikes"},
    }
    assert result["first"]["views"]["spikes"]["frames"] == 3
    assert result["first"]["views"]["dusk"]["frames"] == 1
    checkpoint = done.result_path(1, "more").parent / "checkpoint.safetensors"
    assert load_checkpoint(checkpoint)[1].parent == result["first"]["sha256"]
    assert result["more"]["steps"] == 2
    assert result["first"]["sha256"] != json.loads(done.result_path(0, "first").read_text())["sha256"]


def test_the_row_prior_is_scored_as_by_hand(done, data):
    paths = list_samples(data / "source" / "train")
    samples = [load_sample(path) for path in paths]
    sensor = next(iter(samples[0].depth))
    prior = RowPrior.fit((s.depth[sensor], s.rig.cameras[sensor]) for s in samples)
    errors = []
    for path in list_samples(data / "source" / "test"):
        sample = load_sample(path)
        truth = sample.depth["spikes"]
        valid = np.isfinite(truth) & (truth >= 1) & (truth <= 80)
        guess = np.clip(prior.predict(sample.rig.cameras["spikes"]), 1, 80)
        errors.append(np.mean(np.abs(guess - truth)[valid] / truth[valid]))
    result = json.loads(done.result_path(0, ROW_PRIOR_ROW).read_text())
    assert result["views"]["spikes"]["abs_rel"] == pytest.approx(np.mean(errors), rel=1e-4)


def test_what_is_done_is_not_done_again_and_what_is_lost_is(done):
    first, more = (done.result_path(0, row) for row in ("first", "more"))
    before = {path: path.stat().st_mtime_ns for path in (first, more)}
    value = json.loads(more.read_text())["views"]
    more.unlink()
    trained = []
    done.run_seed(0, lambda row, step, steps: trained.append(row))
    assert first.stat().st_mtime_ns == before[first]
    assert set(trained) <= {"more"}
    again = json.loads(more.read_text())["views"]
    assert again["spikes"]["abs_rel"] == pytest.approx(value["spikes"]["abs_rel"], rel=1e-6)


def test_the_page_shows_mean_and_spread_and_what_was_wanted(done, tmp_path):
    results = done.results(2)
    findings = write_page(SUITE, results, tmp_path, "spike-depth benchmark", {"preset": "tiny"})
    values = scores(results)["first"]["spikes"]
    assert len(values) == 2
    text = (tmp_path / "toy.md").read_text()
    assert f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" in text
    assert [f.met for f in findings] == [True]
    assert "| gain of more |" in text
    assert (tmp_path / "toy.png").stat().st_size > 5000
    stored = json.loads((tmp_path / "toy.json").read_text())
    assert stored["rows"]["first"][0]["views"]["spikes"]["abs_rel"] == values[0]


def test_a_gain_within_its_spread_is_not_met():
    assert at_least("a", np.array([0.30, 0.31, 0.32]), 0.29).met
    assert not at_least("a", np.array([0.20, 0.31, 0.42]), 0.29).met
    assert not at_least("a", np.array([0.1]), 0.29).met


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((Row("a", supervised), Row("a", supervised)), "two rows"),
        ((Row("a", supervised, start="b"), Row("b", supervised)), "no row before it"),
        ((Row("a", supervised, views=("thermal",)),), "unknown views"),
    ],
)
def test_a_suite_that_does_not_hold_together_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SUITE, rows=rows)
