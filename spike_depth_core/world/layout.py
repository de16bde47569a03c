"""What kind of street: widths, lanes, markings and what stands beside it, drawn independently of one another."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spike_depth_core.world.road import Column, Junction, Road
from spike_depth_core.world.surfaces import ASPHALT, COBBLES, CONCRETE, FIELD, GRASS, GRAVEL, KERB, SLABS
from spike_depth_core.world.towns import FIRST, Town

LAYOUTS = ("town", "suburb", "country", "highway", "square")


@dataclass
class Side:
    """One side of the street, distances in metres from the road's middle, growing outwards.

    Attributes:
        lanes: offsets of the middles of the lanes that run on this side.
        parking: offset of the middle of the parking strip, or None.
        kerb, walk: offsets of the kerb and the outer edge of the pavement (equal: no pavement).
        property: where gardens or facades begin. setback: how much farther back the buildings stand.
        parked, trees, houses, people, clutter: densities, 0 to 1.
        boundary: what stands on the property line: "none", "fence", "hedge", "wall", "rail", "barrier".
        woods: density of thickets behind.
    """

    lanes: list[float] = field(default_factory=list)
    parking: float | None = None
    kerb: float = 4.0
    walk: float = 6.0
    property: float = 6.0
    setback: float = 0.0
    parked: float = 0.0
    trees: float = 0.0
    houses: float = 0.0
    people: float = 0.0
    clutter: float = 0.0
    boundary: str = "none"
    woods: float = 0.0


@dataclass
class Street:
    """A street's plan: see `draw_street`."""

    layout: str
    road: Road
    right: Side
    left: Side
    speed: float
    ego_offset: float  # d of the ego car
    ego_yaw: float  # where it looks relative to the road
    traffic: float
    lines: np.ndarray
    zones: np.ndarray
    lamp_spacing: float
    lamp_side: int  # -1 right, 1 left, 0 both
    lamp_height: float
    storeys: tuple[int, int]
    terraced: bool
    modern: float
    closed: float | None  # s at which a building closes the view, or None
    wires: bool
    median_rail: str
    median: float  # width of the strip between the directions
    town: Town


def _lines(rows: list[tuple[float, ...]]) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(-1, 8)


