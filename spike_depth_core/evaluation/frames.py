"""What an estimator is evaluated on: sequences of samples, made when they are asked for.

Each has a length, and `frames[i]` is a `DepthSample`, the same every time. So an evaluation of
hundreds of frames keeps none of them, and takes the best, the median and the worst out again for its pictures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spike_depth_core.samples import SENSORS, DepthSample
from spike_depth_core.samples.files import list_samples, load_sample, note_origin, sample_path, save_sample
from spike_depth_core.samples.readers import Dataset, kitti_object
from spike_depth_core.samples.resize import resize_sample
from spike_depth_core.workers import processes, run_jobs


class Frames(ABC):
    """A sequence of samples that are made when asked for."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> DepthSample: ...

    def __iter__(self) -> Iterator[DepthSample]:
        return (self[index] for index in range(len(self)))

    def about(self) -> dict[str, Any]:
        """What tells these frames from others, as JSON values."""
        return {"frames": type(self).__name__, "count": len(self)}


class WorldFrames(Frames):
    """One moment in each of many streets of the procedural world.

    Frame k shows the street of scene seed `seed + k`, at a moment of its drive that is drawn from that seed: as many
    streets as frames, because frames of one street resemble one another and would say less.

    Args:
        seed: of the first street.
        count: how many frames.
        condition: `day`, `dusk` or `night`; None draws it from each street's seed.
        sensors: what is rendered, with the true depth of each.
        planes: spike planes a sample.
    """

    def __init__(
        self,
        seed: int,
        count: int,
        condition: str | None = None,
        sensors: Sequence[str] = SENSORS,
        planes: int = 256,
    ) -> None:
        if count < 1:
            raise ValueError(f"an evaluation takes at least one frame, asked for {count}")
        self.seed, self.frame_count, self.condition = seed, count, condition
        self.sensors, self.planes = tuple(sensors), planes

    def __len__(self) -> int:
        return self.frame_count

    def about(self) -> dict[str, Any]:
        chosen = {"seed": self.seed, "condition": self.condition, "sensors": list(self.sensors), "planes": self.planes}
        return super().about() | chosen

    def __getitem__(self, index: int) -> DepthSample:
        if not 0 <= index < self.frame_count:
            raise IndexError(index)
        from spike_depth_core.world.drive import World

        seed = self.seed + index
        time_s = float(np.random.default_rng([seed, 29]).uniform(0.5, 30.0))
        return World(seed, self.condition).sample(time_s, planes=self.planes, sensors=self.sensors)


class KittiFrames(Frames):
    """KITTI object frames of a folder, with the LiDAR as sparse truth."""

    def __init__(self, folder: str | Path) -> None:
        self.folder, self.names = Path(folder), kitti_object.list_frames(folder)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> DepthSample:
        return kitti_object.read_frame(self.folder, self.names[index])


class DatasetFrames(Frames):
    """One split of a public data set, see `samples.readers`.

    Args:
        dataset: what is read.
        size: (width, height) that pictures are resized to; their own when None.
    """

    def __init__(self, dataset: Dataset, size: tuple[int, int] | None = None) -> None:
        self.dataset, self.size = dataset, size

    def __len__(self) -> int:
        return len(self.dataset)

    def about(self) -> dict[str, Any]:
        data = self.dataset
        return super().about() | {
            "dataset": type(data).__name__,
            "root": str(data.root),
            "split": data.split,
            "size": None if self.size is None else list(self.size),
        }

    def __getitem__(self, index: int) -> DepthSample:
        sample = self.dataset[index]
        return sample if self.size is None else resize_sample(sample, *self.size)


class StoredFrames(Frames):
    """Sample files of a folder, such as `spike-depth simulate` or `store` writes."""

    def __init__(self, folder: str | Path, sensors: Sequence[str] = SENSORS) -> None:
        self.paths, self.sensors = list_samples(folder), tuple(sensors)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> DepthSample:
        return load_sample(self.paths[index], self.sensors)


def _store_one(job: tuple[Frames, int, Path]) -> None:
    frames, index, path = job
    save_sample(path, frames[index])


def store(frames: Frames, folder: str | Path, workers: int = 0) -> Iterator[int]:
    """Make all frames once, by several processes, so that many evaluations can read them.

    Args:
        frames: picklable, as those above are.
        folder: gets one file a frame, and `frames.json`, which says what they are; files that are there already are
            kept.
        workers: processes; all cores when 0. With one, this process does the work.

    Yields:
        How many frames are there, after each.

    Raises:
        ValueError: for a folder that has other frames; naming the file, for a frame that cannot be made, or that
            processes die of.
    """
    jobs = [(frames, i, sample_path(folder, i)) for i in range(len(frames)) if not sample_path(folder, i).exists()]
    note_origin(Path(folder) / "frames.json", frames.about(), len(jobs) < len(frames))
    done = len(frames) - len(jobs)
    for outcome in run_jobs(_store_one, jobs, processes(workers, len(jobs))):
        *_, path = outcome.job
        outcome.result_of(path)
        yield (done := done + 1)
