"""What stands along a street, chunk by chunk: each chunk has its own random stream, so a drive may visit them in any
order and finds the same street."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spike_depth_core.world import buildings, furniture, people, plants, surfaces, vehicles
from spike_depth_core.world.layout import Side, Street
from spike_depth_core.world.primitives import HIGH, LOW, Model, PrimitiveTable
from spike_depth_core.world.surfaces import HILL, palette
from spike_depth_core.world.traffic import Look, Movers

CHUNK = 60.0  # metres of road
Put = Callable[..., bool]

NO_STYLE = np.zeros(buildings.STYLE_WIDTH)


@dataclass
class Shape:
    """A model in the library: its rows in the table, its box and what it does to the light on the ground below."""

    first: int
    last: int
    low: np.ndarray
    high: np.ndarray
    footprint: np.ndarray  # x0, x1, y0, y1, strength, reach


@dataclass
class Block:
    """Instances as arrays: models int [I], poses [I, 4, 4], palettes [I, 6, 4], params [I, 13], seeds int [I]."""

    models: np.ndarray
    poses: np.ndarray
    palettes: np.ndarray
    params: np.ndarray
    seeds: np.ndarray


class Library:
    """The models of one scene, made when first asked for; each family draws from its own random stream."""

    def __init__(self, seed: int, street: Street) -> None:
        self._seed, self._street = seed, street
        self._tables: list[PrimitiveTable] = []
        self._count = 0
        self._merged: PrimitiveTable | None = None
        self.shapes: list[Shape] = []
        self._families: dict[str, list[int]] = {}
        self.house_info: dict[int, tuple[float, float, np.ndarray]] = {}  # width, depth, facade style

    def table(self) -> PrimitiveTable:
        if self._merged is None:
            self._merged = PrimitiveTable.concatenate(self._tables)
            self._tables = [self._merged]
        return self._merged

    def add(self, model: Model, shade: float = 0.0, reach: float = 0.5, trunk: float | None = None) -> int:
        """Add a model; `shade` is how much skylight it takes from the ground, fading over `reach` metres."""
        table = model.table()
        low, high = table.data[:, LOW : LOW + 3].min(0), table.data[:, HIGH : HIGH + 3].max(0)
        foot = [low[0], high[0], low[1], high[1]] if trunk is None else [-trunk, trunk, -trunk, trunk]
        self.shapes.append(
            Shape(self._count, self._count + len(table.kind), low, high, np.array([*foot, shade, reach]))
        )
        self._count += len(table.kind)
        self._tables.append(table)
        self._merged = None
        return len(self.shapes) - 1

    def family(self, name: str) -> list[int]:
        """Model numbers of a family: "car", "house", "broadleaf"..."""
        if name not in self._families:
            makers: dict[str, tuple[int, Callable[[np.random.Generator], int]]] = {
                "car": (7, lambda r: self.add(vehicles.car(r), 0.85, 0.45)),
                "van": (2, lambda r: self.add(vehicles.van(r), 0.85, 0.5)),
                "lorry": (3, lambda r: self.add(vehicles.lorry(r), 0.8, 0.7)),
                "bus": (1, lambda r: self.add(vehicles.bus(r), 0.85, 0.7)),
                "trailer": (1, lambda r: self.add(vehicles.trailer(r), 0.8, 0.5)),
                "rack": (2, lambda r: self.add(vehicles.bicycle_rack(r), 0.2, 0.3)),
                "pedestrian": (6, lambda r: self.add(people.pedestrian(r), 0.45, 0.25)),
                "cyclist": (3, lambda r: self.add(people.cyclist(r), 0.4, 0.3)),
                "broadleaf": (4, lambda r: self.add(plants.broadleaf(r), 0.35, 1.6, 1.2)),
                "conifer": (2, lambda r: self.add(plants.conifer(r), 0.4, 1.2, 0.8)),
                "bare": (1, lambda r: self.add(plants.bare(r), 0.1, 0.6, 0.3)),
                "shrub": (4, lambda r: self.add(plants.shrub(r), 0.5, 0.4)),
                "thicket": (3, lambda r: self.add(plants.thicket(r), 0.5, 1.5)),
                "hedge": (2, lambda r: self.add(plants.hedge(r), 0.45, 0.5)),
                "fence": (2, lambda r: self.add(furniture.fence(r), 0.1, 0.3)),
                "wall": (2, lambda r: self.add(buildings.wall(r, r.uniform(0.5, 2.4)), 0.45, 0.5)),
                "rail": (1, lambda r: self.add(furniture.guard_rail(r, int(r.choice([0, 1, 3]))), 0.1, 0.3)),
                "barrier": (1, lambda r: self.add(furniture.guard_rail(r, 2), 0.4, 0.4)),
                "lamp": (1, self._lamp),
                "post": (4, lambda r: self.add(furniture.post(r))),
                "sign": (6, lambda r: self.add(furniture.sign(r))),
                "signal": (2, lambda r: self.add(furniture.signal(r))),
                "clutter": (7, lambda r: self.add(furniture.clutter(r), 0.4, 0.3)),
                "shelter": (1, lambda r: self.add(furniture.shelter(r), 0.4, 0.8)),
                "shed": (3, lambda r: self.add(buildings.shed(r), 0.45, 0.8)),
                "house": (7, self._house),
                "gantry": (1, lambda r: self.add(furniture.gantry(r, *self._edges(1.0)))),
                "bridge": (1, lambda r: self.add(furniture.bridge(r, *self._edges(3.0)), 0.5, 2.0)),
                "wires": (2, lambda r: self.add(furniture.wires(r, 60.0, r.uniform(6.5, 8.5)))),
                "hill": (4, lambda r: self.add(_hill(r))),
            }  # fmt: skip
            # Kinds that came later have streams apart, so that the others keep theirs.
            later: dict[str, tuple[int, Callable[[np.random.Generator], int]]] = {
                "palm": (2, lambda r: self.add(plants.palm(r), 0.15, 1.2, 0.5)),
                "poplar": (3, lambda r: self.add(plants.poplar(r), 0.35, 1.2, 0.8)),
                "scooter": (4, lambda r: self.add(people.scooter(r, rider=False), 0.4, 0.3)),
                "rider": (4, lambda r: self.add(people.scooter(r, rider=True), 0.4, 0.3)),
                "bollards": (2, lambda r: self.add(furniture.bollards(r))),
                "planter": (3, lambda r: self.add(furniture.planter(r), 0.45, 0.4)),
                "billboard": (3, lambda r: self.add(furniture.billboard(r))),
            }  # fmt: skip
            if name in makers:
                stream, (count, make) = sorted(makers).index(name), makers[name]
            else:
                stream, (count, make) = 1000 + list(later).index(name), later[name]
            rng = np.random.default_rng([self._seed, 5, stream])
            self._families[name] = [make(rng) for _ in range(count)]
        return self._families[name]

    def _edges(self, margin: float) -> tuple[float, float]:
        """Offsets d a margin beyond the road's left and right edges."""
        return self._street.left.kerb + margin, -self._street.right.kerb - margin

    def _lamp(self, rng: np.random.Generator) -> int:
        arm = rng.uniform(0.8, 2.2) if rng.random() < 0.75 else 0.0
        number = self.add(furniture.street_lamp(rng, self._street.lamp_height, arm))
        self.lamp_arm = arm
        return number

    def _house(self, rng: np.random.Generator) -> int:
        street, town = self._street, self._street.town
        modern = rng.random() < street.modern
        style = buildings.facade_style(rng, modern, town)
        low, high = street.storeys
        storeys = int(rng.integers(low, high + 1))
        if street.terraced:
            width, depth = rng.uniform(9.0, 24.0), rng.uniform(10.0, 14.0)
            roof = str(rng.choice(["gable", "flat", "hip"], p=[0.6, 0.3, 0.1]))
        elif street.layout in ("suburb", "country"):
            width, depth = rng.uniform(8.0, 15.0), rng.uniform(7.5, 11.0)
            roof = str(rng.choice(["gable", "cross", "hip", "flat"], p=[0.4, 0.3, 0.2, 0.1]))
        else:
            width, depth = rng.uniform(*town.house_width), rng.uniform(9.0, 16.0)
            roof = str(rng.choice(["gable", "cross", "hip", "flat"], p=town.roofs))
            if roof == "cross":
                width = min(width, 12.0)
        height = storeys * style[0] + rng.uniform(0.2, 0.7)
        number = self.add(buildings.house(rng, width, depth, height, roof, style[0]), 0.4, 1.2)
        self.house_info[number] = (width, depth, style)
        return number


