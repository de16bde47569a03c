"""Samples of a domain of the world: rendered once, by all cores, and kept in a folder, sequence after sequence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from spike_depth_core.samples.files import sample_path, save_sample
from spike_depth_core.workers import processes, run_jobs
from spike_depth_core.world.domains import Domain

FEW_FRAMES = 24
"""So many are rendered sooner than a process has started that could."""


@dataclass(frozen=True)
class _Job:
    domain: Domain
    split: str
    sequence: int
    missing: dict[int, Path]  # by frame, files that are not there yet


def _render(job: _Job) -> None:
    for frame, sample in enumerate(job.domain.sequence(job.split, job.sequence, max(job.missing) + 1)):
        if frame in job.missing:
            save_sample(job.missing[frame], sample)


def settings_of(domain: Domain) -> dict[str, Any]:
    """Everything that determines a domain's samples, as JSON values."""
    about = {f.name: getattr(domain, f.name) for f in fields(domain)}
    spikes = {"model": type(domain.spikes).__name__, **asdict(domain.spikes)}
    return {**about, "rig": domain.rig.to_dict(), "looks": [asdict(look) for look in domain.looks], "spikes": spikes}


def domain_folder(data: str | Path, domain: Domain) -> Path:
    """Where a domain's samples lie among others: in a folder named after it and a hash of all its settings."""
    digest = hashlib.sha256(json.dumps(settings_of(domain), sort_keys=True).encode()).hexdigest()
    return Path(data) / f"{domain.name}_{digest[:8]}"


def render_domain(
    folder: str | Path, domain: Domain, split: str, sequences: int, workers: int = 0
) -> Iterator[tuple[int, int]]:
    """Render the first sequences of a domain's split; files that exist already are left as they are.

    Frame k of sequence n is file n * domain.frames + k (see `samples.files.sample_path`), so the frames of a sequence
    lie in consecutive files, and `meta` has them counted in `sequence` and `frame`.

    Args:
        folder: of this domain and split alone.
        domain: see `Domain.load`, which also sets the pictures' size and the frames of a sequence.
        split: "train", "validation" or "test".
        sequences: how many.
        workers: processes; all cores when 0.

    Yields:
        (samples done, samples in all), for a progress bar.
    """
    if not 0 < sequences <= domain.sequences(split):
        raise ValueError(
            f"{domain.name} has 1 to {domain.sequences(split)} sequences for {split}, asked for {sequences}"
        )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    jobs = []
    for number in range(sequences):
        paths = ((frame, sample_path(folder, number * domain.frames + frame)) for frame in range(domain.frames))
        if missing := {frame: path for frame, path in paths if not path.exists()}:
            jobs.append(_Job(domain, split, number, missing))
    total = sequences * domain.frames
    done = total - sum(len(job.missing) for job in jobs)
    yield done, total
    workers = 1 if total - done <= FEW_FRAMES else processes(workers, len(jobs))
    for outcome in run_jobs(_render, jobs, workers):
        outcome.result_of(f"{folder}, sequence {outcome.job.sequence}")
        done += len(outcome.job.missing)
        yield done, total
