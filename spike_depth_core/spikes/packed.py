"""`PackedSpikes`: the type every spike stream travels in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DEFAULT_PERIOD_NS = 50_000  # 20,000 planes a second


@dataclass(frozen=True)
class PackedSpikes:
    """Consecutive spike planes, a bit a pixel.

    Attributes:
        data: uint8 [T, H, ceil(W / 8)]. Eight neighbours of a row a byte, least significant bit leftmost,
            rows top down. Bits beyond the width in a row's last byte are zero.
        width: W in pixels.
        period_ns: time from one plane to the next, nanoseconds.
        start_ns: acquisition time of the first plane, nanoseconds.
    """

    data: np.ndarray
    width: int
    period_ns: int = DEFAULT_PERIOD_NS
    start_ns: int = 0

    def __post_init__(self) -> None:
        if self.data.dtype != np.uint8 or self.data.ndim != 3:
            raise ValueError(f"packed spikes are uint8 [T, H, W/8], found {self.data.dtype} {self.data.shape}")
        if self.data.shape[2] != (self.width + 7) // 8:
            raise ValueError(
                f"a row of {self.width} pixels takes {(self.width + 7) // 8} bytes, found {self.data.shape[2]}"
            )
        if self.period_ns < 1:
            raise ValueError(f"the plane period must be positive, found {self.period_ns} ns")

    @classmethod
    def from_planes(cls, planes: np.ndarray, period_ns: int = DEFAULT_PERIOD_NS, start_ns: int = 0) -> PackedSpikes:
        """Pack planes uint8 or bool [T, H, W] of zeros and ones."""
        if planes.ndim != 3 or planes.dtype not in (np.uint8, np.bool_):
            raise ValueError(f"planes are uint8 or bool [T, H, W], found {planes.dtype} {planes.shape}")
        if planes.size and planes.max() > 1:
            raise ValueError(f"planes hold zeros and ones, found {planes.max()}")
        return cls(np.packbits(planes, axis=2, bitorder="little"), planes.shape[2], period_ns, start_ns)

    @classmethod
    def concatenate(cls, parts: Sequence[PackedSpikes]) -> PackedSpikes:
        """Join parts that follow one another, by a copy. The times are those of the first."""
        if not parts:
            raise ValueError("there is nothing to concatenate")
        first = parts[0]
        for part in parts:
            if (part.height, part.width, part.period_ns) != (first.height, first.width, first.period_ns):
                raise ValueError(
                    f"parts to concatenate must agree, found {part.width}x{part.height} pixels every "
                    f"{part.period_ns} ns after {first.width}x{first.height} every {first.period_ns} ns"
                )
        return cls(np.concatenate([part.data for part in parts]), first.width, first.period_ns, first.start_ns)

    def planes(self) -> np.ndarray:
        """Unpack to uint8 [T, H, W]: a byte a spike, eight times the memory. For files and pictures only."""
        return np.unpackbits(self.data, axis=2, count=self.width, bitorder="little")

    def __len__(self) -> int:
        return self.data.shape[0]

    @property
    def height(self) -> int:
        return self.data.shape[1]

    @property
    def end_ns(self) -> int:
        """Time of the end of the last plane: the first nanosecond that is not covered."""
        return self.start_ns + len(self) * self.period_ns

    def slice(self, first: int, last: int) -> PackedSpikes:
        """Planes [first, last), without a copy."""
        if not 0 <= first <= last <= len(self):
            raise IndexError(f"planes [{first}, {last}) are not within the {len(self)} there are")
        return PackedSpikes(self.data[first:last], self.width, self.period_ns, self.start_ns + first * self.period_ns)

    def last(self, count: int) -> PackedSpikes:
        """The last `count` planes, without a copy."""
        return self.slice(len(self) - count, len(self))
