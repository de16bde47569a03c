"""Points that all sensors see: against walls whose places in each picture are known."""

import dataclasses

import numpy as np
import pytest

from spike_depth_core.evaluation.common_points import answer_of, brought_to, common_truth, places_seen
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.inference import DepthEstimate
from spike_depth_core.samples import DepthSample

WIDTH, HEIGHT, FOCAL = 40, 24, 40.0
BESIDE, BEHIND = 0.2, 1.0  # the second camera stands so many metres to the right and back


@pytest.fixture
def sample():
    """A wall 10 m away fills both pictures; before it, in the reference's left half, one at 5 m."""
    camera = PinholeCamera.from_focal(WIDTH, HEIGHT, FOCAL)
    rig = SensorRig({"spikes": camera, "thermal": camera}, {"thermal": pose((BESIDE, 0.0, -BEHIND))})
    return DepthSample(
        rig,
        time_ns=0,
        rgb=None,
        thermal=np.zeros((HEIGHT, WIDTH), np.uint16),
        depth={"spikes": near_and_far(rig, "spikes"), "thermal": near_and_far(rig, "thermal")},
    )


def near_and_far(rig, sensor):
    """True depth of the scene from a sensor, from rays and planes."""
    camera = rig.cameras[sensor]
    centre = rig.reference_from(sensor)[:3, 3]
    x, _ = camera.slopes()
    edge = 0.0  # of the near wall: it reaches from the left to x = 0 of the reference
    near = (x * (5.0 - centre[2]) + centre[0]) <= edge
    row = np.where(near, 5.0, 10.0) - centre[2]
    return np.repeat(row[None], HEIGHT, axis=0).astype(np.float32)


def test_points_are_found_where_their_rays_end(sample):
    places, seen = places_seen(sample, "spikes", "thermal")
    camera = sample.rig.cameras["spikes"]
    row, column = 9, 30  # on the far wall, well off the edge
    x, y = (camera.slopes()[0][column] * 10.0, camera.slopes()[1][row] * 10.0)
    u = (x - BESIDE) / (10.0 + BEHIND) * FOCAL + camera.cx
    v = y / (10.0 + BEHIND) * FOCAL + camera.cy
    np.testing.assert_allclose(places[row, column], [u, v, 10.0 + BEHIND], rtol=1e-6)
    assert seen[row, column]


