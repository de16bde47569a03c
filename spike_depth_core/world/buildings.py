"""Houses, blocks, halls and walls. The front faces -y (towards the road on the left); x runs along the street.

Slots: 0 wall, 1 frames and trim, 2 roof, 3 doors and shutters, 4 shop front, 5 base.
"""

from __future__ import annotations

import numpy as np

from spike_depth_core.world.primitives import BARS, Model
from spike_depth_core.world.surfaces import FACADE, GLASS, MASONRY, METAL, PLAIN, ROOF, WOOD
from spike_depth_core.world.towns import FIRST, Town

STYLE_WIDTH = 13  # numbers of a facade: see `facade_style`


def facade_style(rng: np.random.Generator, modern: bool, town: Town = FIRST) -> np.ndarray:
    """Parameters [13] of a facade's texture.

    storey height, window pitch, window width and height as shares of their cell, wall pattern (0 plaster, 1 brick,
    2 planks, 3 panels, 4 tiles), ground floor (0 as above, 1 shops, 2 gates and doors), share of lit windows, panes,
    shutters, bands between storeys, curtain brightness, a number that is no longer
    read, walls without windows (0 none, 1 those at the sides, 2 all).
    """
    return np.array(
        [
            rng.uniform(*town.storey),
            rng.uniform(1.6, 4.2),
            rng.uniform(0.7, 0.94) if modern else rng.uniform(0.28, 0.55),
            rng.uniform(0.5, 0.8) if modern else rng.uniform(0.4, 0.62),
            rng.choice(5, p=town.walls),
            rng.choice(3, p=town.ground_floors),
            rng.uniform(0.05, 0.6),
            rng.integers(1, 5),
            float(rng.random() < town.shutters),
            float(rng.random() < town.bands),
            rng.uniform(0.0, 0.8),
            rng.random(),
            0.0 if town.blank is None else rng.choice(3, p=town.blank),
        ]
    )


