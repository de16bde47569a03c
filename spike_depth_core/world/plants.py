"""Trees, shrubs and hedges: clumps of foliage full of holes on trunks and branches. Slot 0 bark, 1 and 2 leaves."""

from __future__ import annotations

import math

import numpy as np

from spike_depth_core.world.primitives import LEAVES, Model
from spike_depth_core.world.surfaces import BARK, LEAF


def broadleaf(rng: np.random.Generator) -> Model:
    """A deciduous tree: trunk, branches, a crown of overlapping clumps."""
    height = rng.uniform(5.0, 14.0)
    # Street trees are pruned so that vehicles pass below.
    stem = max(rng.uniform(0.22, 0.38) * height, 2.4 if height > 6.0 else 1.6)
    radius = rng.uniform(0.014, 0.024) * height
    spread = rng.uniform(0.2, 0.36) * height
    lean = rng.normal(0.0, 0.02, 2) * height
    fork = (lean[0] * 0.3, lean[1] * 0.3, stem)
    model = Model()
    model.cone((0, 0, -0.4), (0, 0, 0.3), radius * 1.9, radius * 1.15, BARK)
    model.cone((0, 0, 0.3), fork, radius * 1.15, radius * 0.8, BARK)
    crown = (height - stem) / 2
    centre = np.array([lean[0], lean[1], stem + crown * 0.95])
    model.cone(fork, (centre[0], centre[1], centre[2] + crown * 0.6), radius * 0.8, radius * 0.15, BARK)
    density = rng.uniform(0.44, 0.6)
    leaf = rng.uniform(0.14, 0.32)
    count = int(rng.integers(10, 22))
    heart = (spread * 0.72, spread * 0.72, crown * 0.8)
    model.ellipsoid(tuple(centre), heart, LEAF, 1, cutout=LEAVES, cut_a=leaf, cut_b=density - 0.03)
    for k in range(count):
        # Clumps on a spiral over the crown's ellipsoid: evenly spread, yet no two trees alike.
        z = 1.0 - 2.0 * (k + 0.5) / count
        angle = 2.4 * k + rng.uniform(0, 1)
        ring = math.sqrt(1.0 - z * z)
        reach = rng.uniform(0.5, 0.95)
        place = centre + np.array(
            [spread * reach * ring * math.cos(angle), spread * reach * ring * math.sin(angle), crown * reach * z]
        )
        size = rng.uniform(0.28, 0.55) * min(spread, crown)
        radii = (size * rng.uniform(0.9, 1.3), size * rng.uniform(0.9, 1.3), size * rng.uniform(0.6, 0.95))
        model.ellipsoid(tuple(place), radii, LEAF, 1 if k % 3 else 2, cutout=LEAVES, cut_a=leaf, cut_b=density)
        if k % 3 == 0:
            model.cone(fork, tuple(fork + 0.8 * (place - fork)), radius * 0.45, radius * 0.12, BARK)
    return model


def conifer(rng: np.random.Generator) -> Model:
    """A spruce or cypress."""
    height = rng.uniform(4.0, 15.0)
    width = height * rng.uniform(0.12, 0.26)
    model = Model().cone((0, 0, -0.4), (0, 0, height * 0.8), height * 0.018, height * 0.006, BARK)
    layers = int(rng.integers(4, 7))
    leaf = rng.uniform(0.14, 0.26)
    low = rng.uniform(0.04, 0.16) * height
    for k in range(layers):
        a = low + (height - low) * k / layers
        b = min(height, a + (height - low) / layers * 1.7)
        r = width * (1.0 - k / layers)
        model.cone((0, 0, a), (0, 0, b), r, r * 0.25, LEAF, 1 + k % 2, cutout=LEAVES, cut_a=leaf, cut_b=0.55)
    return model


def palm(rng: np.random.Generator) -> Model:
    """A palm: a bare stem with a head of drooping fronds."""
    height = rng.uniform(4.0, 9.0)
    radius = rng.uniform(0.13, 0.24)
    model = Model().cone((0, 0, -0.3), (0, 0, 0.5), radius * 1.5, radius, BARK)
    model.cone((0, 0, 0.5), (0, 0, height), radius, radius * 0.75, BARK)
    count = int(rng.integers(9, 14))
    leaf = rng.uniform(0.1, 0.16)
    for k in range(count):
        angle = 2.4 * k
        reach, rise = rng.uniform(1.2, 2.1), rng.uniform(-0.3, 0.9)
        bend = (0.55 * reach * math.cos(angle), 0.55 * reach * math.sin(angle), height + rise)
        tip = (reach * math.cos(angle), reach * math.sin(angle), height + rise - rng.uniform(0.5, 1.1))
        for start, end, r0, r1 in (((0, 0, height), bend, 0.1, 0.26), (bend, tip, 0.26, 0.06)):
            model.cone(start, end, r0, r1, LEAF, 1 + k % 2, cutout=LEAVES, cut_a=leaf, cut_b=0.5)
    return model


