"""Towns: what the statistics of streets, of what stands and moves in them, and of their colours depend on.

The first is a European town, grown close around narrow streets. The second is a younger one of avenues laid out for
cars: straighter, with more and wider lanes and a planted median, tall blocks of panels and tiles far back behind wide
pavements, regular rows of trees, scooters and buses in faster traffic. The third is of yards: squares and short streets
between halls, schools and workshops, whose walls have few windows or none and may be painted or tiled in any colour, on
ground that falls and rises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from spike_depth_core.world import surfaces

Range = tuple[float, float]
Shares = Mapping[str, float]
Colour = Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Town:
    """A town's statistics; the defaults are the first town's. Lengths in metres, speeds in m/s.

    Attributes:
        name: as `build_scene` takes it.
        layouts: share of each kind of street, in the order of `layout.LAYOUTS`.
        lane, highway_lane: width of a lane.
        lanes_ahead, lanes_back: shares of 1, 2, ... lanes in town and suburb (back: of 0, 1, 2, ...).
        median: width of a planted strip between the directions in town and suburb, where there are two lanes ahead.
        slowest, fastest: speeds by layout. standing: share of cars that wait.
        bends, hills: greatest curvature (1/m) and gradient by layout. straight: share of roads nearly without bends.
        yellow: share of roads with yellow lines. marked: share of town streets with lines.
        paved: shares of slabs, asphalt, cobbles, concrete pavements. asphalt: share of roads made of it.
        parking: share of sides with a parking strip. verge: share of pavements with a strip of grass. walk: width of
            pavements. trees: density, where there are any (share `with_trees`). regular: share of streets with even
            rows of trees, `tree_pace` apart.
        setback, gardens: of town buildings from the property line, without and with a front garden; the share without
            is `fronting`. suburb_setback: in suburbs. houses: share of town sides built up all along.
        storeys, suburb_storeys: lowest and highest. terraced: share of town streets of joined houses. house_width:
            of the other buildings in town. roofs: shares of their gable, cross, hip and flat roofs. modern: share of
            streets with wide windows, and of houses in them.
        junctions: distance between them.
        lamp_spacing, lamp_height, wires: as they say.
        kinds: of trees, to draw from.
        traffic, parked: kinds of vehicles. band: kinds of things on the pavement.
        walls, ground_floors, blank: shares of facade patterns, see `buildings.facade_style`; without `blank` there are
            windows everywhere. shutters, bands: of houses with them. storey: height.
        wall, tiles, leaves, finish: colours of walls, roofs, foliage, vehicles. land: palette [8, 4] of the ground.
    """

    name: str = "first"
    layouts: tuple[float, ...] = (0.36, 0.26, 0.14, 0.11, 0.13)
    lane: Range = (2.6, 3.6)
    highway_lane: Range = (3.4, 3.8)
    lanes_ahead: tuple[float, ...] = (0.78, 0.22)
    lanes_back: tuple[float, ...] = (0.12, 0.7, 0.18)
    median: Range | None = None
    slowest: Shares = field(
        default_factory=lambda: {"town": 0.0, "suburb": 2.0, "country": 11.0, "highway": 18.0, "square": 0.0}
    )
    fastest: Shares = field(
        default_factory=lambda: {"town": 16.0, "suburb": 13.0, "country": 25.0, "highway": 35.0, "square": 5.0}
    )
    standing: float = 0.14
    bends: Shares = field(
        default_factory=lambda: {
            "town": 1 / 70,
            "suburb": 1 / 38,
            "country": 1 / 60,
            "highway": 1 / 500,
            "square": 1 / 400,
        }
    )
    hills: Shares = field(
        default_factory=lambda: {"town": 0.03, "suburb": 0.05, "country": 0.055, "highway": 0.025, "square": 0.01}
    )
    straight: float = 0.35
    yellow: float = 0.15
    marked: float = 0.75
    paved: tuple[float, ...] = (0.5, 0.25, 0.12, 0.13)
    asphalt: float = 0.9
    parking: float = 0.7
    verge: float = 0.25
    walk: Range = (1.2, 4.5)
    trees: Range = (0.1, 1.0)
    with_trees: float = 0.72
    regular: float = 0.5
    tree_pace: Range = (6.0, 18.0)
    setback: Range = (0.0, 1.5)
    gardens: Range = (2.0, 7.0)
    fronting: float = 0.7
    suburb_setback: Range = (2.5, 11.0)
    houses: float = 0.8
    storeys: tuple[int, int] = (2, 6)
    suburb_storeys: tuple[int, int] = (1, 3)
    terraced: float = 0.8
    house_width: Range = (9.0, 34.0)
    roofs: tuple[float, ...] = (0.3, 0.1, 0.15, 0.45)
    modern: tuple[float, float] = (0.6, 0.7)
    junctions: Range = (45.0, 130.0)
    lamp_spacing: Range = (22.0, 45.0)
    lamp_height: Range = (5.0, 10.0)
    wires: float = 0.35
    kinds: tuple[str, ...] = ("broadleaf", "broadleaf", "broadleaf", "conifer", "bare")
    traffic: Shares = field(
        default_factory=lambda: {"car": 0.72, "van": 0.1, "lorry": 0.06, "bus": 0.05, "cyclist": 0.07}
    )
    parked: Shares = field(default_factory=lambda: {"car": 0.86, "van": 0.09, "trailer": 0.03, "lorry": 0.02})
    band: Shares = field(
        default_factory=lambda: {
            "sign": 0.3,
            "post": 0.25,
            "clutter": 0.27,
            "rack": 0.08,
            "shrub": 0.07,
            "shelter": 0.03,
        }
    )
    walls: tuple[float, ...] = (0.46, 0.24, 0.08, 0.12, 0.1)
    blank: tuple[float, ...] | None = None
    ground_floors: tuple[float, ...] = (0.5, 0.28, 0.22)
    shutters: float = 0.25
    bands: float = 0.4
    storey: Range = (2.6, 3.6)
    wall: Colour = surfaces.masonry
    tiles: Colour = surfaces.roof
    leaves: Colour = surfaces.foliage
    finish: Colour = surfaces.paint
    land: Colour = surfaces.land


FIRST = Town()

SECOND = Town(
    name="second",
    layouts=(0.6, 0.14, 0.06, 0.14, 0.06),
    lane=(3.2, 3.9),
    highway_lane=(3.6, 4.0),
    lanes_ahead=(0.12, 0.4, 0.36, 0.12),
    lanes_back=(0.04, 0.14, 0.4, 0.32, 0.1),
    median=(1.5, 6.0),
    slowest={"town": 5.0, "suburb": 6.0, "country": 14.0, "highway": 22.0, "square": 0.0},
    fastest={"town": 21.0, "suburb": 18.0, "country": 28.0, "highway": 36.0, "square": 6.0},
    standing=0.08,
    bends={"town": 1 / 260, "suburb": 1 / 130, "country": 1 / 180, "highway": 1 / 900, "square": 1 / 600},
    hills={"town": 0.008, "suburb": 0.012, "country": 0.02, "highway": 0.012, "square": 0.004},
    straight=0.6,
    yellow=0.8,
    marked=0.97,
    paved=(0.72, 0.06, 0.02, 0.2),
    asphalt=0.97,
    parking=0.25,
    verge=0.6,
    walk=(3.5, 9.0),
    trees=(0.6, 1.0),
    with_trees=0.92,
    regular=0.9,
    tree_pace=(5.0, 9.0),
    setback=(4.0, 12.0),
    gardens=(10.0, 24.0),
    fronting=0.6,
    suburb_setback=(6.0, 16.0),
    houses=0.62,
    storeys=(5, 20),
    suburb_storeys=(2, 7),
    terraced=0.1,
    house_width=(16.0, 44.0),
    roofs=(0.0, 0.0, 0.06, 0.94),
    modern=(0.9, 0.8),
    junctions=(90.0, 220.0),
    lamp_spacing=(28.0, 40.0),
    lamp_height=(8.0, 12.0),
    wires=0.12,
    kinds=("palm", "broadleaf", "broadleaf", "poplar"),
    traffic={"car": 0.55, "van": 0.09, "lorry": 0.05, "bus": 0.11, "rider": 0.2},
    parked={"car": 0.78, "van": 0.14, "scooter": 0.08},
    band={
        "sign": 0.16,
        "post": 0.08,
        "clutter": 0.14,
        "bollards": 0.2,
        "scooter": 0.14,
        "planter": 0.16,
        "billboard": 0.07,
        "shelter": 0.05,
    },
    walls=(0.2, 0.04, 0.0, 0.44, 0.32),
    ground_floors=(0.3, 0.6, 0.1),
    shutters=0.03,
    bands=0.75,
    storey=(2.8, 3.3),
    wall=surfaces.panel,
    tiles=surfaces.membrane,
    leaves=surfaces.evergreen,
    finish=surfaces.pale_paint,
    land=surfaces.pale_land,
)

THIRD = Town(
    name="third",
    layouts=(0.3, 0.2, 0.05, 0.0, 0.45),
    hills={"town": 0.06, "suburb": 0.07, "country": 0.07, "highway": 0.03, "square": 0.06},
    parking=0.5,
    setback=(0.0, 4.0),
    gardens=(1.0, 5.0),
    suburb_setback=(1.0, 7.0),
    storeys=(1, 4),
    terraced=0.4,
    house_width=(12.0, 50.0),
    roofs=(0.2, 0.05, 0.1, 0.65),
    walls=(0.34, 0.14, 0.08, 0.14, 0.3),
    blank=(0.25, 0.3, 0.45),
)

TOWNS = {town.name: town for town in (FIRST, SECOND, THIRD)}
