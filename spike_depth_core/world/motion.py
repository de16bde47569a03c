"""Moving a rendered image along its exact velocities: what was seen a little earlier, what will be a little later.

Images are warped backward: a pixel at time dt shows what lies upstream of it, `velocity * dt` away. Which velocity
holds there is found from the depths, so that near things move over far ones with clean edges: the surface that
covers the pixel at dt may be one that is beside it now, and the one that is there now may have gone.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_TILE = 8  # pixels
_NEARER = np.float32(0.85)  # of the depth: an edge between two surfaces, not the slope of one
_MAX_TAPS = 24
# Infinite depths are meant; NaN do not occur.
_JIT: dict = {"cache": True, "nogil": True, "fastmath": {"nnan", "nsz", "arcp", "contract", "reassoc"}}


class Motion:
    """The motion around the moment of a rendered pass.

    Args:
        velocity: float32 [H, W, 2], pixels a second.
        depth: float32 [H, W], metres, +inf where there is nothing to hit.
        reach_s: the longest time, either way, that images will be moved by.
    """

    def __init__(self, velocity: np.ndarray, depth: np.ndarray, reach_s: float) -> None:
        if velocity.shape != (*depth.shape, 2):
            raise ValueError(f"velocity must be [H, W, 2] for depth {depth.shape}, found {velocity.shape}")
        self._velocity = np.ascontiguousarray(velocity, np.float32)
        self._depth = np.ascontiguousarray(depth, np.float32)
        fastest = float(np.abs(velocity).max(initial=0.0))
        radius = min(5, math.ceil(fastest * reach_s / _TILE)) if math.isfinite(fastest) else 5
        self._nearest = _nearest_around(self._velocity, self._depth, radius)

    def moved(self, image: np.ndarray, dt: float) -> np.ndarray:
        """The image float32 [H, W] as it will be after `dt` seconds (before, if negative).

        Beyond the border the image is mirrored: what was there is not known, but its texture is kept.
        """
        out = np.empty_like(image)
        _move(image, self._velocity, self._depth, self._nearest, np.float32(dt), out)
        return out

    def exposed(self, image: np.ndarray, begin: float, end: float) -> np.ndarray:
        """Mean of the moving image float32 [H, W, C] from `begin` to `end` (seconds): motion blur."""
        out = np.empty_like(image)
        span = np.float32(begin), np.float32(end)
        _expose(image, self._velocity, self._depth, self._nearest, *span, out)
        return out


@njit(cache=True, nogil=True)
def _nearest_around(velocity, depth, radius):
    """Of the tiles around each tile, float32 [h, w, 4]: the nearest point's depth and velocity, and 1 if there
    is an edge in the depths, 0 if one surface fills them all."""
    height, width = depth.shape
    rows, columns = (height + _TILE - 1) // _TILE, (width + _TILE - 1) // _TILE
    own = np.empty((rows, columns, 4), np.float32)
    for row in range(rows):
        for column in range(columns):
            best_y, best_x = row * _TILE, column * _TILE
            edge = False
            for y in range(row * _TILE, min(height, (row + 1) * _TILE)):
                for x in range(column * _TILE, min(width, (column + 1) * _TILE)):
                    here = depth[y, x]
                    if here < depth[best_y, best_x]:
                        best_y, best_x = y, x
                    beside, below = depth[y, min(x + 1, width - 1)], depth[min(y + 1, height - 1), x]
                    edge |= (beside < _NEARER * here) | (here < _NEARER * beside)
                    edge |= (below < _NEARER * here) | (here < _NEARER * below)
            own[row, column, 0] = depth[best_y, best_x]
            own[row, column, 1] = velocity[best_y, best_x, 0]
            own[row, column, 2] = velocity[best_y, best_x, 1]
            own[row, column, 3] = np.float32(1.0) if edge else np.float32(0.0)
    out = np.empty_like(own)
    for row in range(rows):
        for column in range(columns):
            best_row, best_column = row, column
            edge_around = np.float32(0.0)
            for i in range(max(0, row - radius), min(rows, row + radius + 1)):
                for j in range(max(0, column - radius), min(columns, column + radius + 1)):
                    if own[i, j, 0] < own[best_row, best_column, 0]:
                        best_row, best_column = i, j
                    edge_around = max(edge_around, own[i, j, 3])
            out[row, column] = own[best_row, best_column]
            out[row, column, 3] = edge_around
    return out


@njit(inline="always")
def _depth_at(depth, x, y):
    """Depth of the pixel nearest to a place, within the image."""
    height, width = depth.shape
    column = np.int32(min(max(x + np.float32(0.5), np.float32(0.0)), np.float32(width - 1)))
    row = np.int32(min(max(y + np.float32(0.5), np.float32(0.0)), np.float32(height - 1)))
    return depth[row, column]


@njit(inline="always")
def _velocity_at(velocity, x, y):
    height, width, _ = velocity.shape
    column = np.int32(min(max(x + np.float32(0.5), np.float32(0.0)), np.float32(width - 1)))
    row = np.int32(min(max(y + np.float32(0.5), np.float32(0.0)), np.float32(height - 1)))
    return velocity[row, column, 0], velocity[row, column, 1]


@njit(inline="always")
def _mirrored(place, last):
    """A coordinate beyond [0, last] mirrored into it."""
    place = last - abs(last - abs(place))
    return min(max(place, np.float32(0.0)), last)


@njit(**_JIT)
def _source(velocity, depth, near, u, v, x, y, dt):
    """Where the content of pixel (x, y) at dt is at time 0, close to an edge between surfaces.

    `near`, `u`, `v`: depth and velocity of the nearest surface around.
    """
    here = depth[y, x]
    px, py = np.float32(x), np.float32(y)
    if near < _NEARER * here:
        # It covers this pixel if it is found upstream at its own velocity.
        sx, sy = px - u * dt, py - v * dt
        there = _depth_at(depth, sx, sy)
        if there < _NEARER * here and _NEARER * there < near:
            return sx, sy
    sx, sy = px - velocity[y, x, 0] * dt, py - velocity[y, x, 1] * dt
    there = _depth_at(depth, sx, sy)
    if there < _NEARER * _NEARER * here:
        # It is hidden at time 0 by something near that is elsewhere at dt: like it, what is beside.
        return px, py
    if here < _NEARER * there:
        # What is here at time 0 is not here at dt: the far surface behind it is seen.
        bu, bv = _velocity_at(velocity, sx, sy)
        bx, by = px - bu * dt, py - bv * dt
        if here < _NEARER * _depth_at(depth, bx, by):
            return bx, by
    return sx, sy


@njit(**_JIT)
def _move(image, velocity, depth, nearest, dt, out):
    height, width = image.shape
    sources_x = np.empty(width, np.float32)
    sources_y = np.empty(width, np.float32)
    bottom, right = np.float32(height - 1), np.float32(width - 1)
    for y in range(height):
        for x in range(width):
            sources_x[x] = np.float32(x) - velocity[y, x, 0] * dt
            sources_y[x] = np.float32(y) - velocity[y, x, 1] * dt
        for tile in range(nearest.shape[1]):
            near, u, v, edge = nearest[y // _TILE, tile]
            if edge > 0:
                for x in range(tile * _TILE, min(width, (tile + 1) * _TILE)):
                    sources_x[x], sources_y[x] = _source(velocity, depth, near, u, v, x, y, dt)
        for x in range(width):
            sx, sy = _mirrored(sources_x[x], right), _mirrored(sources_y[x], bottom)
            x0, y0 = np.int32(sx), np.int32(sy)
            x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
            a, b = sx - np.float32(x0), sy - np.float32(y0)
            upper = image[y0, x0] + a * (image[y0, x1] - image[y0, x0])
            lower = image[y1, x0] + a * (image[y1, x1] - image[y1, x0])
            out[y, x] = upper + b * (lower - upper)


@njit(**_JIT)
def _expose(image, velocity, depth, nearest, begin, end, out):
    height, width, channels = image.shape
    bottom, right = np.float32(height - 1), np.float32(width - 1)
    for y in range(height):
        for x in range(width):
            u, v = velocity[y, x, 0], velocity[y, x, 1]
            near, near_u, near_v, edge = nearest[y // _TILE, x // _TILE]
            speed = u * u + v * v
            if edge > 0:
                speed = max(speed, near_u * near_u + near_v * near_v)
            taps = min(1 + int(np.sqrt(speed) * (end - begin)), _MAX_TAPS)
            share = np.float32(1.0) / np.float32(taps)
            out[y, x] = np.float32(0.0)
            for tap in range(taps):
                dt = begin + (end - begin) * (np.float32(tap) + np.float32(0.5)) * share
                if edge > 0:
                    sx, sy = _source(velocity, depth, near, near_u, near_v, x, y, dt)
                else:
                    sx, sy = np.float32(x) - u * dt, np.float32(y) - v * dt
                sx, sy = _mirrored(sx, right), _mirrored(sy, bottom)
                x0, y0 = np.int32(sx), np.int32(sy)
                x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
                a, b = sx - np.float32(x0), sy - np.float32(y0)
                for c in range(channels):
                    upper = image[y0, x0, c] + a * (image[y0, x1, c] - image[y0, x0, c])
                    lower = image[y1, x0, c] + a * (image[y1, x1, c] - image[y1, x0, c])
                    out[y, x, c] += (upper + b * (lower - upper)) * share