def house(rng: np.random.Generator, width: float, depth: float, height: float, roof: str, storey: float) -> Model:
    """A building with its front at y = 0 and its body towards +y.

    roof: "gable" (ridge along x), "cross" (gable to the street), "hip" or "flat".
    """
    model = Model()
    low = -2.0
    mid = (0.0, depth / 2, (height + low) / 2)
    model.box(mid, (width, depth, height - low), FACADE, 0, extra=-low)
    rise = rng.uniform(0.35, 0.9)
    over = rng.uniform(0.1, 0.5)
    hw, hd = width / 2 + over * (roof in ("hip", "cross")), depth / 2
    top = height + 0.02
    if roof == "gable":
        peak = height + rise * (hd + over)
        model.polyhedron(
            [
                (0, 0, -1, top - 0.2),
                (0, -rise, 1, -top - rise * over),
                (0, rise, 1, -peak - rise * hd),
                (1, 0, 0, -hw),
                (-1, 0, 0, -hw),
            ],
            ROOF,
            2,
        )
        ridge = peak
    elif roof == "cross":
        # The wall goes up into the gable; the roof lies over it as two slabs.
        peak = height + rise * width / 2
        model.polyhedron(
            [
                (0, 0, -1, height),
                (rise, 0, 1, -peak + 0.06),
                (-rise, 0, 1, -peak + 0.06),
                (0, -1, 0, 0.0),
                (0, 1, 0, -depth),
            ],
            FACADE,
            0,
            extra=-height,
        )
        for side in (-1.0, 1.0):
            model.polyhedron(
                [
                    (side * rise, 0, 1, -peak - 0.1),
                    (-side * rise, 0, -1, peak - 0.06),
                    (-side, 0, 0, 0.0),
                    (side, 0, 0, -hw),
                    (0, -1, 0, -over),
                    (0, 1, 0, -depth - over),
                ],
                ROOF,
                2,
            )
        ridge = peak
    elif roof == "hip":
        reach = min(hw, hd + over)
        peak = height + rise * reach
        model.polyhedron(
            [
                (0, 0, -1, top - 0.15),
                (0, -rise, 1, -top - rise * over),
                (0, rise, 1, -top - rise * (depth + over)),
                (rise, 0, 1, -top - rise * hw),
                (-rise, 0, 1, -top - rise * hw),
            ],
            ROOF,
            2,
        )
        ridge = peak
    else:
        model.box((0, depth / 2, height + 0.15), (width + 0.1, depth + 0.1, 0.3), PLAIN, 1)
        if rng.random() < 0.4:
            model.box((rng.uniform(-0.2, 0.2) * width, depth * 0.6, height + 1.2), (3.0, 3.0, 2.4), MASONRY, 5)
        ridge = height
    if roof != "flat":
        for _ in range(int(rng.integers(0, 3))):
            x = rng.uniform(-0.4, 0.4) * width
            model.box((x, depth / 2 + rng.uniform(-0.6, 0.6), ridge), (0.6, 0.5, 1.6), MASONRY, 5)
        if roof == "gable" and rng.random() < 0.45:
            for k in range(max(1, int(width / 4.5))):
                x = (k + 0.5) / max(1, int(width / 4.5)) * width - width / 2
                model.box((x, 1.6, height + 0.75), (1.3, 1.8, 1.5), GLASS, 1)
                model.box((x, 1.55, height + 1.55), (1.7, 2.2, 0.14), PLAIN, 2)
    if rng.random() < 0.5:
        model.cone((-width / 2 + 0.2, -0.07, low), (-width / 2 + 0.2, -0.07, height), 0.055, 0.055, METAL, 1)
    if rng.random() < 0.6:
        model.box((0, -0.06, height - 0.1), (width, 0.24, 0.22), PLAIN, 1)
    storeys = int(height / storey)
    if storeys >= 2 and rng.random() < 0.35:
        for x in rng.uniform(-0.35, 0.35, int(rng.integers(1, 4))) * width:
            for k in range(1, storeys):
                z = k * storey + 0.1
                model.box((x, -0.55, z), (2.4, 1.1, 0.16), PLAIN, 5)
                model.panel(
                    (x, -1.08, z + 0.55),
                    (1.2, 0, 0),
                    (0, 0, 0.5),
                    METAL,
                    3,
                    cutout=BARS if k % 2 else 0,
                    cut_a=0.14,
                    cut_b=0.3,
                )
    if rng.random() < 0.3:
        x = rng.uniform(-0.3, 0.3) * width
        wide = rng.uniform(1.6, 3.5)
        model.box((x, -0.6, 2.75), (wide, 1.3, 0.12), PLAIN, 4)
    if rng.random() < 0.25:
        wide = rng.uniform(2.0, 3.2)
        model.box(
            (rng.uniform(-0.3, 0.3) * width, -0.45, height / 2 - 0.7), (wide, 1.0, height - 1.2), FACADE, 0, extra=0.0
        )
    if rng.random() < 0.3:
        x = rng.uniform(-0.35, 0.35) * width
        for k in range(int(rng.integers(1, 4))):
            model.box((x, -0.25 - 0.15 * k, 0.17 * (2 - k) - 0.6), (1.6, 0.5 + 0.3 * k, 1.2), MASONRY, 5)
    return model


def shed(rng: np.random.Generator) -> Model:
    """A garage, shed or kiosk."""
    width, depth, height = rng.uniform(2.6, 6.5), rng.uniform(2.5, 6.0), rng.uniform(2.1, 2.9)
    model = Model().box(
        (0, depth / 2, height / 2 - 0.5), (width, depth, height + 1.0), WOOD if rng.random() < 0.4 else MASONRY, 0
    )
    for k in range(max(1, int(width / 3))):
        x = (k + 0.5) * width / max(1, int(width / 3)) - width / 2
        model.box((x, 0.0, 1.0), (2.3, 0.06, 2.0), WOOD, 3)
    if rng.random() < 0.5:
        model.box((0, depth / 2, height + 0.08), (width + 0.4, depth + 0.4, 0.16), PLAIN, 2)
    else:
        model.polyhedron(
            [
                (0, 0, -1, height - 0.02),
                (0, -0.5, 1, -height - 0.1),
                (0, 0.5, 1, -height - 0.5 * depth - 0.1),
                (1, 0, 0, -width / 2 - 0.2),
                (-1, 0, 0, -width / 2 - 0.2),
            ],
            ROOF,
            2,
        )
    return model


def wall(rng: np.random.Generator, height: float) -> Model:
    """A garden or retaining wall, 6 m long."""
    model = Model().box((0, 0, height / 2 - 0.4), (6.02, 0.28, height + 0.8), MASONRY, 0)
    model.box((0, 0, height + 0.04), (6.02, 0.38, 0.09), PLAIN, 5)
    if rng.random() < 0.5:
        for x in (-3.0, 0.0):
            model.box((x, 0, height / 2 + 0.05), (0.42, 0.42, height + 0.3), MASONRY, 5)
    return model
