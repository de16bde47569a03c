"""`spike-depth evaluate BAGS...`: many bags against the truth in them, one table, one or two checkpoints."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from spike_depth_core.cli.console import console, print_table, track
from spike_depth_core.cli.options import parse_sensors
from spike_depth_core.cli.paths import remove_earlier
from spike_depth_core.evaluation.bags import (
    CHECKPOINTS,
    BagJob,
    BagOptions,
    BagStore,
    BagTable,
    Row,
    evaluate_bags,
)
from spike_depth_core.evaluation.evaluate import NETWORK, ROW_PRIOR
from spike_depth_core.evaluation.results import markdown_table
from spike_depth_core.inference.estimator import checked_device
from spike_depth_core.inference.onnx_export import load_export
from spike_depth_core.metrics.paired import BLOCKS, FEWEST, MOMENTS, PairedTest
from spike_depth_core.networks.checkpoint import read_info
from spike_depth_core.resources import default_checkpoint
from spike_depth_core.whole_files import write_json


def run(
    bags: Sequence[Path],
    checkpoint: Path | None,
    compare: Path | None,
    options: BagOptions,
    backend: str | None,
    block_s: float,
    workers: int,
    ray: str | None,
    out: Path,
) -> None:
    """Measure what is not measured yet, then write and print the table.

    Raises:
        ValueError: when a bag could not be measured; the table of the others is written before.
    """
    given: dict[Path, Path] = {}
    for bag in bags:
        if not bag.exists():
            raise ValueError(f"there is no bag {bag}")
        place = bag.resolve()
        if place in given:  # it would count twice in the tests
            raise ValueError(f"one bag is given twice: {given[place]} and {bag}")
        given[place] = bag
    if ray is None:
        checked_device(options.device)
        threads = max(1, (os.cpu_count() or 1) // workers) if workers > 1 else 0
    else:  # a cluster's processes have other working folders, and a core each
        bags = [bag.resolve() for bag in bags]
        threads = 1
    chosen: list[Path | None] = [checkpoint] if compare is None else [checkpoint, compare]
    paths = [None if path is None else str(path.resolve()) for path in chosen]
    hashes = [_hash_of(path or default_checkpoint()) for path in paths]
    jobs = [
        BagJob(str(bag), path, label, sha256, options, threads, backend)
        for bag in bags
        for label, path, sha256 in zip(CHECKPOINTS, paths, hashes, strict=False)
    ]
    out.mkdir(parents=True, exist_ok=True)
    store = BagStore(out / "bags")
    there = sum(store.load(job) is not None for job in jobs)
    if there:
        console.print(f"{there} of {len(jobs)} are measured already", highlight=False)
    gpus = float(options.device.startswith("cuda"))
    failed: list[BagJob] = []
    for outcome in track(evaluate_bags(jobs, store, workers, ray, gpus), "Evaluating", len(jobs) - there):
        if outcome.error is not None:
            failed.append(outcome.job)
            console.print(f"{outcome.job.bag}: {outcome.error}", style="red", highlight=False, soft_wrap=True)
        if outcome.fault:
            console.print(outcome.fault, highlight=False, soft_wrap=True)
    results = []
    for job in jobs:
        found = store.load(job)
        if found is not None:
            results.append(found)
        elif job not in failed:  # results are found by what the bag's files are
            failed.append(job)
            text = f"{job.bag}: it has changed since it was measured with {job.label}; is it being recorded?"
            console.print(text, style="red", highlight=False, soft_wrap=True)
    named = list(dict.fromkeys(job.bag for job in failed))
    if results:
        table = BagTable(results, block_s, CHECKPOINTS[: len(chosen)])
        write(out, table, [str(path or "default") for path in chosen], hashes, named)
    if failed:
        raise ValueError(f"{len(failed)} of {len(jobs)} could not be measured: {', '.join(named)}")


def _hash_of(checkpoint: str | Path) -> str:
    """Of the weights in a checkpoint's file or in a folder of `export`."""
    info = load_export(Path(checkpoint))[1] if Path(checkpoint).is_dir() else read_info(checkpoint)
    return info.sha256


