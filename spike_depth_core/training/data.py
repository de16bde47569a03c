"""Which samples each training step sees, and reading them ahead in worker processes."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from spike_depth_core.recipes import Recipe, Request
from spike_depth_core.samples.batch import SampleBatch, collate
from spike_depth_core.samples.files import list_samples, load_sample
from spike_depth_core.training import distributed


@dataclass(frozen=True)
class Draw:
    """What a step reads for one request: a function of the seed and the step's number, so that resuming repeats it.

    Attributes:
        request: what was asked for.
        paths: of the samples of the batch.
        neighbours: by offset, the frames that many after each of `paths` in its sequence.
    """

    request: Request
    paths: tuple[Path, ...]
    neighbours: dict[int, tuple[Path, ...]]


class SampleFolder:
    """Samples of the same sensors and sizes, in files that `samples.files` wrote.

    Consecutive frames of a sequence lie in consecutive files with the same `meta["sequence"]`.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.paths = list_samples(folder)
        self.images = load_sample(self.paths[0]).images
        self._usable: dict[tuple[int, ...], np.ndarray] = {}

    @functools.cached_property
    def sequences(self) -> list[object]:
        """To which sequence each sample belongs; None for a sample by itself."""
        return [load_sample(path, sensors=(), depth=()).meta.get("sequence") for path in self.paths]

    def with_neighbours(self, offsets: tuple[int, ...]) -> np.ndarray:
        """Indices of the samples that have a neighbour at each of the offsets.

        Raises:
            ValueError: naming the folder, when there is none.
        """
        if offsets not in self._usable:
            self._usable[offsets] = self._find_with_neighbours(offsets)
        return self._usable[offsets]

    def _find_with_neighbours(self, offsets: tuple[int, ...]) -> np.ndarray:
        if not offsets:
            return np.arange(len(self.paths))
        sequences = self.sequences
        found = [
            i
            for i, sequence in enumerate(sequences)
            if sequence is not None
            and all(0 <= i + k < len(sequences) and sequences[i + k] == sequence for k in offsets)
        ]
        if not found:
            raise ValueError(f"{self.folder} has no sequence with frames at offsets {offsets} from one another")
        return np.array(found)


class SampleFolders:
    """Folders of samples; a batch comes from one of them.

    Args:
        folders: where `samples.files` wrote them.
        weights: how often each is drawn; by the number of its samples when None.
    """

    def __init__(self, folders: Sequence[str | Path], weights: Sequence[float] | None = None):
        if not folders:
            raise ValueError("training needs at least one folder of samples")
        self.folders = [SampleFolder(folder) for folder in folders]
        drawn = np.array([len(f.paths) for f in self.folders] if weights is None else weights, dtype=float)
        if len(drawn) != len(folders) or not (drawn > 0).all():
            raise ValueError(f"weights are a positive number a folder; found {list(drawn)} for {len(folders)}")
        self.probabilities = drawn / drawn.sum()

    def __len__(self) -> int:
        return sum(len(folder.paths) for folder in self.folders)

    def draw(self, rng: np.random.Generator) -> SampleFolder:
        """One of the folders, by the weights."""
        return self.folders[int(rng.choice(len(self.folders), p=self.probabilities))]


class Draws(Dataset):
    """Step number to the batches it trains on.

    Folders are drawn by their weights, one for each domain. Samples within a batch are distinct. Of several processes
    each reads its share.
    """

    def __init__(self, data: Mapping[str, SampleFolders], recipe: Recipe, batch_size: int, steps: int, seed: int):
        missing = set(recipe.domains) - set(data)
        if missing:
            raise ValueError(f"{recipe.name} learns from {recipe.domains}; there is no data for {sorted(missing)}")
        self.data = {domain: data[domain] for domain in recipe.domains}
        self.recipe, self.batch_size, self.steps, self.seed = recipe, batch_size, steps, seed
        self.rank, self.processes = distributed.place()
        if batch_size % self.processes:
            raise ValueError(f"a batch of {batch_size} samples cannot be shared by {self.processes} processes evenly")

    def __len__(self) -> int:
        return self.steps

    def draw(self, step: int) -> tuple[Draw, ...]:
        """The step's folders, sensors and samples."""
        rng = np.random.default_rng([self.seed, step, 0])
        folders = {domain: folders.draw(rng) for domain, folders in self.data.items()}
        requests = self.recipe.requests(step, {domain: folder.images for domain, folder in folders.items()})
        return tuple(self._draw(request, folders[request.domain], rng) for request in requests)

    def _draw(self, request: Request, folder: SampleFolder, rng: np.random.Generator) -> Draw:
        usable = folder.with_neighbours(request.neighbours)
        chosen = rng.choice(usable, size=min(self.batch_size, len(usable)), replace=False)
        return Draw(
            request,
            tuple(folder.paths[i] for i in chosen),
            {k: tuple(folder.paths[i + k] for i in chosen) for k in request.neighbours},
        )

    def __getitem__(self, step: int) -> tuple[int, list[Request], list[SampleBatch]]:
        draws = self.draw(step)
        return step, [draw.request for draw in draws], [self._read(draw) for draw in draws]

    def _read(self, draw: Draw) -> SampleBatch:
        def read(paths: Sequence[Path]) -> SampleBatch:
            share = paths[self.rank :: self.processes]
            return collate([load_sample(path, draw.request.sensors, draw.request.depth) for path in share])

        batch = read(draw.paths)
        batch.neighbours = {offset: read(paths) for offset, paths in draw.neighbours.items()}
        return batch


def load_batches(
    draws: Draws, first_step: int, workers: int, pin: bool
) -> Iterator[tuple[int, list[Request], list[SampleBatch]]]:
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
