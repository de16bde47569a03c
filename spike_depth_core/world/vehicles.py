"""Cars, vans, lorries, buses and bicycles as models. x forward, z = 0 on the road. Slot 0 paint, 1 trim, 2 load."""

from __future__ import annotations

import math

import numpy as np

from spike_depth_core.world.primitives import SPOKES, Model
from spike_depth_core.world.surfaces import BUS, CAR_BODY, CAR_CABIN, CARGO, GLASS, PLAIN, WHEEL


def _through(x0: float, z0: float, x1: float, z1: float) -> tuple[float, float, float, float]:
    """The plane through two points of the side view, outward normal to the left of the way from the first."""
    nx, nz = -(z1 - z0), x1 - x0
    return nx, 0.0, nz, -(nx * x0 + nz * z0)


def _wheels(model: Model, places: list[float], half_width: float, radius: float, width: float = 0.2) -> None:
    for x in places:
        for side in (-1.0, 1.0):
            outer, inner = side * (half_width + 0.012), side * (half_width - width)
            model.cone((x, inner, radius), (x, outer, radius), radius, radius, WHEEL, 1, warmth=6.0)


def _hull(
    length: float, width: float, clearance: float, belt: float, nose: float, screen: float, tail: float, boot: float
) -> list[tuple[float, float, float, float]]:
    """Planes of a car's lower body: nose and tail heights, where bonnet and boot meet the belt line."""
    hl, hw = length / 2, width / 2
    corner = 0.5
    c = math.hypot(1.0, corner)
    return [
        (0, 0, -1, clearance),
        (0, 0, 1, -belt),
        (1, 0, -0.12, -hl + 0.06),
        (-1, 0, -0.1, -hl + 0.05),
        _through(screen, belt, hl - 0.05, nose),
        _through(-hl + 0.03, tail, boot, belt),
        (0, 1, 0.1, -hw - 0.05),
        (0, -1, 0.1, -hw - 0.05),
        (corner, 1, 0, -(hw + corner * hl) + 0.16 * c),
        (corner, -1, 0, -(hw + corner * hl) + 0.16 * c),
        (-corner, 1, 0, -(hw + corner * hl) + 0.12 * c),
        (-corner, -1, 0, -(hw + corner * hl) + 0.12 * c),
        (0.8, 0, -1, -(0.8 * hl - clearance) + 0.14),
    ]


def car(rng: np.random.Generator) -> Model:
    """A hatchback, saloon, estate or off-roader."""
    style = rng.integers(4)
    tall = style == 3
    length = rng.uniform(3.6, 4.2) if style == 0 else rng.uniform(4.2, 4.9)
    width = rng.uniform(1.66, 1.86) + 0.06 * tall
    clearance = rng.uniform(0.15, 0.2) + 0.05 * tall
    belt = rng.uniform(0.86, 0.98) + 0.12 * tall
    top = belt + rng.uniform(0.46, 0.56) + 0.08 * tall
    radius = rng.uniform(0.29, 0.33) + 0.04 * tall
    hl, hw = length / 2, width / 2
    nose = belt - rng.uniform(0.16, 0.26)
    screen = hl - rng.uniform(0.26, 0.31) * length
    rear_deck = -hl + (0.62 if style == 1 else 0.02)
    tail = belt - (0.08 if style == 1 else 0.0)
    wheelbase = rng.uniform(0.58, 0.63) * length
    model = Model()
    model.polyhedron(
        _hull(length, width, clearance, belt, nose, screen, tail - 0.001, rear_deck + 0.05),
        CAR_BODY,
        bevel=rng.uniform(0.03, 0.06),
        extra=wheelbase,
        warmth=4.0,
    )
    slope_front = rng.uniform(0.55, 0.85)
    slope_rear = {0: rng.uniform(0.15, 0.4), 1: rng.uniform(0.5, 0.8), 2: 0.22, 3: 0.2}[int(style)]
    lean = rng.uniform(0.28, 0.42)
    model.polyhedron(
        [
            (0, 0, -1, belt - 0.03),
            (0.04, 0, 1, -top),
            (-0.05, 0, 1, -top - 0.01),
            _through(screen - slope_front, top, screen, belt),
            _through(rear_deck, belt, rear_deck + slope_rear, top),
            (0, 1, lean, -(hw - 0.04) - lean * belt),
            (0, -1, lean, -(hw - 0.04) - lean * belt),
            (0.35, 1, lean, -(hw - 0.04) - lean * belt - 0.35 * (screen - 0.25)),
            (0.35, -1, lean, -(hw - 0.04) - lean * belt - 0.35 * (screen - 0.25)),
        ],
        CAR_CABIN,
        bevel=0.05,
        extra=float(style),
    )
    _wheels(model, [wheelbase / 2, -wheelbase / 2], hw, radius)
    for side in (-1.0, 1.0):
        model.ellipsoid((screen - 0.25, side * (hw + 0.06), belt + 0.03), (0.07, 0.11, 0.07), PLAIN, 0)
    if style >= 2 and rng.random() < 0.5:
        for side in (-1.0, 1.0):
            model.box((-0.3, side * (hw * 0.72), top + 0.03), (length * 0.4, 0.04, 0.04), PLAIN, 1)
    return model


