"""A toy suite, run for real: what rows have in common is trained once, and they are compared as their findings say."""

import copy
import dataclasses
import functools
import json

import numpy as np
import pytest

from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.evaluation.suites import load_suite, runner
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
from spike_depth_core.evaluation.suites.trained_stages import plan
from spike_depth_core.networks.checkpoint import load_checkpoint
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import Stage, Supervised
from spike_depth_core.samples.files import list_samples, load_sample, sample_path, save_sample
from spike_depth_core.training.loop import LoopOptions
from spike_depth_core.training.stages import SEED_STRIDE
from test.core.factories import small_sample

ARCHITECTURE = Architecture(widths=(8, 8, 8, 8, 8), pixels=64 * 96)
TINY = Preset(3, 2, 1e-3, 64 * 96, (8, 8, 8, 8, 8), 4, 2, 3)


def supervised(architecture, seed):
    return (Stage(Supervised(architecture, seed=seed), keep="last"),)


def more(architecture, seed, sky_weight=0.2):
    then = Stage(Supervised(architecture, seed=seed, sky_weight=sky_weight), 0.5, learning_rate=0.5)
    return (*supervised(architecture, seed), then)


def compared(found) -> list[Finding]:
    return [at_least("gain of more", found["first"]["spikes"] - found["more"]["spikes"], -10.0)]


SUITE = Suite(
    "toy",
    "Toy",
    (Row("first", supervised), Row("more", more, views=("spikes",))),
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
    run = SuiteRun(SUITE, TINY, {"source": data / "source"}, tmp_path_factory.mktemp("out"))
    for seed in range(2):
        run.run_seed(seed)
    return run


def result_of(run, seed, row):
    return json.loads(run.result_path(seed, row).read_text())


def test_rows_are_measured_in_their_views(done):
    result = {row: result_of(done, 1, row) for row in (ROW_PRIOR_ROW, "first", "more")}
    assert {row: set(r["views"]) for row, r in result.items()} == {
        ROW_PRIOR_ROW: {"spikes", "dusk"},
        "first": {"spikes", "dusk"},
        "more": {"spikes"},
    }
    assert result["first"]["views"]["spikes"]["frames"] == 3
    assert result["first"]["views"]["dusk"]["frames"] == 1
    assert result["first"]["sha256"] != result_of(done, 0, "first")["sha256"]
    prior = result[ROW_PRIOR_ROW]["views"]["spikes"]
    assert prior["abs_rel"] < prior["hard_half_abs_rel"] < 2 * prior["abs_rel"]  # it is its own errors that are hard
    assert result["first"]["views"]["spikes"]["hard_half_abs_rel"] > 0


def test_what_rows_begin_with_in_common_is_trained_once(done):
    first, more = (result_of(done, 1, row) for row in ("first", "more"))
    assert first["stages"] == more["stages"][:1]
    assert first["stages"][0]["rows"] == ["first", "more"]
    assert more["stages"][1]["rows"] == ["more"]
    assert [stage["steps"] for stage in more["stages"]] == [3, 2]
    stages = done.out / "seed_1" / "stages"
    assert {path.name for path in stages.iterdir()} == {stage["folder"] for stage in more["stages"]}
    network = load_checkpoint(done.out / more["checkpoint"])[1]
    assert network.parent == first["sha256"]
    assert network.training["options"]["learning_rate"] == pytest.approx(0.5e-3)
    assert done.steps() == (5, 8)


def test_a_changed_setting_trains_anew_from_where_it_counts(done, data, tmp_path):
    def run(**settings):
        changed = Row("more", functools.partial(more, **settings), views=("spikes",))
        suite = dataclasses.replace(SUITE, rows=(SUITE.rows[0], changed))
        return SuiteRun(suite, TINY, {"source": data / "source"}, tmp_path)

    run().run_seed(0)
    trained = []
    run(sky_weight=0.3).run_seed(0, lambda row, step, steps: trained.append((row, step)))
    assert trained == [("more", 4), ("more", 5)]
    assert result_of(run(), 0, "first") == {**result_of(done, 0, "first"), **timing(run(), "first")}
    again = []
    run(sky_weight=0.3).run_seed(0, lambda row, step, steps: again.append(row))
    assert not again


def timing(run, row):
    """What two runs of the same row need not have in common."""
    result = result_of(run, 0, row)
    return {"seconds": result["seconds"], "stages": result["stages"]}


def test_other_samples_other_options_and_another_stage_before_make_another_key():
    def key(stages=supervised, seed=0, data="a", chosen_by=None, **options):
        loop = LoopOptions(**{"steps": 4, **options})
        return plan(stages(ARCHITECTURE, seed), loop, {"source": data}, chosen_by)[-1].key

    def after(sky_weight):
        return lambda architecture, seed: (
            Stage(Supervised(architecture, seed=seed, sky_weight=sky_weight)),
            *supervised(architecture, seed),
        )

    assert len({key(), key(after(0.2)), key(after(0.3))}) == 3
    keys = [key(), key(seed=1), key(data="b"), key(steps=5), key(batch_size=3), key(more), key(more, chosen_by="b")]
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]
    assert key(chosen_by="b") == keys[0]  # the last weights are kept, whatever validation says


