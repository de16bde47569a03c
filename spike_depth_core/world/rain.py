"""Raindrops in front of a camera.

Drops stand in an endless lattice that repeats itself, fixed in the world, and fall through it: whoever looks, from
wherever, at whatever time, sees the same drops, so a stereo pair agrees and a drive meets each drop once. What a camera
makes of a drop depends on how long it looks: in 10 ms it is a streak of centimetres, in the 50 us of a spike camera's
plane a dot.

Sizes follow Marshall and Palmer (see `weather`), speeds of fall Atlas, Srivastava and Sekhon, "Doppler radar
characteristics of precipitation at vertical incidence", Rev. Geophysics 1973. A drop shows the whole of the scene
around it at once, so its brightness is the mean of that, whatever is behind it (Garg and Nayar, "Vision and Rain",
IJCV 2007); lamps it scatters as `lamps.phase` says. Farther drops than `REACH` are part of the veil.

A lens that sees as far to its sides as those of the shipped rigs (`NARROW`) is shown one period of the lattice, the box
around what is before it. Where it looks slantwise to the lattice the corners of its view reach out of that box: of the
drops at its sides a few are missing. Samples were rendered so, and shall stay what they are.
Wider lenses see all the periods that their view reaches into.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from numba import njit

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.world.compilation import JIT
from spike_depth_core.world.lamps import lamp_pattern, phase
from spike_depth_core.world.lighting import LAMP_WHITE, Lighting
from spike_depth_core.world.weather import DROPS_PER_M3_PER_MM, Weather, drop_slope

EDGES_MM = (0.5, 0.8, 1.2, 1.8, 2.5, 3.5, 6.0)  # of classes of diameters
REACH = 2000.0  # diameters: farther away a drop is too small to be seen by itself
FARTHEST = 8.0  # metres
CLOSEST = 0.25  # metres: the windscreen
APERTURE = 0.003  # metres: of the lenses, which are focused on far things
SHINE = 0.94  # of what falls on it, a drop passes on (Garg and Nayar 2007)
NARROW = 0.65  # tangent of half the view
_PERIOD = 1.2  # of the lattice, in distances from which its drops are seen
_AHEAD = 0.45  # periods: how far before the camera the middle of the box is
_STEP = 1e-3  # seconds, of the camera's velocity


def fall_speed(diameter_mm: np.ndarray) -> np.ndarray:
    """Terminal velocity in m/s of drops from 0.5 to 6 mm."""
    return 9.65 - 10.3 * np.exp(-0.6 * diameter_mm)


@dataclass(frozen=True)
class RainInView:
    """The drops that a camera sees around a moment.

    Attributes:
        places, velocities: [N, 3], metres and m/s, in the camera's frame, at the moment.
        diameters: [N], metres.
        lamplight: [N], radiance by lamps.
        camera, depth: the camera, and the depth float32 [H, W] that drops may be hidden by.
        radiance: [4] of a drop by daylight. temperature: kelvin.
    """

    places: np.ndarray
    velocities: np.ndarray
    diameters: np.ndarray
    lamplight: np.ndarray
    camera: PinholeCamera
    depth: np.ndarray
    radiance: np.ndarray
    temperature: float

    def cover(self, begin: float, end: float) -> tuple[np.ndarray, np.ndarray]:
        """Share of each pixel that drops cover on average from `begin` to `end` (seconds from the moment), and that
        share times their lamplight: float32 [H, W] each."""
        c = self.camera
        share = np.zeros(self.depth.shape, np.float32)
        glow = np.zeros(self.depth.shape, np.float32)
        _cover(
            self.places, self.velocities, self.diameters, self.lamplight, c.fx, c.fy, c.cx, c.cy, self.depth,
            begin, end, share, glow,
        )  # fmt: skip
        return np.minimum(share, np.float32(0.95)), glow

    def over(self, image: np.ndarray, begin: float, end: float, bands: np.ndarray) -> np.ndarray:
        """The image float32 [H, W, C] behind the rain, exposed from `begin` to `end`; bands [4, C] is the response."""
        share, glow = (a[..., None] for a in self.cover(begin, end))
        own, lamp = (np.asarray(x @ bands, np.float32) for x in (self.radiance, LAMP_WHITE))
        return image + share * (own - image) + glow * lamp

    def warmed(self, kelvin: np.ndarray, begin: float, end: float) -> np.ndarray:
        """The image of temperatures float32 [H, W] behind the rain."""
        share, _ = self.cover(begin, end)
        return kelvin + share * (np.float32(self.temperature) - kelvin)


class RainField:
    """All the drops of a rain.

    Args:
        seed: of the drops' places.
        weather: a rain.
    """

    def __init__(self, seed: int, weather: Weather) -> None:
        random = np.random.default_rng([seed, 13])
        slope = drop_slope(weather.rain_mm_h)
        parts = []
        for low, high in pairwise(EDGES_MM):
            far = min(REACH * high * 1e-3, FARTHEST)
            box = _PERIOD * far
            per_m3 = DROPS_PER_M3_PER_MM / slope * (math.exp(-slope * low) - math.exp(-slope * high))
            count = int(random.poisson(per_m3 * box**3))
            # Inverse of the cumulative distribution between the edges of the class.
            u = random.random(count)
            diameter = -np.log(math.exp(-slope * low) - u * (math.exp(-slope * low) - math.exp(-slope * high))) / slope
            part = np.empty((count, 6))
            part[:, :3] = random.uniform(0.0, box, (count, 3))
            part[:, 3], part[:, 4], part[:, 5] = diameter * 1e-3, box, fall_speed(diameter)
            parts.append(part)
        self._drops = np.concatenate(parts)
        self._wind = np.array([*weather.wind, 0.0])

    def __len__(self) -> int:
        return len(self._drops)

    def in_view(
        self,
        camera: PinholeCamera,
        world_from_camera: Callable[[float], np.ndarray],
        time_s: float,
        span_s: float,
        depth: np.ndarray,
        light: Lighting,
        lamps: np.ndarray,
        reach: float = REACH,
    ) -> RainInView:
        """The drops that the camera may see within `span_s` of a time, its exposures' longest half.

        Args:
            camera, world_from_camera: intrinsics, and 4x4 pose by time.
            depth: float32 [H, W] at that time.
            light, lamps: of the scene.
            reach: in diameters; a smaller one leaves out faint drops.
        """
        pose = world_from_camera(time_s)
        rate = (world_from_camera(time_s + _STEP) - world_from_camera(time_s - _STEP)) / (2 * _STEP)
        sides = np.array([camera.cx + 0.5, camera.width - 0.5 - camera.cx]) / camera.fx
        rows = np.array([camera.cy + 0.5, camera.height - 0.5 - camera.cy]) / camera.fy
        side, row = float(sides.max()), float(rows.max())
        parts = []
        for shift in _periods(pose[:3, :3], side, row):
            places = np.empty((len(self._drops), 3))
            velocities = np.empty((len(self._drops), 3))
            chosen = np.empty(len(self._drops), np.int64)
            count = _select(
                self._drops, self._wind, reach, time_s, span_s, pose[:3, :3].copy(), pose[:3, 3].copy(),
                rate[:3, :3].copy(), rate[:3, 3].copy(), side, row, shift, places, velocities, chosen,
            )  # fmt: skip
            parts.append((places[:count].copy(), velocities[:count].copy(), self._drops[chosen[:count], 3]))
        places, velocities, diameters = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        lamplight = np.zeros(len(places))
        if len(lamps):
            _lamplight(places, pose[:3, :3].copy(), pose[:3, 3].copy(), lamps, lamplight)
        around = SHINE * (0.5 * light.horizon + 0.25 * light.zenith + 0.25 * light.bounce)
        # Drops are a little colder than the air, as a wet-bulb thermometer is.
        return RainInView(places, velocities, diameters, lamplight, camera, depth, around, light.air - 1.5)


def _periods(rotation: np.ndarray, side: float, row: float) -> list[np.ndarray]:
    """Those of the lattice that a camera sees, along the axes of the world, counted from the box before it."""
    if max(side, row) <= NARROW:
        return [np.zeros(3)]
    view = [(0.0, 0.0, 0.0), *((x * side, y * row, 1.0) for x in (-1, 1) for y in (-1, 1))]
    corners = np.array(view) @ rotation.T / _PERIOD - _AHEAD * rotation[:, 2] + 0.5
    first, last = (np.floor(ends).astype(int) for ends in (corners.min(0), corners.max(0)))
    return [np.array(p, np.float64) for p in product(*(range(a, b + 1) for a, b in zip(first, last, strict=True)))]


@njit(**JIT)
def _select(
    drops, wind, reach, time, span, rotation, position, rotation_rate, position_rate, side, row, shift,
    places, velocities, chosen,
):  # fmt: skip
    """Write places and velocities [N, 3] in the camera's frame of the drops in view, and their numbers.

    Of the lattice's period that is `shift` [3] from the box before the camera.
    """
    count = 0
    p, v = np.empty(3), np.empty(3)
    for n in range(drops.shape[0]):
        box = drops[n, 4]
        v[0] = wind[0] - position_rate[0]
        v[1] = wind[1] - position_rate[1]
        v[2] = -drops[n, 5] - position_rate[2]
        for a in range(3):
            fall = -drops[n, 5] if a == 2 else wind[a]
            ahead = _AHEAD * box * rotation[a, 2]
            q = drops[n, a] + fall * time - position[a] - ahead
            p[a] = q - box * math.floor(q / box + 0.5) + ahead + shift[a] * box
        z = rotation[0, 2] * p[0] + rotation[1, 2] * p[1] + rotation[2, 2] * p[2]
        vz = rotation[0, 2] * v[0] + rotation[1, 2] * v[1] + rotation[2, 2] * v[2]
        way = abs(vz) * span
        if z + way < CLOSEST or z - way > reach * drops[n, 3]:
            continue
        x = rotation[0, 0] * p[0] + rotation[1, 0] * p[1] + rotation[2, 0] * p[2]
        y = rotation[0, 1] * p[0] + rotation[1, 1] * p[1] + rotation[2, 1] * p[2]
        move = math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]) * span + 0.02
        if abs(x) > side * (z + way) + move or abs(y) > row * (z + way) + move:
            continue
        places[count, 0], places[count, 1], places[count, 2] = x, y, z
        for a in range(3):
            turning = rotation_rate[0, a] * p[0] + rotation_rate[1, a] * p[1] + rotation_rate[2, a] * p[2]
            velocities[count, a] = rotation[0, a] * v[0] + rotation[1, a] * v[1] + rotation[2, a] * v[2] + turning
        chosen[count] = n
        count += 1
    return count


@njit(**JIT)
def _lamplight(places, rotation, position, lamps, out):
    """Radiance [N] that lamps give drops at places [N, 3], as the camera sees them."""
    for n in range(places.shape[0]):
        x, y, z = places[n, 0], places[n, 1], places[n, 2]
        far = math.sqrt(x * x + y * y + z * z)
        wx = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z
        wy = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z
        wz = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
        for k in range(lamps.shape[0]):
            lamp = lamps[k]
            rx, ry, rz = lamp[0] - position[0] - wx, lamp[1] - position[1] - wy, lamp[2] - position[2] - wz
            away = math.sqrt(rx * rx + ry * ry + rz * rz) + 1e-3
            outwards, downwards = lamp_pattern(lamp, rx, ry, rz, away)
            if outwards <= 0.0:
                continue
            # Light comes along -r and goes on along -w.
            cosine = (rx * wx + ry * wy + rz * wz) / (away * far)
            out[n] += math.pi * lamp[4] * outwards * downwards * phase(cosine) / (away * away + 0.05)


@njit(**JIT)
def _cover(places, velocities, diameters, lamplight, fx, fy, cx, cy, depth, begin, end, share, glow):
    """Add to share and glow [H, W] what drops cover on their way from begin to end.

    A drop out of focus covers a larger disc the less. Where the disc is under two pixels wide it is laid over the four
    nearest, wider ones fall off linearly from their middle.
    """
    height, width = depth.shape
    for n in range(places.shape[0]):
        za, zb = places[n, 2] + velocities[n, 2] * begin, places[n, 2] + velocities[n, 2] * end
        z = 0.5 * (za + zb)
        if za < CLOSEST or zb < CLOSEST:
            continue
        ua = fx * (places[n, 0] + velocities[n, 0] * begin) / za + cx
        va = fy * (places[n, 1] + velocities[n, 1] * begin) / za + cy
        ub = fx * (places[n, 0] + velocities[n, 0] * end) / zb + cx
        vb = fy * (places[n, 1] + velocities[n, 1] * end) / zb + cy
        if max(ua, ub) < -2.0 or min(ua, ub) > width + 1.0 or max(va, vb) < -2.0 or min(va, vb) > height + 1.0:
            continue
        size = diameters[n] / z
        area = 0.25 * math.pi * size * size * fx * fy
        radius = 0.5 * math.sqrt(size * size + (APERTURE / z) ** 2) * math.sqrt(fx * fy)
        steps = 1 + int(math.hypot(ub - ua, vb - va) / max(0.7, 0.5 * radius))
        mass = area / steps
        for k in range(steps):
            at = (k + 0.5) / steps
            u, v = ua + (ub - ua) * at, va + (vb - va) * at
            if radius < 1.0:
                i, j = math.floor(u), math.floor(v)
                for dj in range(2):
                    for di in range(2):
                        x, y = int(i) + di, int(j) + dj
                        if 0 <= x < width and 0 <= y < height and depth[y, x] > z:
                            weight = (1.0 - abs(u - x)) * (1.0 - abs(v - y)) * mass
                            share[y, x] += weight
                            glow[y, x] += weight * lamplight[n]
                continue
            # A cone of height 1 over the disc has a third of its area.
            peak = 3.0 * mass / (math.pi * radius * radius)
            for y in range(max(0, math.ceil(v - radius)), min(height - 1, math.floor(v + radius)) + 1):
                for x in range(max(0, math.ceil(u - radius)), min(width - 1, math.floor(u + radius)) + 1):
                    off = math.hypot(x - u, y - v) / radius
                    if off < 1.0 and depth[y, x] > z:
                        weight = (1.0 - off) * peak
                        share[y, x] += weight
                        glow[y, x] += weight * lamplight[n]
