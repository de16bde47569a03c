"""The row prior on a scene whose depth by row is known: a flat road under a wall of sky."""

import json

import numpy as np
import pytest

from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.geometry import PinholeCamera

HEIGHT_M = 1.5


def road(camera):
    """Depth of a flat road seen from `HEIGHT_M` above it: height / slope, sky above the horizon."""
    slopes = camera.slopes()[1]
    rows = np.where(slopes > 0, HEIGHT_M / np.maximum(slopes, 1e-9), np.inf)
    return np.repeat(rows[:, None], camera.width, axis=1).astype(np.float32)


def test_recovers_a_road_with_another_camera():
    prior = RowPrior.fit([(road(camera), camera) for camera in [PinholeCamera.from_focal(40, 250, 330)]])
    other = PinholeCamera(62, 375, 721.5, 721.5, 30.0, 172.8)
    truth, found = road(other), prior.predict(other)
    seen = np.isfinite(truth) & (truth >= 5) & (truth <= 60)
    assert found.shape == (375, 62)
    assert found.dtype == np.float32
    assert np.abs(found - truth)[seen].max() / truth[seen].max() < 0.05
    assert np.median(np.abs(found - truth)[seen] / truth[seen]) < 0.01


def test_is_the_mean_of_log_depth_by_row():
    camera = PinholeCamera.from_focal(8, 6, 20)
    generator = np.random.default_rng(0)
    frames = [(np.exp(generator.normal(2, 0.5, (6, 8))).astype(np.float32), camera) for _ in range(5)]
    frames[0][0][0, :4] = [np.inf, np.nan, 0.2, 500.0]
    expected = []
    for row in range(6):
        logs = [np.log(v) for depth, _ in frames for v in depth[row].astype(float) if 1 <= v <= 80]
        expected.append(np.exp(np.mean(logs)))
    assert RowPrior.fit(iter(frames)).predict(camera)[:, 3] == pytest.approx(expected, rel=1e-5)


def test_extrapolates_as_flat_ground_below_and_stays_level_above():
    narrow = PinholeCamera.from_focal(10, 100, 330)
    prior = RowPrior.fit([(road(narrow), narrow)])
    steepest = narrow.slopes()[1][-1]
    below = np.array([1.5, 2.0, 3.0]) * steepest
    assert prior.depth_at(below) == pytest.approx(HEIGHT_M / below, rel=1e-3)
    above = prior.depth_at(np.array([-0.5, -0.1]))
    assert above[0] == above[1] == prior.depth_at(np.array([prior.slopes[0]]))[0]


def test_survives_json():
    camera = PinholeCamera.from_focal(10, 100, 150)
    prior = RowPrior.fit([(road(camera), camera)])
    again = RowPrior.from_dict(json.loads(json.dumps(prior.to_dict())))
    assert again.predict(camera) == pytest.approx(prior.predict(camera), rel=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: RowPrior.fit([(np.ones((3, 4)), PinholeCamera(3, 4, 1, 1, 0, 0))]),
            "4x3 pixels, but its camera is 3x4",
        ),
        (
            lambda: RowPrior.fit([(np.full((4, 3), np.inf), PinholeCamera(3, 4, 1, 1, 0, 0))]),
            "no pixel between",
        ),
        (lambda: RowPrior.from_dict({"near": 1}), r"found \['near'\]"),
        (lambda: RowPrior.from_dict(None), "found NoneType"),
        (lambda: RowPrior(np.array([1.0, 0.0]), np.zeros(2)), "ascend"),
        (lambda: RowPrior(np.array([0.0, np.nan]), np.zeros(2)), "finite"),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
