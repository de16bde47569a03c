"""Which samples each training step sees, and reading them ahead in worker processes."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from spike_depth_core.recipes import Recipe, Request
from spike_depth_core.samples import IMAGES
from spike_depth_core.samples.batch import SampleBatch, collate
from spike_depth_core.samples.files import SampleSummary, list_samples, load_sample, summary_of
from spike_depth_core.samples.shards import ShardMember
from spike_depth_core.training import distributed

TRIED_STEPS = 200  # whose requests tell what a recipe asks of a folder


@dataclass(frozen=True)
class Draw:
    """What a step reads for one request: a function of the seed and the step's number, so that resuming repeats it.

    Attributes:
        request: what was asked for.
        paths: of the samples of the batch.
        neighbours: by offset, the frames that many after each of `paths` in its sequence.
    """

    request: Request
    paths: tuple[Path | ShardMember, ...]
    neighbours: dict[int, tuple[Path | ShardMember, ...]]


class SampleFolder:
    """Samples of the same sensors and sizes, in files or shards, see `samples.files`.

    Consecutive frames of a sequence lie one after the other with the same `meta["sequence"]`, and a `meta["frame"]`
    that rises by one where they are numbered.

    Args:
        folder: of the samples.
        count: how many of them, the first; all when None.
        digest: of what is in them, where that is known already.

    Raises:
        ValueError: for a folder that holds fewer.
    """

    def __init__(self, folder: str | Path, count: int | None = None, digest: str | None = None):
        self.folder = Path(folder)
        self.paths = list_samples(folder)
        if count is not None:
            if len(self.paths) < count:
                raise ValueError(f"{folder} holds {len(self.paths)} samples, {count} expected")
            self.paths = self.paths[:count]
        self.images = load_sample(self.paths[0]).images
        self._digest = digest
        self._usable: dict[tuple[tuple[int, ...], frozenset[str], float], np.ndarray] = {}

    @functools.cached_property
    def summaries(self) -> list[SampleSummary]:
        """What each sample has. Raises ValueError naming a file that cannot share a batch with the first."""
        found = [summary_of(path) for path in self.paths]
        first = found[0].arrays or {}
        for path, summary in zip(self.paths, found, strict=True):
            arrays = first if summary.arrays is None else summary.arrays
            for name, size in first.items():
                its = arrays.get(name)
                if its != size and (its is not None or name in IMAGES):  # a truth may be missing
                    raise ValueError(
                        f"{path} has {_described(name, its)}, where {self.paths[0]} has {_described(name, size)}; all "
                        "samples of a folder are of the same sensors and sizes"
                    )
        return found

    @property
    def digest(self) -> str:
        """SHA-256 of what the samples are called and what is in them, by the checksums that files hold; of samples in
        shards by what is told beside them, where no digest was given."""
        if self._digest is None:
            told = [
                [path.stem, path.size, path.about] if isinstance(path, ShardMember) else [path.stem, summary.checksums]
                for path, summary in zip(self.paths, self.summaries, strict=True)
            ]
            self._digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return self._digest

    @functools.cached_property
    def places(self) -> np.ndarray:
        """Where the rig was at each sample, metres [N, 3] in the frame of its sequence; NaN where unknown."""
        poses = (load_sample(path, sensors=(), depth=()).world_from_reference for path in self.paths)
        return np.array([np.full(3, np.nan) if pose is None else pose[:3, 3] for pose in poses])

    def usable(self, offsets: tuple[int, ...], depth: Collection[str] = (), moved: float = 0.0) -> np.ndarray:
        """Indices of the samples that have a neighbour at each of the offsets, and the true depth of those images.

        Args:
            offsets: of the neighbours, in frames.
            depth: images.
            moved: metres from the sample to each neighbour, at least, where poses are known.

        Raises:
            ValueError: naming the folder and what is missing, when there is none; or a file that is unlike the
                others.
        """
        key = offsets, frozenset(depth), moved
        if key not in self._usable:
            self._usable[key] = self._find_usable(*key)
        return self._usable[key]

    def _find_usable(self, offsets: tuple[int, ...], depth: frozenset[str], moved: float) -> np.ndarray:
        found = [i for i, summary in enumerate(self.summaries) if depth <= summary.depth]
        if not found:
            known = sorted({image for summary in self.summaries for image in summary.depth})
            raise ValueError(
                f"{self.folder} has no samples with the true depth of {', '.join(sorted(depth))}; "
                f"it is known of {', '.join(known) or 'none'}"
            )
        if offsets:
            metas = [summary.meta for summary in self.summaries]
            found = [i for i in found if _has_neighbours(metas, i, offsets)]
            if not found:
                raise ValueError(f"{self.folder} has no sequence with frames at offsets {offsets} from one another")
        if offsets and moved > 0:
            ways = np.linalg.norm([self.places[np.add(found, k)] - self.places[found] for k in offsets], axis=2)
            found = [i for i, way in zip(found, ways.min(axis=0), strict=True) if not way < moved]
            if not found:
                raise ValueError(f"{self.folder} has no frame from which the rig moves {moved:g} m to its neighbours")
        return np.array(found)


def _described(name: str, size: tuple[int, ...] | None) -> str:
    if size is None:
        return f"no {name}"
    *pixels, count = size
    return f"{name} of {'x'.join(map(str, pixels))} pixels, {count:,} bytes" if pixels else f"{name} of {count:,} bytes"


def _has_neighbours(metas: Sequence[Mapping[str, Any]], index: int, offsets: Iterable[int]) -> bool:
    own = metas[index]

    def is_neighbour(offset: int) -> bool:
        if not 0 <= index + offset < len(metas):
            return False
        other = metas[index + offset]
        frame, its = own.get("frame"), other.get("frame")
        # A split that was drawn from a recording has frames of one sequence side by side that are far apart.
        if isinstance(frame, int) and isinstance(its, int) and its != frame + offset:
            return False
        return other.get("sequence") == own["sequence"]

    return own.get("sequence") is not None and all(is_neighbour(offset) for offset in offsets)


class SampleFolders:
    """Folders of samples; a batch comes from one of them.

    Args:
        folders: where `samples.files` wrote them, or a part of what is there.
        weights: how often each is drawn; by the number of its samples when None.
    """

    def __init__(self, folders: Sequence[str | Path | SampleFolder], weights: Sequence[float] | None = None):
        if not folders:
            raise ValueError("training needs at least one folder of samples")
        self.folders = [f if isinstance(f, SampleFolder) else SampleFolder(f) for f in folders]
        self.weights = weights
        drawn = np.array([len(f.paths) for f in self.folders] if weights is None else weights, dtype=float)
        if len(drawn) != len(folders) or not (drawn > 0).all():
            raise ValueError(f"weights are a positive number a folder; found {list(drawn)} for {len(folders)}")
        self.probabilities = drawn / drawn.sum()

    def narrowed(self, counts: Sequence[int]) -> SampleFolders:
        """Those folders of which so many samples can be learned from, weighed by that where no weights are given."""
        weights = counts if self.weights is None else self.weights
        kept = [k for k, count in enumerate(counts) if count]
        return SampleFolders([self.folders[k] for k in kept], [weights[k] for k in kept])

    def __len__(self) -> int:
        return sum(len(folder.paths) for folder in self.folders)

    def draw(self, rng: np.random.Generator) -> SampleFolder:
        """One of the folders, by the weights."""
        return self.folders[int(rng.choice(len(self.folders), p=self.probabilities))]


class Draws(Dataset):
    """Step number to the batches it trains on.

    Folders are drawn by their weights, one for each domain; one that lacks what the recipe asks for is left out.
    Samples within a batch are distinct. Of several processes each reads its share.

    Attributes:
        left_out: folders that are, each with the reason, in a line.

    Raises:
        ValueError: naming what the recipe needs, where no folder of a domain has it; or a file that cannot be read or
            is unlike the others of its folder.
    """

    def __init__(self, data: Mapping[str, SampleFolders], recipe: Recipe, batch_size: int, steps: int, seed: int):
        missing = set(recipe.domains) - set(data)
        if missing:
            raise ValueError(f"{recipe.name} learns from {recipe.domains}; there is no data for {sorted(missing)}")
        self.recipe, self.batch_size, self.steps, self.seed = recipe, batch_size, steps, seed
        self.rank, self.processes = distributed.place()
        if batch_size % self.processes:
            raise ValueError(f"a batch of {batch_size} samples cannot be shared by {self.processes} processes evenly")
        self.left_out: list[str] = []
        richest = {domain: max((f.images for f in data[domain].folders), key=len) for domain in recipe.domains}
        self.data = {domain: self._narrowed(domain, data[domain], richest) for domain in recipe.domains}

    def __len__(self) -> int:
        return self.steps

    def draw(self, step: int) -> tuple[Draw, ...]:
        """The step's folders, sensors and samples."""
        rng = np.random.default_rng([self.seed, step, 0])
        folders = {domain: folders.draw(rng) for domain, folders in self.data.items()}
        requests = self.recipe.requests(step, {domain: folder.images for domain, folder in folders.items()})
        return tuple(self._draw(request, folders[request.domain], rng) for request in requests)

    def _narrowed(self, domain: str, data: SampleFolders, available: Mapping[str, tuple[str, ...]]) -> SampleFolders:
        counts, reasons = [], []
        for folder in data.folders:
            most = len(folder.summaries)  # a damaged file ends it here: it is no reason to go on without its folder
            try:
                steps = [self.recipe.requests(k, {**available, domain: folder.images}) for k in range(TRIED_STEPS)]
                asked = {request for requests in steps for request in requests if request.domain == domain}
                counts.append(min((len(self._usable(r, folder)) for r in asked), default=most))
            except ValueError as error:
                counts.append(0)
                reasons.append(str(error))
        if not any(counts):
            raise ValueError("; ".join(dict.fromkeys(reasons)))
        self.left_out += reasons
        return data.narrowed(counts)

    def _usable(self, request: Request, folder: SampleFolder) -> np.ndarray:
        usable = folder.usable(request.neighbours, request.depth, request.moved)
        if len(usable) < self.processes:
            raise ValueError(
                f"{folder.folder} has {len(usable)} samples that can be learned from, fewer than there are processes, "
                f"{self.processes}"
            )
        return usable

    def _draw(self, request: Request, folder: SampleFolder, rng: np.random.Generator) -> Draw:
        usable = self._usable(request, folder)
        size = min(self.batch_size, len(usable) // self.processes * self.processes)  # as many for each process
        chosen = rng.choice(usable, size=size, replace=False)
        return Draw(
            request,
            tuple(folder.paths[i] for i in chosen),
            {k: tuple(folder.paths[i + k] for i in chosen) for k in request.neighbours},
        )

    def __getitem__(self, step: int) -> tuple[int, list[Request], list[SampleBatch]]:
        draws = self.draw(step)
        return step, [draw.request for draw in draws], [self._read(draw) for draw in draws]

    def _read(self, draw: Draw) -> SampleBatch:
        def read(paths: Sequence[Path | ShardMember]) -> SampleBatch:
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