class Population:
    """Fills a street. `chunk(i)` gives the instances, movers and lamps of i * 60 m <= s < (i + 1) * 60 m."""

    def __init__(self, seed: int, street: Street) -> None:
        self.street = street
        self.library = Library(seed, street)
        self._seed = seed
        self._chunks: dict[int, tuple[Block, Movers, np.ndarray]] = {}
        rng = np.random.default_rng([seed, 6])
        town = street.town
        self._leaves = [town.leaves(rng) for _ in range(3)]
        self._timber = surfaces.bark(rng)
        self._metal = surfaces.grey(rng, 0.06, 0.4)
        self.lamp_colour = np.array(
            [[1.15, 0.95, 0.72, 0.8], [1.3, 0.8, 0.32, 1.0], [0.9, 1.0, 1.1, 0.4]][int(rng.integers(3))]
        )
        self._scheme = [town.wall(rng) for _ in range(4)]
        self._roofs = [town.tiles(rng) for _ in range(2)]
        self._tree_kinds = list(rng.choice(town.kinds, 2))
        self._street_tree = int(rng.integers(4))
        self._regular = rng.random() < town.regular
        self._tree_pace = rng.uniform(*town.tree_pace)
        self._hills = self._draw_hills(rng)

    # ---- looks -------------------------------------------------------------------------------------------------

    def look(self, rng: np.random.Generator, family: str) -> Look:
        """A random member of a family with colours: (model, palette, params, seed)."""
        members = self.library.family(family)
        number = members[int(rng.integers(len(members)))]
        seed = int(rng.integers(1, 1 << 30))
        style = NO_STYLE
        grey, colour, town = surfaces.grey, surfaces.colour, self.street.town
        if family in ("car", "van", "lorry", "bus", "trailer"):
            load = colour(rng, 0.1, 0.75, 0.5) if rng.random() < 0.5 else grey(rng, 0.4, 0.75)
            colours = palette(
                town.finish(rng), grey(rng, 0.015, 0.04), load, colour(rng, 0.1, 0.7, 1.0),
                colour(rng, 0.05, 0.6, 0.8), grey(rng, 0.05, 0.2),
            )  # fmt: skip
        elif family in ("pedestrian", "cyclist", "rider", "scooter"):
            colours = palette(
                surfaces.cloth(rng), surfaces.cloth(rng), surfaces.skin(rng), grey(rng, 0.015, 0.2, 0.2),
                surfaces.cloth(rng) * 0.5, surfaces.cloth(rng),
            )  # fmt: skip
            if family in ("rider", "scooter"):
                colours[4], colours[5] = grey(rng, 0.015, 0.05), surfaces.paint(rng)
        elif family in ("broadleaf", "conifer", "bare", "shrub", "thicket", "hedge", "palm", "poplar", "planter"):
            leaves = self._leaves[int(rng.integers(3))] * rng.uniform(0.7, 1.3)
            other = leaves * rng.uniform(0.6, 1.2, 4)
            colours = palette(surfaces.bark(rng), leaves, other * (0.35 if family == "hedge" else 1.0))
        elif family == "house":
            wall = self._scheme[int(rng.integers(4))] if rng.random() < 0.6 else town.wall(rng)
            trim = grey(rng, 0.45, 0.8) if rng.random() < 0.65 else colour(rng, 0.03, 0.4, 0.8)
            tiles = self._roofs[int(rng.integers(2))] if rng.random() < 0.7 else town.tiles(rng)
            colours = palette(
                np.clip(wall * rng.uniform(0.8, 1.15), 0.02, 0.85), trim, tiles, colour(rng, 0.04, 0.4, 0.9),
                colour(rng, 0.04, 0.6, 1.0), grey(rng, 0.15, 0.5),
            )  # fmt: skip
            style = self.library.house_info[number][2].copy()
            style[10], style[6] = rng.uniform(0.0, 0.8), rng.uniform(0.05, 0.6)
            if style[12] == 2 and rng.random() < 0.6:  # a hall, or a wall that is there to be looked at: of any colour
                colours[0], style[4] = colour(rng, 0.1, 0.75, 1.0), rng.choice([0, 3, 4])
        elif family in ("sign", "clutter", "shelter", "gantry", "billboard"):
            colours = palette(
                self._metal, colour(rng, 0.05, 0.7, 1.0), colour(rng, 0.05, 0.6, 1.0), colour(rng, 0.05, 0.75, 1.0),
                grey(rng, 0.1, 0.5), grey(rng, 0.15, 0.5),
            )  # fmt: skip
        elif family == "signal":
            colours = palette(
                self._metal, self._metal, np.full(4, 0.02), np.array([2.0, 0.15, 0.1, 1.0]),
                np.array([2.0, 1.1, 0.1, 1.0]), np.array([0.1, 1.6, 0.9, 0.3]),
            )  # fmt: skip
        elif family == "lamp":
            colours = palette(*[self._metal] * 5, 6.0 * self.lamp_colour)
        elif family in ("post", "wires", "rail", "barrier", "bollards"):
            colours = palette(
                self._timber if rng.random() < 0.3 and family == "post" else self._metal, colour(rng, 0.1, 0.7, 0.8),
                np.full(4, 0.03), self._metal, self._metal, grey(rng, 0.2, 0.5),
            )  # fmt: skip
        else:
            colours = palette(
                surfaces.masonry(rng) if rng.random() < 0.5 else surfaces.bark(rng) * rng.uniform(1, 3),
                grey(rng, 0.05, 0.5), surfaces.roof(rng), colour(rng, 0.05, 0.6, 0.6), grey(rng, 0.2, 0.6),
                grey(rng, 0.2, 0.5),
            )  # fmt: skip
        return number, colours, style, seed

    def _draw_hills(self, rng: np.random.Generator) -> Block:
        """Distant rises that close the horizon, around the whole of the road."""
        looks: list[Look] = []
        poses: list[np.ndarray] = []
        road = self.street.road
        if rng.random() < 0.75:
            members = self.library.family("hill")
            for s in np.arange(road.start, road.end + 600.0, 260.0):
                for sign in (-1, 1):
                    base = road.point(min(s, road.end), 0.0)
                    angle = float(road.heading(min(s, road.end)))
                    far, ahead = sign * rng.uniform(320.0, 700.0), max(0.0, s - road.end)
                    pose = np.eye(4)
                    pose[:3, 3] = base
                    pose[:3, 3] += [
                        math.cos(angle) * ahead - math.sin(angle) * far,
                        math.sin(angle) * ahead + math.cos(angle) * far,
                        -3.0,
                    ]
                    colours = palette(self._leaves[0] * rng.uniform(0.6, 1.1))
                    looks.append((members[int(rng.integers(len(members)))], colours, NO_STYLE, 7))
                    poses.append(pose)
        return _block(looks, np.array(poses).reshape(-1, 4, 4))

    @property
    def hills(self) -> Block:
        return self._hills

    # ---- chunks ------------------------------------------------------------------------------------------------

    def chunk(self, number: int) -> tuple[Block, Movers, np.ndarray]:
        """Instances, movers and lamp places [L, 3] of a stretch of 60 m."""
        if number not in self._chunks:
            self._chunks[number] = self._fill(number)
            while len(self._chunks) > 24:
                self._chunks.pop(next(iter(self._chunks)))
        return self._chunks[number]

    def _fill(self, number: int) -> tuple[Block, Movers, np.ndarray]:
        street, road = self.street, self.street.road
        rng = np.random.default_rng([self._seed, 8, number + 1000])
        start = number * CHUNK
        looks: list[Look] = []
        spots: list[tuple[float, float, float, bool]] = []  # s, d, yaw, whether it tilts with the road
        movers = Movers()
        lamps: list[tuple[float, float]] = []
        ego_d, across = street.ego_offset, abs(street.ego_yaw) > 1.0 and street.speed == 0.0

        def free(s: float, d: float, size: float) -> bool:
            """Whether nothing of that radius would stand on the ego car or close before its camera."""
            if street.speed == 0.0 or across:
                ahead, side = (d - ego_d, s) if across else (s, d - ego_d)
                keep = 3.5 if across else 2.0
                return not (-4.0 < ahead < 6.0 + size and abs(side) < keep + size)
            return abs(d - ego_d) > 1.3 + size

        def put(family: str, s: float, d: float, yaw: float = 0.0, size: float = 0.4, look: Look | None = None) -> bool:
            if not (road.start < s < road.end - 1) or not free(s, d, size):
                return False
            if street.closed is not None and s > street.closed - size:
                return False
            looks.append(look or self.look(rng, family))
            # Only vehicles tilt with the road; houses and posts stand plumb.
            spots.append((s, d, yaw, family in ("car", "van", "lorry", "bus", "trailer")))
            return True

        if street.closed is not None and number == math.floor(street.closed / CHUNK):
            members = self.library.family("house")
            widest = max(members, key=lambda m: self.library.house_info[m][0])
            _, colours, style, seed = self.look(rng, "house")
            style = self.library.house_info[widest][2]
            turn = rng.normal(0.0, 0.25)
            width = self.library.house_info[widest][0]
            for k in range(-2, 3):
                d = k * (width + 0.05)
                looks.append((widest, colours, style, seed + k))
                spots.append((street.closed + d * math.sin(turn), d * math.cos(turn), -math.pi / 2 - turn, False))
        for side, sign in ((street.right, -1), (street.left, 1)):
            self._fill_side(rng, side, sign, start, put, movers, lamps)
        if street.layout == "square":
            self._furnish_square(rng, start, put)
        if street.layout == "highway":
            if rng.random() < 0.12:
                put("gantry", start + rng.uniform(0, CHUNK), 0.0, size=-50.0)
            if rng.random() < 0.08:
                put("bridge", start + rng.uniform(20, CHUNK), 0.0, size=-50.0)
            for s in np.arange(start, start + CHUNK, 4.0):
                put(street.median_rail, s + 2.0, max(0.35, (street.left.lanes[0] - 1.8) / 2), 0.0, size=0.0)
        elif street.median > 0.0:
            self._plant_median(rng, start, put)
        if street.wires and street.layout in ("town", "suburb"):
            put("wires", start, rng.uniform(-3, 3), size=-50.0)
        self._crossers(rng, start, movers)
        ground = np.array(lamps).reshape(-1, 2)
        heads = road.point(ground[:, 0], ground[:, 1])
        heads[:, 2] += street.lamp_height
        return _block(looks, self._poses(spots)), movers, heads

    def _poses(self, spots: list[tuple[float, float, float, bool]]) -> np.ndarray:
        """Poses [N, 4, 4] of (s, d, yaw, tilts)."""
        table = np.array(spots, dtype=np.float64).reshape(-1, 4)
        road = self.street.road
        poses = road.frames(table[:, 0], table[:, 1], table[:, 2])
        plumb = table[:, 3] < 0.5
        heading = (road.heading(table[:, 0]) + table[:, 2])[plumb]
        upright = np.zeros((len(heading), 3, 3))
        upright[:, 0, 0] = upright[:, 1, 1] = np.cos(heading)
        upright[:, 1, 0], upright[:, 0, 1] = np.sin(heading), -np.sin(heading)
        upright[:, 2, 2] = 1.0
        poses[plumb, :3, :3] = upright
        return poses

    def _fill_side(
        self,
        rng: np.random.Generator,
        side: Side,
        sign: int,
        start: float,
        put: Put,
        movers: Movers,
        lamps: list[tuple[float, float]],
    ) -> None:
        street, road = self.street, self.street.road
        end = start + CHUNK
        towards = math.pi if sign > 0 else 0.0  # traffic on the left comes towards the ego car

        def beside(s: float, margin: float = 0.0) -> bool:
            return road.in_junction(s, margin, sign)

        # Parked vehicles.
        if side.parking is not None:
            slanted = street.layout == "square" and rng.random() < 0.7
            s = start + rng.uniform(0, 4)
            while s < end:
                pace = rng.uniform(2.5, 3.0) if slanted else rng.uniform(5.2, 6.8)
                if rng.random() < side.parked and not road.in_junction(s, 5.0):
                    family = str(rng.choice(list(street.town.parked), p=list(street.town.parked.values())))
                    turn = towards if rng.random() < 0.85 else math.pi - towards
                    if slanted:
                        turn = math.pi / 2 * rng.choice([-1.0, 1.0]) + rng.normal(0.0, 0.03)
                        family = "car"
                    look = self.look(rng, family)
                    shape = self.library.shapes[look[0]]
                    length = float(shape.high[0] - shape.low[0])
                    if put(
                        family, s + (0 if slanted else length / 2), sign * (side.parking + rng.normal(0, 0.08)),
                        turn + rng.normal(0, 0.015), size=2.6 if slanted else 1.2, look=look,
                    ) and not slanted:  # fmt: skip
                        pace = length + rng.uniform(0.5, 1.8)
                s += pace
        # Lamps, trees, signs and the rest on the pavement or verge.
        band = (side.kerb + 0.45, max(side.walk - 0.2, side.kerb + 0.6))
        spacing = street.lamp_spacing
        if street.lamp_side in (0, sign) or street.layout == "square":
            for k in range(math.ceil(start / spacing), math.ceil(end / spacing)):
                s = k * spacing
                if not beside(s) and put("lamp", s, sign * band[0], 0.0 if sign > 0 else math.pi, size=0.3):
                    arm = self.library.lamp_arm
                    lamps.append((s, sign * (band[0] - arm)))
        if side.trees > 0.02:
            s = start + rng.uniform(0, 4)
            kind = self._tree_kinds[sign > 0]
            while s < end:
                if rng.random() < side.trees and not beside(s, 2.0):
                    members = self.library.family(kind)
                    look = self.look(rng, kind)
                    if self._regular:
                        look = (members[self._street_tree % len(members)], *look[1:])
                    d = (
                        band[0] + 0.35
                        if street.layout in ("town", "suburb", "square")
                        else side.property + rng.uniform(1.0, 8.0)
                    )
                    put(kind, s, sign * d, rng.uniform(0, 6.28), size=1.2, look=look)
                s += self._tree_pace if self._regular else self._tree_pace * rng.uniform(0.4, 1.6)
        for _ in range(rng.poisson(side.clutter * 9)):
            s, d = rng.uniform(start, end), rng.uniform(*band)
            family = str(rng.choice(list(street.town.band), p=list(street.town.band.values())))
            if street.layout in ("country", "highway"):
                family = str(rng.choice(["sign", "post", "shrub"], p=[0.35, 0.35, 0.3]))
                d = side.kerb + rng.uniform(0.8, 4.0)
            if not beside(s, 0.5):
                yaw = 0.0 if sign < 0 else math.pi
                put(
                    family,
                    s,
                    sign * d,
                    yaw + (rng.normal(0, 0.08) if family == "sign" else rng.choice([0.0, 1.57])),
                    size=0.5,
                )
        for j in road.junctions:
            if start <= j.start < end and street.layout == "town" and rng.random() < 0.35:
                put("signal", j.start - 1.0, sign * band[0], 0.0 if sign < 0 else math.pi, size=0.4)
        if street.layout in ("country", "highway") and side.boundary != "barrier":
            for s in np.arange(start, end, 25.0):
                put("post", s, sign * (side.kerb + 0.6), size=0.2)
        # Property line.
        if side.boundary != "none":
            length = 4.0 if side.boundary in ("rail", "barrier") else 6.0
            for s in np.arange(start + length / 2, end, length):
                if not beside(s, 3.5) and (side.boundary in ("rail", "barrier") or rng.random() < 0.85):
                    look = (self.library.family(side.boundary)[0], *self.look(rng, side.boundary)[1:])
                    put(side.boundary, s, sign * side.property, 0.0 if sign > 0 else math.pi, size=0.3, look=look)
        # Buildings, with gardens before them.
        s = start + rng.uniform(0.0, 1.0)
        while s < end - 6.0 and side.houses > 0.0:
            look = self.look(rng, "house")
            width = self.library.house_info[look[0]][0]
            if s + width > end + 0.5:
                s += 4.0
                continue
            centre = s + width / 2
            near = side.property + side.setback
            if rng.random() < side.houses and not any(
                j.start - width / 2 - 3.0 < centre < j.end + width / 2 + 3.0 and (j.left if sign > 0 else j.right)
                for j in road.junctions
            ):
                set_back = near if street.terraced else near + rng.uniform(0.0, 2.5)
                turn = 0.0 if street.terraced else rng.normal(0.0, 0.05)
                if put(
                    "house", centre, sign * set_back, (0.0 if sign > 0 else math.pi) + turn, size=width / 2, look=look
                ):
                    if side.setback > 2.0 and rng.random() < 0.4:
                        put(
                            "shed",
                            centre + width / 2 + 2.5,
                            sign * (set_back + 2.0),
                            0.0 if sign > 0 else math.pi,
                            size=3.0,
                        )
                    if side.setback > 4.5 and rng.random() < 0.35:
                        put("car", centre + width / 2 + 1.6, sign * (set_back - 1.0), math.pi / 2 * sign, size=2.4)
            s += width + (0.02 if street.terraced else rng.uniform(1.5, 9.0))
        if side.setback > 1.8:
            for _ in range(rng.poisson(5)):
                s = rng.uniform(start, end)
                family = str(rng.choice(["shrub", "broadleaf", "conifer", "hedge"], p=[0.55, 0.2, 0.15, 0.1]))
                if not beside(s, 4.0):
                    put(
                        family,
                        s,
                        sign * rng.uniform(side.property + 0.8, side.property + side.setback),
                        rng.uniform(0, 6.28),
                        size=1.2,
                    )
        # Behind: woods, trees, other houses.
        back = side.property + (side.setback + 16.0 if side.houses > 0.3 else 3.0)
        if side.woods > 0.0:
            for s in np.arange(start, end, 10.0):
                if rng.random() < side.woods and not beside(s, 8.0):
                    put(
                        "thicket",
                        s + rng.uniform(-2, 2),
                        sign * (back + rng.uniform(0, 7)),
                        rng.normal(0, 0.2),
                        size=4.0,
                    )
        for _ in range(rng.poisson(1.5)):
            family = str(rng.choice(["house", "broadleaf", "thicket", "conifer"], p=[0.35, 0.3, 0.2, 0.15]))
            put(
                family,
                rng.uniform(start, end),
                sign * (back + rng.uniform(12.0, 60.0)),
                rng.choice([0, 1.57, 3.14, -1.57]),
                size=8.0,
            )
        # Down the side streets.
        for j in road.junctions:
            if start <= j.start < end and (j.left if sign > 0 else j.right):
                for edge, outwards in ((j.start - 2.0, -1.0), (j.end + 2.0, 1.0)):
                    d = side.property + side.setback + 22.0
                    while d < side.property + 75.0:
                        look = self.look(rng, "house")
                        width = self.library.house_info[look[0]][0]
                        if rng.random() < 0.75:
                            put(
                                "house",
                                edge + outwards * rng.uniform(0.5, 3),
                                sign * (d + width / 2),
                                0.0 if outwards > 0 else math.pi,
                                size=0.0,
                                look=look,
                            )
                        d += width + rng.uniform(0.5, 4.0)
                    if rng.random() < 0.5:
                        put(
                            "car",
                            (j.start + j.end) / 2 + outwards * 2.0,
                            sign * (side.walk + rng.uniform(3.0, 30.0)),
                            math.pi / 2 * rng.choice([-1, 1]),
                            size=1.0,
                        )
        # People on the pavement; some stand, most walk past about the time the ego car does.
        near_time = 0.0 if street.speed < 0.5 else max(0.0, start / street.speed)
        for _ in range(rng.poisson(side.people * 9)):
            s, d = rng.uniform(start, end), rng.uniform(side.kerb + 0.3, max(side.walk - 0.1, side.kerb + 0.9))
            if beside(s, 1.0):
                continue
            if rng.random() < 0.35 or street.speed < 0.5:
                put("pedestrian", s, sign * d, rng.uniform(0, 6.28), size=0.4)
            else:
                pace = rng.uniform(0.8, 1.7) * rng.choice([-1.0, 1.0])
                movers.add(
                    self.look(rng, "pedestrian"), s - pace * near_time, sign * d, pace, 0.0 if pace > 0 else math.pi
                )

    def _plant_median(self, rng: np.random.Generator, start: float, put: Put) -> None:
        """Hedges or shrubs with trees between them on the strip between the directions, but at junctions."""
        street, road = self.street, self.street.road
        middle = street.median / 2
        clipped, tree = street.median < 3.5, self._tree_kinds[0]
        for s in np.arange(start + 3.0, start + CHUNK, 6.0):
            if road.in_junction(s, 4.0):
                continue
            if clipped:
                look = (self.library.family("hedge")[0], *self.look(rng, "hedge")[1:])
                put("hedge", s, middle, 0.0, size=0.4, look=look)
            else:
                put("shrub", s + rng.uniform(-2, 2), middle + rng.uniform(-0.8, 0.8), rng.uniform(0, 6.28), size=0.6)
            if not clipped and rng.random() < 0.5:
                put(tree, s, middle, rng.uniform(0, 6.28), size=1.0)

    def _furnish_square(self, rng: np.random.Generator, start: float, put: Put) -> None:
        """Things on the open ground of a square or yard, and a fringe along the building that closes it."""
        street = self.street
        low, high = -street.right.kerb, street.left.kerb
        kinds = [
            "shrub",
            "rack",
            "clutter",
            "post",
            "broadleaf",
            "pedestrian",
            "hedge",
            "car",
            "sign",
            "cyclist",
            "wall",
        ]
        shares = [0.16, 0.13, 0.15, 0.14, 0.12, 0.1, 0.06, 0.05, 0.04, 0.03, 0.02]
        for _ in range(rng.poisson(rng.choice([3.0, 10.0, 20.0]))):
            family = str(rng.choice(kinds, p=shares))
            d = rng.uniform(low, high)
            if street.speed < 0.5 or abs(d - street.ego_offset) > 3.0:
                put(
                    family,
                    rng.uniform(start, start + CHUNK),
                    d,
                    rng.choice([0.0, 1.57, 3.14]) + rng.normal(0, 0.1),
                    size=1.0,
                )
        if street.closed is not None and start <= street.closed < start + CHUNK:
            fringe = ["shrub", "hedge", "rack", "broadleaf", "clutter", "post", "pedestrian", "shed", "fence"]
            for d in np.arange(low - 6.0, high + 6.0, rng.uniform(1.5, 5.0)):
                if rng.random() < 0.6:
                    family = str(rng.choice(fringe, p=[0.28, 0.16, 0.16, 0.12, 0.1, 0.06, 0.06, 0.02, 0.04]))
                    yaw = 1.57 if family in ("hedge", "fence", "shed") else rng.uniform(0.0, 6.28)
                    put(family, street.closed - rng.uniform(1.2, 5.0), d, yaw, size=0.8)

    def _crossers(self, rng: np.random.Generator, start: float, movers: Movers) -> None:
        """Pedestrians and vehicles that cross the road, well before the ego car arrives there."""
        street, road = self.street, self.street.road
        if street.layout in ("highway", "country"):
            return
        standing = street.speed < 0.5
        for _ in range(rng.poisson(0.8 if street.layout != "square" else 1.5)):
            s = rng.uniform(start, start + CHUNK)
            if s < 6.0 or (street.closed is not None and s > street.closed - 1.0):
                continue
            sign = rng.choice([-1.0, 1.0])
            moment = rng.uniform(-4.0, 4.0) if standing else s / street.speed - rng.uniform(2.0, 7.0)
            movers.add(
                self.look(rng, "pedestrian"), s, street.ego_offset, yaw=sign * math.pi / 2 + rng.normal(0, 0.05),
                sideways=sign * rng.uniform(1.0, 1.7), moment=moment,
            )  # fmt: skip
        for j in road.junctions:
            if start <= j.start < start + CHUNK and j.start > 6.0 and rng.random() < 0.4:
                if not (j.left and j.right):
                    continue
                sign = rng.choice([-1.0, 1.0])
                s = (j.start + j.end) / 2 + sign * 1.7
                speed = rng.uniform(5.0, 11.0)
                moment = rng.uniform(-2.0, 2.0) if standing else s / street.speed - rng.uniform(2.2, 6.0)
                look = self.look(rng, str(rng.choice(["car", "van", "cyclist", "bus"], p=[0.7, 0.12, 0.12, 0.06])))
                movers.add(look, s, street.ego_offset, yaw=sign * math.pi / 2, sideways=sign * speed, moment=moment)

    # ---- streams -----------------------------------------------------------------------------------------------

    def streams(self, rng: np.random.Generator) -> Movers:
        """Traffic along the lanes: in the ego car's lane it keeps its distance, elsewhere it flows."""
        street = self.street
        movers = Movers()
        highway = street.layout == "highway"
        across = abs(street.ego_yaw) > 1.0 and street.speed == 0.0
        if street.closed is not None or street.layout == "square":
            return movers

        def kind() -> str:
            if highway:
                return str(rng.choice(["car", "van", "lorry", "bus"], p=[0.62, 0.1, 0.26, 0.02]))
            return str(rng.choice(list(street.town.traffic), p=list(street.town.traffic.values())))

        for side, sign in ((street.right, -1), (street.left, 1)):
            for offset in side.lanes:
                d = sign * offset
                pace = street.speed * rng.uniform(0.85, 1.15) if street.speed > 1 else rng.uniform(5.0, 13.0)
                own = sign < 0 and abs(d - street.ego_offset) < 1.5 and not across
                s = rng.uniform(7.0, 45.0) if own else rng.uniform(-55.0, 0.0)
                while s < 230.0:
                    if rng.random() < 0.25 + 0.75 * street.traffic or (own and rng.random() < 0.5 and s < 40):
                        look = self.look(rng, kind())
                        shape = self.library.shapes[look[0]]
                        length = float(shape.high[0] - shape.low[0])
                        wander = rng.normal(0.0, 0.15)
                        if own:
                            movers.add(
                                look, s + length / 2, d + wander, with_ego=True, sway=min(2.0, s * 0.12) * rng.random(),
                                rate=rng.uniform(0.1, 0.5), phase=rng.uniform(0, 6.28),
                            )  # fmt: skip
                        elif sign < 0:
                            movers.add(look, s, d + wander, pace, stream=True)
                        else:
                            movers.add(look, s, d + wander, -pace, math.pi, stream=True)
                        s += length
                    s += rng.uniform(6.0, 25.0) + (1.0 - street.traffic) * rng.uniform(0.0, 60.0) + pace * 0.5
        return movers


def _hill(rng: np.random.Generator) -> Model:
    radii = (rng.uniform(150, 330), rng.uniform(120, 230), rng.uniform(3, 45))
    return Model().ellipsoid((0, 0, 0), radii, HILL)


def _block(looks: list[Look], poses: np.ndarray) -> Block:
    if not looks:
        return Block(
            np.zeros(0, np.int64),
            np.zeros((0, 4, 4)),
            np.zeros((0, 6, 4)),
            np.zeros((0, NO_STYLE.size)),
            np.zeros(0, np.int64),
        )
    models, palettes, params, seeds = zip(*looks, strict=True)
    return Block(
        np.array(models, dtype=np.int64),
        poses,
        np.array(palettes),
        np.array(params),
        np.array(seeds, dtype=np.int64),
    )
