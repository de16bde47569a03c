"""Pedestrians, and who rides on two wheels. x forward; slots: 0 jacket, 1 trousers, 2 skin, 3 hair, 4 shoes, 5 bag."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from spike_depth_core.world.primitives import SPOKES, Model
from spike_depth_core.world.surfaces import CLOTH, PLAIN, SKIN

Point = tuple[float, float, float]

BODY = 9.0  # kelvin above the air of clothed skin at 293 K


def _limb(model: Model, joints: Sequence[Point], radii: Sequence[float], material: int, slot: int) -> None:
    for (a, b), (ra, rb) in zip(pairwise(joints), pairwise(radii), strict=True):
        model.cone(a, b, ra, rb, material, slot, warmth=BODY)


def pedestrian(rng: np.random.Generator) -> Model:
    """A walking or standing person, 1.1 to 1.95 m tall."""
    scale = rng.normal(1.72, 0.09) / 1.75 if rng.random() < 0.88 else rng.uniform(0.65, 0.85)
    stride = 0.0 if rng.random() < 0.2 else rng.uniform(0.15, 0.5) * rng.choice([-1.0, 1.0])
    girth = rng.uniform(0.9, 1.25)
    model = Model()

    def at(x: float, y: float, z: float) -> Point:
        return (x * scale, y * scale, z * scale)

    for side in (-1.0, 1.0):
        swing = side * stride
        hip = at(0.0, side * 0.09, 0.9)
        knee = at(math.sin(swing) * 0.43, side * 0.1, 0.9 - 0.43 * math.cos(swing))
        bend = swing * 0.7 - (0.25 if swing < 0 else 0.0)
        foot = (
            knee[0] + math.sin(bend) * 0.42 * scale,
            side * 0.1 * scale,
            max(0.07, knee[2] - 0.42 * scale * math.cos(bend)),
        )
        _limb(model, [hip, knee, foot], [0.1 * girth * scale, 0.075 * girth * scale, 0.05 * scale], CLOTH, 1)
        model.ellipsoid((foot[0] + 0.05 * scale, foot[1], foot[2] - 0.02), (0.14 * scale, 0.05, 0.06), CLOTH, 4)
        shoulder = at(0.0, side * 0.2 * girth, 1.42)
        elbow = at(-math.sin(swing) * 0.25, side * 0.25 * girth, 1.42 - 0.28 * math.cos(swing))
        hand = (elbow[0] - math.sin(swing * 1.2) * 0.1 + 0.09 * scale, elbow[1], elbow[2] - 0.25 * scale)
        _limb(model, [shoulder, elbow, hand], [0.065 * scale, 0.055 * scale, 0.04 * scale], CLOTH, 0)
        model.ellipsoid(hand, (0.045, 0.03, 0.06), SKIN, 2, warmth=11.0)
    model.ellipsoid(at(0, 0, 1.18), (0.14 * girth * scale, 0.2 * girth * scale, 0.33 * scale), CLOTH, 0, warmth=BODY)
    model.cone(at(0, 0, 0.86), at(0, 0, 1.42), 0.15 * girth * scale, 0.17 * girth * scale, CLOTH, 0, warmth=BODY)
    if rng.random() < 0.2:
        model.cone(at(0, 0, 0.5), at(0, 0, 1.1), 0.26 * scale, 0.16 * scale, CLOTH, 0, warmth=BODY)
    model.cone(at(0, 0, 1.4), at(0.01, 0, 1.56), 0.06 * scale, 0.055 * scale, SKIN, 2, warmth=12.0)
    model.ellipsoid(at(0.02, 0, 1.63), (0.1 * scale, 0.08 * scale, 0.12 * scale), SKIN, 2, warmth=13.0)
    model.ellipsoid(at(-0.015, 0, 1.67), (0.1 * scale, 0.09 * scale, 0.1 * scale), CLOTH, 3, warmth=7.0)
    extra = rng.random()
    if extra < 0.3:
        model.ellipsoid(at(-0.2, 0, 1.2), (0.11, 0.16, 0.23), CLOTH, 5)
    elif extra < 0.45:
        model.box(at(0.05, 0.33, 0.62), (0.3, 0.1, 0.32), CLOTH, 5)
    return model


def cyclist(rng: np.random.Generator) -> Model:
    """A person riding a bicycle or a motor cycle."""
    motor = rng.random() < 0.25
    model = Model()
    for x in (-0.55, 0.55):
        model.ring((x, 0, 0.34), (0, 1, 0), 0.34, 0.2 if motor else 0.3, PLAIN, 4, cutout=SPOKES)
        if motor:
            model.cone((x, -0.07, 0.32), (x, 0.07, 0.32), 0.32, 0.32, PLAIN, 4, warmth=10.0)
    if motor:
        model.ellipsoid((0.05, 0, 0.62), (0.55, 0.16, 0.26), PLAIN, 5, warmth=20.0)
        model.cone((0.6, 0, 0.35), (0.35, 0, 1.0), 0.06, 0.05, PLAIN, 4)
    else:
        tubes = [
            ((-0.55, 0.34), (-0.05, 0.3)),
            ((-0.05, 0.3), (0.38, 0.8)),
            ((-0.2, 0.9), (-0.05, 0.3)),
            ((0.55, 0.34), (0.38, 1.0)),
            ((-0.18, 0.75), (0.38, 0.82)),
            ((-0.55, 0.34), (-0.18, 0.75)),
        ]
        for (x0, z0), (x1, z1) in tubes:
            model.cone((x0, 0, z0), (x1, 0, z1), 0.02, 0.02, PLAIN, 5)
    model.cone((0.37, -0.28, 1.03), (0.37, 0.28, 1.03), 0.018, 0.018, PLAIN, 4)
    phase = rng.uniform(0.0, math.pi)
    for side in (-1.0, 1.0):
        angle = phase + (0.0 if side > 0 else math.pi)
        foot = (-0.05 + 0.16 * math.cos(angle), side * 0.11, 0.3 + 0.16 * math.sin(angle))
        knee = (0.2 + 0.06 * math.cos(angle), side * 0.12, 0.72 + 0.1 * math.sin(angle))
        _limb(model, [(-0.18, side * 0.09, 0.95), knee, foot], [0.1, 0.075, 0.05], CLOTH, 1)
        elbow = (0.2, side * 0.27, 1.2)
        _limb(model, [(0.07, side * 0.2, 1.42), elbow, (0.37, side * 0.25, 1.05)], [0.06, 0.05, 0.04], CLOTH, 0)
    model.cone((-0.17, 0, 0.92), (0.08, 0, 1.48), 0.15, 0.19, CLOTH, 0, warmth=BODY)
    model.ellipsoid((0.14, 0, 1.66), (0.11, 0.085, 0.13), SKIN, 2, warmth=13.0)
    model.ellipsoid((0.11, 0, 1.71), (0.13, 0.1, 0.1), CLOTH, 3, warmth=6.0)
    if rng.random() < 0.3:
        model.ellipsoid((-0.22, 0, 1.25), (0.13, 0.17, 0.24), CLOTH, 5)
    return model


def scooter(rng: np.random.Generator, rider: bool) -> Model:
    """A motor scooter, parked or with a rider (and now and then a passenger). Slot 4 tyres, 5 paint."""
    model = Model()
    for x in (-0.52, 0.55):
        model.cone((x, -0.06, 0.25), (x, 0.06, 0.25), 0.25, 0.25, PLAIN, 4, warmth=8.0 * rider)
    model.ellipsoid((-0.42, 0, 0.55), (0.42, 0.17, 0.24), PLAIN, 5, warmth=14.0 * rider)
    model.box((0.05, 0, 0.3), (0.5, 0.3, 0.1), PLAIN, 4)
    model.polyhedron(
        [
            (1, 0, 0.35, -0.72),
            (-1, 0, -0.35, 0.6),
            (0, 1, 0, -0.2),
            (0, -1, 0, -0.2),
            (0, 0, 1, -0.95),
            (0, 0, -1, 0.3),
        ],
        PLAIN,
        5,
    )
    model.box((-0.35, 0, 0.79), (0.7, 0.26, 0.08), CLOTH, 4)
    model.cone((0.4, -0.3, 1.02), (0.4, 0.3, 1.02), 0.02, 0.02, PLAIN, 4)
    if rng.random() < 0.4:
        model.box((-0.85, 0, 1.0), (0.4, 0.4, 0.38), PLAIN, 5)
    if not rider:
        return model
    for x in (-0.15, -0.5) if rng.random() < 0.2 else (-0.15,):
        for side in (-1.0, 1.0):
            _limb(
                model,
                [(x, side * 0.1, 0.88), (x + 0.38, side * 0.16, 0.82), (x + 0.33, side * 0.14, 0.38)],
                [0.1, 0.08, 0.05],
                CLOTH,
                1,
            )
            _limb(
                model,
                [(x + 0.05, side * 0.2, 1.36), (x + 0.2, side * 0.28, 1.12), (x + 0.5, side * 0.25, 1.05)],
                [0.06, 0.05, 0.04],
                CLOTH,
                0,
            )
        model.cone((x, 0, 0.86), (x + 0.04, 0, 1.42), 0.16, 0.19, CLOTH, 0, warmth=BODY)
        model.ellipsoid((x + 0.07, 0, 1.6), (0.11, 0.085, 0.13), SKIN, 2, warmth=13.0)
        model.ellipsoid((x + 0.04, 0, 1.66), (0.15, 0.13, 0.13), PLAIN, 3, warmth=3.0)
    return model
