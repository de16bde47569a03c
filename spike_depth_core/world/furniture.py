"""Lamps, signs, signals, fences, rails and the rest of a street's furniture. Slot 0 post, 1 face, 2 rim, 3 extra."""

from __future__ import annotations

import math

import numpy as np

from spike_depth_core.world.primitives import BARS, LATTICE, LEAVES, PICKETS, Model
from spike_depth_core.world.surfaces import GLASS, LAMP, LEAF, MASONRY, METAL, PLAIN, SIGN, WOOD


def street_lamp(rng: np.random.Generator, height: float, arm: float) -> Model:
    """A lamp post; its head at (0, -arm, height). Slot 5 is the light's colour."""
    radius = rng.uniform(0.06, 0.11)
    model = Model().cone((0, 0, -0.3), (0, 0, height), radius * 1.3, radius * 0.7, METAL)
    model.cone((0, 0, 0), (0, 0, 1.0), radius * 1.7, radius * 1.6, METAL)
    if arm > 0.3:
        model.cone((0, 0, height - 0.1), (0, -arm, height + 0.1), 0.045, 0.04, METAL)
        model.box((0, -arm, height + 0.08), (0.24, 0.75, 0.13), METAL, 0)
        model.box((0, -arm, height), (0.18, 0.6, 0.05), LAMP, 5)
    else:
        model.ellipsoid((0, 0, height + 0.18), (0.2, 0.2, 0.24), LAMP, 5)
    return model


def post(rng: np.random.Generator) -> Model:
    """A bare pole: telegraph, catenary, flag or bollard."""
    draw = rng.random()
    height = rng.uniform(6.0, 9.5) if draw < 0.5 else rng.uniform(0.7, 1.2)
    radius = rng.uniform(0.09, 0.17) if draw < 0.5 else rng.uniform(0.05, 0.11)
    model = Model().cone((0, 0, -0.3), (0, 0, height), radius, radius * 0.75, WOOD if draw < 0.25 else METAL)
    if draw < 0.25:
        model.box((0, 0, height - 0.6), (0.1, 1.8, 0.12), WOOD)
    elif draw > 0.5:
        model.cone((0, 0, height * 0.75), (0, 0, height * 0.9), radius * 1.05, radius * 1.05, PLAIN, 1)
    return model


def sign(rng: np.random.Generator) -> Model:
    """A traffic sign, direction board or name plate, facing -x (the traffic that comes along +x)."""
    height = rng.uniform(2.0, 2.7)
    model = Model().cone((0, 0, -0.3), (0, 0, height + 0.35), 0.035, 0.035, METAL)
    draw = rng.random()
    x = -0.05
    if draw < 0.35:
        r = rng.uniform(0.28, 0.36)
        model.cone((x, 0, height), (x + 0.02, 0, height), r, r, SIGN, 1, extra=1.0)
    elif draw < 0.6:
        r = rng.uniform(0.3, 0.4)
        up = 1.0 if rng.random() < 0.7 else -1.0
        edges = [
            (0, math.cos(a), up * math.sin(a), -up * math.sin(a) * height - r * 0.5)
            for a in (math.pi / 6, math.pi * 5 / 6, -math.pi / 2)
        ]
        model.polyhedron([(1, 0, 0, -x - 0.02), (-1, 0, 0, x), *edges], SIGN, 1, extra=2.0)
    else:
        w, h = rng.uniform(0.4, 1.6), rng.uniform(0.3, 0.9)
        model.box((x, 0, height), (0.03, w, h), SIGN, 1, extra=3.0)
    if rng.random() < 0.3:
        model.box((x, 0, height - 0.6), (0.03, 0.55, 0.28), SIGN, 3, extra=3.0)
    return model


