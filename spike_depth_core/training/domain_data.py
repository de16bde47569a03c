"""Samples of a domain of the world: rendered once, by all cores, and kept in a folder, sequence after sequence."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from spike_depth_core.samples.files import sample_path, save_sample
from spike_depth_core.world.domains import Domain

FEW_FRAMES = 24
"""So many are rendered sooner than a process has started that could."""


@dataclass(frozen=True)
class _Job:
    domain: Domain
    split: str
    sequence: int
    folder: Path


def _missing(job: _Job) -> list[int]:
    """Frames of a sequence that have no file yet."""
    paths = (sample_path(job.folder, job.sequence * job.domain.frames + k) for k in range(job.domain.frames))
    return [frame for frame, path in enumerate(paths) if not path.exists()]


def _render(job: _Job) -> int:
    missing = _missing(job)
    for frame, sample in enumerate(job.domain.sequence(job.split, job.sequence, missing[-1] + 1)):
        if frame in missing:
            save_sample(sample_path(job.folder, job.sequence * job.domain.frames + frame), sample)
    return len(missing)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


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
    jobs = [_Job(domain, split, number, folder) for number in range(sequences)]
    unfinished = [job for job in jobs if _missing(job)]
    total = sequences * domain.frames
    done = total - sum(len(_missing(job)) for job in unfinished)
    yield done, total
    if total - done <= FEW_FRAMES:
        for job in unfinished:
            done += _render(job)
            yield done, total
        return
    workers = min(workers or os.cpu_count() or 1, len(unfinished))
    # Spawned, not forked: a fork of a process with running threads (torch's, numba's) can hang.
    with multiprocessing.get_context("spawn").Pool(workers, _one_thread) as pool:
        for count in pool.imap_unordered(_render, unfinished):
            done += count
            yield done, total