def draw_street(
    rng: np.random.Generator,
    layout: str,
    across: bool,
    duration: float,
    fixed_speed: float | None = None,
    town: Town = FIRST,
) -> Street:
    """Draw a street. `across`: the ego car stands beside it and looks at the other side; only a car
    with the way free before it takes the `fixed_speed` (m/s). The road lasts for `duration` seconds."""
    country, highway, square = layout == "country", layout == "highway", layout == "square"
    lane = rng.uniform(*town.highway_lane) if highway else rng.uniform(*town.lane)
    if highway:
        ahead, back = int(rng.integers(2, 4)), int(rng.integers(2, 4))
    elif country or square:
        ahead, back = 1, 1
    else:
        ahead = int(rng.choice(1 + np.arange(len(town.lanes_ahead)), p=town.lanes_ahead))
        back = int(rng.choice(len(town.lanes_back), p=town.lanes_back))
    speed = rng.uniform(town.slowest[layout], town.fastest[layout])
    if layout in ("town", "suburb") and rng.random() < town.standing:
        speed = 0.0
    closed = None
    if square and rng.random() < 0.6:
        closed = rng.uniform(11.0, 42.0)
    if fixed_speed is not None:
        speed = fixed_speed
    if across or closed is not None:
        speed = 0.0

    median = rng.uniform(1.0, 6.0) if highway else 0.0
    if town.median and layout in ("town", "suburb") and min(ahead, back) > 1:
        median = rng.uniform(*town.median)
    yellow = float(rng.random() < town.yellow)
    lines: list[tuple[float, ...]] = []
    bright = rng.uniform(0.45, 1.0)
    forever = (-1e6, 1e6, bright, 0.0)
    marked = highway or rng.random() < (town.marked if layout == "town" else 0.5)
    dash, gap = (6.0, 12.0) if highway else (3.0, rng.choice([3.0, 6.0]))
    sides: dict[int, Side] = {}
    columns: dict[int, list[Column]] = {}
    relief = rng.uniform(0.0, 2.5) if country or highway else rng.uniform(0.0, 0.8)
    pave = int(rng.choice([SLABS, ASPHALT, COBBLES, CONCRETE], p=town.paved))
    surface = ASPHALT if highway or rng.random() < town.asphalt else int(rng.choice([COBBLES, CONCRETE]))
    if square:
        surface = int(rng.choice([SLABS, ASPHALT, COBBLES, GRAVEL], p=[0.35, 0.35, 0.2, 0.1]))
    for sign, count in ((-1, ahead), (1, back)):
        side = Side()
        base = median if sign > 0 else 0.0
        side.lanes = [base + (k + 0.5) * lane for k in range(count)]
        edge = base + count * lane
        if highway:
            edge += rng.uniform(1.2, 3.2)
        elif count == 0:
            edge = 0.3
        cols: list[Column] = []
        if median and sign > 0:
            cols.append(Column(median, 0.05, int(rng.choice([GRASS, CONCRETE, GRAVEL]))))
        if square:
            edge = rng.uniform(7.0, 30.0)
            side.parking = rng.uniform(5.0, edge) if rng.random() < 0.7 else None
            side.parked = rng.uniform(0.2, 0.8)
        elif layout in ("town", "suburb") and rng.random() < town.parking:
            side.parking = edge + 1.1
            edge += 2.2
            side.parked = rng.uniform(0.1, 0.95)
            if rng.random() < 0.4:
                lines.append((sign * (edge - 2.2), 0.1, 1.0, rng.choice([0.0, 1.0]), *forever))
        crown = -0.02 * min(edge, 8.0)
        cols.append(Column(edge, crown, surface))
        side.kerb = edge
        if country or highway:
            shoulder = rng.uniform(0.3, 1.6)
            ditch = rng.uniform(-0.7, 0.5)
            cols.append(Column(edge + shoulder, crown - 0.05, int(rng.choice([GRAVEL, GRASS, ASPHALT]))))
            cols.append(Column(edge + shoulder + 2.5, crown + ditch, GRASS))
            cols.append(Column(edge + shoulder + 7.0, crown + rng.uniform(-0.5, 2.2), GRASS))
            side.walk = edge
            side.property = edge + shoulder + 0.5
            side.setback = rng.uniform(9.0, 30.0)
            side.trees = rng.uniform(0.0, 0.6)
            side.houses = rng.uniform(0.0, 0.15) if rng.random() < 0.5 else 0.0
            side.woods = rng.uniform(0.0, 1.0) if rng.random() < 0.7 else 0.0
            side.boundary = str(
                rng.choice(
                    ["none", "rail", "barrier", "fence"],
                    p=[0.1, 0.6, 0.15, 0.15] if highway else [0.6, 0.25, 0.0, 0.15],
                )
            )
            side.clutter = rng.uniform(0.0, 0.3)
            outside = [Column(edge + 22.0, 0.6, int(rng.choice([GRASS, FIELD]))), Column(edge + 50.0, 0.8, FIELD)]
        else:
            rise = rng.uniform(0.06, 0.15) if rng.random() < 0.85 else 0.015
            walk = edge + 0.15 + (rng.uniform(*town.walk) if rng.random() < 0.9 else 0.3)
            cols.append(Column(edge + 0.02, crown + rise, KERB))
            cols.append(Column(edge + 0.15, crown + rise, KERB))
            if rng.random() < town.verge and not square:
                cols.append(Column(edge + 1.5, crown + rise, GRASS))
                walk += 1.3
            cols.append(Column(walk, crown + rise + 0.02, pave))
            side.walk = walk
            side.property = walk + 0.1
            side.people = rng.uniform(0.0, 0.5 if layout != "suburb" else 0.15)
            side.clutter = rng.uniform(0.05, 0.7)
            side.trees = rng.uniform(*town.trees) if rng.random() < town.with_trees else 0.0
            if layout == "town":
                side.setback = rng.uniform(*(town.setback if rng.random() < town.fronting else town.gardens))
                side.houses = 1.0 if rng.random() < town.houses else rng.uniform(0.0, 0.8)
                side.boundary = "none" if side.setback < 2 else str(rng.choice(["fence", "hedge", "wall", "none"]))
            elif layout == "suburb":
                side.setback = rng.uniform(*town.suburb_setback)
                side.houses = rng.uniform(0.3, 0.95)
                side.boundary = str(rng.choice(["fence", "hedge", "wall", "none"], p=[0.3, 0.35, 0.2, 0.15]))
                side.woods = rng.uniform(0.0, 0.7)
            else:
                side.setback = rng.uniform(0.0, 6.0)
                side.houses = rng.uniform(0.3, 1.0)
                side.boundary = str(rng.choice(["none", "fence", "hedge", "wall"], p=[0.6, 0.15, 0.15, 0.1]))
            if side.houses < 0.4:
                side.woods = max(side.woods, rng.uniform(0.0, 0.8))
            yard = GRASS if layout == "suburb" or side.setback > 3 else pave
            outside = [
                Column(walk + 0.4, crown + rise + 0.02, yard),
                Column(walk + 14.0, crown + rise + 0.15, yard),
                Column(walk + 40.0, 0.4, GRASS),
            ]
        columns[sign] = [*cols, *outside, Column(cols[-1].d + 75.0, 0.8, int(rng.choice([GRASS, FIELD])))]
        columns[sign].sort(key=lambda c: c.d)
        sides[sign] = side
        if marked and count > 1:
            for k in range(1, count):
                lines.append((sign * (base + k * lane), 0.13, dash, gap, *forever))
        if (highway or rng.random() < 0.35) and not square:
            lines.append((sign * (base + count * lane + 0.08), 0.16, 1.0, 0.0, *forever))
    if median:
        lines.append((median - 0.3 if median > 1 else 0.2, 0.15, 1.0, 0.0, -1e6, 1e6, bright, yellow))
        lines.append((-0.1, 0.15, 1.0, 0.0, -1e6, 1e6, bright, yellow))
    elif marked and back > 0 and not square:
        style = rng.random()
        if style < 0.25:
            for d in (-0.12, 0.12):
                lines.append((d, 0.11, 1.0, 0.0, -1e6, 1e6, bright, yellow))
        else:
            lines.append((0.0, 0.13, dash, gap if style < 0.8 else 0.0, -1e6, 1e6, bright, yellow))

    length = 80.0 + 420.0 + speed * duration * 1.05
    junctions: list[Junction] = []
    if layout in ("town", "suburb", "country") and not across:
        s = rng.uniform(8.0, 70.0)
        while s < length - 100.0:
            if rng.random() < (0.75 if layout == "town" else 0.5):
                arms = rng.random()
                junctions.append(Junction(s, s + rng.uniform(6.0, 13.0), arms < 0.7, arms > 0.4))
            s += rng.uniform(*town.junctions)
    bend, hill = town.bends[layout], town.hills[layout]
    straight = rng.random() < town.straight
    road = Road(
        rng,
        -80.0,
        length,
        bend * (0.12 if straight else rng.uniform(0.3, 1.0)),
        hill * rng.uniform(0.0, 1.0),
        columns[-1],
        columns[1],
        junctions,
        relief,
    )
    right, left = sides[-1], sides[1]
    zones = _draw_zones(rng, road, right, left, layout, bright)
    lane_index = int(rng.integers(len(right.lanes)))
    ego_offset = -right.lanes[lane_index] + rng.normal(0.0, 0.2)
    ego_yaw = 0.0
    if across:
        ego_offset = -(right.walk + rng.uniform(0.5, 3.0))
        ego_yaw = np.pi / 2 + rng.uniform(-0.7, 0.7)
    elif speed == 0.0 and square:
        ego_yaw = rng.uniform(-0.6, 0.6)
    return Street(
        layout=layout,
        road=road,
        right=right,
        left=left,
        speed=speed,
        ego_offset=ego_offset,
        ego_yaw=ego_yaw,
        traffic=rng.uniform(0.0, 1.0) if not square else rng.uniform(0.0, 0.3),
        lines=_lines(lines),
        zones=zones,
        lamp_spacing=rng.uniform(*town.lamp_spacing),
        lamp_side=int(rng.integers(-1, 2)),
        lamp_height=rng.uniform(4.0, 6.0) if layout == "suburb" else rng.uniform(*town.lamp_height),
        storeys=town.suburb_storeys if layout in ("suburb", "country") else town.storeys,
        terraced=layout == "town" and rng.random() < town.terraced,
        modern=rng.uniform(0.0, town.modern[1]) if rng.random() < town.modern[0] else 0.0,
        closed=closed,
        wires=rng.random() < town.wires,
        median_rail=str(rng.choice(["rail", "barrier"])),
        median=median,
        town=town,
    )


