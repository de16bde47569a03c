"""Which samples each training step sees, and reading them ahead in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from spike_depth_core.recipes import Recipe
from spike_depth_core.samples.batch import SampleBatch, collate
from spike_depth_core.samples.files import list_samples, load_sample
from spike_depth_core.training import distributed


@dataclass(frozen=True)
class Draw:
    """What one step reads: a pure function of the seed and the step's number, so that resuming repeats it."""

    step: int
    reference: str
    sensors: tuple[str, ...]
    paths: tuple[Path, ...]


class SampleFolders:
    """Folders of samples; all samples of a folder have the same sensors and sizes, so a batch comes from one.

    Args:
        folders: where `samples.files` wrote them.
        weights: how often each is drawn; by the number of its samples when None.
    """

    def __init__(self, folders: Sequence[str | Path], weights: Sequence[float] | None = None):
        if not folders:
            raise ValueError("training needs at least one folder of samples")
        self.paths = [list_samples(folder) for folder in folders]
        drawn = np.array([len(paths) for paths in self.paths] if weights is None else weights, dtype=float)
        if len(drawn) != len(folders) or not (drawn > 0).all():
            raise ValueError(f"weights are a positive number a folder; found {list(drawn)} for {len(folders)}")
        self.probabilities = drawn / drawn.sum()
        self.available = [load_sample(paths[0]).sensors for paths in self.paths]

    def __len__(self) -> int:
        return sum(len(paths) for paths in self.paths)


class Draws(Dataset):
    """Step number to the batch it trains on.

    Folders are drawn by their weights. Samples within a step are distinct. Of several processes each reads its share.
    """

    def __init__(self, folders: SampleFolders, recipe: Recipe, batch_size: int, steps: int, seed: int):
        self.folders, self.recipe = folders, recipe
        self.batch_size, self.steps, self.seed = batch_size, steps, seed
        self.rank, self.processes = distributed.place()
        if batch_size % self.processes:
            raise ValueError(f"a batch of {batch_size} samples cannot be shared by {self.processes} processes evenly")

    def __len__(self) -> int:
        return self.steps

    def draw(self, step: int) -> Draw:
        """The step's folder, sensors and samples."""
        rng = np.random.default_rng([self.seed, step, 0])
        folder = int(rng.choice(len(self.folders.paths), p=self.folders.probabilities))
        reference, sensors = self.recipe.sensors(step, self.folders.available[folder])
        paths = self.folders.paths[folder]
        chosen = rng.choice(len(paths), size=min(self.batch_size, len(paths)), replace=False)
        return Draw(step, reference, sensors, tuple(paths[i] for i in chosen))

    def __getitem__(self, step: int) -> tuple[int, str, SampleBatch]:
        draw = self.draw(step)
        samples = [
            load_sample(path, {*draw.sensors}, {draw.reference}) for path in draw.paths[self.rank :: self.processes]
        ]
        return step, draw.reference, collate(samples)


def load_batches(draws: Draws, first_step: int, workers: int, pin: bool) -> Iterator[tuple[int, str, SampleBatch]]:
    """Batches of steps `first_step`, `first_step + 1`, ... in order, read ahead by worker processes."""
    loader = DataLoader(
        draws,
        batch_size=None,
        sampler=range(first_step, len(draws)),
        num_workers=workers,
        pin_memory=pin,
        prefetch_factor=3 if workers else None,
        worker_init_fn=_one_thread,
    )
    return iter(loader)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
