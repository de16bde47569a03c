"""The shapes the ray caster knows, as rows of tables, and the builder that collects them into models.

A model is a rigid group of primitives in its own frame (x forward, y left, z up, metres). Instances of models, each
with a pose and a palette, make the scene.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

# Shapes.
POLYHEDRON, ELLIPSOID, CONE, PANEL, RING = range(5)
# Cut-outs: where a shape is not solid, as a function of the place on (or in) it.
SOLID, LEAVES, PICKETS, LATTICE, BARS, SPOKES = range(6)

MAX_PLANES = 14
# Columns of `PrimitiveTable.data`.
LOW, HIGH, SHAPE = 0, 3, 6  # bounding box; 9 numbers of the shape
BEVEL, CUTOUT, CUT_A, CUT_B, WARMTH, EXTRA = 15, 16, 17, 18, 19, 20
DATA_WIDTH = 21


@dataclass(frozen=True)
class PrimitiveTable:
    """Primitives as arrays.

    Attributes:
        kind: int32 [P, 4]: shape, material, palette slot, number of planes.
        data: float64 [P, 21]: bounding box, shape numbers, bevel radius, cut-out and its parameters, warmth (K), extra.
        planes: float64 [P, 14, 4]: outward unit normal and offset; inside is n.p + w <= 0.
    """

    kind: np.ndarray
    data: np.ndarray
    planes: np.ndarray

    @classmethod
    def concatenate(cls, tables: Sequence[PrimitiveTable]) -> PrimitiveTable:
        return cls(
            np.concatenate([t.kind for t in tables]),
            np.concatenate([t.data for t in tables]),
            np.concatenate([t.planes for t in tables]),
        )


def _corner_points(planes: np.ndarray) -> np.ndarray:
    """Vertices [V, 3] of the convex polyhedron n.p + w <= 0 [N, 4]: each triple of planes that meets inside."""
    n = len(planes)
    i, j, k = np.array([(a, b, c) for a in range(n) for b in range(a + 1, n) for c in range(b + 1, n)]).T
    a, b, c = planes[i], planes[j], planes[k]
    bc = np.cross(b[:, :3], c[:, :3])
    det = (a[:, :3] * bc).sum(1)
    ok = np.abs(det) > 1e-9
    a, b, c, bc, det = a[ok], b[ok], c[ok], bc[ok], det[ok]
    points = (
        -(a[:, 3:] * bc + b[:, 3:] * np.cross(c[:, :3], a[:, :3]) + c[:, 3:] * np.cross(a[:, :3], b[:, :3]))
        / det[:, None]
    )
    inside = (points @ planes[:, :3].T + planes[:, 3] <= 1e-7).all(1)
    return points[inside]


@dataclass
class Model:
    """Collects primitives; every method returns the model, so that calls chain."""

    kinds: list[tuple[int, int, int, int]] = field(default_factory=list)
    rows: list[list[float]] = field(default_factory=list)
    faces: list[np.ndarray | None] = field(default_factory=list)

    def _add(
        self,
        shape: int,
        material: int,
        slot: int,
        low: Sequence[float],
        high: Sequence[float],
        numbers: Sequence[float],
        planes: np.ndarray | None = None,
        **options: float,
    ) -> Model:
        row = [0.0] * DATA_WIDTH
        row[LOW : LOW + 3] = low
        row[HIGH : HIGH + 3] = high
        row[SHAPE : SHAPE + len(numbers)] = numbers
        row[BEVEL] = options.pop("bevel", 0.0)
        row[CUTOUT] = options.pop("cutout", SOLID)
        row[CUT_A] = options.pop("cut_a", 0.0)
        row[CUT_B] = options.pop("cut_b", 0.0)
        row[WARMTH] = options.pop("warmth", 0.0)
        row[EXTRA] = options.pop("extra", 0.0)
        if options:
            raise TypeError(f"unknown options of a primitive: {sorted(options)}")
        self.kinds.append((shape, material, slot, 0 if planes is None else len(planes)))
        self.rows.append(row)
        self.faces.append(planes)
        return self

    def polyhedron(self, planes: Sequence[Sequence[float]], material: int, slot: int = 0, **options: float) -> Model:
        """The convex body where n.p + w <= 0 for every plane (nx, ny, nz, w); normals need not be unit. At most 14."""
        faces = np.asarray(planes, dtype=np.float64)
        if len(faces) > MAX_PLANES:
            raise ValueError(f"a polyhedron has at most {MAX_PLANES} planes, found {len(faces)}")
        faces = faces / np.linalg.norm(faces[:, :3], axis=1, keepdims=True)
        corners = _corner_points(faces)
        if len(corners) < 4:
            raise ValueError("the planes of the polyhedron enclose nothing")
        return self._add(
            POLYHEDRON, material, slot, corners.min(0).tolist(), corners.max(0).tolist(), [], faces, **options
        )

    def box(
        self,
        centre: Sequence[float],
        size: Sequence[float],
        material: int,
        slot: int = 0,
        yaw: float = 0.0,
        **options: float,
    ) -> Model:
        """A box of full extents `size`, turned by `yaw` about its own vertical axis."""
        cx, cy, cz = centre
        hx, hy, hz = size[0] / 2, size[1] / 2, size[2] / 2
        c, s = math.cos(yaw), math.sin(yaw)
        px, py = c * cx + s * cy, -s * cx + c * cy
        faces = np.array(
            [
                (c, s, 0.0, -px - hx),
                (-c, -s, 0.0, px - hx),
                (-s, c, 0.0, -py - hy),
                (s, -c, 0.0, py - hy),
                (0.0, 0.0, 1.0, -cz - hz),
                (0.0, 0.0, -1.0, cz - hz),
            ]
        )
        ex, ey = abs(c) * hx + abs(s) * hy, abs(s) * hx + abs(c) * hy
        return self._add(
            POLYHEDRON,
            material,
            slot,
            (cx - ex, cy - ey, cz - hz),
            (cx + ex, cy + ey, cz + hz),
            [],
            faces,
            **options,
        )

    def ellipsoid(
        self, centre: Sequence[float], radii: Sequence[float], material: int, slot: int = 0, **options: float
    ) -> Model:
        """An ellipsoid with axes along the model's."""
        low = [c - r for c, r in zip(centre, radii, strict=True)]
        high = [c + r for c, r in zip(centre, radii, strict=True)]
        return self._add(ELLIPSOID, material, slot, low, high, [*centre, *radii], None, **options)

    def cone(
        self,
        start: Sequence[float],
        end: Sequence[float],
        radius: float,
        end_radius: float,
        material: int,
        slot: int = 0,
        **options: float,
    ) -> Model:
        """A capped cone (a cylinder where the radii agree) between two points."""
        length = math.dist(start, end)
        axis = [(b - a) / length for a, b in zip(start, end, strict=True)]
        spread = [math.sqrt(max(0.0, 1.0 - a * a)) for a in axis]
        low = [min(p - radius * e, q - end_radius * e) for p, q, e in zip(start, end, spread, strict=True)]
        high = [max(p + radius * e, q + end_radius * e) for p, q, e in zip(start, end, spread, strict=True)]
        return self._add(CONE, material, slot, low, high, [*start, *end, radius, end_radius], None, **options)

    def panel(
        self,
        centre: Sequence[float],
        half_u: Sequence[float],
        half_v: Sequence[float],
        material: int,
        slot: int = 0,
        **options: float,
    ) -> Model:
        """A rectangle without thickness: centre and two half edges (perpendicular vectors)."""
        reach = [abs(u) + abs(v) for u, v in zip(half_u, half_v, strict=True)]
        low = [c - r for c, r in zip(centre, reach, strict=True)]
        high = [c + r for c, r in zip(centre, reach, strict=True)]
        return self._add(PANEL, material, slot, low, high, [*centre, *half_u, *half_v], None, **options)

    def ring(
        self,
        centre: Sequence[float],
        normal: Sequence[float],
        radius: float,
        hole: float,
        material: int,
        slot: int = 0,
        **options: float,
    ) -> Model:
        """A flat disc with a hole of radius `hole`."""
        length = math.sqrt(sum(n * n for n in normal))
        unit = [n / length for n in normal]
        spread = [radius * math.sqrt(max(0.0, 1.0 - n * n)) for n in unit]
        low = [c - e for c, e in zip(centre, spread, strict=True)]
        high = [c + e for c, e in zip(centre, spread, strict=True)]
        return self._add(RING, material, slot, low, high, [*centre, *unit, radius, hole], None, **options)

    def table(self) -> PrimitiveTable:
        planes = np.zeros((len(self.rows), MAX_PLANES, 4))
        for row, faces in zip(planes, self.faces, strict=True):
            if faces is not None:
                row[: len(faces)] = faces
        return PrimitiveTable(np.array(self.kinds, dtype=np.int32), np.array(self.rows), planes)
