"""Lists of what may stand between a point and the sun: a grid across the sun's rays, compiled.

The grid lies in the plane across the sun's direction; every primitive is entered in the cells its shadow can touch, so
a shadow ray tests the handful of primitives of one cell. A second grid over the ground holds models that darken the
ground beside and below them (ambient occlusion).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from spike_depth_core.world.compilation import JIT
from spike_depth_core.world.intersect import MISS, hit
from spike_depth_core.world.primitives import HIGH, LOW

CELLS = 144
REACH = 115.0  # metres: half the side of the grid


def sun_basis(sun: np.ndarray) -> np.ndarray:
    """Rows: two unit vectors across the sun's direction, and the direction itself."""
    side = np.cross(sun, [0.0, 0.0, 1.0])
    side = side / np.linalg.norm(side)
    return np.stack([side, np.cross(side, sun), sun])


@njit(**JIT)
def _span(pose, row, axis):
    """(low, high) of a primitive's box along a world axis."""
    middle, half = 0.0, 0.0
    for b in range(3):
        along = axis[0] * pose[0, b] + axis[1] * pose[1, b] + axis[2] * pose[2, b]
        middle += along * 0.5 * (row[LOW + b] + row[HIGH + b])
        half += abs(along) * 0.5 * (row[HIGH + b] - row[LOW + b])
    middle += axis[0] * pose[0, 3] + axis[1] * pose[1, 3] + axis[2] * pose[2, 3]
    return middle - half, middle + half


@njit(**JIT)
def shadow_grid(basis, centre, poses, ranges, data, exhaustive):
    """Cell lists over primitives: spans [CELLS^2, 2] (first, beyond) of entries [N, 2] of (instance, primitive).

    centre [2]: coordinates of the grid's middle along the first two rows of `basis`. `exhaustive` gives every cell the
    list of all primitives.
    """
    cell = 2.0 * REACH / CELLS
    spans = np.zeros((CELLS * CELLS, 2), dtype=np.int64)
    if exhaustive:
        total = 0
        for index in range(poses.shape[0]):
            total += ranges[index, 1] - ranges[index, 0]
        everything = np.empty((total, 2), dtype=np.int32)
        n = 0
        for index in range(poses.shape[0]):
            for primitive in range(ranges[index, 0], ranges[index, 1]):
                everything[n, 0], everything[n, 1] = index, primitive
                n += 1
        spans[:, 1] = total
        return spans, everything
    entries = np.empty((0, 2), dtype=np.int32)
    for turn in range(2):
        for index in range(poses.shape[0]):
            for primitive in range(ranges[index, 0], ranges[index, 1]):
                a0, a1 = _span(poses[index], data[primitive], basis[0])
                b0, b1 = _span(poses[index], data[primitive], basis[1])
                i0 = int(max(0.0, math.floor((a0 - centre[0] + REACH) / cell - 1e-6)))
                i1 = int(min(CELLS - 1.0, math.floor((a1 - centre[0] + REACH) / cell + 1e-6)))
                j0 = int(max(0.0, math.floor((b0 - centre[1] + REACH) / cell - 1e-6)))
                j1 = int(min(CELLS - 1.0, math.floor((b1 - centre[1] + REACH) / cell + 1e-6)))
                for j in range(j0, j1 + 1):
                    for i in range(i0, i1 + 1):
                        k = j * CELLS + i
                        if turn == 1:
                            entries[spans[k, 1], 0] = index
                            entries[spans[k, 1], 1] = primitive
                        spans[k, 1] += 1
        if turn == 0:
            total = 0
            for k in range(CELLS * CELLS):
                count = spans[k, 1]
                spans[k, 0] = spans[k, 1] = total
                total += count
            entries = np.empty((total, 2), dtype=np.int32)
    return spans, entries


