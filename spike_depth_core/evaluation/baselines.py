"""The baseline in every accuracy table: what can be guessed without looking at the image.

On a road, depth follows the image row: low rows are near ground, rows at the horizon are far. A network that
has learned nothing else scores no better than the mean log-depth of each row over the training set, so a
result is meaningful only beside it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.metrics import FAR_M, NEAR_M, valid_mask
from spike_depth_core.networks.checkpoint import CheckpointInfo

SLOPE_STEP = 0.005  # about a pixel and a half of a 330 pixel lens: finer than the prior has structure
SLOPE_LIMIT = 1.5


@dataclass(frozen=True)
class RowPrior:
    """Mean log-depth as a function of how steeply a row looks down.

    The argument is the slope (v - cy) / fy of the row's viewing ray, not the row's number, so the prior
    carries over to a camera of another size and focal length. Lens distortion is ignored.

    Attributes:
        slopes: ascending slopes, float64 [n]; positive looks down.
        log_depths: mean natural log of the depth in metres at each slope, float64 [n].
        near, far: the range in metres that was averaged and that predictions are held to.
    """

    slopes: np.ndarray
    log_depths: np.ndarray
    near: float = NEAR_M
    far: float = FAR_M

    def __post_init__(self) -> None:
        if self.slopes.ndim != 1 or self.slopes.shape != self.log_depths.shape or self.slopes.size == 0:
            raise ValueError(
                f"a row prior needs one log-depth for each slope, found {self.slopes.shape} and {self.log_depths.shape}"
            )
        if not (np.isfinite(self.slopes).all() and np.isfinite(self.log_depths).all()):
            raise ValueError("slopes and log-depths of a row prior must be finite")
        if not (np.diff(self.slopes) > 0).all():
            raise ValueError("slopes of a row prior must ascend")

    @classmethod
    def of(cls, info: CheckpointInfo) -> RowPrior | None:
        """That of a checkpoint's training set; None where it was kept without."""
        return cls.from_dict(info.row_prior) if info.row_prior else None

    @classmethod
    def fit(
        cls,
        frames: Iterable[tuple[np.ndarray, PinholeCamera]],
        near: float = NEAR_M,
        far: float = FAR_M,
    ) -> RowPrior:
        """Average a training set, in one pass and without keeping it.

        Args:
            frames: (depth [H, W] in metres, its camera). Pixels that are not finite or out of range (sky) are
                left out; cameras may differ.
            near, far: the range in metres.

        Raises:
            ValueError: a depth map does not have its camera's size, or there is not one valid pixel.
        """
        bins = 2 * round(SLOPE_LIMIT / SLOPE_STEP) + 1
        total, weight, slope_sum = np.zeros(bins), np.zeros(bins), np.zeros(bins)
        for depth, camera in frames:
            if depth.shape != (camera.height, camera.width):
                raise ValueError(
                    f"depth is {depth.shape[1]}x{depth.shape[0]} pixels, but its camera is "
                    f"{camera.width}x{camera.height}"
                )
            valid = valid_mask(depth, near, far)
            logs = np.where(valid, np.log(np.where(valid, depth, 1.0), dtype=np.float64), 0.0).sum(axis=1)
            counts = valid.sum(axis=1)
            slopes = camera.slopes()[1]
            index = np.clip(np.round((slopes + SLOPE_LIMIT) / SLOPE_STEP).astype(int), 0, bins - 1)
            total += np.bincount(index, logs, bins)
            weight += np.bincount(index, counts, bins)
            slope_sum += np.bincount(index, slopes * counts, bins)
        used = weight > 0
        if not used.any():
            raise ValueError(f"no pixel between {near:g} and {far:g} m to fit a row prior to")
        return cls(slope_sum[used] / weight[used], total[used] / weight[used], near, far)

    def depth_at(self, slopes: np.ndarray) -> np.ndarray:
        """Depth in metres for ray slopes of any shape.

        Between the fitted slopes log-depth is interpolated. Below the lowest fitted row the view is taken to
        be flat ground, whose depth falls as 1 / slope; above the highest the last value is kept.
        """
        slopes = np.asarray(slopes, dtype=np.float64)
        log_depth = np.interp(slopes, self.slopes, self.log_depths)
        steepest = self.slopes[-1]
        if steepest > 0:
            log_depth = log_depth - np.log(np.maximum(slopes / steepest, 1.0))
        return np.clip(np.exp(log_depth), self.near, self.far)

    def predict(self, camera: PinholeCamera) -> np.ndarray:
        """The depth map that the prior gives any image of this camera: float32 [H, W], metres."""
        rows = self.depth_at(camera.slopes()[1]).astype(np.float32)
        return np.repeat(rows[:, None], camera.width, axis=1)

    def to_dict(self) -> dict[str, Any]:
        """Lists and numbers for JSON: the `row_prior` field of a checkpoint."""
        return {
            "near": self.near,
            "far": self.far,
            "slopes": [round(float(v), 6) for v in self.slopes],
            "log_depths": [round(float(v), 6) for v in self.log_depths],
        }

    @classmethod
    def from_dict(cls, data: Any) -> RowPrior:
        """Read what `to_dict` gave. Raises ValueError naming what is missing or wrong."""
        if not isinstance(data, dict) or not {"near", "far", "slopes", "log_depths"} <= set(data):
            found = sorted(data) if isinstance(data, dict) else type(data).__name__
            raise ValueError(f"a row prior holds near, far, slopes and log_depths, found {found}")
        return cls(
            np.asarray(data["slopes"], dtype=np.float64),
            np.asarray(data["log_depths"], dtype=np.float64),
            float(data["near"]),
            float(data["far"]),
        )
