"""How far a depth map is from the truth: the metrics of the depth-estimation literature.

Plain NumPy in float64, so that the same figures come out on every device and nothing heavy is imported by
whoever only wants to score a depth map. All definitions are those of Eigen, Puhrsch and Fergus, "Depth map
prediction from a single image using a multi-scale deep network" (NIPS 2014), as KITTI and the works after it
report them. With p the predicted and t the true depth of the n scored pixels of one frame:

| key        | formula                                                        | unit | better |
| ---------- | -------------------------------------------------------------- | ---- | ------ |
| `abs_rel`  | mean(abs(p - t) / t)                                           | 1    | lower  |
| `sq_rel`   | mean((p - t)^2 / t)                                            | m    | lower  |
| `rmse`     | sqrt(mean((p - t)^2))                                          | m    | lower  |
| `rmse_log` | sqrt(mean((ln p - ln t)^2))                                    | 1    | lower  |
| `silog`    | 100 sqrt(mean(e^2) - mean(e)^2), e = ln p - ln t (KITTI)       | 1    | lower  |
| `a1 a2 a3` | share of pixels with max(p / t, t / p) < 1.25, 1.25^2, 1.25^3  | 1    | higher |

A frame is scored on its own and a data set is the plain mean over its frames, which is how the literature
does it: a frame with few LiDAR points weighs as much as one with many.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

NEAR_M = 1.0
FAR_M = 80.0
METRICS = ("abs_rel", "sq_rel", "rmse", "rmse_log", "silog", "a1", "a2", "a3")
SCALINGS = ("none", "median")


def valid_mask(truth: np.ndarray, near: float = NEAR_M, far: float = FAR_M) -> np.ndarray:
    """Pixels that have a truth to be scored against.

    Args:
        truth: depth in metres, any shape; +inf for sky, NaN or 0 where unknown.
        near, far: the scored range in metres, both ends included.

    Returns:
        bool, the shape of `truth`: true where the truth is finite and within the range.
    """
    if not 0 < near < far:
        raise ValueError(f"the range must satisfy 0 < near < far, found near={near}, far={far}")
    with np.errstate(invalid="ignore"):
        return np.isfinite(truth) & (truth >= near) & (truth <= far)


def garg_crop(height: int, width: int) -> np.ndarray:
    """The part of a KITTI image that the literature scores, bool [H, W].

    Garg et al., "Unsupervised CNN for single view depth estimation" (ECCV 2016), with the fractions that all
    later works copied: where the LiDAR sees, less the bonnet and the image borders.
    """
    top, bottom = int(0.40810811 * height), int(0.99189189 * height)
    left, right = int(0.03594771 * width), int(0.96405229 * width)
    mask = np.zeros((height, width), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def scored_pixels(
    prediction: np.ndarray,
    truth: np.ndarray,
    near: float = NEAR_M,
    far: float = FAR_M,
    scaling: str = "none",
    mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pixels that are scored, and their depths as they are scored.

    Args:
        prediction: depth in metres, any shape. NaN where the method says nothing; such pixels are not scored,
            and `frame_metrics` tells how many they are (`coverage`). Other values are clipped to the range.
        truth: depth in metres, the same shape; see `valid_mask`.
        near, far: the scored range in metres.
        scaling: `none`, or `median`: the prediction is first multiplied by median(truth) / median(prediction)
            of the frame, which forgives a wrong scale (Zhou et al., CVPR 2017).
        mask: bool, the same shape: score only here (a crop). None scores everything.

    Returns:
        (p, t, where): predicted and true depths float64 [n] in metres, and the bool mask of those n pixels.

    Raises:
        ValueError: shapes differ, the scaling is unknown, or not one pixel can be scored.
    """
    prediction, truth = np.asarray(prediction), np.asarray(truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction and truth differ in shape: {prediction.shape} and {truth.shape}")
    if mask is not None and np.shape(mask) != truth.shape:
        raise ValueError(f"mask and truth differ in shape: {np.shape(mask)} and {truth.shape}")
    if scaling not in SCALINGS:
        raise ValueError(f"scaling is one of {', '.join(SCALINGS)}, found {scaling!r}")
    where = valid_mask(truth, near, far) & ~np.isnan(prediction)
    if mask is not None:
        where &= np.asarray(mask, dtype=bool)
    if not where.any():
        raise ValueError(
            f"no pixel to score: of {truth.size}, {int(valid_mask(truth, near, far).sum())} have a truth "
            f"within {near:g} to {far:g} m and {int(np.isnan(prediction).sum())} have no prediction"
        )
    p, t = prediction[where].astype(np.float64), truth[where].astype(np.float64)
    if scaling == "median":
        middle = np.median(p)
        if not (np.isfinite(middle) and middle > 0):
            raise ValueError(f"median scaling needs a positive median prediction, found {middle}")
        p *= np.median(t) / middle
    return np.clip(p, near, far), t, where


def depth_errors(p: np.ndarray, t: np.ndarray) -> dict[str, float]:
    """All of `METRICS` for pairs of positive depths [n] in metres, with n of at least 1."""
    difference = p - t
    log_error = np.log(p) - np.log(t)
    ratio = np.maximum(p / t, t / p)
    return {
        "abs_rel": float(np.mean(np.abs(difference) / t)),
        "sq_rel": float(np.mean(difference**2 / t)),
        "rmse": float(np.sqrt(np.mean(difference**2))),
        "rmse_log": float(np.sqrt(np.mean(log_error**2))),
        "silog": float(100.0 * np.std(log_error)),
        "a1": float(np.mean(ratio < 1.25)),
        "a2": float(np.mean(ratio < 1.25**2)),
        "a3": float(np.mean(ratio < 1.25**3)),
    }


def frame_metrics(
    prediction: np.ndarray,
    truth: np.ndarray,
    near: float = NEAR_M,
    far: float = FAR_M,
    scaling: str = "none",
    mask: np.ndarray | None = None,
) -> dict[str, float]:
    """Score one frame. Arguments and errors as in `scored_pixels`.

    Returns:
        `METRICS`, and `pixels`, how many were scored, and `coverage`, their share of those with a truth.
    """
    p, t, where = scored_pixels(prediction, truth, near, far, scaling, mask)
    known = valid_mask(np.asarray(truth), near, far)
    if mask is not None:
        known &= np.asarray(mask, dtype=bool)
    return {**depth_errors(p, t), "pixels": float(where.sum()), "coverage": float(where.sum() / known.sum())}


def hard_half(p: np.ndarray, t: np.ndarray, baseline: np.ndarray) -> float:
    """AbsRel of the half of a frame's pixels at which a baseline errs most.

    Args:
        p, t: predicted and true depth [n] in metres.
        baseline: what it says there, [n] metres: of whom it does not depend which pixels are hard.
    """
    hardest = np.argsort(-np.abs(baseline - t) / t, kind="stable")[: (p.size + 1) // 2]
    return float(np.mean(np.abs(p[hardest] - t[hardest]) / t[hardest]))


class MetricAverage:
    """The mean of per-frame metrics over a data set, and how much it may be trusted.

    Example:
        >>> average = MetricAverage()
        >>> _ = average.add(np.full((2, 2), 11.0), np.full((2, 2), 10.0))
        >>> round(average.mean()["abs_rel"], 3), average.frames
        (0.1, 1)
    """

    def __init__(self, near: float = NEAR_M, far: float = FAR_M, scaling: str = "none") -> None:
        if scaling not in SCALINGS:
            raise ValueError(f"scaling is one of {', '.join(SCALINGS)}, found {scaling!r}")
        self.near, self.far, self.scaling = near, far, scaling
        self.rows: list[dict[str, float]] = []

    def add(self, prediction: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> dict[str, float]:
        """Score one frame and count it in. Returns the frame's own metrics; raises as `scored_pixels`
        does."""
        row = frame_metrics(prediction, truth, self.near, self.far, self.scaling, mask)
        self.rows.append(row)
        return row

    @property
    def frames(self) -> int:
        """How many frames have been scored."""
        return len(self.rows)

    def values(self, key: str) -> np.ndarray:
        """One metric of every frame, float64 [frames]."""
        return np.array([row[key] for row in self.rows], dtype=np.float64)

    def mean(self) -> dict[str, Any]:
        """`METRICS` averaged over frames, with `coverage`, `frames` and `scaling`. NaN before the first
        frame."""
        means = {key: float(self.values(key).mean()) if self.rows else float("nan") for key in (*METRICS, "coverage")}
        return {**means, "frames": self.frames, "scaling": self.scaling}

    def spread(self) -> dict[str, float]:
        """Standard deviation of `METRICS` from frame to frame (n - 1); NaN below two frames."""
        return {key: float(self.values(key).std(ddof=1)) if self.frames > 1 else float("nan") for key in METRICS}

    def interval(self, key: str, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """Bootstrap confidence interval of a metric's mean; see `bootstrap_interval`."""
        return bootstrap_interval(self.values(key), level, seed)


def bootstrap_interval(
    values: Iterable[float], level: float = 0.95, seed: int = 0, draws: int = 2000
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean: how far it might have come out other with other frames.

    Args:
        values: one figure a frame, [n].
        level: the share of redrawn means that the interval holds.
        seed: of the draws; the same seed gives the same interval.
        draws: how many times n frames are drawn with replacement.

    Returns:
        (low, high); (NaN, NaN) below two frames.
    """
    array = np.asarray(list(values), dtype=np.float64)
    if array.size < 2:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    means = array[generator.integers(0, array.size, (draws, array.size))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
