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

        Beyond the border the border's pixels repeat.
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
    """Depth and velocity of the nearest point in the tiles around each tile, float32 [h, w, 3]."""
    height, width = depth.shape
    rows, columns = (height + _TILE - 1) // _TILE, (width + _TILE - 1) // _TILE
    own = np.empty((rows, columns, 3), np.float32)
    for row in range(rows):
        for column in range(columns):
            best_y, best_x = row * _TILE, column * _TILE
            for y in range(row * _TILE, min(height, (row + 1) * _TILE)):
                for x in range(column * _TILE, min(width, (column + 1) * _TILE)):
                    if depth[y, x] < depth[best_y, best_x]:
                        best_y, best_x = y, x
            own[row, column, 0] = depth[best_y, best_x]
            own[row, column, 1] = velocity[best_y, best_x, 0]
            own[row, column, 2] = velocity[best_y, best_x, 1]
    out = np.empty_like(own)
    for row in range(rows):
        for column in range(columns):
            best_row, best_column = row, column
            for i in range(max(0, row - radius), min(rows, row + radius + 1)):
                for j in range(max(0, column - radius), min(columns, column + radius + 1)):
                    if own[i, j, 0] < own[best_row, best_column, 0]:
                        best_row, best_column = i, j
            out[row, column] = own[best_row, best_column]
    return out


@njit(inline="always")
def _nearby(depth, x, y):
    """Indices of the pixel nearest to a place, within the image."""
    height, width = depth.shape
    column = min(max(int(x + np.float32(0.5)), 0), width - 1)
    row = min(max(int(y + np.float32(0.5)), 0), height - 1)
    return row, column


@njit(inline="always")
def _source(velocity, depth, nearest, x, y, dt):
    """Where the content of pixel (x, y) at dt is at time 0."""
    here = depth[y, x]
    px, py = np.float32(x), np.float32(y)
    front = nearest[y // _TILE, x // _TILE]
    if front[0] < _NEARER * here:
        # Something near is close by: it covers this pixel if it is found upstream at its own velocity.
        sx, sy = px - front[1] * dt, py - front[2] * dt
        row, column = _nearby(depth, sx, sy)
        there = depth[row, column]
        if there < _NEARER * here and _NEARER * there < front[0]:
            return sx, sy
    sx, sy = px - velocity[y, x, 0] * dt, py - velocity[y, x, 1] * dt
    row, column = _nearby(depth, sx, sy)
    if here < _NEARER * depth[row, column]:
        # What is here at time 0 is not yet, or no longer, here at dt: the far surface behind is seen.
        bx, by = px - velocity[row, column, 0] * dt, py - velocity[row, column, 1] * dt
        row, column = _nearby(depth, bx, by)
        if here < _NEARER * depth[row, column]:
            return bx, by
    return sx, sy


@njit(inline="always")
def _corner(x, y, width, height):
    """Upper left of the four pixels around a place, and the weights of the right and lower ones."""
    x = min(max(x, np.float32(0.0)), np.float32(width - 1))
    y = min(max(y, np.float32(0.0)), np.float32(height - 1))
    x0 = min(int(x), max(width - 2, 0))
    y0 = min(int(y), max(height - 2, 0))
    return x0, y0, x - np.float32(x0), y - np.float32(y0)


@njit(cache=True, nogil=True)
def _move(image, velocity, depth, nearest, dt, out):
    height, width = image.shape
    right, down = min(1, width - 1), min(1, height - 1)
    for y in range(height):
        for x in range(width):
            sx, sy = _source(velocity, depth, nearest, x, y, dt)
            x0, y0, a, b = _corner(sx, sy, width, height)
            top = image[y0, x0] + a * (image[y0, x0 + right] - image[y0, x0])
            bottom = image[y0 + down, x0] + a * (image[y0 + down, x0 + right] - image[y0 + down, x0])
            out[y, x] = top + b * (bottom - top)


@njit(cache=True, nogil=True)
def _expose(image, velocity, depth, nearest, begin, end, out):
    height, width, channels = image.shape
    right, down = min(1, width - 1), min(1, height - 1)
    for y in range(height):
        for x in range(width):
            u, v = velocity[y, x, 0], velocity[y, x, 1]
            front = nearest[y // _TILE, x // _TILE]
            speed = max(u * u + v * v, front[1] * front[1] + front[2] * front[2])
            taps = min(1 + int(np.sqrt(speed) * (end - begin)), _MAX_TAPS)
            out[y, x] = np.float32(0.0)
            for tap in range(taps):
                dt = begin + (end - begin) * np.float32(tap + 0.5) / np.float32(taps)
                sx, sy = _source(velocity, depth, nearest, x, y, dt)
                x0, y0, a, b = _corner(sx, sy, width, height)
                for c in range(channels):
                    low, high = image[y0, x0, c], image[y0 + down, x0, c]
                    top = low + a * (image[y0, x0 + right, c] - low)
                    bottom = high + a * (image[y0 + down, x0 + right, c] - high)
                    out[y, x, c] += (top + b * (bottom - top)) / np.float32(taps)
