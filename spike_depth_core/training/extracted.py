"""An extracted data set, to be looked into and learned from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spike_depth_core.samples.shards import sha256_of
from spike_depth_core.training.manifest import MANIFEST, UNITS, Extraction
from spike_depth_core.training.splits import SPLITS


@dataclass
class SplitTotals:
    """What a split has.

    Attributes:
        samples, labelled, posed: how many; with a truth; with a pose.
        units, bags: how many parts, and the names of the bags they are of.
        formats: samples by format, see `extraction.format_name`.
        size: bytes.
    """

    samples: int = 0
    labelled: int = 0
    posed: int = 0
    units: int = 0
    size: int = 0
    bags: set[str] = field(default_factory=set)
    formats: Counter[str] = field(default_factory=Counter)


class ExtractedSet:
    """A data set that `extraction` has made.

    Args:
        folder: of the data set.

    Attributes:
        folder: of the data set.
        plan: what was to be done.
        reports: of the parts that are done, in order, see `extraction.extract_unit`.

    Raises:
        ValueError: where it is none.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.plan = Extraction.load(folder)
        self.reports: list[dict[str, Any]] = []
        for unit in self.plan.units:
            path = self.folder / UNITS / f"{unit.name}.json"
            if path.exists():
                try:
                    report = json.loads(path.read_text())
                    if not isinstance(report, dict) or not report.keys() >= {"bag", "split", "samples", "shards"}:
                        raise ValueError("it is no report of a part")
                    self.reports.append(report)
                except (ValueError, RecursionError) as error:
                    again = "without it the same spike-depth extract makes its part again"
                    raise ValueError(f"{path} cannot be understood: {error}; {again}") from error

    @property
    def is_complete(self) -> bool:
        """Whether all parts are done."""
        return len(self.reports) == len(self.plan.units)

    def check_complete(self) -> None:
        """Raise ValueError where parts or shards are missing, or shards are not of the size that they should have."""
        if not self.is_complete:
            raise ValueError(
                f"{self.folder} is not complete: {len(self.reports)} of {len(self.plan.units)} parts are done; "
                "the same spike-depth extract goes on"
            )
        for shard in self.shards():
            path = self.folder / shard["path"]
            size = path.stat().st_size if path.exists() else None
            if size != shard["size"]:
                found = "is missing" if size is None else f"has {size:,} bytes"
                raise ValueError(f"{path} {found}, expected {shard['size']:,} bytes")

    def shards(self) -> Iterator[dict[str, Any]]:
        """`path`, `samples`, `size` and `sha256` of each shard."""
        for report in self.reports:
            yield from report["shards"]

    @property
    def digest(self) -> str:
        """SHA-256 of the names and checksums of all shards: of all that is in them."""
        lines = [f"{shard['sha256']}  {shard['path']}\n" for shard in self.shards()]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def damaged(self) -> Iterator[tuple[str, str | None]]:
        """Read every shard and compare its checksum: its path, and what is wrong with it or None."""
        for shard in self.shards():
            path = self.folder / shard["path"]
            if not path.exists():
                yield shard["path"], "it is missing"
                continue
            found = sha256_of(path)
            wrong = None if found == shard["sha256"] else f"its sha256 is {found}, expected {shard['sha256']}"
            yield shard["path"], wrong

    def folders(self, split: str) -> list[Path]:
        """Where the samples of a split are: a folder a format. Raises ValueError naming a split without any."""
        if split not in SPLITS:
            raise ValueError(f"a split is one of {', '.join(SPLITS)}, found {split!r}")
        formats = {Path(shard["path"]).parent for shard in self.shards() if shard["path"].startswith(f"{split}/")}
        if not formats:
            there = ", ".join(sorted({shard["path"].partition("/")[0] for shard in self.shards()})) or "nothing"
            raise ValueError(f"{self.folder} has no samples for {split}; it has {there}")
        return [self.folder / path for path in sorted(formats)]

    def totals(self) -> dict[str, SplitTotals]:
        """What each split has; those without samples are left out."""
        found: dict[str, SplitTotals] = {}
        for report in self.reports:
            if not report["samples"]:
                continue
            total = found.setdefault(report["split"], SplitTotals())
            total.units += 1
            total.bags.add(report["bag"])
            for name in ("samples", "labelled", "posed"):
                setattr(total, name, getattr(total, name) + report[name])
            for shard in report["shards"]:
                total.formats[Path(shard["path"]).parent.name] += shard["samples"]
                total.size += shard["size"]
        return {split: found[split] for split in SPLITS if split in found}

    def dropped(self) -> Counter[str]:
        """Moments that were not kept, by reason."""
        return sum((Counter(report["dropped"]) for report in self.reports), Counter())

    def complaints(self) -> list[str]:
        """What of the bags could not be used, a line each."""
        lines: dict[str, None] = {}
        for report in self.reports:
            for key, text in report["complaints"].items():
                lines[f"{report['bag']}: {key}: {text}"] = None
            for text in report["damage"]:
                lines[text] = None
        return list(lines)


def is_extracted(folder: str | Path) -> bool:
    """Whether a folder is an extracted data set."""
    return (Path(folder) / MANIFEST).is_file()


def rows_of(found: ExtractedSet) -> tuple[Sequence[str], list[list[str]]]:
    """The splits as a table: columns, and rows."""
    columns = ("split", "samples", "with depth", "with pose", "drives", "parts", "GB")
    rows = []
    for split, total in found.totals().items():
        counts = [total.samples, total.labelled, total.posed, len(total.bags), total.units]
        rows.append([split, *(f"{count:,}" for count in counts), f"{total.size / 1e9:.3f}"])
    return columns, rows
