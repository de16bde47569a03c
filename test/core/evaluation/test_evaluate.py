"""Evaluation on samples whose errors are known, with an estimator that makes errors to order."""

import dataclasses
import json

import numpy as np
import pytest

from spike_depth_core.cli.evaluate import verdict
from spike_depth_core.evaluation import pictures
from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.evaluation.evaluate import DISTANCE_BANDS, NETWORK, ROW_PRIOR, Evaluation
from spike_depth_core.evaluation.evaluation_report import HEADINGS, evaluation_report, method_rows
from spike_depth_core.evaluation.sheets import estimate_sheet, ranked_sheets
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.inference import DepthEstimate
from spike_depth_core.metrics import frame_metrics
from spike_depth_core.samples import DepthSample
from spike_depth_core.whole_files import write_json
from test.core.factories import ground_depth, undistorted

CAMERA = PinholeCamera.from_focal(60, 40, 50)


def street(seed, condition="day", sparse=False):
    """A sample with an RGB image and a depth that grows from the bottom row up, with sky above."""
    generator = np.random.default_rng(seed)
    rows = np.geomspace(70, 3, 40)[:, None] * np.exp(generator.normal(0, 0.2, (40, 60)))
    depth = rows.clip(1.5, 79).astype(np.float32)
    depth[:5] = np.inf
    if sparse:
        depth = np.where(generator.random(depth.shape) < 0.1, depth, np.nan).astype(np.float32)
    rgb = generator.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    meta = {"seed": seed, "condition": condition}
    return DepthSample(SensorRig.single("rgb", CAMERA), rgb=rgb, depth={"rgb": depth}, meta=meta)


class Wrong:
    """Says the truth times 1 + error in the left half of the image, the truth in the right; knows which is which."""

    def __init__(self, errors):
        self.errors = iter(errors)

    def estimate(self, sample, reference=None, sensors=None):
        depth = sample.depth["rgb"].copy()
        depth[:, :30] *= 1 + next(self.errors)
        uncertainty = np.full(depth.shape, 0.02, np.float32)
        uncertainty[:, :30] = 0.3
        return DepthEstimate(depth, uncertainty, CAMERA, "rgb", ("rgb",), sample.time_ns)


def prior_of(samples):
    return RowPrior.fit([(s.depth["rgb"], CAMERA) for s in samples])


@pytest.fixture
def evaluated():
    samples = [street(i, ("day", "night")[i % 2]) for i in range(5)]
    errors = [0.1, 0.5, 0.2, 0.3, 0.4]
    evaluation = Evaluation(prior_of(samples), far=200.0, independent=True).run(samples, Wrong(errors))
    return samples, evaluation


def test_errors_made_to_order_are_found(evaluated):
    samples, evaluation = evaluated
    shares = [np.isfinite(s.depth["rgb"][:, :30]).sum() / np.isfinite(s.depth["rgb"]).sum() for s in samples]
    expected = [share * error for share, error in zip(shares, [0.1, 0.5, 0.2, 0.3, 0.4], strict=True)]
    assert [f.abs_rel for f in evaluation.frames] == pytest.approx(expected, rel=1e-4)
    assert evaluation.mean()["abs_rel"] == pytest.approx(np.mean(expected), rel=1e-4)
    conditions = evaluation.by_condition()
    assert conditions["night"]["abs_rel"] == pytest.approx((expected[1] + expected[3]) / 2, rel=1e-4)
    assert (conditions["day"]["frames"], conditions["night"]["frames"]) == (3, 2)
    assert evaluation.ranked() == {"best": 0, "median": 3, "worst": 1}
    assert evaluation.certain_half_ratio == pytest.approx(0.0, abs=1e-6)  # the right half is exact, and it knows


def test_bands_and_rows_hold_every_pixel(evaluated):
    samples, evaluation = evaluated
    summary = evaluation.summary()
    bands = summary["by_distance"]
    assert len(bands) == len(DISTANCE_BANDS) - 1
    assert sum(band["share_of_pixels"] for band in bands.values()) == pytest.approx(1)
    naive = []
    for sample, error in zip(samples, [0.1, 0.5, 0.2, 0.3, 0.4], strict=True):
        truth = sample.depth["rgb"]
        inside = (truth >= 5) & (truth < 10)
        left = inside.copy()
        left[:, 30:] = False
        naive.append(error * left.sum() / inside.sum())
    assert bands["5-10 m"]["network"] == pytest.approx(np.mean(naive), rel=1e-4)
    assert bands["5-10 m"]["bias"] == pytest.approx(np.mean(naive), rel=1e-4)
    heights, errors = evaluation.row_profile
    assert heights.min() > 0.1  # the sky's rows are not there
    assert set(errors) == {NETWORK, ROW_PRIOR}


