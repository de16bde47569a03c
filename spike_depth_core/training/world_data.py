"""Training samples from the procedural world: rendered once, by all cores, and kept in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.resources import config_path
from spike_depth_core.samples import SENSORS
from spike_depth_core.samples.files import sample_path, save_sample
from spike_depth_core.spikes.windows import NETWORK_WINDOW
from spike_depth_core.workers import processes, run_jobs
from spike_depth_core.world.domains import SPLITS

TRAIN_SEED, VALIDATION_SEED, TEST_SEED = (SPLITS[split][0] for split in ("train", "validation", "test"))
SEEDS_PER_FORMAT = 25_000
"""Each format has seeds of its own, so that its files are the same however many there are of the others."""


@dataclass(frozen=True)
class Format:
    """A kind of sample: all of a format have the same sensors and image sizes, so they can share a batch.

    Attributes:
        name: of the folder.
        share: of all samples, relative to the others'.
        weight: how often a step draws from it, relative to the others.
        sensors: what is rendered.
        town: where, see `world.towns`.
    """

    name: str
    share: float
    weight: float
    sensors: tuple[str, ...]
    town: str = field(default="first", kw_only=True)

    def rig(self, rng: np.random.Generator) -> SensorRig:
        raise NotImplementedError

    def heading(self, rng: np.random.Generator) -> float:
        """Radians by which the rig looks to the right of ahead."""
        return 0.0

    def tilt(self, rng: np.random.Generator) -> float:
        """Radians by which the rig looks up."""
        return 0.0


def camera_height(rng: np.random.Generator) -> float:
    """Metres over the road: from a low car's windscreen to a van's roof, more than `World` draws by itself."""
    return float(rng.uniform(1.35, 2.0))


@dataclass(frozen=True)
class VehicleFormat(Format):
    """The default rig, each sensor's place, direction and focal length a little different every time.

    Attributes:
        scale: of the spike and thermal cameras' size.
        frame_scale: of the colour and near infrared cameras' size: the network scales them down to less.
    """

    scale: float = 1.0
    frame_scale: float = 2 / 3

    def rig(self, rng: np.random.Generator) -> SensorRig:
        rig = SensorRig.load(config_path("rigs/vehicle.yaml"))
        zoom = float(np.exp(rng.uniform(-0.12, 0.12)))  # one for all, so that their views keep overlapping
        cameras = {}
        for sensor, camera in rig.cameras.items():
            scale = self.frame_scale if sensor in ("rgb", "nir") else self.scale
            camera = camera.resized(round(camera.width * scale), round(camera.height * scale))
            cameras[sensor] = replace(camera, fx=camera.fx * zoom, fy=camera.fy * zoom)
        poses = {s: rig.reference_from(s) for s in cameras}
        shared = {}
        for sensor, matrix in poses.items():
            place = tuple(matrix[:3, 3])
            if sensor == rig.reference:
                continue
            if place not in shared:  # sensors behind one lens move together
                turn = rng.normal(0.0, np.radians(0.4), 3) / 2
                moved = matrix[:3, 3] * rng.uniform(0.5, 1.5) + rng.normal(0.0, 0.01, 3)
                shared[place] = pose(tuple(moved), (*turn, 1.0))
            poses[sensor] = shared[place]
        return SensorRig(cameras, poses, rig.reference, camera_height(rng))


@dataclass(frozen=True)
class WideFormat(Format):
    """All sensors behind one lens, a wide and low picture as KITTI's: one rendering serves all of them.

    Attributes:
        width, height: of the picture.
        aside: whether it looks to any side: at a house front as a vehicle that turns, parks or stands on a square sees
            it, with no road that leads away.
        tilted: whether the camera looks up or down by some degrees and nobody is told, as on a car that is laden or
            stands on a ramp.
    """

    width: int = 364
    height: int = 112
    aside: bool = False
    tilted: bool = False

    def rig(self, rng: np.random.Generator) -> SensorRig:
        focal = self.width * float(np.exp(rng.uniform(np.log(0.5), np.log(0.8))))
        horizon = (self.height - 1) / 2 + self.height * rng.uniform(-0.08, 0.08)
        camera = PinholeCamera(self.width, self.height, focal, focal, (self.width - 1) / 2, horizon)
        return SensorRig({s: camera for s in self.sensors}, {}, self.sensors[0], camera_height(rng))

    def heading(self, rng: np.random.Generator) -> float:
        return float(np.radians(rng.uniform(-80.0, 80.0))) if self.aside else 0.0

    def tilt(self, rng: np.random.Generator) -> float:
        return float(rng.normal(0.0, np.radians(2.0))) if self.tilted else 0.0


FORMATS: tuple[Format, ...] = (
    # Small pictures, near the network's own size, are rendered and read four times as fast: streets nobody else shows.
    VehicleFormat("vehicle", 0.1, 0.16, SENSORS),
    VehicleFormat("vehicle_small", 0.5, 0.3, SENSORS, scale=1 / 2, frame_scale=1 / 3),
    WideFormat("wide", 0.04, 0.06, SENSORS),
    WideFormat("wide_frames", 0.36, 0.24, ("rgb", "nir", "thermal"), width=240, height=74),
    WideFormat("wide_aside", 0.4, 0.24, ("rgb", "nir", "thermal"), width=240, height=74, aside=True),
    WideFormat(
        "wide_yards",
        0.3,
        0.2,
        ("rgb", "nir", "thermal"),
        width=276,
        height=84,
        aside=True,
        tilted=True,
        town="third",
    ),
)


@dataclass(frozen=True)
class _Job:
    format: Format
    seed: int
    path: Path


def _render(job: _Job) -> None:
    # Imported in the worker: compiled kernels are loaded once a process, not in the parent.
    from spike_depth_core.world.drive import World

    rng = np.random.default_rng([job.seed, 17])
    rig = job.format.rig(rng)
    heading, tilt = job.format.heading(rng), job.format.tilt(rng)
    world = World(job.seed, rig=rig, supersample=2, heading=heading, tilt=tilt, town=job.format.town)
    sample = world.sample(float(rng.uniform(0.5, 30.0)), planes=NETWORK_WINDOW, sensors=job.format.sensors)
    save_sample(job.path, sample)


def counts_of(count: int, formats: Sequence[Format] = FORMATS) -> dict[str, int]:
    """By format, how many of `count` samples are of it, by its share: of each one at least.

    Raises:
        ValueError: for fewer samples than formats, or more of one than it has seeds.
    """
    if count < len(formats):
        raise ValueError(f"at least {len(formats)} samples, one of each format, asked for {count}")
    total = sum(f.share for f in formats)
    counts = {f.name: max(1, round(count * f.share / total)) for f in formats}
    largest = max(counts, key=counts.__getitem__)
    counts[largest] += count - sum(counts.values())  # what rounding has added or taken
    if counts[largest] > SEEDS_PER_FORMAT:
        most = SEEDS_PER_FORMAT * count // counts[largest]
        raise ValueError(f"at most {most} samples, for which each format has its seeds, asked for {count}")
    return counts


def seeds_of(count: int, first_seed: int, formats: Sequence[Format] = FORMATS) -> dict[str, tuple[int, int]]:
    """By format, the first and the last scene seed of its samples, of `count` in all."""
    sizes = counts_of(count, formats)
    starts = {f.name: first_seed + SEEDS_PER_FORMAT * number for number, f in enumerate(formats)}
    return {name: (first, first + sizes[name] - 1) for name, first in starts.items()}


def render_samples(
    folder: str | Path, count: int, first_seed: int, formats: tuple[Format, ...] = FORMATS, workers: int = 0
) -> Iterator[tuple[int, int]]:
    """Render `count` samples, each of a street of its own; those that exist already are left as they are: file k of a
    format is the same street however many are asked for.

    Args:
        folder: gets a sub-folder a format.
        count: samples in all, divided among the formats by their shares.
        first_seed: scene seed of the first sample; see `TRAIN_SEED` and its siblings.
        formats: the kinds of sample.
        workers: processes; all cores when 0.

    Yields:
        (done, count) after each sample, for a progress bar.
    """
    jobs: list[_Job] = []
    ranges = seeds_of(count, first_seed, formats)
    for kind in formats:
        path = Path(folder) / kind.name
        path.mkdir(parents=True, exist_ok=True)
        first, last = ranges[kind.name]
        jobs += [_Job(kind, seed, sample_path(path, seed - first)) for seed in range(first, last + 1)]
    missing = [job for job in jobs if not job.path.exists()]
    done = len(jobs) - len(missing)
    yield done, len(jobs)
    for outcome in run_jobs(_render, missing, processes(workers, len(missing))):
        outcome.result_of(outcome.job.path)
        done += 1
        yield done, len(jobs)