@njit(**JIT)
def in_shadow(px, py, pz, basis, centre, spans, entries, poses, seeds, kind, data, planes, near):
    """Whether the sun is hidden from the world point. Outside the grid nothing is."""
    cell = 2.0 * REACH / CELLS
    a = basis[0, 0] * px + basis[0, 1] * py + basis[0, 2] * pz
    b = basis[1, 0] * px + basis[1, 1] * py + basis[1, 2] * pz
    i = math.floor((a - centre[0] + REACH) / cell)
    j = math.floor((b - centre[1] + REACH) / cell)
    if i < 0.0 or j < 0.0 or i >= CELLS or j >= CELLS:
        return False
    k = int(j) * CELLS + int(i)
    sx, sy, sz = basis[2, 0], basis[2, 1], basis[2, 2]
    last = -1
    ox = oy = oz = dx = dy = dz = 0.0
    for n in range(spans[k, 0], spans[k, 1]):
        index, primitive = entries[n, 0], entries[n, 1]
        if index != last:
            last = index
            p = poses[index]
            qx, qy, qz = px - p[0, 3], py - p[1, 3], pz - p[2, 3]
            ox = p[0, 0] * qx + p[1, 0] * qy + p[2, 0] * qz
            oy = p[0, 1] * qx + p[1, 1] * qy + p[2, 1] * qz
            oz = p[0, 2] * qx + p[1, 2] * qy + p[2, 2] * qz
            dx = p[0, 0] * sx + p[1, 0] * sy + p[2, 0] * sz
            dy = p[0, 1] * sx + p[1, 1] * sy + p[2, 1] * sz
            dz = p[0, 2] * sx + p[1, 2] * sy + p[2, 2] * sz
        t = hit(
            kind[primitive, 0], kind[primitive, 3], data[primitive], planes[primitive], seeds[index],
            ox, oy, oz, dx, dy, dz, near, 400.0, 0.0,
        )  # fmt: skip
        if t != MISS:
            return True
    return False


AO_CELLS = 64
AO_CELL = 4.0


@njit(**JIT)
def occluder_grid(centre, poses, footprints):
    """Cell lists over models near the ground: starts [AO_CELLS^2 + 1], entries [N].

    footprints [I, 6]: x0, x1, y0, y1 (model frame), strength, reach.
    """
    starts = np.zeros(AO_CELLS * AO_CELLS + 1, dtype=np.int64)
    fill = np.zeros(AO_CELLS * AO_CELLS, dtype=np.int64)
    entries = np.empty(0, dtype=np.int32)
    half = 0.5 * AO_CELLS * AO_CELL
    for turn in range(2):
        for index in range(poses.shape[0]):
            f = footprints[index]
            if f[4] <= 0.0:
                continue
            p = poses[index]
            mx, my = 0.5 * (f[0] + f[1]), 0.5 * (f[2] + f[3])
            hx, hy = 0.5 * (f[1] - f[0]), 0.5 * (f[3] - f[2])
            x = p[0, 0] * mx + p[0, 1] * my + p[0, 3] - centre[0] + half
            y = p[1, 0] * mx + p[1, 1] * my + p[1, 3] - centre[1] + half
            rx = abs(p[0, 0]) * hx + abs(p[0, 1]) * hy + 3.0 * f[5]
            ry = abs(p[1, 0]) * hx + abs(p[1, 1]) * hy + 3.0 * f[5]
            i0, i1 = max(0, math.floor((x - rx) / AO_CELL)), min(AO_CELLS - 1, math.floor((x + rx) / AO_CELL))
            j0, j1 = max(0, math.floor((y - ry) / AO_CELL)), min(AO_CELLS - 1, math.floor((y + ry) / AO_CELL))
            for j in range(j0, j1 + 1):
                for i in range(i0, i1 + 1):
                    k = j * AO_CELLS + i
                    if turn == 0:
                        starts[k + 1] += 1
                    else:
                        entries[starts[k] + fill[k]] = index
                        fill[k] += 1
        if turn == 0:
            for k in range(AO_CELLS * AO_CELLS):
                starts[k + 1] += starts[k]
            entries = np.empty(starts[AO_CELLS * AO_CELLS], dtype=np.int32)
    return starts, entries


@njit(**JIT)
def ground_occlusion(px, py, centre, starts, entries, poses, footprints):
    """Share of skylight (0..1) that reaches the ground at (px, py) beside and below models."""
    half = 0.5 * AO_CELLS * AO_CELL
    i = math.floor((px - centre[0] + half) / AO_CELL)
    j = math.floor((py - centre[1] + half) / AO_CELL)
    if i < 0.0 or j < 0.0 or i >= AO_CELLS or j >= AO_CELLS:
        return 1.0
    k = int(j) * AO_CELLS + int(i)
    light = 1.0
    for n in range(starts[k], starts[k + 1]):
        index = entries[n]
        p, f = poses[index], footprints[index]
        qx, qy = px - p[0, 3], py - p[1, 3]
        x = p[0, 0] * qx + p[1, 0] * qy
        y = p[0, 1] * qx + p[1, 1] * qy
        ax = max(max(f[0] - x, x - f[1]), 0.0)
        ay = max(max(f[2] - y, y - f[3]), 0.0)
        away = math.sqrt(ax * ax + ay * ay) / f[5]
        if away < 3.0:
            light *= 1.0 - f[4] * math.exp(-1.6 * away)
    return light