def test_summary_is_plain_and_names_the_baseline(evaluated, tmp_path):
    _, evaluation = evaluated
    write_json(tmp_path / "metrics.json", evaluation.summary())
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert read["frames"] == 5
    assert read["scaling"] == "none"
    assert read["row_prior_abs_rel"] == pytest.approx(evaluation.mean(ROW_PRIOR)["abs_rel"])
    assert read["methods"]["row prior (median)"]["scaling"] == "median"
    assert read["abs_rel_interval_95"][0] < read["abs_rel"] < read["abs_rel_interval_95"][1]
    assert [f["name"] for f in read["per_frame"]][:2] == ["seed 0, day", "seed 1, night"]


def test_sky_that_is_told_to_stand_in_the_street_is_counted():
    evaluation = Evaluation()
    assert np.isnan(evaluation.near_sky_share)
    for near in (0.0, 0.5):  # of the sky's pixels, at 30 m; the rest beyond what counts as far
        truth = street(0).depth["rgb"]
        depth = np.where(np.isinf(truth), 90.0, truth)
        depth[:5, : round(60 * near)] = 30.0
        evaluation.add(depth, truth, CAMERA)
    assert evaluation.near_sky_share == pytest.approx(0.25)
    assert evaluation.summary()["near_sky_share"] == pytest.approx(0.25)
    assert evaluation.mean()["abs_rel"] == 0.0  # which does not look at the sky


def test_sparse_truth_scores_as_dense_truth_does():
    samples = [street(i, sparse=True) for i in range(3)]
    evaluation = Evaluation(None, far=200.0).run(samples, Wrong([0.2] * 3))
    assert evaluation.mean()["abs_rel"] == pytest.approx(0.1, abs=0.02)
    assert evaluation.summary()["row_prior_abs_rel"] is None
    assert [row[0] for row in method_rows(evaluation, "RGB")] == ["RGB", "RGB, median-scaled"]


def test_frames_without_truth_are_counted_not_scored():
    empty = DepthSample(SensorRig.single("rgb", CAMERA), rgb=street(0).rgb, depth={"rgb": np.full((40, 60), np.inf)})
    evaluation = Evaluation().run([empty, street(1)], Wrong([0.1, 0.2]))
    assert len(evaluation.frames) == 1
    assert evaluation.frames[0].index == 1
    assert evaluation.summary()["skipped_frames"] == ["frame 0"]
    with pytest.raises(ValueError, match="nothing to score"):
        Evaluation().run([empty], Wrong([0.1]))


def test_summary_may_be_asked_for_before_the_first_frame(tmp_path):
    write_json(tmp_path / "metrics.json", Evaluation(prior_of([street(0)])).summary())
    read = json.loads((tmp_path / "metrics.json").read_text())
    assert (read["frames"], read["abs_rel"], read["row_prior_abs_rel"]) == (0, None, None)
    assert read["by_distance"]["1-5 m"]["network"] is None


def test_errors_are_named():
    blind = DepthSample(SensorRig.single("rgb", CAMERA), rgb=street(0).rgb, depth={})

    class Level:
        def estimate(self, sample, reference=None, sensors=None):
            flat = np.ones((40, 60), np.float32)
            return DepthEstimate(flat, flat, CAMERA, "rgb", ("rgb",), 0)

    with pytest.raises(ValueError, match="no true depth for 'rgb'; it has it for no sensor"):
        Evaluation().run([blind], Level())
    with pytest.raises(ValueError, match="none, garg, found 'eigen'"):
        Evaluation(crop="eigen")
    with pytest.raises(ValueError, match="differ in shape"):
        Evaluation().add(np.ones((3, 4)), np.ones((4, 3)), CAMERA)


def test_garg_crop_leaves_the_top_out():
    truth = np.full((375, 1242), 20.0, np.float32)
    prediction = truth.copy()
    prediction[:150] = 40.0  # all wrong above the crop
    evaluation = Evaluation(crop="garg")
    assert evaluation.add(prediction, truth, PinholeCamera.from_focal(1242, 375, 720)).abs_rel == 0


@pytest.mark.parametrize("sparse", [False, True])
def test_sheet_shows_what_there_is(sparse):
    sample = street(0, sparse=sparse)
    estimate = Wrong([0.1]).estimate(sample)
    truth = sample.depth["rgb"]
    without = estimate_sheet(sample, estimate)
    with_truth = estimate_sheet(sample, estimate, truth, "title", prior_of([sample]).predict(CAMERA))
    assert with_truth.shape[0] > without.shape[0]
    assert with_truth.dtype == np.uint8


def test_report_holds_the_table(evaluated):
    pytest.importorskip("matplotlib")
    from spike_depth_core.evaluation.report import render_report

    _, evaluation = evaluated
    html = render_report(evaluation_report(evaluation, "Depth", "five streets", "RGB", command="make it"))
    for text in (*HEADINGS[:3], "five streets", "row prior, median-scaled", "By light", "uncertainty worth", "make it"):
        assert text in html


