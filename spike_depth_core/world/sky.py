"""Radiance and apparent temperature of the sky in a direction, compiled."""

from __future__ import annotations

import math

from numba import njit

from spike_depth_core.world.compilation import JIT
from spike_depth_core.world.lighting import (
    CLOUDS,
    DARK,
    HORIZON,
    SEED,
    SKY_COLD,
    SKY_WARM,
    SUN,
    SUNLIGHT,
    ZENITH,
)
from spike_depth_core.world.noise import noise2, smoothstep


@njit(**JIT)
def sky(x, y, z, light, out):
    """Write radiance (r, g, b, nir) and temperature of unit direction (x, y, z up) into out [5]."""
    up = max(z, 0.0)
    blend = (1.0 - up) ** 3.5
    cover = light[CLOUDS]
    cloud = 0.0
    if cover > 0.01 and z > 0.0:
        # Cloud noise on a plane overhead; near the horizon it is compressed, as in perspective.
        scale = 1.3 / (up + 0.12)
        seed = int(light[SEED])
        u, v = x * scale, y * scale
        n = (
            0.55 * noise2(u, v, seed)
            + 0.28 * noise2(2.1 * u, 2.1 * v, seed + 1)
            + 0.17 * noise2(4.7 * u, 4.7 * v, seed + 2)
        )
        cloud = smoothstep(0.95 - cover, 1.25 - 0.85 * cover, n + 0.12)
        shade = 0.65 + 0.6 * noise2(1.7 * u + 9.0, 1.7 * v, seed + 3)
    else:
        shade = 1.0
    towards = x * light[SUN] + y * light[SUN + 1] + z * light[SUN + 2]
    glow = 0.0
    if towards > 0.0:
        glow = 0.35 * towards**8 + 1.6 * towards**64
        if towards > 0.9995 and light[DARK] < 0.5:
            glow += 30.0
    for c in range(4):
        clear = light[ZENITH + c] + (light[HORIZON + c] - light[ZENITH + c]) * blend
        cloudy = 0.25 * (light[HORIZON] + light[HORIZON + 1] + light[HORIZON + 2] + light[HORIZON + c])
        cloudy *= light[CLOUDS + 1] * shade
        out[c] = clear + (cloudy - clear) * cloud + glow * light[SUNLIGHT + c] * (1.0 - 0.6 * cloud)
    cold = light[SKY_COLD] + (light[SKY_WARM] - light[SKY_COLD]) * math.sqrt(blend)
    out[4] = cold + 0.5 * cloud * (light[SKY_WARM] - cold)
