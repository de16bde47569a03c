"""Is the predicted uncertainty worth anything? Two questions, two kinds of measure.

Does it RANK pixels (drop the ones it doubts and the rest must be better)? `certain_half`, `sparsification`.
Is it the right SIZE (a predicted 10 % must come out as 10 % on average)? `Reliability`.

All take the scored pixels of one frame as flat arrays: predicted and true depth in metres and the uncertainty
as a relative standard deviation, which to first order is the standard deviation of log-depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


def _ranked(error: np.ndarray, uncertainty: np.ndarray) -> np.ndarray:
    """Errors [n] in the order of rising uncertainty, those of equal uncertainty replaced by their mean.

    Sorting breaks ties by position, and in a depth map position is informative (upper rows are far). With tied errors
    averaged, an uncertainty that says nothing gets exactly the score of a random order.
    """
    order = np.argsort(uncertainty, kind="stable")
    keys, ranked = uncertainty[order], error[order]
    starts = np.concatenate([[0], np.flatnonzero(keys[1:] != keys[:-1]) + 1])
    lengths = np.diff(starts, append=keys.size)
    return np.repeat(np.add.reduceat(ranked, starts) / lengths, lengths)


def _check(relative_error: np.ndarray, uncertainty: np.ndarray) -> None:
    if relative_error.ndim != 1 or relative_error.shape != uncertainty.shape:
        raise ValueError(
            f"errors and uncertainties are flat and of one length, found {relative_error.shape} and {uncertainty.shape}"
        )
    if relative_error.size < 2:
        raise ValueError(f"ranking pixels takes at least 2, found {relative_error.size}")


def certain_half(p: np.ndarray, t: np.ndarray, uncertainty: np.ndarray) -> tuple[float, float]:
    """AbsRel of the most certain half of a frame's pixels, and of all of them.

    Args:
        p, t: predicted and true depth [n] in metres.
        uncertainty: [n], larger is less certain; only its order matters.

    Returns:
        (abs_rel of the half with the lowest uncertainty, abs_rel of all n). Their ratio over a data set, mean
        by mean, is `certain_half_ratio`: 1 for an uncertainty that knows nothing.
    """
    error = np.abs(p - t) / t
    _check(error, uncertainty)
    ranked = _ranked(error, uncertainty)
    return float(ranked[: error.size // 2].mean()), float(error.mean())


@dataclass(frozen=True)
class Sparsification:
    """AbsRel of what is left when the least certain pixels are dropped, as a share of the AbsRel of all.

    Attributes:
        dropped: shares of pixels dropped, [k] from 0 up.
        by_uncertainty: the curve of the predicted uncertainty, [k], 1 at the start.
        by_error: the best possible curve, dropping the pixels with the largest true error first, [k].
    """

    dropped: np.ndarray
    by_uncertainty: np.ndarray
    by_error: np.ndarray

    @property
    def ause(self) -> float:
        """Area between the two curves (Ilg et al., "Uncertainty estimates and multi-hypotheses networks for
        optical flow", ECCV 2018): 0 for a perfect ranking, lower is better."""
        gap = self.by_uncertainty - self.by_error
        return float(np.sum((gap[1:] + gap[:-1]) / 2 * np.diff(self.dropped)))


def sparsification(p: np.ndarray, t: np.ndarray, uncertainty: np.ndarray, steps: int = 20) -> Sparsification:
    """Sparsification curves of one frame; arguments as in `certain_half`, `steps` points each."""
    error = np.abs(p - t) / t
    _check(error, uncertainty)
    dropped = np.arange(steps) / steps
    kept = np.maximum(np.round((1 - dropped) * error.size).astype(int), 1)
    whole = max(float(error.mean()), np.finfo(np.float64).tiny)
    by_uncertainty = _ranked(error, uncertainty)
    by_error = np.sort(error)
    return Sparsification(
        dropped,
        np.cumsum(by_uncertainty)[kept - 1] / kept / whole,
        np.cumsum(by_error)[kept - 1] / kept / whole,
    )


class Reliability:
    """Observed against predicted error, gathered over frames in bins of the predicted uncertainty.

    Args:
        edges: ascending bin edges of the uncertainty, [bins + 1]. Values beyond go to the first or last bin.
    """

    def __init__(self, edges: np.ndarray | None = None) -> None:
        self.edges = np.geomspace(0.01, 1.0, 21) if edges is None else np.asarray(edges, dtype=np.float64)
        if self.edges.ndim != 1 or self.edges.size < 2 or not (np.diff(self.edges) > 0).all():
            raise ValueError("bin edges must ascend, and there are at least two")
        bins = self.edges.size - 1
        self.count = np.zeros(bins)
        self._predicted = np.zeros(bins)
        self._observed = np.zeros(bins)

    def add(self, p: np.ndarray, t: np.ndarray, uncertainty: np.ndarray) -> None:
        """Count in the pixels [n] of one frame."""
        bins = self.count.size
        index = np.clip(np.searchsorted(self.edges, uncertainty, side="right") - 1, 0, bins - 1)
        self.count += np.bincount(index, minlength=bins)
        self._predicted += np.bincount(index, np.square(uncertainty, dtype=np.float64), bins)
        self._observed += np.bincount(index, (np.log(p) - np.log(t)) ** 2, bins)

    def curve(self, least_share: float = 1e-3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(predicted, observed, share) of the bins that hold at least `least_share` of all pixels.

        Predicted is the root mean square of the uncertainty, observed that of the log-depth error: equal
        where the uncertainty has the right size.
        """
        total = max(self.count.sum(), 1.0)
        used = self.count > max(least_share * total, 0.5)
        count = self.count[used]
        return np.sqrt(self._predicted[used] / count), np.sqrt(self._observed[used] / count), count / total
