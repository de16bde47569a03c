"""`spike-depth benchmark`: train and measure the rows of a table, and say whether they show what they should."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spike_depth_core.cli.options import Device, typed
from spike_depth_core.cli.paths import check_out
from spike_depth_core.extras import how_to_install

if TYPE_CHECKING:
    from rich.progress import Progress

    from spike_depth_core.evaluation.suites import Preset, Suite
    from spike_depth_core.evaluation.suites.runner import SuiteRun


def benchmark(
    context: typer.Context,
    suite: Annotated[str, typer.Option(help="bicross, r2sdepth, align_and_fuse, adu_depth, unified, or online.")],
    preset: Annotated[
        str, typer.Option(help="smoke (minutes, says nothing), small (hours a seed on two cores), full (for a GPU).")
    ] = "small",
    seeds: Annotated[int, typer.Option(min=1, help="How many trainings of each row.")] = 3,
    out: Annotated[Path, typer.Option(help="Folder for results and checkpoints; pages go to OUT too.")] = Path(
        "out/benchmark"
    ),
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the domains' samples, shared by suites; missing ones are rendered. Default: OUT/data."
        ),
    ] = None,
    device: Device = "auto",
    workers: Annotated[
        int, typer.Option(min=0, help="Seeds, or drives of `online`, side by side on CPU; 0: one a core.")
    ] = 0,
    join: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="SUITE.json of another run: its rows and seeds are not trained again, where they are of the same.",
        ),
    ] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="For `online`: what adapts, alone.")] = None,
) -> None:
    """Train every row of a suite with several seeds, measure it on test streets, and write the table.

    Results are kept row by row: interrupted, the same command goes on with the first row that is missing. The suite
    `online` drives through changes of domain while two checkpoints adapt: one trained here on clear days alone, and the
    package's own. Its seeds are of the streets.
    """
    from spike_depth_core.evaluation.suites import PRESETS, SUITES, load_suite

    if suite not in (*SUITES, "online"):
        raise ValueError(f"there is no suite {suite!r}; there are {', '.join(SUITES)} and online")
    if suite == "online" and (stray := typed(context, "device", "join")):
        raise ValueError(f"{', '.join(stray)}: not of the suite online, which drives on the CPU and keeps each drive")
    if suite != "online" and checkpoint is not None:
        raise ValueError(f"--checkpoint belongs to the suite online; {suite} measures what it trains")
    check_out(out)
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:  # said before hours of training, not after
        raise ImportError(f"the charts of a suite need matplotlib; {how_to_install('report')}") from error
    if suite == "online":
        from spike_depth_core.cli.benchmark_online import online

        online(preset, seeds, out, data or out / "data", checkpoint, workers or os.cpu_count() or 1)
        return
    import torch

    from spike_depth_core.cli.console import console, print_table, progress_bar
    from spike_depth_core.evaluation.suites.domains import domain_folders, frames_of
    from spike_depth_core.evaluation.suites.runner import SuiteRun
    from spike_depth_core.evaluation.suites.table import scores, with_spread, write_page
    from spike_depth_core.inference.estimator import checked_device
    from spike_depth_core.workers import processes, run_jobs

    chosen = load_suite(suite)
    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}; there are {', '.join(PRESETS)}")
    told = {path: _rows_of(path) for path in join or ()}
    size = PRESETS[preset]
    place = checked_device(device)
    samples = (data or out / "data") / preset
    render_missing(chosen, size, samples)
    folders = domain_folders(chosen, size, samples)
    run = SuiteRun(chosen, size, folders, out / preset / suite, device=str(place))
    run.row_prior()  # once, before processes that would each make it
    for path, rows in told.items():
        for left_out in run.join(rows):
            console.print(f"{path}: {left_out}: not of the same training and samples", style="yellow", highlight=False)
    if place.type == "cpu":
        side_by_side = processes(workers, seeds)
        jobs = [(suite, preset, folders, run.out, seed) for seed in range(seeds)]
        with progress_bar() as bar, _rows_done(run, seeds, bar):
            for outcome in run_jobs(_run_seed, jobs, side_by_side):
                outcome.result_of(f"seed {outcome.job[-1]}")
    else:
        for seed in range(seeds):
            run.run_seed(seed)
    command = shlex.join(["spike-depth", *sys.argv[1:]])
    steps, alone = run.steps()
    about = {
        "preset": preset,
        "seeds": f"0 to {seeds - 1}",
        "optimiser steps of a seed": f"{steps}; {alone} if rows did not share the stages they have in common",
        "batch": size.batch_size,
        "samples of each domain": ", ".join(f"{count} {split}" for split, count in frames_of(chosen, size).items()),
        "hardware": torch.cuda.get_device_name(0) if place.type == "cuda" else f"{platform.machine()}, CPU",
    }
    results = run.results(seeds)
    findings = write_page(chosen, results, out, command, about)
    found: dict[str, Any] = scores(results)
    print_table(
        f"{chosen.title}: AbsRel on test streets, {seeds} seeds",
        ["row", *(view.name for view in chosen.views)],
        [
            [name, *(with_spread(by_view[v.name]) if v.name in by_view else "" for v in chosen.views)]
            for name, by_view in found.items()
        ],
    )
    for finding in findings:
        state = "met" if finding.met else "MISSED"
        console.print(f"{finding.name}: {with_spread(finding.values)}, wanted {finding.wanted}: {state}")
    console.print(f"{out / (suite + '.md')}")


def _rows_of(path: Path) -> dict[str, Any]:
    """What another run has told. Raises ValueError naming a file that is no suite's."""
    try:
        rows = json.loads(path.read_text())["rows"]
        if all("seed" in result and "views" in result for results in rows.values() for result in results):
            return dict(rows)
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise ValueError(f"{path} has no rows of a suite: --join takes the SUITE.json that a run of this command wrote")


def render_missing(suite: Suite, size: Preset, samples: Path) -> None:
    """Render the samples that a suite lacks."""
    from spike_depth_core.cli.console import progress_bar
    from spike_depth_core.evaluation.suites.domains import render_domains

    with progress_bar() as bar:
        tasks: dict[str, Any] = {}
        for name, split, done, total in render_domains(suite, size, samples):
            text = f"rendering {name}, {split}"
            if text not in tasks:
                tasks[text] = bar.add_task(text, total=total)
            bar.update(tasks[text], completed=done, total=total)


@contextlib.contextmanager
def _rows_done(run: SuiteRun, seeds: int, bar: Progress) -> Iterator[None]:
    """Shows how many rows are done, by what is on the disk: they are trained in other processes."""
    task, over = bar.add_task("rows", total=seeds * (len(run.suite.rows) + 1)), threading.Event()

    def watch() -> None:
        while not over.wait(2.0):
            bar.update(task, completed=sum(len(rows) for rows in run.results(seeds).values()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _run_seed(job: tuple[str, str, dict[str, Path], Path, int]) -> None:
    import torch

    from spike_depth_core.evaluation.suites import PRESETS, load_suite
    from spike_depth_core.evaluation.suites.runner import SuiteRun

    suite, preset, data, out, seed = job
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small networks: more gain nothing, and seeds run side by side
    try:
        SuiteRun(load_suite(suite), PRESETS[preset], data, out).run_seed(seed)
    finally:
        torch.set_num_threads(threads)