@pytest.mark.parametrize("independent", [True, False])
def test_frames_of_a_drive_have_no_interval_as_streets_have(independent):
    pytest.importorskip("matplotlib")
    from spike_depth_core.evaluation.report import render_report

    samples = [street(seed) for seed in range(10)]
    evaluation = Evaluation(prior_of(samples), independent=independent).run(samples, Wrong(np.linspace(0, 0.4, 10)))
    found = evaluation.summary()
    html = render_report(evaluation_report(evaluation, "Depth", "", "RGB"))
    assert "abs_rel" in found
    said = ("abs_rel_interval_95" in found, "bootstrap interval" in html, "of redraws" in verdict(found))
    assert said == 3 * (independent,)


def test_no_depth_where_there_is_a_truth_is_told():
    evaluation = Evaluation()
    truth = np.full((4, 6), 10.0, np.float32)
    blank = np.full((4, 6), np.nan, np.float32)
    camera = PinholeCamera.from_focal(6, 4, 5)
    assert evaluation.add(blank, truth, camera, name="a") is None
    assert evaluation.add(truth, blank, camera, name="b") is None
    evaluation.add(truth, truth, camera, name="c")
    found = evaluation.summary()
    assert (found["unanswered_frames"], found["skipped_frames"], found["frames"]) == (["a"], ["b"], 1)
    assert evaluation.frames[0].index == 2
    assert "1 frames WITHOUT A DEPTH" in verdict({**found, "ratio_to_row_prior": None})


class Perfect:
    """Says the depth of the level road at the pixels of the rectified picture."""

    def estimate(self, sample, reference=None, sensors=None):
        camera = dataclasses.replace(sample.rig.cameras["rgb"], distortion=())
        depth = ground_depth(camera)
        return DepthEstimate(depth, np.ones_like(depth), camera, "rgb", ("rgb",), sample.time_ns)


@pytest.mark.parametrize("distortion", [(), (-0.3, 0.05, 0.0, 0.0), (-0.3, 0.05, 0.01, -0.01, 0.0)])
def test_the_truth_of_a_lens_is_compared_at_the_rectified_pixels(distortion, monkeypatch):
    """A sample's depth lies at the pixels of its picture, as the lens bends it."""
    camera = PinholeCamera(240, 160, 200.0, 200.0, 119.5, 79.5, distortion)
    u, v = np.meshgrid(np.arange(240), np.arange(160))
    _, slope = undistorted((u - 119.5) / 200, (v - 79.5) / 200, (*distortion, 0.0)[:5] if distortion else ())
    with np.errstate(divide="ignore"):
        depth = np.where(slope > 1e-6, 1.65 / slope, np.inf).astype(np.float32)
    blank = np.zeros((160, 240, 3), np.uint8)
    sample = DepthSample(SensorRig.single("rgb", camera), rgb=blank, depth={"rgb": depth})
    evaluation = Evaluation(far=20.0).run([sample], Perfect())
    assert evaluation.mean()["abs_rel"] < 0.01  # a half of a row
    drawn = []
    monkeypatch.setattr(pictures, "colorize_error", lambda *maps: drawn.append(maps) or blank)
    list(ranked_sheets(evaluation, [sample], Perfect()))
    ((depth, truth),) = drawn
    near = np.isfinite(truth) & (truth < 20)
    assert np.mean(np.abs(depth[near] / truth[near] - 1)) < 0.01


def test_the_moments_of_a_drive_have_names_of_their_own():
    samples = [street(7) for _ in range(3)]
    for k, sample in enumerate(samples):
        sample.meta.update({"sequence": 7, "frame": k})
    evaluation = Evaluation(far=200.0).run(samples, Wrong([0.1, 0.2, 0.3]))
    assert [frame.name for frame in evaluation.frames] == [
        "seed 7, day",
        "seed 7, day, frame 1",
        "seed 7, day, frame 2",
    ]


def test_sky_outside_of_the_crop_is_not_counted():
    truth = np.full((375, 1242), 20.0, np.float32)
    truth[:160] = np.inf  # the crop begins at row 153
    depth = np.where(np.isinf(truth), 90.0, truth)
    depth[:153] = 30.0
    evaluation = Evaluation(crop="garg")
    evaluation.add(depth, truth, PinholeCamera.from_focal(1242, 375, 720))
    assert evaluation.near_sky_share == 0.0


def test_each_camera_has_a_row_prior_of_its_own():
    truth = street(0).depth["rgb"]
    prior = prior_of([street(0)])
    lowered = dataclasses.replace(CAMERA, cy=CAMERA.cy - 8)
    evaluation = Evaluation(prior, far=200.0)
    for camera in (CAMERA, lowered):
        evaluation.add(truth, truth, camera)
    expected = [frame_metrics(prior.predict(camera), truth, far=200.0)["abs_rel"] for camera in (CAMERA, lowered)]
    assert [frame.scores[ROW_PRIOR, "none"]["abs_rel"] for frame in evaluation.frames] == pytest.approx(expected)
    assert expected[0] < 0.9 * expected[1]
