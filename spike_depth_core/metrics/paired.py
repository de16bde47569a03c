"""Is one of two methods better, or were these frames kind to it? A paired test for frames that are not independent.

Both methods see the same frames, so it is their difference at each frame that is tested. But neighbouring frames of a
drive show nearly the same scene: a test over frames takes thirty looks at one parked car for thirty findings, and calls
differences certain that the next street would reverse. So the frames are put together in blocks of time, and the blocks
are tested. They are few and long, for what is lost by that is small, and blocks that are too short deceive (Schmeiser,
"Batch size effects in the analysis of simulation output", Operations Research 30, 1982). Whether they are long enough
is told by how much the standard error of the mean has grown from short blocks to them (Flyvbjerg and Petersen, "Error
estimates on averages of correlated data", J. Chem. Phys. 91, 1989). Where they are not, whole drives are tested, and
where there are too few of those, nothing is said.

The test is the one-sample sign-flip permutation test (Fisher, "The Design of Experiments", 1935, section 21): were the
methods alike, the sign of each block's difference might as well be the other. The interval is that of Student's t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 6
"""Drives without which nothing is said: no sign-flip test of fewer can come below p = 0.05 (two-sided: 2 / 2**n)."""
BLOCKS = 10
"""So many blocks drives are put together in, or somewhat more: equal parts of each."""
MOMENTS = 4
"""As many times as long as what counts for one independent moment a block has to be."""
_EXACT = 14  # units up to which all signs are tried
_DRAWS = 20_000
_AT_ONCE = 2**22  # signs that are held at a time, a multiple of 4: so many fit in a word of the generator


@dataclass(frozen=True)
class PairedTest:
    """What a paired test says.

    Attributes:
        difference: mean over frames of the second less the first; NaN without any.
        enough: whether there is enough to say more than that.
        low, high: Student's interval of it (95 %) over the units; NaN where there is not enough.
        p: two-sided, of no difference; NaN where there is not enough.
        units: how many were tested.
        block_s: their length in seconds, on average; None where a unit is a whole drive.
        correlation: of neighbouring units of a drive; NaN without any.
    """

    difference: float
    enough: bool
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
        sums = (np.arange(2**n)[:, None] >> np.arange(n) & 1) @ differences
    else:
        generator = np.random.default_rng(seed)
        rows = max(4, _AT_ONCE // n // 4 * 4)  # whole words, so that the draws do not depend on it
        parts = [min(rows, _DRAWS - begin) for begin in range(0, _DRAWS, rows)]
        sums = np.concatenate([generator.integers(0, 2, (part, n), np.int8) @ differences for part in parts])
        sums[0] = 0.0
    found = differences.sum()
    return float(np.mean(np.abs(found - 2 * sums) >= abs(found) * (1 - 1e-12)))


def compare_drives(drives: Sequence[tuple[np.ndarray, np.ndarray]]) -> PairedTest:
    """The test with a drive as the unit: says something of other drives, and needs `FEWEST` of them.

    Args:
        drives: of each (times of its frames in nanoseconds [n], differences [n]).
    """
    units = _Units.of(drives, np.inf)
    return units.test(None, units.number >= FEWEST)


def compare_blocks(drives: Sequence[tuple[np.ndarray, np.ndarray]], block_s: float = 2.0) -> PairedTest:
    """The test with blocks of time as the units: says something of other moments of such drives.

    Not enough are drives that hold fewer than about `BLOCKS` times `MOMENTS` independent moments, unless there are
    `FEWEST` of them.

    Args:
        drives: of each (times of its frames in nanoseconds [n], differences [n]).
        block_s: length of a moment in seconds; what changes faster counts as one.
    """
    if not block_s > 0:
        raise ValueError(f"blocks must be longer than 0 s, found {block_s}")
    moments = _Units.of(drives, block_s)
    seconds = moments.number * block_s
    blocks = _Units.of(drives, max(block_s, seconds / BLOCKS))
    enough = blocks.independent_of(moments)
    if not enough and (whole := _Units.of(drives, np.inf)).number >= FEWEST:
        blocks, enough = whole, True
    return blocks.test(seconds / blocks.number if blocks.number else block_s, enough)


@dataclass(frozen=True)
class _Units:
    """Drives in parts: sums of differences [n], how many they are of [n], and whether the next part is the one that
    follows in time [n]."""

    total: np.ndarray
    count: np.ndarray
    followed: np.ndarray

    @classmethod
    def of(cls, drives: Sequence[tuple[np.ndarray, np.ndarray]], length_s: float) -> _Units:
        """Equal parts of each drive, no longer than `length_s`; those without frames are left out."""
        total: list[np.ndarray] = [np.empty(0)]
        count: list[np.ndarray] = [np.empty(0)]
        followed: list[np.ndarray] = [np.empty(0, bool)]
        for times, differences in drives:
            if not differences.size:
                continue
            since = (times - times.min()).astype(np.float64)
            parts = max(1, int(np.ceil(since.max() / (length_s * 1e9))))
            numbers, unit = np.unique(np.floor(since / (since.max() + 1) * parts), return_inverse=True)
            total.append(np.bincount(unit, differences))
            count.append(np.bincount(unit))
            followed.append(np.append(np.diff(numbers) == 1, False))
        return cls(np.concatenate(total), np.concatenate(count), np.concatenate(followed))

    @property
    def number(self) -> int:
        return self.total.size

    @property
    def mean(self) -> float:
        """Over frames."""
        return float(self.total.sum() / self.count.sum()) if self.number else float("nan")

    @property
    def squared_error(self) -> float:
        """Of the mean, were units independent; of units of unequal size as of clusters."""
        if self.number < 2:
            return float("nan")
        away = self.total - self.mean * self.count
        return float(self.number / (self.number - 1) * np.sum(away**2) / self.count.sum() ** 2)

    @property
    def correlation(self) -> float:
        """Of neighbours; NaN without any."""
        away = self.total / self.count - self.mean
        first = np.nonzero(self.followed)[0]
        spread = float(np.mean(away**2)) if first.size else 0.0
        return float(np.mean(away[first] * away[first + 1]) / spread) if spread > 0 else float("nan")

    def independent_of(self, moments: _Units) -> bool:
        """Whether these, longer units are independent of one another, as far as they and short ones can tell."""
        # Above what chance makes of independent neighbours in 5 of 100 cases; but of few blocks that tells little.
        if self.correlation > 1.64 / np.sqrt(max(self.followed.sum(), 1)):
            return False
        # The more moments are alike, the larger the error of the mean: so many independent ones would have what it is.
        away = moments.total / moments.count - moments.mean
        variance = float(np.sum(moments.count * away**2) / max(moments.count.sum(), 1))
        independent = variance / self.squared_error if variance > 0 else moments.number
        return bool(independent >= MOMENTS * self.number > 0)

    def test(self, block_s: float | None, enough: bool) -> PairedTest:
        """What they say."""
        low = high = p = float("nan")
        if enough:
            margin = _student(self.number - 1) * np.sqrt(self.squared_error)
            low, high, p = self.mean - margin, self.mean + margin, sign_flip_p(self.total)
        return PairedTest(self.mean, enough, low, high, p, self.number, block_s, self.correlation)


def _student(freedom: int) -> float:
    """Student's t that 2.5 % are above of: right to 0.2 % from 5 degrees of freedom on (Abramowitz
    and Stegun, 26.7.5)."""
    x, n = 1.959964, freedom
    return (
        x
        + (x**3 + x) / (4 * n)
        + (5 * x**5 + 16 * x**3 + 3 * x) / (96 * n**2)
        + (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / (384 * n**3)
    )