def signal(rng: np.random.Generator) -> Model:
    """A traffic light facing -x; slots 3, 4, 5 are its red, amber and green."""
    height = rng.uniform(2.4, 3.2)
    model = Model()
    reach = rng.uniform(2.5, 5.0) if rng.random() < 0.4 else 0.0
    if reach:
        height = 5.2
        model.cone((0, 0, height + 0.6), (0, reach, height + 0.8), 0.07, 0.05, METAL)
    model.cone((0, 0, -0.3), (0, 0, height + 0.6), 0.085, 0.07, METAL)
    for y in (0.0, reach) if reach else (0.0,):
        model.box((-0.16, y, height + 0.3), (0.24, 0.32, 0.95), PLAIN, 2)
        lit = int(rng.integers(3))
        for k in range(3):
            z = height + 0.6 - 0.3 * k
            model.cone(
                (-0.28, y, z), (-0.3, y, z), 0.1, 0.1, LAMP if k == lit else PLAIN, 3 + k if k == lit else 2, extra=1.0
            )
    return model


def fence(rng: np.random.Generator) -> Model:
    """A fence along x, 6 m long: pickets, wire mesh, bars or boards."""
    height = rng.uniform(0.8, 2.0)
    draw = rng.random()
    model = Model()
    panel = ((0, 0, height / 2), (3.0, 0, 0), (0, 0, height / 2 - 0.04))
    if draw < 0.4:
        model.panel(*panel, WOOD, 0, cutout=PICKETS, cut_a=rng.uniform(0.09, 0.17), cut_b=rng.uniform(0.3, 0.75))
    elif draw < 0.6:
        model.panel(*panel, METAL, 0, cutout=LATTICE, cut_a=rng.uniform(0.08, 0.14), cut_b=0.12)
    elif draw < 0.8:
        model.panel(*panel, METAL, 0, cutout=PICKETS, cut_a=rng.uniform(0.11, 0.16), cut_b=0.2)
    else:
        model.box((0, 0, height / 2), (6.0, 0.05, height), WOOD, 0)
    for x in (-3.0, -1.0, 1.0):
        model.box((x, 0.04, height / 2 - 0.1), (0.09, 0.09, height + 0.25), WOOD if draw < 0.4 else METAL, 1)
    return model


def guard_rail(rng: np.random.Generator, kind: int) -> Model:
    """A highway's rail along x, 4 m long: W beam (0), double beam (1), concrete barrier (2), bridge railing (3)."""
    model = Model()
    if kind == 2:
        model.polyhedron(
            [
                (0, 0, -1, -0.2),
                (0, 0, 1, -0.85),
                (0, 1, 0.2, -0.3),
                (0, -1, 0.2, -0.3),
                (1, 0, 0, -2.01),
                (-1, 0, 0, -2.01),
            ],
            MASONRY,
            5,
        )
        return model
    if kind == 3:
        model.panel((0, 0, 0.55), (2.0, 0, 0), (0, 0, 0.5), METAL, 0, cutout=PICKETS, cut_a=0.14, cut_b=0.22)
        model.box((0, 0, 1.08), (4.02, 0.09, 0.07), METAL, 0)
        model.box((-2, 0, 0.5), (0.1, 0.1, 1.2), METAL, 0)
        return model
    for z in (0.62,) if kind == 0 else (0.42, 0.78):
        for dz in (-0.085, 0.085):
            model.polyhedron(
                [
                    (0, -1, 0.75, -0.1 - 0.75 * (z + dz)),
                    (0, -1, -0.75, -0.1 + 0.75 * (z + dz)),
                    (0, 1, 0, -0.0),
                    (1, 0, 0, -2.02),
                    (-1, 0, 0, -2.02),
                ],
                METAL,
                0,
            )
    model.box((-1, 0.08, 0.25), (0.1, 0.14, 0.9), METAL, 0)
    model.box((1, 0.08, 0.25), (0.1, 0.14, 0.9), METAL, 0)
    return model