def write(out: Path, table: BagTable, checkpoints: list[str], hashes: list[str], failed: list[str]) -> None:
    """`metrics.json`, `table.md`, `report.html`, in the place of an earlier evaluation's, and the screen."""
    from spike_depth_core.cli.evaluate import FILES

    written = ["metrics.json", "table.md"]
    remove_earlier(out, FILES)
    command = shlex.join(["spike-depth", *sys.argv[1:]])
    columns, rows = table_of(table)
    words = in_words(table)
    named = [
        f"{label}: {file}, sha256 {sha256[:16]}"
        for label, file, sha256 in zip(CHECKPOINTS, checkpoints, hashes, strict=False)
    ]
    files = {
        label: {"file": file, "sha256": sha256}
        for label, file, sha256 in zip(CHECKPOINTS, checkpoints, hashes, strict=False)
    }
    about = {"command": command, "checkpoints": files, "failed": failed, "verdict": words}
    write_json(out / "metrics.json", table.summary() | about)
    text = "\n".join([*named, *words])
    (out / "table.md").write_text(
        f"# Depth from bags\n\n`{command}`\n\n{markdown_table(columns, rows)}\n"
        + "".join(f"- {line}\n" for line in [*named, *words, *(f"not measured: {bag}" for bag in failed)]),
        encoding="utf-8",
    )
    print_table("Depth from bags", columns, rows, text)
    try:
        from spike_depth_core.evaluation import plots
        from spike_depth_core.evaluation.report import Chart, Headline, Report, Section, Table, Text, write_report
    except ImportError as error:
        console.print(f"no report.html: {error}", style="yellow", highlight=False, soft_wrap=True)
    else:
        conditions, by_bag, everything = table.rows()
        headlines = [
            Headline(f"{scores[NETWORK]['abs_rel']:.3f}", f"AbsRel of {label}", prior_note(everything))
            for label, scores in everything.scores.items()
            if NETWORK in scores
        ]
        charts = []
        for title, group in (("by condition", conditions), ("by bag", by_bag)):
            if 1 < len(group) <= 40:
                series = {
                    label: [row.scores[label].get(NETWORK, {}).get("abs_rel", float("nan")) for row in group]
                    for label in table.labels
                }
                names = [row.name for row in group] if len(group) <= 8 else [str(i + 1) for i in range(len(group))]
                charts.append(Chart(plots.bars_by_group(f"AbsRel {title}", names, series, "", "AbsRel"), wide=True))
        sections = [Section("Accuracy", [Table(columns, rows, strong=[len(rows) - 1]), *map(Text, words), *charts])]
        facts = [tuple(line.split(": ", 1)) for line in named]
        report = Report("Depth from bags", f"{everything.bags} bags", headlines, sections, command, facts)  # type: ignore[arg-type]
        write_report(out / "report.html", report)
        written.append("report.html")
    console.print(f"{out}/: {', '.join(sorted(written))}", highlight=False, soft_wrap=True)


def table_of(table: BagTable) -> tuple[list[str], list[list[str]]]:
    """Columns and rows: conditions, bags, everything."""
    conditions, bags, everything = table.rows()
    two = len(table.labels) > 1
    columns = ["bag", "bags", "frames"]
    for label in table.labels:
        of = f" of {label}" if two else ""
        columns += [f"AbsRel{of}", f"RMSE (m){of}", f"δ < 1.25{of}"]
    columns += (["B - A"] if two else []) + ["row prior", "ratio of A" if two else "ratio"]

    def cells(row: Row) -> list[str]:
        found = [row.name, str(row.bags), f"{row.frames:,}"]
        for label in table.labels:
            mean = row.scores[label].get(NETWORK)
            found += [f"{mean['abs_rel']:.3f}", f"{mean['rmse']:.2f}", f"{mean['a1']:.3f}"] if mean else 3 * ["-"]
        if two:
            found.append("-" if row.difference is None else f"{row.difference:+.4f}")
        first = row.scores[table.labels[0]]
        if ROW_PRIOR in first:
            prior = first[ROW_PRIOR]["abs_rel"]
            return [*found, f"{prior:.3f}", f"{first[NETWORK]['abs_rel'] / prior:.2f}"]
        return [*found, "-", "-"]

    return columns, [cells(row) for row in (*conditions, *bags, everything)]


def prior_note(row: Row) -> str:
    """What the row prior has, for below a headline."""
    prior = next((s[ROW_PRIOR] for s in row.scores.values() if ROW_PRIOR in s), None)
    return f"row prior {prior['abs_rel']:.3f}" if prior else ""


def in_words(table: BagTable) -> list[str]:
    """What the paired tests say, and what they do not know of."""
    lines = []
    tests = table.tests()
    if tests is not None:
        blocks, drives = tests
        lines.append(f"AbsRel of B less that of A: {blocks.difference:+.4f}")
        if blocks.enough:
            over = f"{blocks.units} blocks of {blocks.block_s:.3g} s"
            lines.append(f"{result(blocks)}, over {over}: what can be said of other moments of drives like these")
        else:
            lines.append(
                "too little for a test over blocks of time: these bags hold fewer than some "
                f"{BLOCKS * MOMENTS} moments that are independent of one another, and are fewer than {FEWEST}"
            )
        if drives.enough:
            lines.append(f"{result(drives)}, over {drives.units} bags: what can be said of other drives")
        else:
            lines.append(f"too little for a test over bags: {drives.units}, where other drives take {FEWEST}")
    if table.unpaired():
        lines.append(f"{table.unpaired()} frames of one checkpoint alone are in the table and not in the tests")
    return lines


def result(test: PairedTest) -> str:
    """Interval and p in a line."""
    return f"95 % from {test.low:+.4f} to {test.high:+.4f}, p = {max(test.p, 0.0001):.2g}"


def options_of(
    truth: str | None,
    topics: dict[str, str],
    rig: Path | None,
    sensors: str | None,
    reference: str | None,
    rate: float,
    truth_tolerance: float,
    device: str,
    pixels: int | None,
) -> BagOptions:
    """The options of the command line as those of a job."""
    from spike_depth_core.samples import SENSORS

    place = None if rig is None else str(rig.resolve())
    chosen = parse_sensors(sensors, SENSORS)
    return BagOptions(truth, topics, place, chosen, reference, rate, round(truth_tolerance * 1e9), device, pixels)