def test_a_stage_that_was_interrupted_goes_on_to_the_same_weights(done, data, tmp_path):
    class Interrupted(Exception):
        pass

    def stop(row, step, steps):
        if (row, step) == ("more", 4):
            raise Interrupted

    run = SuiteRun(SUITE, TINY, {"source": data / "source"}, tmp_path)
    with pytest.raises(Interrupted):
        run.run_seed(0, stop)
    steps = []
    run.run_seed(0, lambda row, step, steps_: steps.append((row, step)))
    assert steps == [("more", 5)]
    assert result_of(run, 0, "more")["sha256"] == result_of(done, 0, "more")["sha256"]


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


@pytest.mark.parametrize("content", ['{"of": {}', "{}", "[]", "[" * 100_000], ids=["cut", "empty", "list", "deep"])
def test_a_result_that_is_not_whole_is_none(done, tmp_path, content):
    run = copy.copy(done)
    run.out = tmp_path
    path = run.result_path(0, "row")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert not run._is_done(0, "row", {})


def test_what_is_done_is_not_done_again_and_what_is_lost_is(done):
    first, more = (done.result_path(0, row) for row in ("first", "more"))
    before = first.stat().st_mtime_ns
    value = json.loads(more.read_text())["views"]
    more.unlink()
    trained = []
    done.run_seed(0, lambda row, step, steps: trained.append(row))
    assert first.stat().st_mtime_ns == before
    assert not trained  # its stages are there, its scores are not
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


def test_what_another_run_has_told_is_taken_where_it_is_of_the_same(done, data, tmp_path):
    write_page(SUITE, done.results(2), tmp_path / "page", "command", {})
    told = json.loads((tmp_path / "page" / "toy.json").read_text())["rows"]
    here = SuiteRun(SUITE, TINY, {"source": data / "source"}, tmp_path / "here")
    assert here.join(told) == []
    assert here.results(2) == done.results(2)
    trained = []
    here.run_seed(0, lambda row, steps_done, steps: trained.append(row))
    assert trained == []
    longer = dataclasses.replace(TINY, steps=4)
    there = SuiteRun(SUITE, longer, {"source": data / "source"}, tmp_path / "there")
    left_out = [f"{row}, seed {seed}" for row in ("first", "more", "another") for seed in range(2)]
    assert there.join({**told, "another": told["more"]}) == left_out
    assert {row: len(found) for row, found in there.results(2).items()} == {ROW_PRIOR_ROW: 2, "first": 0, "more": 0}


def test_findings_are_told_of_hard_halves_where_they_were_measured(tmp_path):
    def result(seed, **more):
        return {"seed": seed, "of": {}, "views": {"spikes": {"abs_rel": 0.2, "median_scaled": 0.2, "a1": 0.5, **more}}}

    def found(results):
        told = {}
        suite = dataclasses.replace(SUITE, findings=lambda scores: told.update(scores) or [])
        write_page(suite, results, tmp_path, "command", {})
        return {row: list(by_view["spikes, hard half"]) for row, by_view in told.items()}

    old, new = [result(0), result(1)], [result(0, hard_half_abs_rel=0.3), result(1, hard_half_abs_rel=0.4)]
    assert found({"first": new, "more": new}) == {"first": [0.3, 0.4], "more": [0.3, 0.4]}
    assert np.isnan(found({"first": old, "more": new})["first"]).all()


def test_students_of_the_adu_suite_begin_alike_and_see_the_same_batches():
    suite = load_suite("adu_depth")
    options = LoopOptions(steps=100)
    of_rows = [plan(row.stages(ARCHITECTURE, 3), options, {"source": ""}, None) for row in suite.rows]
    (teacher,), *students = of_rows
    assert {(stages[-1].options.seed, stages[-1].stage.recipe.seed) for stages in students} == {
        (options.seed + SEED_STRIDE, 3 + SEED_STRIDE)
    }
    assert {stages[0].key for stages in students} == {teacher.key}  # trained once