def van(rng: np.random.Generator) -> Model:
    """A delivery van or minibus."""
    length, width = rng.uniform(4.6, 6.2), rng.uniform(1.8, 2.05)
    top, clearance = rng.uniform(1.9, 2.7), rng.uniform(0.2, 0.28)
    hl, hw = length / 2, width / 2
    belt = 1.15
    bonnet = rng.uniform(0.5, 0.85)
    model = Model()
    lean = 0.07
    model.polyhedron(
        [
            (0, 0, -1, clearance),
            (0, 0, 1, -top),
            (1, 0, -0.08, -hl + 0.04),
            (-1, 0, 0.03, -hl),
            _through(hl - bonnet, belt, hl - 0.04, belt - 0.25),
            _through(hl - bonnet - 0.5 * (top - belt), top, hl - bonnet, belt),
            (0, 1, lean, -hw - 0.05),
            (0, -1, lean, -hw - 0.05),
            (0.5, 1, 0, -(hw + 0.5 * hl) + 0.14),
            (0.5, -1, 0, -(hw + 0.5 * hl) + 0.14),
        ],
        BUS if rng.random() < 0.4 else CAR_BODY,
        bevel=0.07,
        extra=length * 0.6,
        warmth=3.0,
    )
    cabin = hl - bonnet
    reach = 0.5 * (top - belt)
    model.polyhedron(
        [
            (0, 0, -1, belt + 0.05),
            (0, 0, 1, -min(top - 0.2, 1.9)),
            _through(cabin - reach + 0.02, top, cabin + 0.02, belt),
            (-1, 0, 0, cabin - 1.1),
            (0, 1, lean, -hw - 0.06),
            (0, -1, lean, -hw - 0.06),
        ],
        GLASS,
        1,
    )
    _wheels(model, [length * 0.3, -length * 0.3], hw - 0.01, 0.34)
    for side in (-1.0, 1.0):
        model.box((cabin - 0.15, side * (hw + 0.12), belt + 0.3), (0.1, 0.16, 0.28), PLAIN, 1)
    return model


def lorry(rng: np.random.Generator) -> Model:
    """A cab with a box, a tank, a flat bed or a skip behind, now and then a long trailer."""
    width = rng.uniform(2.3, 2.55)
    hw = width / 2
    cab_length, cab_top = rng.uniform(1.7, 2.3), rng.uniform(2.5, 3.6)
    bed_length = rng.uniform(4.0, 7.0) if rng.random() < 0.5 else rng.uniform(9.0, 13.0)
    total = cab_length + 0.3 + bed_length
    front = total / 2
    model = Model()
    model.polyhedron(
        [
            (0, 0, -1, 0.45),
            (0, 0, 1, -cab_top),
            (1, 0, 0, -front),
            (1, 0, 0.18, -front - 0.18 * 1.7),
            (-1, 0, 0, front - cab_length),
            (0, 1, 0, -hw),
            (0, -1, 0, -hw),
        ],
        CAR_BODY,
        bevel=0.06,
        warmth=6.0,
    )
    model.polyhedron(
        [
            (0, 0, -1, 1.6),
            (0, 0, 1, -min(cab_top - 0.25, 2.5)),
            (1, 0, 0, -front - 0.01),
            (1, 0, 0.18, -front - 0.18 * 1.7 - 0.02),
            (-1, 0, 0, front - cab_length * 0.6),
            (0, 1, 0, -hw - 0.01),
            (0, -1, 0, -hw - 0.01),
        ],
        GLASS,
        1,
    )
    bed_centre = front - cab_length - 0.3 - bed_length / 2
    floor = rng.uniform(0.95, 1.25)
    kind = rng.random()
    if kind < 0.65:
        height = rng.uniform(2.0, 2.9)
        model.box((bed_centre, 0, floor + height / 2), (bed_length, width, height), CARGO, 2, extra=rng.random())
    elif kind < 0.8:
        model.cone(
            (bed_centre - bed_length / 2, 0, floor + 0.9),
            (bed_centre + bed_length / 2, 0, floor + 0.9),
            0.95,
            0.95,
            CARGO,
            2,
        )
    else:
        model.box((bed_centre, 0, floor + 0.1), (bed_length, width, 0.2), PLAIN, 1)
        for side in (-1.0, 1.0):
            model.box((bed_centre, side * (hw - 0.04), floor + 0.5), (bed_length, 0.07, 0.65), CARGO, 2)
        model.box((bed_centre - 0.3, 0, floor + 0.6), (bed_length * 0.8, width * 0.8, 0.8), PLAIN, 3)
    model.box((-0.2, 0, 0.75), (total - 1.0, 0.9, 0.4), PLAIN, 1)
    model.box((-total / 2 + 0.06, 0, 0.62), (0.12, width * 0.96, 0.16), PLAIN, 4)
    for side in (-1.0, 1.0):
        if bed_length > 8 or rng.random() < 0.5:
            model.box((bed_centre + 0.5, side * (hw - 0.05), 0.7), (bed_length * 0.45, 0.05, 0.4), PLAIN, 1)
        model.box((front - 0.2, side * (hw + 0.15), 2.0), (0.1, 0.2, 0.5), PLAIN, 1)
    places = [front - cab_length * 0.65, -total / 2 + 1.6, -total / 2 + 2.7]
    if bed_length > 8:
        places += [front - cab_length - 1.6, -total / 2 + 3.8]
    _wheels(model, places, hw - 0.02, 0.5, 0.35)
    return model