def test_what_one_of_them_does_not_see_is_not_scored(sample):
    truth = common_truth(sample, "spikes", ("spikes", "thermal"))
    # The reference looks past the near wall's edge at x = 0; from the right more of the wall behind it is seen, from
    # the left, mirrored, less: then the points just right of the edge are hidden from the second camera.
    assert np.isfinite(truth[:, : WIDTH // 2]).all()
    moved = dataclasses.replace(
        sample.rig, poses={"thermal": pose((-BESIDE, 0.0, 0.0))}
    )  # now from the left, and not from behind
    depth = {s: near_and_far(moved, s) for s in ("spikes", "thermal")}
    other = dataclasses.replace(sample, rig=moved, depth=depth)
    hidden = np.isnan(common_truth(other, "spikes", ("thermal",)))
    # The ray from (-0.2, 0) past the edge (0, 5) meets the far wall at x = 0.2: 0.2 / 10 * 40 = 0.8 pixels are hidden.
    expected = np.zeros(WIDTH, bool)
    expected[WIDTH // 2] = True  # its centre, half a pixel right of the axis, lies on the far wall at x = 0.125
    # And the leftmost points are seen at x + 0.2, the rightmost leave the picture: 0.2 / 10 * 40 = 0.8 pixels.
    expected[WIDTH - 1] = True
    np.testing.assert_array_equal(hidden, np.repeat(expected[None], HEIGHT, axis=0))


def test_an_answer_is_brought_by_the_true_geometry_not_by_its_own(sample):
    ramp = np.repeat(np.arange(WIDTH, dtype=np.float32)[None], HEIGHT, axis=0)
    places, seen = places_seen(sample, "spikes", "thermal")
    found = brought_to(sample, "spikes", "thermal", ramp)
    np.testing.assert_array_equal(found[seen], np.rint(places[..., 0][seen]))
    assert np.isnan(found[~seen]).all()


@pytest.mark.parametrize(
    ("there", "scored"), [(np.inf, False), (11.6, False), (11.4, True), (10.6, True), (10.4, False)]
)
def test_points_are_scored_where_the_sensor_sees_something_as_far_away(sample, there, scored):
    """The far wall is at 11 m of the second camera; told are sky and walls behind and before it."""
    own = sample.depth["thermal"].copy()
    own[own > 7] = there
    told = dataclasses.replace(sample, depth={**sample.depth, "thermal": own})
    truth = common_truth(told, "spikes", ("spikes", "thermal"))
    assert np.isfinite(truth[:, WIDTH // 2 + 3 : WIDTH - 2]).all() == scored
    assert np.isnan(truth[:, WIDTH // 2 + 3 : WIDTH - 2]).all() == (not scored)
    assert np.isfinite(truth[:, : WIDTH // 2 - 3]).all()


class Off:
    """Answers with the truth of the frame it is asked in, times a factor."""

    def __init__(self, factor):
        self.factor, self.asked = factor, []

    def estimate(self, sample, reference=None, sensors=None):
        self.asked.append(reference)
        depth = sample.depth[reference] * np.float32(self.factor)
        camera = sample.rig.cameras[reference]
        return DepthEstimate(depth, np.full_like(depth, 0.3), camera, reference, sensors, 0)


def test_the_ratio_to_the_truth_is_kept_from_frame_to_frame(sample):
    off = Off(1.25)
    answer = answer_of(off, sample, ("thermal",), "spikes", ("spikes", "thermal"))
    assert off.asked == ["thermal"]
    scored = np.isfinite(answer.truth)
    np.testing.assert_allclose((answer.depth / answer.truth)[scored], 1.25, rtol=1e-5)
    np.testing.assert_allclose(answer.uncertainty[scored], 0.3, rtol=1e-5)

    both = answer_of(off, sample, ("spikes", "thermal"), "spikes", ("spikes", "thermal"))
    assert off.asked[-1] == "spikes"
    np.testing.assert_array_equal(both.truth, answer.truth)  # the same points
    np.testing.assert_allclose((both.depth / both.truth)[scored], 1.25, rtol=1e-6)
    plain = answer_of(off, sample, ("spikes",), "spikes", None)
    assert np.isfinite(plain.truth).sum() >= scored.sum()


@pytest.mark.parametrize("beside", [0.05, 0.1, 0.3])
def test_who_knows_the_truth_is_right_at_edges_too(sample, beside):
    rig = dataclasses.replace(sample.rig, poses={"thermal": pose((beside, 0.0, -BEHIND))})
    depth = {sensor: near_and_far(rig, sensor) for sensor in ("spikes", "thermal")}
    seen = dataclasses.replace(sample, rig=rig, depth=depth)
    answer = answer_of(Off(1.0), seen, ("thermal",), "spikes", ("spikes", "thermal"))
    scored = np.isfinite(answer.truth)
    assert scored.mean() > 0.9
    np.testing.assert_allclose(answer.depth[scored], answer.truth[scored], rtol=1e-6)


def test_distorted_pictures_are_refused(sample):
    bent = dataclasses.replace(sample.rig.cameras["thermal"], distortion=(0.1, 0.0, 0.0, 0.0))
    rig = dataclasses.replace(sample.rig, cameras={**sample.rig.cameras, "thermal": bent})
    with pytest.raises(ValueError, match="'thermal' is distorted"):
        common_truth(dataclasses.replace(sample, rig=rig), "spikes", ("thermal",))