def clutter(rng: np.random.Generator) -> Model:
    """One of: bin, bench, electric cabinet, planter, advertising pillar, letter box, barrier, cone, rocks."""
    draw = int(rng.integers(9))
    model = Model()
    if draw == 0:
        w, h = rng.uniform(0.4, 0.7), rng.uniform(0.7, 1.15)
        model.box((0, 0, h / 2 + 0.05), (w, w, h), PLAIN, 1, bevel=0.04).box(
            (0, 0, h + 0.08), (w + 0.06, w + 0.06, 0.08), PLAIN, 2
        )
    elif draw == 1:
        model.box((0, 0, 0.45), (1.7, 0.45, 0.06), WOOD, 1).box((0, 0.22, 0.75), (1.7, 0.05, 0.35), WOOD, 1)
        for x in (-0.7, 0.7):
            model.box((x, 0, 0.2), (0.07, 0.4, 0.5), METAL, 0)
    elif draw == 2:
        h = rng.uniform(0.9, 1.6)
        model.box((0, 0, h / 2), (rng.uniform(0.6, 1.5), 0.4, h), PLAIN, 1).box(
            (0, 0, 0.03), (1.6, 0.5, 0.12), MASONRY, 5
        )
    elif draw == 3:
        r = rng.uniform(0.4, 0.8)
        model.cone((0, 0, 0), (0, 0, 0.55), r * 0.85, r, MASONRY, 5)
    elif draw == 4:
        model.cone((0, 0, 0), (0, 0, 2.7), 0.6, 0.6, SIGN, 1, extra=3.0).cone(
            (0, 0, 2.7), (0, 0, 2.9), 0.7, 0.7, PLAIN, 2
        )
    elif draw == 5:
        model.box((0, 0, 1.1), (0.35, 0.5, 0.6), PLAIN, 1, bevel=0.05).cone((0, 0, 0), (0, 0, 0.9), 0.05, 0.05, METAL)
    elif draw == 6:
        model.box((0, 0, 0.9), (0.05, 2.2, 0.25), SIGN, 1, extra=4.0)
        for y in (-0.9, 0.9):
            model.box((0, y, 0.45), (0.4, 0.06, 0.9), METAL, 0)
    elif draw == 7:
        model.cone((0, 0, 0.03), (0, 0, 0.7), 0.17, 0.03, SIGN, 1, extra=5.0).box(
            (0, 0, 0.02), (0.4, 0.4, 0.05), PLAIN, 2
        )
    else:
        for _ in range(3):
            r = rng.uniform(0.15, 0.5)
            model.ellipsoid((rng.normal(0, 0.5), rng.normal(0, 0.4), r * 0.4), (r, r * 0.8, r * 0.7), MASONRY, 5)
    return model


def bollards(rng: np.random.Generator) -> Model:
    """A row of bollards along x, with or without a chain of rails between them."""
    pace, height, radius = rng.uniform(1.2, 1.8), rng.uniform(0.7, 1.0), rng.uniform(0.05, 0.1)
    model = Model()
    for k in range(-2, 3):
        model.cone((k * pace, 0, -0.2), (k * pace, 0, height), radius, radius * 0.9, METAL)
        model.cone((k * pace, 0, height * 0.8), (k * pace, 0, height * 0.93), radius * 1.05, radius * 1.05, PLAIN, 1)
    if rng.random() < 0.4:
        model.box((0, 0, height * 0.75), (4 * pace, 0.05, 0.06), METAL)
    return model


def planter(rng: np.random.Generator) -> Model:
    """A trough of stone with a clipped bush. Slot 0 the trough, 1 and 2 leaves."""
    length, width, height = rng.uniform(0.8, 2.6), rng.uniform(0.6, 1.0), rng.uniform(0.4, 0.7)
    model = Model().box((0, 0, height / 2), (length, width, height), MASONRY, 0)
    bush = rng.uniform(0.25, 0.5)
    leaves = {"cutout": LEAVES, "cut_a": rng.uniform(0.08, 0.13), "cut_b": 0.6}
    model.ellipsoid((0, 0, height + 0.4 * bush), (0.5 * length, 0.5 * width, bush), LEAF, 1, **leaves)
    return model