def bus(rng: np.random.Generator) -> Model:
    """A city bus or coach."""
    length, width, top = rng.uniform(9.5, 12.5), 2.5, rng.uniform(2.9, 3.5)
    hl, hw = length / 2, width / 2
    model = Model()
    model.polyhedron(
        [
            (0, 0, -1, 0.32),
            (0, 0, 1, -top),
            (1, 0, 0, -hl),
            (1, 0, 0.15, -hl - 0.15 * 1.6),
            (-1, 0, 0, -hl),
            (0, 1, 0, -hw),
            (0, -1, 0, -hw),
        ],
        BUS,
        bevel=0.1,
        extra=length * 0.55,
        warmth=4.0,
    )
    _wheels(model, [hl - 2.6, -hl + 2.8], hw - 0.01, 0.48, 0.3)
    for side in (-1.0, 1.0):
        model.box((hl - 0.05, side * (hw + 0.2), 2.3), (0.12, 0.2, 0.45), PLAIN, 1)
    return model


def trailer(rng: np.random.Generator) -> Model:
    """A parked trailer or a building-site container."""
    length, width, height = rng.uniform(2.2, 6.0), rng.uniform(1.5, 2.4), rng.uniform(0.6, 2.3)
    model = Model()
    model.box((0, 0, 0.55 + height / 2), (length, width, height), CARGO, 2, extra=rng.random())
    model.box((length / 2 + 0.5, 0, 0.5), (1.0, 0.08, 0.08), PLAIN, 1)
    _wheels(model, [-0.1 * length], width / 2 + 0.1, 0.32, 0.18)
    return model


def bicycle(model: Model | None = None, y: float = 0.0, lean: float = 0.0, slot: int = 0) -> Model:
    """A bicycle, added at lateral offset y of a model (for racks and riders)."""
    model = model or Model()
    for x in (-0.52, 0.52):
        model.ring((x, y, 0.34), (lean, 1.0, 0.02), 0.34, 0.305, PLAIN, 1, cutout=SPOKES)
    tubes = [
        ((-0.52, 0.34), (-0.05, 0.3)),
        ((-0.05, 0.3), (0.36, 0.78)),
        ((-0.2, 0.82), (-0.05, 0.3)),
        ((-0.18, 0.75), (0.36, 0.8)),
        ((-0.52, 0.34), (-0.18, 0.75)),
        ((0.52, 0.34), (0.36, 0.98)),
    ]
    for (x0, z0), (x1, z1) in tubes:
        model.cone((x0, y, z0), (x1, y, z1), 0.018, 0.018, PLAIN, slot)
    model.cone((0.34, y - 0.28, 1.0), (0.34, y + 0.28, 1.0), 0.015, 0.015, PLAIN, 1)
    model.ellipsoid((-0.2, y, 0.88), (0.13, 0.07, 0.04), PLAIN, 1)
    return model


def bicycle_rack(rng: np.random.Generator) -> Model:
    """A row of bicycles side by side, each model frame a little askew."""
    model = Model()
    for k in range(int(rng.integers(2, 7))):
        bicycle(
            model,
            y=0.55 * k + rng.uniform(-0.08, 0.08),
            lean=rng.uniform(-0.15, 0.15),
            slot=int(rng.choice([0, 2, 3, 4])),
        )
        model.box((0.6, 0.55 * k + 0.25, 0.35), (0.06, 0.05, 0.7), PLAIN, 5)
    return model
