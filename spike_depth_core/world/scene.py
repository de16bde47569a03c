"""A street scene: built from a seed, asked for what there is at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spike_depth_core.world.layout import LAYOUTS, Street, draw_street
from spike_depth_core.world.lighting import BEAM, LAMP_WHITE, LAMP_WIDTH, OMNI, Lighting, draw_lighting
from spike_depth_core.world.population import CHUNK, Block, Population
from spike_depth_core.world.primitives import PrimitiveTable
from spike_depth_core.world.towns import TOWNS
from spike_depth_core.world.traffic import YAW, places
from spike_depth_core.world.weather import Weather, draw_weather

CONDITIONS = ("day", "dusk", "night")
DURATION = 300.0  # seconds that a scene's road is long enough for
EARLIEST, LATEST = -1.0, DURATION + 1.0  # seconds: what of a scene may be looked at
_BEYOND = 0.5  # seconds: what is known of the vehicle before and after, for rates of change at the ends
CAMERA_HEIGHTS = (1.45, 1.85)  # metres over the road, where nobody says
VIEW_BEHIND, VIEW_AHEAD = 45.0, 240.0
RATE_STEP = 1e-3  # seconds of the central differences that give velocities


@dataclass(frozen=True)
class Snapshot:
    """All that is near the ego car at one moment, as the arrays the renderer reads.

    poses, rates [I, 3, 4]: world from model, and its time derivative (1/s). bounds [I, 4]: middle (model frame) and
    radius. ranges [I, 2]: primitives in `table`. footprints [I, 6]. palettes [I, 6, 4], params [I, 13], seeds [I].
    triangles [T, 3, 3], coordinates [T, 3, 2], labels [T, 2]: the ground. plain: height below it all.
    zones: road marks in reach. lamps [L, 13].
    """

    table: PrimitiveTable
    poses: np.ndarray
    rates: np.ndarray
    bounds: np.ndarray
    ranges: np.ndarray
    footprints: np.ndarray
    palettes: np.ndarray
    params: np.ndarray
    seeds: np.ndarray
    triangles: np.ndarray
    coordinates: np.ndarray
    labels: np.ndarray
    plain: float
    zones: np.ndarray
    lamps: np.ndarray


class Scene:
    """A street with its light and traffic. Build it with `build_scene`.

    Attributes:
        seed, condition, layout, town: what it was built from.
        weather: `Weather`, or None where the light alone tells.
        speed: the ego car's mean speed, m/s.
        camera_height: of the rig's reference camera over the road, metres.
        light: `Lighting`.
    """

    def __init__(
        self,
        seed: int,
        condition: str | None = None,
        layout: str | None = None,
        speed: float | None = None,
        camera_height: float | None = None,
        weather: Weather | str | None = None,
        town: str = "first",
    ):
        if seed < 0:
            raise ValueError(f"a seed is a non-negative integer, found {seed}")
        if condition is not None and condition not in CONDITIONS:
            raise ValueError(f"condition must be one of {CONDITIONS}, found {condition!r}")
        if layout is not None and layout not in LAYOUTS:
            raise ValueError(f"layout must be one of {LAYOUTS}, found {layout!r}")
        if town not in TOWNS:
            raise ValueError(f"town must be one of {tuple(TOWNS)}, found {town!r}")
        self.town = TOWNS[town]
        rng = np.random.default_rng([seed, 1])
        drawn = str(rng.choice(CONDITIONS, p=[0.62, 0.16, 0.22]))
        kind = str(rng.choice(LAYOUTS, p=self.town.layouts))
        across = bool(rng.random() < 0.06)
        self.seed = seed
        self.condition = condition or drawn
        self.layout = layout or kind
        if self.layout in ("highway", "country", "square"):
            across = False
        if speed is not None and not 0.0 <= speed <= 40.0:
            raise ValueError(f"speed must be within 0..40 m/s, found {speed}")
        rng = np.random.default_rng([seed, 2])
        self.street: Street = draw_street(rng, self.layout, across, DURATION, speed, self.town)
        self.speed: float = self.street.speed
        self.light: Lighting = draw_lighting(np.random.default_rng([seed, 3]), self.condition)
        if isinstance(weather, str):
            weather = draw_weather(np.random.default_rng([seed, 12]), weather)
        self.weather = weather
        if weather is not None:
            self.light = weather.lit(self.light)
        rng = np.random.default_rng([seed, 4])
        drawn_height = float(rng.uniform(*CAMERA_HEIGHTS))
        self.camera_height = drawn_height if camera_height is None else camera_height
        self._pitch = rng.normal(0.0, 0.018)
        self._roll = rng.normal(0.0, 0.006)
        self._yaw = rng.normal(0.0, 0.02)
        self._surge = 0.12 * self.speed * rng.random()
        self._rates = rng.uniform([0.15, 0.9, 1.1, 0.2, 0.3], [0.5, 1.9, 2.3, 0.5, 0.8]) * 2.0
        self._phases = rng.uniform(0.0, 2.0 * math.pi, 5)
        self._motion = min(1.0, self.speed / 6.0)
        self._bounce = rng.uniform(0.2, 1.0, 4) * [0.0045, 0.002, 0.006, 0.1]
        self.population = Population(seed, self.street)
        self._streams = self.population.streams(np.random.default_rng([seed, 7]))
        rng = np.random.default_rng([seed, 9])
        self.land_seed = int(rng.integers(1, 1 << 20))
        self.land = self.town.land(rng)
        self.light_vector = self.light.vector()

    def travelled(self, time_s: float) -> float:
        """Arc length s of the ego car along the road."""
        rate = self._rates[0]
        sway = math.sin(rate * time_s + self._phases[0]) - math.sin(self._phases[0])
        return self.speed * time_s + self._surge / rate * sway

    def world_from_reference(self, time_s: float) -> np.ndarray:
        """4x4 pose of the rig's reference camera (x right, y down, z forward) in the world at a time.

        Smooth in time, for EARLIEST <= time_s <= LATEST.
        """
        if not EARLIEST - _BEYOND <= time_s <= LATEST + _BEYOND:
            raise ValueError(f"a scene lasts from {EARLIEST:g} to {LATEST:g} s, asked for {time_s} s")
        street, road = self.street, self.street.road
        s = self.travelled(time_s)
        w, p, b = self._rates, self._phases, self._bounce * self._motion
        # The wander in the lane turns the car with it: yaw = d' / s'.
        rate = 0.15 * w[4]
        reach = b[3]
        d = street.ego_offset + reach * math.sin(rate * time_s + p[4])
        drift = reach * rate * math.cos(rate * time_s + p[4]) / max(self.speed, 3.0)
        heading = float(road.heading(s)) + street.ego_yaw + drift + self._yaw
        # A car's length smooths the road's gradient under it.
        grade = float(np.mean(road.slope(np.array([s - 1.5, s, s + 1.5])))) * math.cos(street.ego_yaw)
        pitch = math.atan(grade) + self._pitch + b[0] * math.sin(w[1] * 3.0 * time_s + p[1])
        roll = self._roll + b[1] * math.sin(w[2] * 2.0 * time_s + p[2])
        height = self.camera_height + b[2] * math.sin(w[1] * 3.0 * time_s + p[3])
        c, n, cp, sp = math.cos(heading), math.sin(heading), math.cos(pitch), math.sin(pitch)
        forward = np.array([c * cp, n * cp, sp])
        right = np.array([n, -c, 0.0])
        down = np.cross(forward, right)
        cr, sr = math.cos(roll), math.sin(roll)
        pose = np.eye(4)
        pose[:3, 0] = cr * right + sr * down
        pose[:3, 1] = cr * down - sr * right
        pose[:3, 2] = forward
        pose[:3, 3] = road.point(s, d)
        pose[2, 3] += height
        return pose

    def snapshot(self, time_s: float) -> Snapshot:
        """Everything near the ego car at a time."""
        street, road, population = self.street, self.street.road, self.population
        ego = self.travelled(time_s)
        first = math.floor((ego - VIEW_BEHIND) / CHUNK)
        last = math.floor((ego + VIEW_AHEAD) / CHUNK)
        blocks: list[Block] = [population.hills]
        movers = [self._streams]
        places_of_lamps = []
        for number in range(first, last + 1):
            block, more, lamps = population.chunk(number)
            blocks.append(block)
            movers.append(more)
            places_of_lamps.append(lamps)
        rows = [np.array(m.rows) for m in movers if m.rows]
        looks = [look for m in movers for look in m.looks]
        still = np.concatenate([b.poses for b in blocks])
        models = np.concatenate([b.models for b in blocks])
        palettes = np.concatenate([b.palettes for b in blocks])
        params = np.concatenate([b.params for b in blocks])
        seeds = np.concatenate([b.seeds for b in blocks])
        poses, rates = still, np.zeros_like(still)
        if rows:
            table = np.concatenate(rows)

            def moved(at: float) -> np.ndarray:
                s, d = places(table, at, self.travelled(at), time_s, ego)
                return road.frames(s, d, table[:, YAW])

            now = moved(time_s)
            rate = (moved(time_s + RATE_STEP) - moved(time_s - RATE_STEP)) / (2.0 * RATE_STEP)
            s_now, d_now = places(table, time_s, ego, time_s, ego)
            # Off the drawn road, or (a pedestrian who keeps walking) out of sight behind the houses.
            keep = (s_now > ego - VIEW_BEHIND - 20) & (s_now < ego + VIEW_AHEAD) & (np.abs(d_now) < 70.0)
            poses = np.concatenate([still, now[keep]])
            rates = np.concatenate([rates, rate[keep]])
            kept = [look for look, k in zip(looks, keep, strict=True) if k]
            if kept:
                models = np.concatenate([models, [look[0] for look in kept]])
                palettes = np.concatenate([palettes, [look[1] for look in kept]])
                params = np.concatenate([params, [look[2] for look in kept]])
                seeds = np.concatenate([seeds, [look[3] for look in kept]])
        shapes = population.library.shapes
        bounds = np.array(
            [[*(shape.low + shape.high) / 2, np.linalg.norm(shape.high - shape.low) / 2] for shape in shapes]
        )
        ranges = np.array([[shape.first, shape.last] for shape in shapes], dtype=np.int64)
        footprints = np.array([shape.footprint for shape in shapes])
        triangles, coordinates, labels = road.mesh(ego - VIEW_BEHIND, ego + VIEW_AHEAD)
        zones = street.zones[(street.zones[:, 1] > ego - VIEW_BEHIND) & (street.zones[:, 0] < ego + 130.0)]
        vehicles = poses[len(still) :] if rows else poses[:0]
        return Snapshot(
            table=population.library.table(),
            poses=np.ascontiguousarray(poses[:, :3]),
            rates=np.ascontiguousarray(rates[:, :3]),
            bounds=bounds[models],
            ranges=ranges[models],
            footprints=footprints[models],
            palettes=palettes,
            params=params,
            seeds=seeds.astype(np.int64),
            triangles=triangles,
            coordinates=coordinates,
            labels=labels,
            plain=float(triangles[..., 2].min()) - 0.5,
            zones=zones,
            lamps=self._lamps(time_s, np.concatenate(places_of_lamps), vehicles, models[len(still) :]),
        )

    def headlamps(self, time_s: float) -> np.ndarray:
        """The ego car's part of the lamp table at a time."""
        light = self.light
        if light.headlamps <= 0.0:
            return np.zeros((0, LAMP_WIDTH))
        here = self.world_from_reference(time_s)
        forward = here[:3, 2].copy()
        forward[2] -= math.sin(self._pitch) + 0.02
        rows = []
        for side in (-0.65, 0.65):
            place = here[:3, 3] + side * here[:3, 0] + 1.2 * here[:3, 2] + [0, 0, 0.68 - self.camera_height]
            rows.append([*place, *(14.0 * light.headlamps * LAMP_WHITE), *forward, BEAM, 90.0, 9.0])
        return np.array(rows, dtype=np.float64)

    def _lamps(self, time_s: float, street_lamps: np.ndarray, moving: np.ndarray, models: np.ndarray) -> np.ndarray:
        """Lamp table [L, 13] of what shines near: street lamps, the ego car's head lamps, other vehicles'."""
        light = self.light
        if light.dark <= 0.0:
            return np.zeros((0, LAMP_WIDTH))
        rows = []
        colour = self.population.lamp_colour
        here = self.world_from_reference(time_s)
        for place in street_lamps:
            if np.linalg.norm(place - here[:3, 3]) < 110.0:
                strength = 0.055 * light.dark * self.street.lamp_height**2
                rows.append([*place, *(strength * colour), 0, 0, -1, OMNI, 4.5 * self.street.lamp_height, 0])
        rows += list(self.headlamps(time_s))
        shapes = self.population.library.shapes
        vehicles = {m for f in ("car", "van", "lorry", "bus") for m in self.population.library.family(f)}
        for pose, model in zip(moving, models, strict=True):
            if int(model) in vehicles and np.linalg.norm(pose[:3, 3] - here[:3, 3]) < 90.0:
                front = float(shapes[int(model)].high[0])
                place = pose[:3, 3] + pose[:3, 0] * (front + 0.05) + [0, 0, 0.7]
                rows.append(
                    [*place, *(14.0 * light.dark * LAMP_WHITE), *(pose[:3, 0] + [0, 0, -0.03]), BEAM, 45.0, 9.0]
                )
                rear = float(shapes[int(model)].low[0])
                place = pose[:3, 3] + pose[:3, 0] * (rear - 0.1) + [0, 0, 0.8]
                rows.append([*place, 0.12, 0.01, 0.01, 0.08, 0, 0, -1, OMNI, 6.0, 0])
        return np.array(rows, dtype=np.float64).reshape(-1, LAMP_WIDTH)


def build_scene(
    seed: int,
    condition: str | None = None,
    layout: str | None = None,
    speed: float | None = None,
    camera_height: float | None = None,
    weather: Weather | str | None = None,
    town: str = "first",
) -> Scene:
    """The street of a seed, the same on every call.

    Args:
        seed: any non-negative integer.
        condition: "day", "dusk" or "night"; None draws it from the seed.
        layout: "town", "suburb", "country", "highway" or "square"; None draws it from the seed.
        speed: of the ego car in m/s; None draws it from the seed. A car that stands before a building stays.
        camera_height: of the reference camera over the road, metres; None draws it from the seed.
        weather: "clear", "fog" or "rain" of a strength that the seed draws, or a `Weather`; None leaves it to the
            light that the seed draws, in which there may be haze and a wet road.
        town: "first", "second" or "third", see `towns`.

    Raises:
        ValueError: an unknown condition, layout, weather or town, a speed outside 0..40 m/s, a negative seed.
    """
    return Scene(seed, condition, layout, speed, camera_height, weather, town)
