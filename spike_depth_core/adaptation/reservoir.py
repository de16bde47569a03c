"""A bounded memory of a stream that has no end."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")


class Reservoir(Generic[T]):
    """A uniform sample of everything that was offered, of at most `size` items.

    Source: algorithm R (Vitter, "Random sampling with a reservoir", ACM TOMS 1985). Deterministic in the seed and the
    order of what is offered.

    Args:
        size: the most that is kept.
        seed: of what is kept and drawn.
    """

    def __init__(self, size: int, seed: int = 0):
        if size < 1:
            raise ValueError(f"a reservoir holds at least one item, asked for {size}")
        self.size, self.offered = size, 0
        self.items: list[T] = []
        self._rng = np.random.default_rng([seed, 0x2E5])

    def __len__(self) -> int:
        return len(self.items)

    def offer(self, item: T) -> bool:
        """Show an item; returns whether it was kept, in the place of another once the reservoir is full."""
        self.offered += 1
        if len(self.items) < self.size:
            self.items.append(item)
            return True
        place = int(self._rng.integers(self.offered))
        if place >= self.size:
            return False
        self.items[place] = item
        return True

    def draw(self, count: int) -> list[T]:
        """`count` different items at random, or all there are."""
        chosen = self._rng.permutation(len(self.items))[:count]
        return [self.items[i] for i in chosen]

    def clear(self) -> None:
        """Forget everything."""
        self.items.clear()
        self.offered = 0