def _draw_zones(
    rng: np.random.Generator, road: Road, right: Side, left: Side, layout: str, bright: float
) -> np.ndarray:
    """Marks and patches on the road: rows s0, s1, d0, d1, kind, value (see `materials.ground`)."""
    rows: list[tuple[float, ...]] = []
    low, high = -right.kerb, left.kerb
    if layout in ("town", "suburb"):
        for j in road.junctions:
            if rng.random() < 0.4:
                rows.append((j.start - 5.5, j.start - 2.2, low + 0.3, high - 0.3, 0, bright))
            if rng.random() < 0.5:
                rows.append((j.start - 1.4, j.start - 0.9, low + 0.2, -0.1, 1, bright))
            if rng.random() < 0.3:
                for offset in right.lanes:
                    rows.append((j.start - 14.0, j.start - 9.0, -offset - 0.5, -offset + 0.5, 5, bright))
    end = min(road.end, 4000.0)
    if layout in ("town", "suburb") and rng.random() < 0.4:
        for s in np.arange(rng.uniform(5, 60), end, rng.uniform(60, 160)):
            rows.append((s, s + 3.5, low + 0.3, high - 0.3, 0, bright))
    if layout == "square" and rng.random() < 0.6:
        width = rng.uniform(2.3, 2.8)
        for side, sign in ((right, -1), (left, 1)):
            if side.parking is None:
                continue
            for s in np.arange(-30.0, 120.0, width):
                a, b = sorted((sign * (side.parking - 2.4), sign * (side.parking + 2.4)))
                rows.append((s - 0.05, s + 0.05, a, b, 4, bright))
    if layout != "highway":
        pace = rng.uniform(12.0, 60.0)
        for s in np.arange(-20.0, end, pace):
            d = rng.uniform(low, high)
            rows.append((s, s + 0.65, d, d + 0.65, 3, 0))
    pace = rng.uniform(15.0, 90.0)
    for s in np.arange(-20.0, end, pace):
        d = rng.uniform(low, high - 1.0)
        s = s + rng.uniform(0, 10)
        rows.append((s, s + rng.uniform(1, 14), d, d + rng.uniform(0.5, 3.0), 2, rng.choice([-0.3, -0.18, 0.15])))
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return table[np.argsort(table[:, 0])]
