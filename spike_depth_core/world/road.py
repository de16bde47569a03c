"""The road's line through the land, its cross-section, and the ground mesh over both.

Along the line runs the arc length s (metres), across it the offset d (metres, positive to the left). World axes: x, y
horizontal, z up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from spike_depth_core.world.compilation import JIT
from spike_depth_core.world.surfaces import ASPHALT

STATION = 3.0  # metres between rows of the mesh


@dataclass(frozen=True)
class Column:
    """A strip of the cross-section: it ends at offset `d` and height `z` over the road, and is made of `material`."""

    d: float
    z: float
    material: int


@dataclass(frozen=True)
class Junction:
    """A side street over `start` <= s <= `end`, on the left, the right or both."""

    start: float
    end: float
    left: bool
    right: bool


@njit(**JIT)
def _heights(s, d, offsets, heights, junctions, waves, relief, out):
    for n in range(s.shape[0]):
        z = np.interp(d[n], offsets, heights)
        flat = -0.02 * min(abs(d[n]), 8.0)
        for j in range(junctions.shape[0]):
            # A side street meets the road at its level: the kerb sinks over one metre.
            inside = min(s[n] - junctions[j, 0], junctions[j, 1] - s[n]) + 1.0
            if inside > 0.0 and ((d[n] > 0.0 and junctions[j, 2] > 0.5) or (d[n] < 0.0 and junctions[j, 3] > 0.5)):
                z += min(inside, 1.0) * (flat - z)
        beyond = min(1.0, max(0.0, (abs(d[n]) - 14.0) / 40.0))
        if beyond > 0.0:
            land = math.sin(s[n] / 37.0 + waves[0] + d[n] / 51.0) + math.sin(s[n] / 83.0 + waves[1] - d[n] / 29.0)
            z += relief * beyond * (land + math.sin(d[n] / 67.0 + waves[2]))
        out[n] = z


class Road:
    """A smooth line with hills, and a cross-section that junctions interrupt.

    Args:
        rng: draws the bends and hills.
        length: arc length covered, from `start`.
        bend: greatest curvature, 1/m. hill: greatest gradient.
        right, left: columns of either side from the middle outwards (offsets as distances, positive).
        crown: fall of the carriageway per metre from the middle.
        relief: amplitude in metres of the land beyond the columns' end.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        start: float,
        length: float,
        bend: float,
        hill: float,
        right: list[Column],
        left: list[Column],
        junctions: list[Junction],
        relief: float = 1.0,
    ) -> None:
        self.start, self.end = start, start + length
        self.right, self.left, self.junctions, self.relief = right, left, junctions, relief
        self._s = np.arange(start, start + length + 1.0, 0.5)
        heading = np.zeros_like(self._s)
        slope = np.zeros_like(self._s)
        for _ in range(4):
            # Bends: |d heading / ds| <= bend / 4 each, and the heading itself stays bounded, so the road never
            # turns back on itself.
            wavelength = rng.uniform(60.0, 420.0)
            amplitude = min(rng.uniform(0.2, 1.0) * bend / 2.5 * wavelength / (2 * math.pi), 0.45)
            heading += amplitude * np.sin(2 * math.pi * (self._s / wavelength + rng.random()))
            wavelength = rng.uniform(120.0, 500.0)
            slope += rng.uniform(0.1, 0.5) * hill * np.sin(2 * math.pi * (self._s / wavelength + rng.random()))
        step = 0.5
        self._heading = heading
        self._x = np.concatenate([[0.0], np.cumsum(np.cos((heading[1:] + heading[:-1]) / 2))]) * step
        self._y = np.concatenate([[0.0], np.cumsum(np.sin((heading[1:] + heading[:-1]) / 2))]) * step
        self._z = np.concatenate([[0.0], np.cumsum((slope[1:] + slope[:-1]) / 2)]) * step
        self._slope = slope
        self._waves = rng.uniform(0.0, 2 * math.pi, 6)
        self._columns = self._lay_columns()
        self._junction_table = np.array(
            [(j.start, j.end, j.left, j.right) for j in junctions], dtype=np.float64
        ).reshape(-1, 4)

    def _lay_columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        d = [0.0]
        z = [0.0]
        left_material = []
        for column in self.left:
            d.append(column.d)
            z.append(column.z)
            left_material.append(column.material)
        rd, rz, right_material = [], [], []
        for column in self.right:
            rd.append(-column.d)
            rz.append(column.z)
            right_material.append(column.material)
        return (
            np.array(rd[::-1] + d),
            np.array(rz[::-1] + z),
            np.array(right_material[::-1] + left_material, dtype=np.int64),
        )

    def heading(self, s: ArrayLike) -> np.ndarray:
        """Direction of the road at s, radians in the x-y plane."""
        return np.interp(np.asarray(s, dtype=np.float64), self._s, self._heading)

    def slope(self, s: ArrayLike) -> np.ndarray:
        """dz/ds at s."""
        return np.interp(np.asarray(s, dtype=np.float64), self._s, self._slope)

    def in_junction(self, s: float, margin: float, side: int = 0) -> bool:
        """Whether s lies within `margin` of a junction with a street on the side (1 left, -1 right, 0 either)."""
        for j in self.junctions:
            if j.start - margin < s < j.end + margin and (side == 0 or (j.left if side > 0 else j.right)):
                return True
        return False

    def height(self, s: ArrayLike, d: ArrayLike) -> np.ndarray:
        """Height of the ground over the line's: cross-section and relief, without the line's own z. Broadcasts."""
        s, d = np.broadcast_arrays(np.asarray(s, dtype=np.float64), np.asarray(d, dtype=np.float64))
        offsets, heights, _ = self._columns
        flat = np.empty(s.size)
        _heights(s.ravel(), d.ravel(), offsets, heights, self._junction_table, self._waves, self.relief, flat)
        return flat.reshape(s.shape)

    def point(self, s: ArrayLike, d: ArrayLike) -> np.ndarray:
        """World points [..., 3] on the ground at (s, d)."""
        s, d = np.broadcast_arrays(np.asarray(s, dtype=np.float64), np.asarray(d, dtype=np.float64))
        heading = self.heading(s)
        x = np.interp(s, self._s, self._x) - np.sin(heading) * d
        y = np.interp(s, self._s, self._y) + np.cos(heading) * d
        z = np.interp(s, self._s, self._z) + self.height(s, d)
        return np.stack([x, y, z], axis=-1)

    def mesh(self, near: float, far: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Ground triangles over near <= s <= far.

        Returns corners [T, 3, 3] in the world, their (s, d) [T, 3, 2], and material and column index int64 [T, 2];
        nothing reads the column, but the digests of streets are of it too.
        """
        first = math.floor(max(near, self.start + 1) / STATION)
        last = math.ceil(min(far, self.end - 1) / STATION)
        s = np.arange(first, last + 1) * STATION
        offsets, _, materials = self._columns
        grid_s, grid_d = np.meshgrid(s, offsets, indexing="ij")
        points = self.point(grid_s, grid_d)
        coordinates = np.stack([grid_s, grid_d], axis=-1)
        rows, columns = len(s) - 1, len(offsets) - 1
        material = np.broadcast_to(materials, (rows, columns)).copy()
        middle_s = (s[1:] + s[:-1]) / 2
        middle_d = (offsets[1:] + offsets[:-1]) / 2
        for j in self.junctions:
            along = (middle_s > j.start) & (middle_s < j.end)
            across = ((middle_d > 0) & j.left) | ((middle_d < 0) & j.right)
            material[np.ix_(along, across)] = ASPHALT

        def corners(a):
            p, q, r, t = a[:-1, :-1], a[1:, :-1], a[1:, 1:], a[:-1, 1:]
            return np.stack([np.stack([p, q, r], 2), np.stack([p, r, t], 2)], 2).reshape(-1, 3, a.shape[-1])

        column = np.broadcast_to(np.arange(columns), (rows, columns))
        labels = np.repeat(np.stack([material, column], -1).reshape(-1, 1, 2), 2, axis=1).reshape(-1, 2)
        return corners(points), corners(coordinates), np.ascontiguousarray(labels)

    def frames(self, s: ArrayLike, d: ArrayLike, yaw: ArrayLike) -> np.ndarray:
        """Poses [N, 4, 4] on the ground at (s, d): x along the road turned by `yaw`, z up but for its gradient."""
        s, d, yaw = np.broadcast_arrays(*(np.asarray(a, dtype=np.float64) for a in (s, d, yaw)))
        heading = self.heading(s) + yaw
        pitch = np.arctan(self.slope(s) * np.cos(yaw))
        c, n, cp, sp = np.cos(heading), np.sin(heading), np.cos(pitch), np.sin(pitch)
        zero = np.zeros_like(c)
        matrices = np.zeros((*s.shape, 4, 4))
        matrices[..., :3, 0] = np.stack([c * cp, n * cp, sp], -1)
        matrices[..., :3, 1] = np.stack([-n, c, zero], -1)
        matrices[..., :3, 2] = np.stack([-c * sp, -n * sp, cp], -1)
        matrices[..., :3, 3] = self.point(s, d)
        matrices[..., 3, 3] = 1.0
        return matrices