def test_rows_are_compared_by_seeds_that_all_have():
    def result(seed, value):
        return {"seed": seed, "views": {"spikes": {"abs_rel": value}}}

    found = scores({"a": [result(0, 0.1), result(2, 0.3)], "b": [result(k, k / 10) for k in range(3)], "c": []})
    assert {row: list(by_view["spikes"]) for row, by_view in found.items()} == {"a": [0.1, 0.3], "b": [0.0, 0.2]}


def test_the_page_tells_the_number_of_seeds_that_all_rows_have(tmp_path):
    def results(**seeds):
        views = {"spikes": {"abs_rel": 0.2, "median_scaled": 0.2, "a1": 0.5}}
        return {row: [{"seed": seed, "of": {}, "views": views} for seed in of] for row, of in seeds.items()}

    def said(**seeds):
        write_page(SUITE, results(**seeds), tmp_path, "command", {})
        return (tmp_path / "toy.md").read_text().splitlines()[4]

    assert said(first=(0, 1, 2), more=(2, 1)).endswith("standard deviation over 2 seeds.")
    assert said(first=(0, 1, 2), more=(2,)).endswith("one seed.")
    with pytest.raises(ValueError, match="there is none: 'first' has 0, 1; 'more' has 2"):
        said(first=(1, 0), more=(2,))
    assert scores(results(first=(), more=())) == {}


def test_results_at_common_points_are_of_how_these_are_told(data, tmp_path, monkeypatch):
    common = View("common", "source", ("rgb",), "spikes", points=("spikes", "rgb"))
    suite = dataclasses.replace(SUITE, rows=(), views=(common, SUITE.views[0]), findings=lambda scores: [])
    run = SuiteRun(suite, TINY, {"source": data / "source"}, tmp_path)
    run.run_seed(0)
    told = result_of(run, 0, ROW_PRIOR_ROW)
    monkeypatch.setattr(runner, "APART", 0.1)
    run.run_seed(0)
    assert result_of(run, 0, ROW_PRIOR_ROW)["of"] != told["of"]
    plain = dataclasses.replace(suite, views=SUITE.views[:1])
    of = SuiteRun(plain, TINY, run.data, tmp_path / "plain")
    of.run_seed(0)
    assert "apart" not in str(result_of(of, 0, ROW_PRIOR_ROW)["of"])


def test_a_gain_within_its_spread_is_not_met():
    assert at_least("a", np.array([0.30, 0.31, 0.32]), 0.29).met
    assert not at_least("a", np.array([0.20, 0.31, 0.42]), 0.29).met
    assert not at_least("a", np.array([0.1]), 0.29).met


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((Row("a", supervised), Row("a", supervised)), "two rows"),
        ((Row("a", supervised, views=("thermal",)),), "unknown views"),
    ],
)
def test_a_suite_that_does_not_hold_together_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SUITE, rows=rows)


def test_a_condition_is_in_clear_air_and_a_weather_at_any_time():
    def takes(wanted, **meta):
        return View("v", "source", ("rgb",), condition=wanted).takes(meta)

    assert takes("day", condition="day", weather="clear")
    assert takes("day", condition="day")
    assert not takes("day", condition="day", weather="rain")
    assert takes("rain", condition="night", weather="rain")
    assert not takes("night", condition="day", weather="clear")
    assert takes(None, condition="dusk", weather="fog")


def test_a_view_of_fast_driving_takes_what_is_faster_and_nothing_of_unknown_speed():
    view = View("v", "source", ("rgb",), condition="day", faster_than=15.0)
    assert view.takes({"condition": "day", "speed": 15.1})
    assert not view.takes({"condition": "day", "speed": 15.0})
    assert not view.takes({"condition": "night", "speed": 20.0})
    assert not view.takes({"condition": "day"})


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"condition": "fog"}, "view 'v': no sample of source is of fog"),
        ({"faster_than": 90.0}, "view 'v': no sample of source is faster than 90 m/s"),
    ],
)
def test_a_view_of_what_there_is_not_is_named(data, tmp_path, bounds, message):
    suite = dataclasses.replace(SUITE, views=(View("v", "source", ("rgb",), **bounds),), rows=())
    with pytest.raises(ValueError, match=message):
        SuiteRun(suite, TINY, {"source": data / "source"}, tmp_path).run_seed(0)
