"""Which part of which recording is for training, validation or test: whole drives, or blocks of time with gaps.

Moments close in time show the same street. A split by moments would test on what was trained on; here whole drives go
to one split, or blocks of them that are a gap apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SPLITS = ("train", "validation", "test")
DRIVE, BLOCK = "drive", "block"


@dataclass(frozen=True)
class Unit:
    """A part of a recording that is worked on by itself.

    Attributes:
        recording: its number.
        number: of the part in the recording.
        split: what it is for.
        start_ns, stop_ns: when its moments were complete, by the recording's clock; None from the beginning, to the
            end.
        gap_ns: how much before `start_ns` belongs to no part.
    """

    recording: int
    number: int
    split: str
    start_ns: int | None = None
    stop_ns: int | None = None
    gap_ns: int = 0

    @property
    def name(self) -> str:
        """Of its files: `003-0012`."""
        return f"{self.recording:03d}-{self.number:04d}"


def parse_shares(text: str) -> tuple[float, float, float]:
    """Shares of training, validation and test, which add up to one, from `80,10,10` or `0.8,0.1,0.1`."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != len(SPLITS) or min(values) < 0 or sum(values) <= 0:
        raise ValueError(
            f"shares are three numbers, of training, validation and test, such as 80,10,10; found {text!r}"
        )
    train, validation, test = (value / sum(values) for value in values)
    return train, validation, test


def divide(
    spans: Sequence[tuple[int, int]],
    names: Sequence[str],
    how: str = DRIVE,
    shares: Sequence[float] = (0.8, 0.1, 0.1),
    block_ns: int = 20_000_000_000,
    gap_ns: int = 2_000_000_000,
    assigned: Mapping[str, str] | None = None,
    seed: int = 0,
) -> list[Unit]:
    """Divide recordings into parts, each of one split.

    Args:
        spans: start and end of each recording, nanoseconds.
        names: of the recordings; no two alike.
        how: `drive`: a recording goes to one split as a whole; `block`: blocks of it do.
        shares: of `SPLITS`, which add up to one.
        block_ns: about how long a part is; drives too are worked on in such parts.
        gap_ns: how much is left out where the split changes.
        assigned: splits of recordings that are decided on, by name.
        seed: of the order in which drives are drawn.

    Raises:
        ValueError: naming what does not fit.
    """
    if how not in (DRIVE, BLOCK):
        raise ValueError(f"split is {DRIVE!r} or {BLOCK!r}, found {how!r}")
    if len(set(names)) != len(names):
        raise ValueError(f"recordings need names of their own, found {sorted(n for n in names if names.count(n) > 1)}")
    assigned = dict(assigned or {})
    if set(assigned) - set(names) or set(assigned.values()) - set(SPLITS):
        raise ValueError(
            f"splits {', '.join(SPLITS)} can be told for {', '.join(names)}; "
            f"found {', '.join(f'{split}={name}' for name, split in assigned.items())}"
        )
    if how == BLOCK and gap_ns > block_ns / 2:
        raise ValueError(f"a gap of {gap_ns / 1e9:g} s leaves too little of blocks of {block_ns / 1e9:g} s")
    blocks = [_blocks(span, block_ns) for span in spans]
    free = [i for i, name in enumerate(names) if name not in assigned]
    splits: list[list[str]] = [[assigned.get(name, "")] * len(b) for name, b in zip(names, blocks, strict=True)]
    if how == DRIVE:
        # In an order that says nothing about the drives, and is the same for the same drives.
        free.sort(key=lambda i: hashlib.sha256(f"{seed} {names[i]}".encode()).digest())
        for i, split in zip(free, _spread(len(free), shares, "drives", bool(assigned)), strict=True):
            splits[i] = [split] * len(blocks[i])
    else:
        places = [(i, k) for i in free for k in range(len(blocks[i]))]
        for (i, k), split in zip(places, _spread(len(places), shares, "blocks", bool(assigned)), strict=True):
            splits[i][k] = split
    units = []
    for i, (edges, named) in enumerate(zip(blocks, splits, strict=True)):
        for k, (start_ns, stop_ns) in enumerate(edges):
            gap = gap_ns if k and named[k - 1] != named[k] else 0
            begin = None if start_ns is None else start_ns + gap
            units.append(Unit(i, k, named[k], begin, stop_ns, gap))
    return units


def _blocks(span: tuple[int, int], block_ns: int) -> list[tuple[int | None, int | None]]:
    """Parts of equal length of a recording, the first from its beginning, the last to its end."""
    start_ns, end_ns = span
    count = max(1, round((end_ns - start_ns) / block_ns))
    edges = [start_ns + (end_ns - start_ns) * k // count for k in range(count + 1)]
    return [
        (None if k == 0 else edges[k], None if k == count - 1 else edges[k + 1])  # stamps may lie outside of the span
        for k in range(count)
    ]


def _spread(count: int, shares: Sequence[float], of_what: str, some_are_assigned: bool) -> list[str]:
    """A split for each of so many, in the shares wanted and spread evenly; each split that has a share gets one."""
    wanted = [split for split, share in zip(SPLITS, shares, strict=True) if share > 0]
    if count < len(wanted) and not some_are_assigned:
        advice = "take shorter blocks"
        if of_what == "drives":
            advice = "split by blocks (--split block), or say which drive is for what (--assign train=NAME)"
        raise ValueError(f"{count} {of_what} cannot be shared by {', '.join(wanted)}: {advice}")
    # Largest remainders, then at least one each.
    exact = [share * count for share in shares]
    counts = [int(value) for value in exact]
    for i in sorted(range(len(shares)), key=lambda i: counts[i] - exact[i])[: count - sum(counts)]:
        counts[i] += 1
    for i, share in enumerate(shares):
        if share > 0 and counts[i] == 0 and max(counts) > 1:
            counts[counts.index(max(counts))] -= 1
            counts[i] = 1
    taken = [0] * len(shares)
    order = []
    for place in range(count):
        behind = [
            counts[i] * (place + 1) / count - taken[i] if taken[i] < counts[i] else -1.0 for i in range(len(counts))
        ]
        chosen = behind.index(max(behind))
        taken[chosen] += 1
        order.append(SPLITS[chosen])
    return order
