"""A drive prepared beforehand, so that it can be played in real time: spikes at the camera's own rate, and frames.

Key frames are rendered by all cores. Between two of them the light on the spike camera is kept several times: both
moved along their velocities to that moment, and blended by nearness in time, so that brightness does not jump at a
key frame. What is left to do while playing is to blend neighbours once more and to run the camera.
"""

from __future__ import annotations

import functools
import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from spike_depth_core.geometry import SensorRig
from spike_depth_core.samples import IMAGES, modality
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.workers import end_with_parent
from spike_depth_core.world.drive import World, check_rate, check_times, noise_seed
from spike_depth_core.world.motion import Motion
from spike_depth_core.world.rain import RainInView
from spike_depth_core.world.sensors import PLANES_PER_LEVEL

START_S = 1.0  # time in the scene at which a drive begins where nobody says
LIGHTS_PER_FRAME = 6  # kept between two key frames: at 30 Hz, 5.6 ms apart
_CHUNK = 10  # key frames a job
_TICK_S = 0.2  # between calls of `progress`
_RAIN_S = 0.01  # half as long as drops in view are kept: within it the vehicle goes straight on
_RAIN_REACH = 800.0  # diameters: fainter drops are left out, to keep up with the clock
_FULL_LIGHT = 1.5  # spikes a plane that the largest code stands for; the camera saturates at 1


@dataclass(frozen=True)
class _Job:
    first: int  # key frame
    last: int  # exclusive, but for the light between it and the one before
    is_end: bool


@dataclass(frozen=True)
class _Plan:
    """Everything a worker needs to know."""

    seed: int
    condition: str | None
    rig: SensorRig | None
    options: dict
    start_s: float
    rate_hz: float
    sensors: tuple[str, ...]


