"""The second town is another place: its draws, its depths and its colours have other statistics."""

import numpy as np
import pytest

from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.world import build_scene, render
from spike_depth_core.world.buildings import facade_style
from spike_depth_core.world.layout import draw_street
from spike_depth_core.world.towns import THIRD, TOWNS

CAMERA = PinholeCamera.from_focal(48, 30, 40.0)
SEEDS = range(18)


@pytest.fixture(scope="module")
def streets():
    """Town streets of both, [150] each."""
    return {
        town.name: [draw_street(np.random.default_rng([k, 2]), "town", False, 10.0, None, town) for k in range(150)]
        for town in TOWNS.values()
    }


@pytest.fixture(scope="module")
def views():
    """(depth [N, H, W], colour and near infrared [N, H, W, 4]) of streets by day."""
    found = {}
    for town in TOWNS:
        passes = []
        for seed in SEEDS:
            scene = build_scene(seed, "day", layout="town", speed=8.0, town=town, weather="clear")
            passes.append(render(scene, CAMERA, scene.world_from_reference, 3.0))
        found[town] = np.stack([p.depth for p in passes]), np.stack([p.radiance for p in passes])
    return found


def separation(first, second):
    """Difference of the means over the mean standard deviation (Cohen's d)."""
    first, second = np.asarray(first, float), np.asarray(second, float)
    return (second.mean() - first.mean()) / (np.sqrt((first.var() + second.var()) / 2) + 1e-9)


@pytest.mark.parametrize(
    ("what", "least"),
    [
        (lambda s: np.diff(s.right.lanes)[0] if len(s.right.lanes) > 1 else 2 * s.right.lanes[0], 1.0),  # lane width
        (lambda s: len(s.right.lanes) + len(s.left.lanes), 1.5),
        (lambda s: s.right.setback + s.left.setback, 1.5),
        (lambda s: s.storeys[1], 5.0),
        (lambda s: s.right.kerb + s.left.kerb, 1.0),
        (lambda s: s.right.walk - s.right.kerb, 0.8),
        (lambda s: s.right.trees + s.left.trees, 0.8),
        (lambda s: s.speed, 0.6),
        (lambda s: -np.abs(np.diff(s.road.heading(np.arange(0.0, 300.0, 5.0)))).mean(), 0.8),  # straighter
        (lambda s: -np.abs(s.road.slope(np.arange(0.0, 300.0, 5.0))).mean(), 0.8),
    ],
    ids=["lane", "lanes", "setback", "storeys", "road", "pavement", "trees", "speed", "bends", "hills"],
)
def test_streets_are_drawn_otherwise(streets, what, least):
    values = {name: [what(street) for street in drawn] for name, drawn in streets.items()}
    assert separation(values["first"], values["second"]) > least


def test_depths_are_distributed_otherwise(views):
    inverse = {name: 1.0 / depth for name, (depth, _) in views.items()}  # the sky has 0
    # The row prior: what a network knows of a picture it does not look at.
    prior = {name: values.mean(axis=(0, 2)) for name, values in inverse.items()}
    for rows in (slice(0, 6), slice(14, 19)):  # upper floors, and cars: both nearer in the first town
        assert prior["first"][rows].mean() > 1.2 * prior["second"][rows].mean()
    # Distances to what stands, over all pictures.
    standing = {name: values[:, :14][values[:, :14] > 1 / 200.0] for name, values in inverse.items()}
    assert np.median(1.0 / standing["second"]) > 1.4 * np.median(1.0 / standing["first"])


def test_colours_are_distributed_otherwise(views):
    ground = {name: radiance[:, 24:].reshape(-1, 4) for name, (_, radiance) in views.items()}
    brightness = {name: np.median(values[:, :3].mean(1)) for name, values in ground.items()}
    assert brightness["second"] > 1.15 * brightness["first"]
    rng = np.random.default_rng(0)
    walls = {town.name: np.stack([town.wall(rng) for _ in range(300)]) for town in TOWNS.values()}
    # Few warm tones, little colour.
    spread = {name: (rows[:, :3].max(1) - rows[:, :3].min(1)).mean() for name, rows in walls.items()}
    assert spread["second"] < 0.75 * spread["first"]


def test_other_things_stand_and_drive_there():
    kinds = {town: set() for town in TOWNS}
    for town in TOWNS:
        for seed in range(4):
            scene = build_scene(seed, "day", layout="town", speed=8.0, town=town)
            scene.snapshot(3.0)
            kinds[town] |= set(scene.population.library._families)
    assert kinds["second"] - kinds["first"] >= {"bollards", "planter", "rider", "palm"}
    assert kinds["first"] - kinds["second"] >= {"cyclist"}


def test_shares_are_shares():
    for town in TOWNS.values():
        for shares in (
            town.layouts, town.lanes_ahead, town.lanes_back, town.paved, town.roofs, town.walls, town.ground_floors,
            *(tuple(kinds.values()) for kinds in (town.traffic, town.parked, town.band)),
            *([town.blank] if town.blank else []),
        ):  # fmt: skip
            assert sum(shares) == pytest.approx(1.0)


def test_walls_without_windows_stand_in_the_third_town_alone():
    shares = {}
    for name, town in TOWNS.items():
        styles = [facade_style(np.random.default_rng(seed), False, town)[12] for seed in range(400)]
        shares[name] = [styles.count(kind) / 400 for kind in range(3)]
    assert shares["first"] == shares["second"] == [1.0, 0.0, 0.0]
    np.testing.assert_allclose(shares["third"], THIRD.blank, atol=0.06)


def test_an_unknown_town_is_named():
    with pytest.raises(ValueError, match=r"town must be one of \('first', 'second', 'third'\), found 'fourth'"):
        build_scene(1, town="fourth")
