"""Sheets: one frame's sensors, depth, truth and errors side by side, labelled, with their scales."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from spike_depth_core.evaluation import pictures
from spike_depth_core.evaluation.evaluate import Estimator, Evaluation, rectified_truth
from spike_depth_core.evaluation.frames import Frames
from spike_depth_core.inference import DepthEstimate
from spike_depth_core.samples import DepthSample

SPARSE_SHARE = 0.5
NAMES = {"spikes": "spikes", "rgb": "RGB", "nir": "NIR", "thermal": "thermal"}


def sensor_names(sensors: tuple[str, ...] | list[str]) -> str:
    """Sensors for people: `spikes + RGB + thermal`."""
    return " + ".join(NAMES.get(sensor, sensor) for sensor in sensors)


def sensor_cells(sample: DepthSample, sensors: tuple[str, ...] | None = None) -> list[tuple[str, np.ndarray]]:
    """(label, picture) of the sample's sensors, or of those named that it has."""
    return [
        (NAMES[sensor], pictures.sensor_picture(sensor, getattr(sample, sensor)))
        for sensor in sample.sensors
        if sensors is None or sensor in sensors
    ]


def is_sparse(truth: np.ndarray) -> bool:
    """Whether most pixels have no truth, as with LiDAR (sky, which is +inf, is a truth)."""
    return float(np.isnan(truth).mean()) > SPARSE_SHARE


def estimate_sheet(
    sample: DepthSample,
    estimate: DepthEstimate,
    truth: np.ndarray | None = None,
    title: str | None = None,
    prior: np.ndarray | None = None,
    cell_width: int = 400,
) -> np.ndarray:
    """Everything about one frame on one sheet.

    Args:
        sample: the frame; the sensors that the estimate used, and the reference, are shown.
        estimate: depth and uncertainty.
        truth: depth [H, W] in the estimate's frame, dense or sparse; None leaves out truth and error.
        title: a line above.
        prior: the row prior's depth [H, W], shown beside the prediction.
        cell_width: of each picture, pixels.

    Returns:
        uint8 [H', W', 3].
    """
    shown = {*estimate.sensors, estimate.reference}
    cells = sensor_cells(sample, tuple(s for s in sample.sensors if s in shown))
    result = [("depth", pictures.colorize_depth(estimate.depth))]
    scales = ["depth", "uncertainty"]
    if truth is not None:
        scales.insert(1, "error")
        if is_sparse(truth):
            radius = max(1, round(truth.shape[1] / 500))
            backdrop = pictures.sensor_picture(estimate.reference, getattr(sample, estimate.reference))
            grown = pictures.thicken(truth, radius)
            # Errors of single points cannot be seen; each is shown as large as the point of the truth it stands for.
            error = pictures.thicken_like(estimate.depth, truth, radius)
            result.append(("truth: LiDAR points", pictures.overlay_points(backdrop, truth, radius)))
            result.append(("error at the points", pictures.colorize_error(error, grown)))
        else:
            result.append(("true depth", pictures.colorize_depth(truth)))
            result.append(("error", pictures.colorize_error(estimate.depth, truth)))
    result.append(("uncertainty", pictures.colorize_uncertainty(estimate.uncertainty)))
    if prior is not None:
        result.append(("row prior, for comparison", pictures.colorize_depth(prior)))
    cells += result
    height, width = estimate.depth.shape
    # Wide pictures in two columns; others in four or three, whichever leaves fewer holes.
    columns = 2 if width > 2.5 * height else min((4, 3), key=lambda n: -len(cells) % n)
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    if columns == 2:
        cell_width = cell_width * 3 // 2
    page = columns * (cell_width + 8) - 8
    return pictures.grid(rows, cell_width, title, pictures.bars(page, tuple(scales)))


def ranked_sheets(
    evaluation: Evaluation,
    frames: Frames,
    estimator: Estimator,
    sensors: tuple[str, ...] | None = None,
    reference: str | None = None,
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Sheets of the best, the median and the worst frame of an evaluation, whose depth is estimated once more.

    Args:
        evaluation: that has run over `frames`.
        frames, estimator, sensors, reference: what it was run with.

    Yields:
        (label, caption, picture): label is `best`, `median` or `worst`.
    """
    for label, position in evaluation.ranked().items():
        score = evaluation.frames[position]
        sample = frames[score.index]
        estimate = estimator.estimate(sample, reference, sensors)
        caption = f"{label.capitalize()}: {score.name}, AbsRel {score.abs_rel:.3f}"
        prior = evaluation.row_prior.predict(estimate.camera) if evaluation.row_prior else None
        truth = rectified_truth(sample, estimate.reference)
        yield label, caption, estimate_sheet(sample, estimate, truth, caption, prior)