class DrivePlayer:
    """A drive to be played. Make one with `prepare`.

    Times count from the start of the drive. With the default rig, at 30 Hz, a second of drive takes 65 MB: the light
    36, depth 12, rgb 13, thermal 4; near infrared would take another 4.

    Attributes:
        world: what is driven through; `world.rig` has the cameras.
        rate_hz: of the frames; frame k is of time k / rate_hz.
        frame_count: how many frames there are; the last one is at the end of the drive.
        duration_s: of the drive.
    """

    def __init__(
        self,
        world: World,
        rate_hz: float,
        lights: np.ndarray,
        images: dict[str, np.ndarray],
        depth: np.ndarray,
        start_s: float = START_S,
    ) -> None:
        self.world, self.rate_hz, self.start_s = world, rate_hz, start_s
        self.frame_count = len(depth)
        self.duration_s = (self.frame_count - 1) / rate_hz
        self._lights, self._images, self._depth = lights, images, depth
        height, width = lights.shape[1:]
        sensor = world.suite.spikes
        self._camera = sensor.camera(height, width, 0, noise_seed(world.scene.seed, 0))
        self._to_light = np.float32(_FULL_LIGHT / 65_535 / sensor.parameters.gain)
        self._light = np.empty((height, width), np.float32)
        self._field = world.rain
        self._rain: RainInView | None = None
        self._rain_s = 0.0

    @classmethod
    def prepare(
        cls,
        seed: int,
        duration_s: float = 20.0,
        condition: str | None = None,
        rig: SensorRig | None = None,
        rate_hz: float = 30.0,
        sensors: Sequence[str] = ("rgb", "thermal"),
        start_s: float = START_S,
        workers: int | None = None,
        progress: Callable[[int, int], None] | None = None,
        supersample: int = 1,
        **options: Any,
    ) -> DrivePlayer:
        """Render a drive.

        Args:
            seed, condition, rig, options: see `World`.
            duration_s: how long; rounded up to whole frames.
            rate_hz: of the frames.
            sensors: which frames there are, besides the spikes.
            start_s: time in the scene at which the drive begins.
            workers: processes; all cores by default, 0 to stay in this one.
            progress: called with (key frames done, key frames in all), some times a second. What it raises stops
                the work.
            supersample: of the rendering: 2 takes nearly twice the time.

        Raises:
            ValueError: before anything is rendered: a drive that no scene holds, sensors that are not there.
        """
        if rig is not None and "spikes" not in rig.cameras:
            raise ValueError(f"a drive is played for a spike camera; the rig has only {', '.join(rig.cameras)}")
        if not 0.0 < duration_s < math.inf:
            raise ValueError(f"duration_s must be above 0, found {duration_s}")
        check_rate(rate_hz)
        frames = max(1, math.ceil(duration_s * rate_hz - 1e-9))
        check_times(start_s, start_s + frames / rate_hz)
        options["supersample"] = supersample
        world = World(seed, condition, rig, **options)
        there = sorted(image for image in IMAGES if image in world.rig.cameras and modality(image) != "spikes")
        for sensor in sensors:
            if sensor not in there:
                raise ValueError(f"sensors must be frame cameras of the rig, {there}, found {sensor!r}")
        plan = _Plan(seed, condition, world.rig, options, start_s, rate_hz, tuple(sensors))
        starts = range(0, frames, _CHUNK)
        jobs = [_Job(k, min(k + _CHUNK, frames), k + _CHUNK >= frames) for k in starts]
        camera = world.rig.cameras["spikes"]
        lights = np.empty((frames * LIGHTS_PER_FRAME + 1, camera.height, camera.width), np.uint16)
        depth = np.empty((frames + 1, camera.height, camera.width), np.float32)
        images: dict[str, np.ndarray] = {}
        done = 0

        def keep(job: _Job, result: tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]) -> None:
            nonlocal done
            some_lights, some_depth, some_images = result
            lights[job.first * LIGHTS_PER_FRAME :][: len(some_lights)] = some_lights
            depth[job.first :][: len(some_depth)] = some_depth
            for sensor, stack in some_images.items():
                if sensor not in images:
                    images[sensor] = np.empty((frames + 1, *stack.shape[1:]), stack.dtype)
                images[sensor][job.first :][: len(stack)] = stack
            done += len(some_depth)

        workers = min((os.cpu_count() or 1) if workers is None else workers, len(jobs))
        if progress:
            progress(0, frames + 1)
        if workers == 0:
            for job in jobs:
                keep(job, _render(world, plan, job))
                if progress:
                    progress(done, frames + 1)
        else:
            # Spawned, not forked: a fork of a process with running threads can hang.
            context = multiprocessing.get_context("spawn")
            others = set(multiprocessing.active_children())
            with ProcessPoolExecutor(workers, context, _start_worker, (plan,)) as pool:
                futures = {pool.submit(_work, job): job for job in jobs}
                try:
                    while futures:
                        for future in wait(futures, _TICK_S, FIRST_COMPLETED).done:
                            keep(futures.pop(future), future.result())
                        if progress:
                            progress(done, frames + 1)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    for worker in set(multiprocessing.active_children()) - others:
                        worker.terminate()  # what it is at may take long, and nobody wants it any more
                    raise
        return cls(world, rate_hz, lights, images, depth, start_s)

    def again(self) -> DrivePlayer:
        """The same drive from its start, without rendering it again."""
        return DrivePlayer(self.world, self.rate_hz, self._lights, self._images, self._depth, self.start_s)

    @property
    def sensors(self) -> tuple[str, ...]:
        """Which frames there are."""
        return tuple(self._images)

    @property
    def period_ns(self) -> int:
        """Time from plane to plane."""
        return self._camera.period_ns

    @property
    def time_ns(self) -> int:
        """Time of the next plane."""
        return self._camera.time_ns

    @property
    def planes_left(self) -> int:
        """How many planes there are until the end of the drive."""
        return max(0, (round(self.duration_s * 1e9) - self.time_ns) // self.period_ns)

    def planes(self, count: int) -> PackedSpikes:
        """The next `count` planes; fewer at the end of the drive, where there are no more, none.

        A fraction of the time they last: see `benchmarks/`.
        """
        count = min(count, self.planes_left)
        data = np.empty((count, *self._light.shape[:1], (self._light.shape[1] + 7) // 8), np.uint8)
        start_ns = self.time_ns
        for first in range(0, count, PLANES_PER_LEVEL):
            last = min(first + PLANES_PER_LEVEL, count)
            self._light_at(self.time_ns + (last - first) * self.period_ns // 2)
            rain = self._rain_around(self.time_ns)
            if rain is None:
                self._camera.expose(self._light, last - first, data[first:last])
            else:
                begin_s = self.time_ns * 1e-9 - self._rain_s
                self.world.suite.spikes.expose_behind_rain(self._camera, self._light, rain, begin_s, data[first:last])
        return PackedSpikes(data, self._light.shape[1], self.period_ns, start_ns)

    def _rain_around(self, time_ns: int) -> RainInView | None:
        """The drops in view at a time, gathered anew every now and then; `_rain_s` is when they were."""
        if self._field is None:
            return None
        time_s = time_ns * 1e-9
        if self._rain is None or abs(time_s - self._rain_s) > _RAIN_S:
            scene, self._rain_s = self.world.scene, min(time_s + _RAIN_S, self.duration_s)
            at = self.start_s + self._rain_s
            frame = min(round(self._rain_s * self.rate_hz), self.frame_count - 1)
            self._rain = self._field.in_view(
                self.world.rig.cameras["spikes"], functools.partial(self.world.world_from, "spikes"), at, _RAIN_S,
                self._depth[frame], scene.light, scene.snapshot(at).lamps, _RAIN_REACH,
            )  # fmt: skip
        return self._rain

    def frame_time_ns(self, frame: int) -> int:
        """Time of a frame: the moment of its truth; the middle of its exposure, or the end of it if it is thermal."""
        return round(frame * 1e9 / self.rate_hz)

    def image(self, sensor: str, frame: int) -> np.ndarray:
        """A frame: "rgb" uint8 [H, W, 3], "nir" uint8 [H, W], "thermal" uint16 [H, W] in centikelvin."""
        if sensor not in self._images:
            raise KeyError(f"the drive was prepared with {self.sensors}, not with {sensor!r}")
        return self._images[sensor][frame]

    def pose(self, frame: int) -> np.ndarray:
        """4x4 from the spike camera's optical frame to the world at a frame, metres."""
        return self.world.world_from("spikes", self.start_s + self.frame_time_ns(frame) / 1e9)

    def depth(self, frame: int) -> np.ndarray:
        """Truth for the spike camera at the time of a frame, float32 [H, W] in metres, +inf for sky."""
        return self._depth[frame]

    def _light_at(self, time_ns: int) -> None:
        place = time_ns * 1e-9 * self.rate_hz * LIGHTS_PER_FRAME
        before = min(int(place), len(self._lights) - 2)
        weight = np.float32(min(place - before, 1.0))
        _blend(self._lights[before], self._lights[before + 1], weight, self._to_light, self._light)


@njit(cache=True, nogil=True)
def _blend(before, after, weight, scale, out):
    height, width = out.shape
    for y in range(height):
        for x in range(width):
            a, b = np.float32(before[y, x]), np.float32(after[y, x])
            out[y, x] = (a + weight * (b - a)) * scale


_worker: tuple[World, _Plan] | None = None


def _start_worker(plan: _Plan) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends the work
    end_with_parent()
    _worker = World(plan.seed, plan.condition, plan.rig, **plan.options), plan


def _work(job: _Job) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    assert _worker is not None
    return _render(*_worker, job)


def _render(world: World, plan: _Plan, job: _Job) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Codes of the light from the first to the last key frame, depth and images of all but the last."""
    spikes = world.suite.spikes
    random = np.random.default_rng([world.scene.seed, job.first])
    lights, depths = [], []
    images: dict[str, list[np.ndarray]] = {sensor: [] for sensor in plan.sensors}
    before: tuple[np.ndarray, Motion] | None = None

    def code(light: np.ndarray) -> np.ndarray:
        # Rounded at random: in the dark a code is a few per cent of the light.
        rate = light * np.float32(spikes.parameters.gain * 65_535 / _FULL_LIGHT)
        return np.minimum(rate + random.random(rate.shape, dtype=np.float32), 65_535).astype(np.uint16)

    for key in range(job.first, job.last + 1):
        time_s = plan.start_s + key / plan.rate_hz
        kept = key < job.last or job.is_end
        passes = world.render(time_s, ("spikes", *plan.sensors) if kept else ("spikes",))
        rendered = passes.pop("spikes")
        light = spikes.light(rendered)
        motion = Motion(rendered.velocity, rendered.depth, 1 / plan.rate_hz)
        if before is not None:
            lights.append(code(before[0]))
            for step in range(1, LIGHTS_PER_FRAME):
                share = step / LIGHTS_PER_FRAME
                earlier = before[1].moved(before[0], share / plan.rate_hz)
                later = motion.moved(light, (share - 1) / plan.rate_hz)
                lights.append(code(earlier + np.float32(share) * (later - earlier)))
        before = light, motion
        if kept:
            depths.append(rendered.depth)
            for sensor in passes:
                noise = noise_seed(world.scene.seed, round(time_s * 1e9))
                images[sensor].append(world.observe(sensor, passes, 1, 0, noise))
    if job.is_end and before is not None:
        lights.append(code(before[0]))
    return np.stack(lights), np.stack(depths), {sensor: np.stack(stack) for sensor, stack in images.items()}