def billboard(rng: np.random.Generator) -> Model:
    """A large advertising board on one or two posts, facing -x."""
    wide, high, foot = rng.uniform(2.5, 6.0), rng.uniform(1.8, 3.2), rng.uniform(2.6, 5.0)
    model = Model()
    for y in (-0.3 * wide, 0.3 * wide) if rng.random() < 0.5 else (0.0,):
        model.cone((0.15, y, -0.4), (0.15, y, foot + high), 0.14, 0.12, METAL)
    model.box((0, 0, foot + high / 2), (0.2, wide, high), SIGN, 1, extra=3.0)
    return model


def shelter(rng: np.random.Generator) -> Model:
    """A bus shelter, open towards -y, with a lit board."""
    model = Model()
    model.box((0, 0.6, 2.4), (3.6, 1.5, 0.12), METAL, 0)
    model.box((0, 1.2, 1.25), (3.5, 0.03, 2.0), GLASS, 3)
    model.box((-1.75, 0.7, 1.25), (0.03, 1.0, 2.0), GLASS, 3)
    model.box((1.75, 0.6, 1.25), (0.16, 1.1, 1.9), SIGN, 1, extra=3.0)
    for x in (-1.7, 1.7):
        for y in (0.1, 1.2):
            model.box((x, y, 1.2), (0.08, 0.08, 2.4), METAL, 0)
    model.box((0, 1.0, 0.45), (2.4, 0.35, 0.06), WOOD, 2)
    return model


def gantry(rng: np.random.Generator, left: float, right: float) -> Model:
    """A sign bridge over the road: posts at y = left and y = right, boards above the lanes."""
    model = Model()
    for y in (left, right):
        model.cone((0, y, -0.5), (0, y, 6.6), 0.2, 0.18, METAL)
    model.box((0.25, (left + right) / 2, 6.3), (0.4, abs(left - right), 0.5), METAL, 0)
    count = int(rng.integers(1, 4))
    for k in range(count):
        y = right + (left - right) * (k + 0.5) / count
        model.box((-0.05, y, 6.4), (0.1, abs(left - right) / count * 0.8, rng.uniform(1.6, 2.6)), SIGN, 1, extra=3.0)
    return model


def bridge(rng: np.random.Generator, left: float, right: float) -> Model:
    """An overpass across the road."""
    deck = rng.uniform(5.2, 6.5)
    width = rng.uniform(5.0, 14.0)
    model = Model().box((0, (left + right) / 2, deck + 0.5), (width, abs(left - right) + 16.0, 1.1), MASONRY, 5)
    for y in (left + 1.5, right - 1.5):
        model.box((0, y, deck / 2 - 1), (width * 0.8, 1.0, deck + 2), MASONRY, 5)
    for x in (-width / 2, width / 2):
        model.panel(
            (x, (left + right) / 2, deck + 1.6),
            (0, abs(left - right) / 2 + 8, 0),
            (0, 0, 0.55),
            METAL,
            0,
            cutout=BARS,
            cut_a=0.3,
            cut_b=0.25,
        )
    return model


def wires(rng: np.random.Generator, length: float, height: float) -> Model:
    """Overhead lines along x that sag between posts."""
    model = Model()
    for y in rng.uniform(-0.9, 0.9, int(rng.integers(1, 4))):
        sag = rng.uniform(0.2, 0.6)
        for k in range(4):
            a, b = k / 4, (k + 1) / 4
            za, zb = (height - 4 * sag * t * (1 - t) for t in (a, b))
            model.cone((a * length, y, za), (b * length, y, zb), 0.016, 0.016, PLAIN, 2)
    return model
