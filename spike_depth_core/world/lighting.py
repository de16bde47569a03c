"""The light of a scene: sun, sky, haze, lamps, and the temperatures of air and sky.

Radiance 1.0 is a white diffuse surface facing the sun at full noon. Lengths in metres, temperatures in kelvin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

# Columns of the lamp table: position, radiance of a white surface at 1 m facing it (r, g, b, nir), axis, kind, reach,
# sharpness of the beam.
LAMP_WIDTH = 13
OMNI, BEAM = 0.0, 1.0
LAMP_WHITE = np.array([1.0, 0.93, 0.8, 0.9])  # colour of head lamps


@dataclass(frozen=True)
class Lighting:
    """What lights a scene.

    Attributes:
        sun: unit vector towards the sun (world). sunlight: [4] radiance of a white surface facing it (0: none).
        zenith, horizon: sky radiance [4]. clouds: cover 0..1. cloud_bright: radiance of cloud relative to the horizon.
        ambient: mean sky radiance [4] on an open horizontal surface. bounce: light from below [4].
        haze: extinction 1/m, airlight [4].
        air: temperature (K). sky_cold, sky_warm: apparent sky temperature at the zenith and the horizon.
        heating: how much warmer than air sunlit surfaces have become (K).
        dark: 0 by day, 1 where lamps and windows are lit. headlamps: strength of the ego car's.
        wet: 0 dry to 1 wet road.
        veil: extinction [4] of fog or rain up to `veil_height` metres over the road, 1/m; it takes the place of haze.
        thermal_veil: its extinction in the thermal band, 1/m. rain: rate in mm/h.
    """

    sun: np.ndarray
    sunlight: np.ndarray
    zenith: np.ndarray
    horizon: np.ndarray
    clouds: float
    cloud_bright: float
    ambient: np.ndarray
    bounce: np.ndarray
    haze: float
    airlight: np.ndarray
    air: float
    sky_cold: float
    sky_warm: float
    heating: float
    dark: float
    headlamps: float
    wet: float
    seed: int
    veil: np.ndarray = field(default_factory=lambda: np.zeros(4))
    thermal_veil: float = 0.0
    veil_height: float = 0.0
    rain: float = 0.0

    def vector(self) -> np.ndarray:
        """All of it as float64 [48], the form compiled code reads (offsets below)."""
        v = np.zeros(48)
        v[SUN : SUN + 3] = self.sun
        for offset, value in (
            (SUNLIGHT, self.sunlight),
            (ZENITH, self.zenith),
            (HORIZON, self.horizon),
            (AMBIENT, self.ambient),
            (BOUNCE, self.bounce),
            (AIRLIGHT, self.airlight),
        ):
            v[offset : offset + 4] = value
        v[CLOUDS : CLOUDS + 2] = self.clouds, self.cloud_bright
        v[HAZE] = self.haze
        v[AIR : AIR + 4] = self.air, self.sky_cold, self.sky_warm, self.heating
        v[DARK], v[HEADLAMPS], v[WET], v[SEED] = self.dark, self.headlamps, self.wet, self.seed
        v[VEIL : VEIL + 4] = self.veil
        v[THERMAL_VEIL], v[VEIL_HEIGHT], v[RAIN] = self.thermal_veil, self.veil_height, self.rain
        return v


SUN, SUNLIGHT, ZENITH, HORIZON, CLOUDS = 0, 3, 7, 11, 15
AMBIENT, BOUNCE, HAZE, AIRLIGHT = 17, 21, 25, 26
AIR, SKY_COLD, SKY_WARM, HEATING = 30, 31, 32, 33
DARK, HEADLAMPS, WET, SEED = 34, 35, 36, 37  # nothing reads HEADLAMPS, but the digests of streets are of it too
VEIL, THERMAL_VEIL, VEIL_HEIGHT, RAIN = 38, 42, 43, 44


def _direction(azimuth: float, elevation: float) -> np.ndarray:
    return np.array(
        [math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth), math.sin(elevation)]
    )


def draw_lighting(rng: np.random.Generator, condition: str) -> Lighting:
    """Light of a "day" (clear, hazy or overcast), a "dusk" or a "night"."""
    azimuth = rng.uniform(-math.pi, math.pi)
    seed = int(rng.integers(1 << 20))
    air = rng.uniform(276.0, 301.0)
    wet = rng.uniform(0.3, 1.0) if rng.random() < 0.09 else 0.0
    if condition == "day":
        kind = rng.choice(3, p=[0.62, 0.16, 0.22])
        elevation = math.radians(rng.uniform(14.0, 62.0))
        warmth = np.array([1.0, 0.9 + 0.08 * math.sin(elevation), 0.72 + 0.2 * math.sin(elevation), 1.05])
        if kind == 2:
            strength, clouds = 0.0, 1.0
            grey = rng.uniform(0.25, 0.7) * np.array([0.97, 1.0, 1.04, 0.8])
            zenith, horizon, bright = grey * 1.1, grey * rng.uniform(0.9, 1.4), rng.uniform(0.95, 1.2)
            ambient = grey * 0.75
            haze = rng.choice([0.0003, 0.001, 0.0028], p=[0.6, 0.3, 0.1])
        else:
            strength = rng.uniform(0.7, 1.0)
            clouds = rng.uniform(0.0, 0.75)
            blue = np.array([0.17, 0.33, 0.66, 0.1]) * rng.uniform(0.7, 1.3)
            zenith = blue
            horizon = np.array([0.66, 0.83, 1.0, 0.45]) * rng.uniform(0.55, 1.6)
            bright = rng.uniform(0.9, 1.7)
            # Fill light: small where shadows are to be black, larger under bright haze.
            ambient = (0.4 * zenith + 0.3 * horizon) * (0.035 + 0.38 * rng.random() ** 1.6)
            haze = rng.choice([0.0002, 0.0008]) if kind == 0 else rng.uniform(0.0008, 0.0032)
            if kind == 1:
                zenith, horizon = 0.5 * zenith + 0.35, horizon * 1.1
                ambient = ambient * 1.5
        sunlight = strength * warmth
        if kind == 1:
            sunlight = sunlight * 0.7
        return Lighting(
            sun=_direction(azimuth, elevation),
            sunlight=sunlight,
            zenith=zenith,
            horizon=horizon,
            clouds=clouds,
            cloud_bright=bright,
            ambient=ambient,
            bounce=rng.uniform(0.06, 0.2) * (ambient + 0.5 * math.sin(elevation) * sunlight),
            haze=float(haze),
            airlight=0.6 * horizon + 0.15 * zenith,
            air=air,
            sky_cold=rng.uniform(228.0, 262.0) + 14.0 * (kind == 2),
            sky_warm=air - rng.uniform(2.0, 12.0),
            heating=rng.uniform(4.0, 18.0) * strength if kind != 2 else 1.5,
            dark=0.0,
            headlamps=0.0,
            wet=wet,
            seed=seed,
        )
    if condition == "dusk":
        level = rng.uniform(0.06, 0.28)
        glow = np.array([1.15, rng.uniform(0.85, 1.0), rng.uniform(0.6, 1.0), 1.1])
        zenith = level * np.array([0.45, 0.6, 0.95, 0.4])
        horizon = level * glow * rng.uniform(1.2, 2.2)
        ambient = 0.45 * zenith + 0.22 * horizon
        sun = rng.random() < 0.3
        return Lighting(
            sun=_direction(azimuth, math.radians(rng.uniform(3.0, 8.0))),
            sunlight=(level * rng.uniform(0.8, 1.6) if sun else 0.0) * np.array([1.2, 0.75, 0.4, 1.3]),
            zenith=zenith,
            horizon=horizon,
            clouds=rng.uniform(0.0, 0.9),
            cloud_bright=rng.uniform(0.6, 1.1),
            ambient=ambient,
            bounce=0.2 * ambient,
            haze=float(rng.choice([0.0006, 0.002])),
            airlight=0.7 * horizon,
            air=air - 2.0,
            sky_cold=rng.uniform(226.0, 256.0),
            sky_warm=air - rng.uniform(4.0, 12.0),
            heating=rng.uniform(1.0, 5.0),
            dark=float(rng.uniform(0.3, 1.0)),
            headlamps=rng.uniform(0.25, 0.6),
            wet=wet,
            seed=seed,
        )
    if condition == "night":
        level = rng.uniform(0.0012, 0.006)
        zenith = level * np.array([0.7, 0.75, 1.0, 0.8])
        horizon = level * np.array([2.2, 1.7, 1.4, 2.0])
        ambient = level * np.array([1.1, 1.0, 0.95, 1.1])
        return Lighting(
            sun=_direction(azimuth, 0.6),
            sunlight=np.zeros(4),
            zenith=zenith,
            horizon=horizon,
            clouds=rng.uniform(0.0, 1.0),
            cloud_bright=rng.uniform(0.8, 1.6),
            ambient=ambient,
            bounce=0.3 * ambient,
            haze=float(rng.choice([0.0005, 0.0025])),
            airlight=1.2 * horizon,
            air=air - 5.0,
            sky_cold=rng.uniform(222.0, 252.0),
            sky_warm=air - rng.uniform(6.0, 16.0),
            heating=rng.uniform(-1.0, 1.5),
            dark=1.0,
            headlamps=rng.uniform(0.7, 1.4),
            wet=wet,
            seed=seed,
        )
    raise ValueError(f"condition must be 'day', 'dusk' or 'night', found {condition!r}")
