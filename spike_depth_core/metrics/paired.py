"""Is one of two methods better, or were these frames kind to it? A paired test for frames that are not independent.

Both methods see the same frames, so it is their difference at each frame that is tested. But neighbouring frames of a
drive show nearly the same scene: a test over frames takes thirty looks at one parked car for thirty findings, and calls
differences certain that the next street would reverse. So the frames of a drive are put together in blocks of time, and
the blocks are tested. Are neighbouring blocks still alike, their length is doubled, until they are not or a drive is
one block (the blocking method of Flyvbjerg and Petersen, "Error estimates on averages of correlated data", J. Chem.
Phys. 91, 1989).

The test is the one-sample sign-flip permutation test (Fisher, "The Design of Experiments", 1935, section 21): were the
methods alike, the sign of each block's difference might as well be the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 6
"""Units without which no sign-flip test can come below p = 0.05 (two-sided: 2 / 2**n)."""
_EXACT = 14  # units up to which all signs are tried
_DRAWS = 20_000


@dataclass(frozen=True)
class PairedTest:
    """What a paired test says.

    Attributes:
        difference: mean over frames of the second less the first.
        low, high: bootstrap interval of it (95 %) over the units; NaN below two.
        p: two-sided, of no difference; 1 where there is nothing to tell.
        units: how many were tested.
        block_s: their length in seconds; None where a unit is a whole drive.
        correlation: of neighbouring units of a drive; NaN without any.
    """

    difference: float
    low: float
    high: float
    p: float
    units: int
    block_s: float | None
    correlation: float


def sign_flip_p(differences: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of a sum of differences [n] whose signs were a matter of chance.

    Exact up to 14 of them; beyond that of 20,000 draws, the one that was found among them.
    """
    n = differences.size
    if n == 0:
        return 1.0
    if n <= _EXACT:
        flipped = np.arange(2**n)[:, None] >> np.arange(n) & 1
    else:
        flipped = np.random.default_rng(seed).integers(0, 2, (_DRAWS, n), np.int8)
        flipped[0] = 0
    sums = np.abs(differences.sum() - 2 * (flipped.astype(np.float64) @ differences))
    found = abs(differences.sum())
    return float(np.mean(sums >= found * (1 - 1e-12)))


def compare_drives(drives: Sequence[tuple[np.ndarray, np.ndarray]]) -> PairedTest:
    """The test with a drive as the unit: says something of other drives, and needs `FEWEST` of them.

    Args:
        drives: of each (times of its frames in nanoseconds [n], differences [n]).
    """
    return _test([(np.zeros(d.size, np.int64), d) for _, d in drives if d.size], None)


def compare_blocks(drives: Sequence[tuple[np.ndarray, np.ndarray]], block_s: float = 2.0) -> PairedTest:
    """The test with blocks of time as the units: says something of other moments of such drives.

    Args:
        drives: of each (times of its frames in nanoseconds [n], differences [n]).
        block_s: length of the shortest blocks in seconds; doubled while neighbours are alike.
    """
    if not block_s > 0:
        raise ValueError(f"blocks must be longer than 0 s, found {block_s}")
    while True:
        blocks = [((t - t.min()) // round(block_s * 1e9), d) for t, d in drives if d.size]
        found = _test(blocks, block_s)
        pairs = found.units - len(blocks)
        longest = max((int(labels.max()) for labels, _ in blocks), default=0)
        # Above what chance makes of independent neighbours in 5 of 100 cases: they are taken for alike.
        if not (longest > 0 and pairs > 0 and found.correlation > 1.64 / np.sqrt(pairs)):
            return found
        block_s *= 2


def _test(drives: Sequence[tuple[np.ndarray, np.ndarray]], block_s: float | None) -> PairedTest:
    """Of drives as (number of the unit [n], differences [n])."""
    sums, counts, followed = [], [], []
    for labels, differences in drives:
        numbers, unit = np.unique(labels, return_inverse=True)
        sums.append(np.bincount(unit, differences))
        counts.append(np.bincount(unit))
        followed.append(np.append(np.diff(numbers) == 1, False))  # by its neighbour in time
    if not sums:
        return PairedTest(float("nan"), float("nan"), float("nan"), 1.0, 0, block_s, float("nan"))
    total, count, neighbour = np.concatenate(sums), np.concatenate(counts), np.concatenate(followed)
    mean = total.sum() / count.sum()
    low = high = float("nan")
    if total.size > 1:
        drawn = np.random.default_rng(0).integers(0, total.size, (2000, total.size))
        low, high = np.quantile(total[drawn].sum(axis=1) / count[drawn].sum(axis=1), [0.025, 0.975])
    away = total / count - mean
    first = np.nonzero(neighbour)[0]
    spread = float(np.mean(away**2))
    alike = float(np.mean(away[first] * away[first + 1]) / spread) if first.size and spread > 0 else float("nan")
    return PairedTest(float(mean), float(low), float(high), sign_flip_p(total), total.size, block_s, alike)
