"""Scoring different sets of sensors at the same points, each where it knows best what it sees.

A network is asked for depth in the frame of the first sensor it may use, the frame it was trained for; asked in
another's it would also be scored by how well it removes parallax, and sensors beside the reference would lose by that
alone. Its answer is then brought to the reference's frame by the true geometry: the true point of each reference pixel
is looked up in the answer, and how far the answer is off there, as a ratio, is put on the true depth. No estimate's own
error decides where it is looked up, so nothing is counted twice and no holes are torn. It is looked up at the nearest
pixel, for between two pixels on either side of an edge an answer that is right would be found wrong. Scored are the
points that all of a group's sensors see: within their pictures, where their own truth has something as far away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spike_depth_core.evaluation.evaluate import Estimator, truth_of
from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.geometry.projection import points_of_depth
from spike_depth_core.samples import DepthSample

APART = 0.05
"""A point whose depth is farther from what a sensor's own truth has there, as a ratio, is not what it sees there:
behind it, it is hidden; before it, it is too thin for the sensor's pixels, or its edge falls beside them."""


def places_seen(sample: DepthSample, reference: str, sensor: str) -> tuple[np.ndarray, np.ndarray]:
    """Where a sensor sees the true points of the reference's pixels.

    Args:
        sample: with true depth of both, and cameras without distortion.
        reference: the sensor whose pixels are asked for.
        sensor: that looks at their points.

    Returns:
        (pixels (u, v) of the sensor and the points' depth there, float64 [H, W, 3], NaN where it does not see them; a
        mask [H, W] of where it does).

    Raises:
        ValueError: when a truth is missing, or a camera is distorted.
    """
    truth, own = truth_of(sample, reference), truth_of(sample, sensor)
    camera = sample.rig.cameras[sensor]
    if any(camera.distortion) or any(sample.rig.cameras[reference].distortion):
        raise ValueError(f"points are looked up in rectified pictures; {reference!r} or {sensor!r} is distorted")
    known = np.isfinite(truth)
    matrix = sample.rig.transform(sensor, reference)
    points = points_of_depth(np.where(known, truth, np.nan), sample.rig.cameras[reference])
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    places = np.full((*truth.shape, 3), np.nan)
    z = moved[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        places[known] = np.stack(
            [moved[:, 0] / z * camera.fx + camera.cx, moved[:, 1] / z * camera.fy + camera.cy, z], axis=1
        )
    u, v, z = (np.where(np.isfinite(places[..., i]), places[..., i], -1.0) for i in range(3))
    inside = (z > 0) & (u >= 0) & (u <= camera.width - 1) & (v >= 0) & (v <= camera.height - 1)
    there = own[_nearest(np.where(inside[..., None], places, 0.0))]
    seen = inside & (z <= there * (1 + APART)) & (z >= there / (1 + APART))
    return np.where(seen[..., None], places, np.nan), seen


def common_truth(sample: DepthSample, reference: str, sensors: Sequence[str]) -> np.ndarray:
    """The reference's true depth [H, W], NaN at points that one of the sensors does not see."""
    truth = truth_of(sample, reference)
    seen = np.ones(truth.shape, dtype=bool)
    for sensor in sensors:
        if sensor != reference:
            seen &= places_seen(sample, reference, sensor)[1]
    return np.where(seen, truth, np.nan)


def brought_to(sample: DepthSample, reference: str, sensor: str, answer: np.ndarray) -> np.ndarray:
    """A map of a sensor's frame at the true points of the reference's pixels: [H, W], NaN where unseen."""
    places, seen = places_seen(sample, reference, sensor)
    return np.where(seen, answer[_nearest(np.where(seen[..., None], places, 0.0))], np.nan)


def _nearest(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(row, column) of the pixels nearest to places (u, v, ...) [H, W, ...]."""
    return places[..., 1].round().astype(int), places[..., 0].round().astype(int)


@dataclass(frozen=True)
class Answer:
    """An estimate as it is scored: maps [H, W] of one camera.

    Attributes:
        depth: metres; NaN where there is none.
        uncertainty: relative standard deviation, or None.
        truth: metres; NaN where nothing is scored.
        camera: of all of them.
    """

    depth: np.ndarray
    uncertainty: np.ndarray | None
    truth: np.ndarray
    camera: PinholeCamera


def answer_of(
    estimator: Estimator, sample: DepthSample, sensors: tuple[str, ...], reference: str, points: Sequence[str] | None
) -> Answer:
    """What an estimator says of a sample.

    Args:
        estimator: who is asked.
        sample: with true depth for the reference, and for `points`.
        sensors: which it may use.
        reference: in whose frame it is scored.
        points: the sensors that must see what is scored; depth is then asked for in the frame of the reference, where
            it is one of `sensors`, else in that of the first of them, and brought here. None asks in the reference's
            frame, and scores all that has a truth there.
    """
    if points is None:
        estimate = estimator.estimate(sample, reference, sensors)
        return Answer(estimate.depth, estimate.uncertainty, truth_of(sample, reference), estimate.camera)
    asked = reference if reference in sensors else sensors[0]
    estimate = estimator.estimate(sample, asked, sensors)
    depth, uncertainty, truth = estimate.depth, estimate.uncertainty, common_truth(sample, reference, points)
    if asked != reference:
        places, _ = places_seen(sample, reference, asked)
        depth = (brought_to(sample, reference, asked, depth) * (truth / places[..., 2])).astype(np.float32)
        uncertainty = brought_to(sample, reference, asked, uncertainty)
    return Answer(depth, uncertainty, truth, sample.rig.cameras[reference])
