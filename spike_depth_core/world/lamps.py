"""How lamps throw their light, compiled. A lamp is a row of the table described in `lighting`."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from spike_depth_core.world.compilation import JIT
from spike_depth_core.world.noise import smoothstep


@njit(**JIT)
def lamp_pattern(lamp, x, y, z, away):
    """Share of its intensity that a lamp sends against (x, y, z), the vector of length `away` from a point to the lamp.

    Two factors, the second 1 but for head lamps; (0, 0) behind those.
    """
    if lamp[10] > 0.5:
        ahead = -(x * lamp[7] + y * lamp[8] + z * lamp[9]) / away
        if ahead <= 0.0:
            return 0.0, 0.0
        # Dipped beam: sharp above, wide to the sides.
        rise = -z / away - lamp[9]
        down = min(rise, 0.0) / 0.14
        beam = math.exp(-lamp[12] * (1.0 - ahead)) * (0.06 + 0.94 * (1.0 - smoothstep(-0.03, 0.035, rise)))
        # Little of it goes steeply down, so that the road just ahead is not glaring.
        return beam, 0.08 + 0.92 * math.exp(-down * down)
    return 0.25 + 0.75 * smoothstep(-0.2, 0.6, z / away), 1.0


@njit(**JIT)
def phase(cosine):
    """Share of scattered light a droplet sends into a direction, 1/sr, by the cosine of the angle it is turned by.

    Two lobes of Henyey and Greenstein: forward for the bulk, backward so that extinction over backscatter is 18 sr, as
    measured for water clouds (O'Connor, Illingworth and Hogan, J. Atmos. Oceanic Technol. 2004: 18.8 sr).
    """
    forward = (1.0 - 0.87**2) / (1.0 + 0.87**2 - 2.0 * 0.87 * cosine) ** 1.5
    backward = (1.0 - 0.6**2) / (1.0 + 0.6**2 + 2.0 * 0.6 * cosine) ** 1.5
    return (0.935 * forward + 0.065 * backward) / (4.0 * math.pi)


COLUMNS, ROWS, SLICES = 36, 22, 14  # of the grid over the picture in which the air's light is gathered
NEAREST, FARTHEST = 0.6, 150.0  # metres of depth: ends of the first and the last slice
FAINTEST = 2e-4  # radiance: a lamp that adds less to a line of sight is passed over


@njit(**JIT)
def _slice_end(number):
    return NEAREST * (FARTHEST / NEAREST) ** (number / (SLICES - 1.0))


@njit(**JIT)
def lamp_airlight(rotation, position, fx, fy, cx, cy, lamps, veil, depth, radiance):
    """Add the light of lamps that the air scatters once towards the camera to radiance [H, W, 4].

    lamps [L, 13]; veil: extinction, 1/m; depth [H, W], metres, +inf for sky. The integral along a line of sight is
    taken by the angle under which the lamp sees it, which makes the integrand flat (Kulla and Fajardo, "Importance
    sampling techniques for path tracing in participating media", EGSR 2012), on a coarse grid of lines of sight, up to
    the ends of slices of depth; pixels interpolate in all three.
    """
    height, width = depth.shape
    gathered = np.zeros((ROWS + 1, COLUMNS + 1, SLICES + 1, 4))
    ends = np.empty(SLICES + 1)
    ends[0] = 0.0
    for k in range(SLICES):
        ends[k + 1] = _slice_end(k)
    for j in range(ROWS + 1):
        ey = (j * (height - 1.0) / ROWS - cy) / fy
        for i in range(COLUMNS + 1):
            ex = (i * (width - 1.0) / COLUMNS - cx) / fx
            length = math.sqrt(ex * ex + ey * ey + 1.0)
            hx = (rotation[0, 0] * ex + rotation[0, 1] * ey + rotation[0, 2]) / length
            hy = (rotation[1, 0] * ex + rotation[1, 1] * ey + rotation[1, 2]) / length
            hz = (rotation[2, 0] * ex + rotation[2, 1] * ey + rotation[2, 2]) / length
            cell = gathered[j, i]
            for n in range(lamps.shape[0]):
                lamp = lamps[n]
                x, y, z = lamp[0] - position[0], lamp[1] - position[1], lamp[2] - position[2]
                along = x * hx + y * hy + z * hz
                off = math.sqrt(max(x * x + y * y + z * z - along * along, 0.09))
                if veil * math.pi * lamp[4] * 0.3 / off < FAINTEST:
                    continue
                angle = math.atan(-along / off)
                for k in range(SLICES):
                    last = angle
                    angle = math.atan((ends[k + 1] * length - along) / off)
                    s = along + off * math.tan(0.5 * (last + angle))
                    away = math.sqrt(off * off + (s - along) ** 2)
                    rx, ry, rz = x - s * hx, y - s * hy, z - s * hz
                    outwards, downwards = lamp_pattern(lamp, rx, ry, rz, away)
                    if outwards <= 0.0:
                        continue
                    light = veil * phase((along - s) / away) * math.pi * outwards * downwards
                    light *= math.exp(-veil * (s + away)) * (angle - last) / off
                    for c in range(4):
                        cell[k + 1, c] += light * lamp[3 + c]
            for k in range(SLICES):
                for c in range(4):
                    cell[k + 1, c] += cell[k, c]
    per_slice = (SLICES - 1.0) / math.log(FARTHEST / NEAREST)
    for v in range(height):
        y = v * ROWS / max(height - 1.0, 1.0)
        j = min(int(y), ROWS - 1)
        b = y - j
        for u in range(width):
            x = u * COLUMNS / max(width - 1.0, 1.0)
            i = min(int(x), COLUMNS - 1)
            a = x - i
            z = min(depth[v, u], FARTHEST)
            k = 0 if z <= NEAREST else min(int(math.log(z / NEAREST) * per_slice) + 1, SLICES - 1)
            share = (z - ends[k]) / (ends[k + 1] - ends[k])
            for c in range(4):
                near = (1.0 - b) * ((1.0 - a) * gathered[j, i, k, c] + a * gathered[j, i + 1, k, c]) + b * (
                    (1.0 - a) * gathered[j + 1, i, k, c] + a * gathered[j + 1, i + 1, k, c]
                )
                far = (1.0 - b) * ((1.0 - a) * gathered[j, i, k + 1, c] + a * gathered[j, i + 1, k + 1, c]) + b * (
                    (1.0 - a) * gathered[j + 1, i, k + 1, c] + a * gathered[j + 1, i + 1, k + 1, c]
                )
                radiance[v, u, c] += near + share * (far - near)