def poplar(rng: np.random.Generator) -> Model:
    """A tall and narrow tree."""
    height = rng.uniform(8.0, 16.0)
    width = height * rng.uniform(0.08, 0.13)
    model = Model().cone((0, 0, -0.4), (0, 0, height * 0.8), height * 0.016, height * 0.005, BARK)
    leaf = rng.uniform(0.14, 0.24)
    low = rng.uniform(1.6, 2.8)
    for k in range(6):
        z = low + (height - low) * (k + 0.5) / 6
        r = width * (1.0 - 0.5 * abs(2.0 * (k + 0.5) / 6 - 0.8)) * rng.uniform(0.85, 1.1)
        off = rng.normal(0.0, 0.1 * width, 2)
        model.ellipsoid(
            (off[0], off[1], z), (r, r, (height - low) / 8), LEAF, 1 + k % 2, cutout=LEAVES, cut_a=leaf, cut_b=0.56
        )
    return model


def bare(rng: np.random.Generator) -> Model:
    """A tree in winter, or dead: branches only."""
    height = rng.uniform(4.0, 10.0)
    radius = height * 0.02
    model = Model().cone((0, 0, -0.3), (0, 0, height * 0.55), radius, radius * 0.6, BARK)
    for k in range(14):
        z = height * rng.uniform(0.25, 0.55)
        angle = 2.4 * k
        end = (height * 0.28 * math.cos(angle), height * 0.28 * math.sin(angle), z + height * rng.uniform(0.1, 0.4))
        model.cone((0, 0, z), end, radius * 0.4, 0.015, BARK)
        for _ in range(2):
            tip = tuple(np.array(end) + rng.normal(0, 0.08, 3) * height + [0, 0, height * 0.08])
            model.cone(tuple(np.array(end) * 0.7 + np.array([0, 0, z]) * 0.3), tip, 0.03, 0.012, BARK)
    return model


def shrub(rng: np.random.Generator) -> Model:
    """A bush of a few clumps."""
    model = Model()
    size = rng.uniform(0.4, 1.3)
    for _ in range(int(rng.integers(2, 6))):
        r = size * rng.uniform(0.5, 0.9)
        place = (rng.normal(0, size * 0.5), rng.normal(0, size * 0.5), r * rng.uniform(0.5, 0.8))
        model.ellipsoid(
            place,
            (r, r, r * 0.9),
            LEAF,
            int(rng.integers(1, 3)),
            cutout=LEAVES,
            cut_a=rng.uniform(0.1, 0.2),
            cut_b=0.55,
        )
    return model


def thicket(rng: np.random.Generator) -> Model:
    """A stretch of wood's edge, 12 m long: high clumps to the ground, trunks within."""
    model = Model()
    height = rng.uniform(3.5, 11.0)
    for _ in range(int(rng.integers(10, 16))):
        r = height * rng.uniform(0.14, 0.3)
        place = (rng.uniform(-6, 6), rng.uniform(-1.8, 1.8), rng.uniform(0.1, 0.85) * (height - r))
        model.ellipsoid(
            place,
            (r * 1.1, r, r * rng.uniform(0.7, 1.1)),
            LEAF,
            int(rng.integers(1, 3)),
            cutout=LEAVES,
            cut_a=rng.uniform(0.18, 0.4),
            cut_b=0.55,
        )
    for _ in range(4):
        x, y = rng.uniform(-6, 6), rng.uniform(-1.5, 1.5)
        model.cone((x, y, -0.3), (x + rng.normal(0, 0.3), y, height * 0.7), 0.14, 0.06, BARK)
    return model


def hedge(rng: np.random.Generator) -> Model:
    """A clipped hedge, 6 m long along x."""
    height, width = rng.uniform(0.7, 2.3), rng.uniform(0.5, 1.1)
    model = Model()
    model.box(
        (0, 0, height / 2), (6.1, width, height), LEAF, 1, cutout=LEAVES, cut_a=rng.uniform(0.09, 0.16), cut_b=0.62
    )
    model.box((0, 0, height / 2 - 0.1), (6.0, width * 0.55, height - 0.2), LEAF, 2)
    return model
