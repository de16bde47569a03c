"""Measure depth against the truth, beside what the row prior would have said: over frames, by condition, distance and
image row, and whether the uncertainty is worth something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.geometry.resample import infinity_grid, intrinsics, lens
from spike_depth_core.inference import DepthEstimate
from spike_depth_core.metrics import (
    FAR_M,
    NEAR_M,
    SCALINGS,
    MetricAverage,
    Reliability,
    certain_half,
    garg_crop,
    hard_half,
    scored_pixels,
    sparsification,
    valid_mask,
)
from spike_depth_core.samples import DepthSample

DISTANCE_BANDS = (1.0, 5.0, 10.0, 20.0, 40.0, 80.0)
SKY_FROM_M = 50.0
"""Sky that is told nearer than this stands in the street: no metric of depth sees it, a path planner does."""
ROW_BINS = 20
NETWORK, ROW_PRIOR = "network", "row prior"
CROPS: dict[str, Callable[[int, int], np.ndarray] | None] = {"none": None, "garg": garg_crop}


class Estimator(Protocol):
    """What is evaluated: `DepthEstimator`, or anything that answers as it does."""

    def estimate(
        self, sample: DepthSample, reference: str | None = None, sensors: tuple[str, ...] | None = None
    ) -> DepthEstimate: ...


@dataclass(frozen=True)
class FrameScore:
    """One frame's result.

    Attributes:
        index: of the frame among those that were given, from 0.
        name: of the frame, for people.
        condition: `day`, `dusk`, `night` or "" where unknown.
        scores: metrics by (method, scaling).
        meta: where the frame comes from.
    """

    index: int
    name: str
    condition: str
    scores: dict[tuple[str, str], dict[str, float]]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def abs_rel(self) -> float:
        """AbsRel of the network's metric depth."""
        return self.scores[NETWORK, "none"]["abs_rel"]


