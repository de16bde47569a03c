"""`spike-depth info` of an extracted data set: what is in it, whether it is whole, and a picture of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from spike_depth_core.cli.info import shortened

if TYPE_CHECKING:
    import numpy as np

    from spike_depth_core.training.extracted import ExtractedSet

SHEET = "contact_sheet.png"
_LONGEST = 160  # characters of a line
_ROWS = 4  # of each split
_LOOKED_AT = 2000  # samples of a split, for the counts that no report has


def describe_extracted(folder: Path, verify: bool = False) -> list[tuple[str, str]]:
    """(name, value) pairs about a data set.

    Args:
        folder: of the data set.
        verify: whether to read all of it and compare checksums.

    Raises:
        ValueError: naming the shards that are not what they were, with `verify`.
    """
    from spike_depth_core.cli.console import track
    from spike_depth_core.training.extracted import ExtractedSet

    found = ExtractedSet(folder)
    checked: list[tuple[str, str]] = []
    if verify:
        shards = list(found.shards())
        wrong = [f"{path}: {text}" for path, text in track(found.damaged(), "Reading", len(shards)) if text]
        if wrong:
            raise ValueError(f"{len(wrong)} of {len(shards)} shards are damaged: {wrong[0]}")
        checked.append(("checksums", f"right, of {len(shards):,} shards"))
    options, plan = found.plan.options, found.plan
    done = f"{len(found.reports)} of {len(plan.units)} parts"
    facts = [("extracted", done if found.is_complete else f"{done}: the same spike-depth extract goes on")]
    facts.append(("bags", f"{len(plan.recordings)}: {shortened(', '.join(r.name for r in plan.recordings), _LONGEST)}"))
    rate = f"at most {options.rate_hz:g} a second" if options.rate_hz else "one a moment"
    facts.append(("samples", f"{rate}, {options.planes} planes"))
    blocks = f"blocks of {options.block_s:g} s, {options.gap_s:g} s apart"
    facts.append(("split by", "whole drives" if options.split == "drive" else blocks))
    for split, total in found.totals().items():
        known = f"{total.labelled:,} with depth, {total.posed:,} with poses"
        size = f"{len(total.bags)} drives, {total.size / 1e9:.3f} GB"
        facts.append((split, f"{total.samples:,} samples, {known}; {size}"))
        conditions = conditions_of(found, split)
        if set(conditions) != {"unknown"}:
            facts.append((f"{split}: light", ", ".join(f"{n:,} {name}" for name, n in conditions.most_common())))
        for name, count in sorted(total.formats.items()):
            facts.append((f"{split}: format", f"{count:,} {name.replace('_', ' ')}"))
    for reason, count in found.dropped().most_common():
        facts.append((f"left out: {reason}", f"{count:,} moments"))
    gaps = sum(report["gap_s"] for report in found.reports)
    if gaps:
        facts.append(("left out: gaps", f"{gaps:g} s"))
    facts += [("complaint", shortened(text, _LONGEST)) for text in found.complaints()]
    return facts + checked


def conditions_of(found: ExtractedSet, split: str) -> Counter[str]:
    """Samples of a split by light, of the first ones of each format."""
    from spike_depth_core.samples.files import list_samples, summary_of

    counts: Counter[str] = Counter()
    for folder in found.folders(split):
        counts.update(str(summary_of(p).meta.get("condition", "unknown")) for p in list_samples(folder)[:_LOOKED_AT])
    return counts


def contact_sheet(folder: Path) -> np.ndarray:
    """Samples of each split, evenly spaced: what the sensors saw, and the truth of each; uint8 [H, W, 3]."""
    import numpy as np

    from spike_depth_core.evaluation.pictures import colorize_depth, depth_bar, grid
    from spike_depth_core.evaluation.sheets import NAMES, sensor_cells
    from spike_depth_core.samples.files import list_samples, load_sample
    from spike_depth_core.training.extracted import ExtractedSet

    found = ExtractedSet(folder)
    rows = []
    for split in found.totals():
        paths = [path for part in found.folders(split) for path in list_samples(part)]
        for index in sorted({int(i) for i in np.linspace(0, len(paths) - 1, min(_ROWS, len(paths)))}):
            sample = load_sample(paths[index])
            cells = sensor_cells(sample)
            cells += [(f"depth of {NAMES[s]}", colorize_depth(d)) for s, d in sample.depth.items()]
            first, picture = cells[0]
            about = ", ".join(str(sample.meta[key]) for key in ("bag", "condition") if key in sample.meta)
            seconds = 1e-9 * (sample.time_ns - _start_ns(found, sample.meta.get("bag")))
            rows.append([(f"{split}: {about}, {seconds:.2f} s: {first}", picture), *cells[1:]])
    if not rows:
        raise ValueError(f"{folder} has no samples to show")
    columns = max(len(row) for row in rows)
    padded = [[*row, *[None] * (columns - len(row))] for row in rows]
    return grid(padded, cell_width=300, title=str(folder), footer=depth_bar(480))


def _start_ns(found: ExtractedSet, bag: object) -> int:
    return next((r.start_ns for r in found.plan.recordings if r.name == bag), 0)
