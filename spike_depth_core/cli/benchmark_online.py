"""`spike-depth benchmark --suite online`: drives through changes of domain, side by side, and their page."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class _Drive:
    """What a process needs to know to drive once.

    Attributes:
        name, checkpoint, conditions: of the learner, see `Learner.load`.
        scenario: its place among `SCENARIOS`.
        preset: its name.
        seed: of the streets.
        result: where it goes.
        one_thread: because others drive beside it.
    """

    name: str
    checkpoint: Path
    conditions: tuple[str, ...]
    scenario: int
    preset: str
    seed: int
    result: Path
    one_thread: bool


def online(preset: str, seeds: int, out: Path, data: Path, checkpoint: Path | None, workers: int) -> None:
    """Drive what has no result yet, then write the page; the command's help says more.

    Args:
        preset: name of an `OnlinePreset`.
        seeds: streets of each scenario.
        out: results go to `out/PRESET/online/HASH/`, the page to `out`.
        data: samples of the newcomer's training, rendered where they are missing.
        checkpoint: what drives, alone; None for the newcomer and the package's checkpoint.
        workers: drives side by side.

    Raises:
        ValueError: for an unknown preset.
        RuntimeError: naming the drives that failed, and why; the others have their results.
    """
    from spike_depth_core.cli.console import console, print_table, track
    from spike_depth_core.evaluation.suites import newcomer
    from spike_depth_core.evaluation.suites.online import PRESETS, SCENARIOS, TEST_SEED, summary, write_online_page
    from spike_depth_core.networks.checkpoint import read_info
    from spike_depth_core.resources import default_checkpoint
    from spike_depth_core.workers import run_jobs
    from spike_depth_core.world import CONDITIONS

    if preset not in PRESETS:
        raise ValueError(f"there is no preset {preset!r}; there are {', '.join(PRESETS)}")
    learners: list[tuple[str, Path, tuple[str, ...]]] = []
    if checkpoint:
        learners.append((checkpoint.stem, checkpoint, CONDITIONS))
    else:
        trained = _newcomer(preset, PRESETS[preset].scale, out, data)
        learners.append((newcomer.SUITE.title, trained, newcomer.CONDITIONS))
        learners.append(("The package's checkpoint", default_checkpoint(), CONDITIONS))
    folders = [out / preset / "online" / read_info(path).sha256[:8] for _, path, _ in learners]
    drives = [
        _Drive(*learner, number, preset, seed, folder / f"{scenario.name}, seed {seed}.json", workers > 1)
        for learner, folder in zip(learners, folders, strict=True)
        for number, scenario in enumerate(SCENARIOS)
        for seed in range(TEST_SEED, TEST_SEED + seeds)
    ]
    missing = [drive for drive in drives if not drive.result.exists()]
    ended = list(track(run_jobs(_drive, missing, workers), "driving", len(missing)))
    failed = [outcome for outcome in ended if outcome.error is not None]
    if failed:
        raise RuntimeError("\n".join(f"{one.job.result.stem}: {one.fault or one.error}" for one in failed))
    results = [json.loads(drive.result.read_text()) for drive in drives]
    write_online_page(results, out, shlex.join(["spike-depth", *sys.argv[1:]]))
    for name, folder in zip((name for name, _, _ in learners), folders, strict=True):
        of_it = [result for drive, result in zip(drives, results, strict=True) if drive.result.parent == folder]
        columns, rows = summary(of_it)
        shown = [columns.index(column) for column in ("scenario", "gain", "loss", "worst")]
        print_table(f"{name}, spikes alone", [columns[k] for k in shown], [[row[k] for k in shown] for row in rows])
    console.print(f"{out / 'online.md'}")


def _drive(drive: _Drive) -> None:
    import torch

    from spike_depth_core.evaluation.suites.online import PRESETS, SCENARIOS, Learner, run_scenario
    from spike_depth_core.whole_files import write_json

    if drive.one_thread:
        torch.set_num_threads(1)
    learner = Learner.load(drive.name, drive.checkpoint, drive.conditions)
    write_json(drive.result, run_scenario(SCENARIOS[drive.scenario], PRESETS[drive.preset], learner, drive.seed))


def _newcomer(preset: str, scale: float, out: Path, data: Path) -> Path:
    """The checkpoint of a network that has seen one domain; trained if it is not there."""
    from spike_depth_core.cli.benchmark import render_missing
    from spike_depth_core.cli.console import progress_bar
    from spike_depth_core.evaluation.suites import newcomer
    from spike_depth_core.evaluation.suites.domains import domain_folders
    from spike_depth_core.evaluation.suites.runner import SuiteRun

    size = newcomer.preset_for(preset, scale)
    samples = data / preset
    render_missing(newcomer.SUITE, size, samples)
    run = SuiteRun(newcomer.SUITE, size, domain_folders(newcomer.SUITE, size, samples), out / preset / "newcomer")
    with progress_bar() as bar:
        task = bar.add_task("training on clear days", total=run.steps()[0])

        def show(row: str, done: int, steps: int) -> None:
            bar.update(task, completed=done)

        run.run_seed(0, show)
    return run.out / json.loads(run.result_path(0, newcomer.ROW).read_text())["checkpoint"]