class Evaluation:
    """Gathers scores frame by frame; `summary()` may be asked for at any time.

    Args:
        row_prior: the baseline; without one its rows are left out.
        near, far: the scored range in metres.
        crop: `none`, or `garg` for KITTI.
        independent: whether each frame is of a scene of its own, so that frames drawn anew tell how far their mean is
            to be relied on. Frames of a drive are alike; of them such an interval would hold the truth seldom.

    Attributes:
        frames: scores of the frames, in order.
        skipped: names of the frames that had no truth to be scored against.
        unanswered: names of those that had, but no depth anywhere there: they are in no mean, and that has to be told.
        sensors: the sensors that `run` used last.
    """

    def __init__(
        self,
        row_prior: RowPrior | None = None,
        near: float = NEAR_M,
        far: float = FAR_M,
        crop: str = "none",
        independent: bool = False,
    ) -> None:
        if crop not in CROPS:
            raise ValueError(f"crop is one of {', '.join(CROPS)}, found {crop!r}")
        self.row_prior, self.near, self.far, self.crop = row_prior, near, far, crop
        self.independent = independent
        self.frames: list[FrameScore] = []
        self.skipped: list[str] = []
        self.unanswered: list[str] = []
        self.sensors: tuple[str, ...] = ()
        methods = [NETWORK] + ([ROW_PRIOR] if row_prior else [])
        self.averages = {(m, s): MetricAverage(near, far, s) for m in methods for s in SCALINGS}
        self.reliability = Reliability()
        self._priors: dict[PinholeCamera, np.ndarray] = {}
        self._halves: list[tuple[float, float]] = []
        self._hard: list[float] = []
        self._sparsifications: list[tuple[np.ndarray, np.ndarray]] = []
        self._ause: list[float] = []
        bands = len(DISTANCE_BANDS) - 1
        # Of each frame, AbsRel and bias by distance band; NaN where a band has no pixel.
        self._bands: dict[str, list[np.ndarray]] = {m: [] for m in methods}
        self._bias: list[np.ndarray] = []
        self._band_pixels = np.zeros(bands)
        self._row_errors: dict[str, np.ndarray] = {m: np.zeros(ROW_BINS) for m in methods}
        self._row_pixels = np.zeros(ROW_BINS)
        self._sky, self._near_sky = 0, 0  # pixels

    def add(
        self,
        depth: np.ndarray,
        truth: np.ndarray,
        camera: PinholeCamera,
        uncertainty: np.ndarray | None = None,
        name: str = "",
        condition: str = "",
        meta: dict[str, Any] | None = None,
    ) -> FrameScore | None:
        """Score one frame.

        Args:
            depth: float32 [H, W], predicted metres; NaN where there is no prediction.
            truth: float32 [H, W], metres; +inf sky, NaN unknown. Sparse truth (LiDAR) is as good as dense.
            camera: of both maps, for the row prior.
            uncertainty: float32 [H, W], relative standard deviation, or None.
            name, condition, meta: kept with the frame's score.

        Returns:
            The frame's score; None where no pixel has a truth to be scored against, which is noted in `skipped`, or
            none of those that have has a depth, which is noted in `unanswered`.
        """
        make_crop = CROPS[self.crop]
        mask = None if make_crop is None else make_crop(*truth.shape)
        try:
            p, t, where = scored_pixels(depth, truth, self.near, self.far, "none", mask)
        except ValueError:
            if depth.shape != truth.shape:
                raise
            asked = valid_mask(truth, self.near, self.far)
            if mask is not None:
                asked &= mask
            (self.unanswered if asked.any() else self.skipped).append(name)
            return None
        maps = {NETWORK: depth}
        if self.row_prior is not None:
            if camera not in self._priors:
                self._priors[camera] = self.row_prior.predict(camera)
            maps[ROW_PRIOR] = self._priors[camera]
        scores = {
            (method, scaling): average.add(maps[method], truth, mask)
            for (method, scaling), average in self.averages.items()
        }
        self._add_by_place(maps, t, where)
        if self.row_prior is not None:
            self._hard.append(hard_half(p, t, maps[ROW_PRIOR][where].astype(np.float64)))
        sky = np.isposinf(truth) if mask is None else np.isposinf(truth) & mask
        self._sky += int(sky.sum())
        self._near_sky += int((depth[sky] < SKY_FROM_M).sum())
        if uncertainty is not None and p.size > 1:
            u = uncertainty[where].astype(np.float64)
            self._halves.append(certain_half(p, t, u))
            curve = sparsification(p, t, u)
            self._sparsifications.append((curve.by_uncertainty, curve.by_error))
            self._ause.append(curve.ause)
            self.reliability.add(p, t, u)
        index = len(self.frames) + len(self.skipped) + len(self.unanswered)
        frame = FrameScore(index, name, condition, scores, meta or {})
        self.frames.append(frame)
        return frame

    def _add_by_place(self, maps: dict[str, np.ndarray], t: np.ndarray, where: np.ndarray) -> None:
        """Errors by distance band and by image row."""
        bands = len(DISTANCE_BANDS) - 1
        band = np.clip(np.searchsorted(DISTANCE_BANDS, t, side="right") - 1, 0, bands - 1)
        row = np.nonzero(where)[0] * ROW_BINS // where.shape[0]
        in_band = np.bincount(band, minlength=bands)
        self._band_pixels += in_band
        self._row_pixels += np.bincount(row, minlength=ROW_BINS)
        for method, depth in maps.items():
            relative = (np.clip(depth[where].astype(np.float64), self.near, self.far) - t) / t
            error = np.abs(relative)
            with np.errstate(invalid="ignore"):
                self._bands[method].append(np.bincount(band, error, bands) / in_band)
                if method == NETWORK:
                    self._bias.append(np.bincount(band, relative, bands) / in_band)
            self._row_errors[method] += np.bincount(row, error, ROW_BINS)

    def run(
        self,
        samples: Iterable[DepthSample],
        estimator: Estimator,
        sensors: tuple[str, ...] | None = None,
        reference: str | None = None,
    ) -> Evaluation:
        """Estimate and score every sample.

        Args:
            samples: with true depth for the reference sensor.
            estimator: what is evaluated.
            sensors: which of each sample's sensors it may use; None leaves it to the estimator.
            reference: in whose frame depth is compared; None leaves it to the estimator.

        Returns:
            This object.

        Raises:
            ValueError: a sample has no true depth for the reference, or nothing could be scored at all.
        """
        for index, sample in enumerate(samples):
            estimate = estimator.estimate(sample, reference, sensors)
            self.sensors = estimate.sensors
            self.add(
                estimate.depth,
                rectified_truth(sample, estimate.reference),
                estimate.camera,
                estimate.uncertainty,
                frame_name(sample, index),
                str(sample.meta.get("condition", "")),
                sample.meta,
            )
        if not self.frames:
            what = "no frame has a depth where there is a truth" if self.unanswered else "no frame has true depth"
            raise ValueError(f"nothing to score: {what} between {self.near:g} and {self.far:g} m")
        return self

    def mean(self, method: str = NETWORK, scaling: str = "none") -> dict[str, Any]:
        """Metrics of a method averaged over frames, with `frames` and `scaling`."""
        return self.averages[method, scaling].mean()

    @property
    def certain_half_ratio(self) -> float:
        """AbsRel of each frame's most certain half over that of the whole, means over frames; NaN without any."""
        if not self._halves:
            return float("nan")
        half, whole = np.mean(self._halves, axis=0)
        return float(half / whole) if whole > 0 else float("nan")

    @property
    def hard_half_abs_rel(self) -> float:
        """AbsRel of the half of each frame's pixels at which the row prior errs most, mean over frames; NaN without
        a row prior."""
        return float(np.mean(self._hard)) if self._hard else float("nan")

    @property
    def near_sky_share(self) -> float:
        """Share of the pixels of sky that are told nearer than `SKY_FROM_M`; NaN where no truth has any sky."""
        return self._near_sky / self._sky if self._sky else float("nan")

    @property
    def row_profile(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """AbsRel by image row: (height of each bin's centre, 0 top to 1 bottom; errors by method), empty bins out."""
        used = self._row_pixels > 0
        centres = (np.arange(ROW_BINS) + 0.5) / ROW_BINS
        return centres[used], {m: e[used] / self._row_pixels[used] for m, e in self._row_errors.items()}

    @property
    def distance_profile(self) -> dict[str, np.ndarray]:
        """AbsRel by `DISTANCE_BANDS` and method, mean over the frames with pixels there, and the network's `bias`
        (mean signed relative error: negative is too near); NaN where no frame has any."""
        profile = {method: _nan_mean(rows) for method, rows in self._bands.items()}
        return {**profile, "bias": _nan_mean(self._bias)}

    @property
    def sparsification(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """(share dropped, curve by uncertainty, best possible curve), means over frames; None without uncertainty."""
        if not self._sparsifications:
            return None
        by_uncertainty, by_error = np.mean(self._sparsifications, axis=0)
        return np.arange(by_uncertainty.size) / by_uncertainty.size, by_uncertainty, by_error

    def by_condition(self) -> dict[str, dict[str, Any]]:
        """AbsRel of the network and the row prior, and how many frames, by condition."""
        result = {}
        for condition in sorted({frame.condition for frame in self.frames} - {""}):
            chosen = [frame for frame in self.frames if frame.condition == condition]
            entry: dict[str, Any] = {"frames": len(chosen), "abs_rel": float(np.mean([f.abs_rel for f in chosen]))}
            if self.row_prior is not None:
                entry["row_prior_abs_rel"] = float(np.mean([f.scores[ROW_PRIOR, "none"]["abs_rel"] for f in chosen]))
            result[condition] = entry
        return result

    def ranked(self) -> dict[str, int]:
        """Indices of the best, the median and the worst frame by AbsRel (fewer where there are fewer frames)."""
        order = sorted(range(len(self.frames)), key=lambda i: self.frames[i].abs_rel)
        chosen = {"best": order[0]}
        if len(order) > 2:
            chosen["median"] = order[len(order) // 2]
        if len(order) > 1:
            chosen["worst"] = order[-1]
        return chosen

    def summary(self) -> dict[str, Any]:
        """Everything measured, as plain values for `metrics.json`: `METRICS` of the metric depth at the top."""
        network = self.averages[NETWORK, "none"]
        result: dict[str, Any] = {**network.mean()}
        prior = self.averages.get((ROW_PRIOR, "none"))
        result["row_prior_abs_rel"] = prior.mean()["abs_rel"] if prior else None
        result["ratio_to_row_prior"] = result["abs_rel"] / result["row_prior_abs_rel"] if prior else None
        if self.independent:
            result["abs_rel_interval_95"] = network.interval("abs_rel")
        result["spread"] = network.spread()
        result["methods"] = {f"{m} ({s})": average.mean() for (m, s), average in self.averages.items()}
        if self._halves:
            result["certain_half_ratio"] = self.certain_half_ratio
            result["ause"] = float(np.mean(self._ause))
            predicted, observed, share = self.reliability.curve()
            result["reliability"] = {
                "predicted": predicted.tolist(),
                "observed": observed.tolist(),
                "share": share.tolist(),
            }
        if self._sky:
            result["near_sky_share"] = self.near_sky_share
        result["by_condition"] = self.by_condition()
        profile = self.distance_profile
        result["by_distance"] = {
            f"{DISTANCE_BANDS[i]:g}-{DISTANCE_BANDS[i + 1]:g} m": {
                **{key.replace(" ", "_"): float(values[i]) for key, values in profile.items()},
                "share_of_pixels": float(self._band_pixels[i] / max(self._band_pixels.sum(), 1)),
            }
            for i in range(len(DISTANCE_BANDS) - 1)
        }
        result["range_m"] = [self.near, self.far]
        result["crop"] = self.crop
        result["skipped_frames"] = self.skipped
        result["unanswered_frames"] = self.unanswered
        result["per_frame"] = [
            {
                "name": frame.name,
                "condition": frame.condition,
                "abs_rel": frame.abs_rel,
                "rmse": frame.scores[NETWORK, "none"]["rmse"],
                "a1": frame.scores[NETWORK, "none"]["a1"],
                "row_prior_abs_rel": frame.scores[ROW_PRIOR, "none"]["abs_rel"] if prior else None,
            }
            for frame in self.frames
        ]
        return result


def _nan_mean(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over frames of each distance band, of what is not NaN; NaN where nothing is left, without a warning."""
    stack = np.array(rows).reshape(-1, len(DISTANCE_BANDS) - 1)
    known = ~np.isnan(stack)
    with np.errstate(invalid="ignore"):
        return np.where(known, stack, 0).sum(axis=0) / known.sum(axis=0)


def truth_of(sample: DepthSample, reference: str) -> np.ndarray:
    """The sample's true depth for a sensor. Raises ValueError saying which sensors have one."""
    truth = sample.depth.get(reference)
    if truth is None:
        raise ValueError(
            f"the sample has no true depth for {reference!r}; it has it for {', '.join(sample.depth) or 'no sensor'}"
        )
    return truth


def rectified_truth(sample: DepthSample, reference: str) -> np.ndarray:
    """The sample's true depth for a sensor at the pixels of its rectified picture, which depth is estimated for: the
    nearest of those of the picture as it is, NaN outside of it. Raises as `truth_of` does."""
    truth, camera = truth_of(sample, reference), sample.rig.cameras[reference]
    if not any(camera.distortion):
        return truth
    own = intrinsics(camera)[None]
    pixels, front = infinity_grid(own, own, truth.shape, distortion=lens(camera)[None])
    u, v = pixels[0].round().long().numpy().transpose(2, 0, 1)
    inside = front[0].numpy() & (u >= 0) & (u < truth.shape[1]) & (v >= 0) & (v < truth.shape[0])
    return np.where(inside, truth[v.clip(0, truth.shape[0] - 1), u.clip(0, truth.shape[1] - 1)], np.float32(np.nan))


def frame_name(sample: DepthSample, index: int) -> str:
    """What to call a sample: its seed, and which moment of that drive it is but for the first, or its file name."""
    meta = sample.meta
    if "seed" in meta:
        condition = f", {meta['condition']}" if meta.get("condition") else ""
        moment = f", frame {meta['frame']}" if meta.get("frame") else ""
        return f"seed {meta['seed']}{condition}{moment}"
    if "sequence" in meta and "frame" in meta:
        return f"{meta['sequence']} {meta['frame']}"
    return str(meta.get("frame", f"frame {index}"))
