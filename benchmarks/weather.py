"""What fog, rain, the second town, a stereo pair and the domains look like, and what each costs.

    python benchmarks/weather.py

writes `docs/images/weather.jpg` and `docs/results/weather.md`. Costs are processor time, so that other work on the
machine disturbs them little. About a minute, with the kernels compiled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import llvmlite.binding
import numpy as np
import typer
from PIL import Image

from spike_depth_core.cli.console import console, print_table
from spike_depth_core.evaluation.pictures import colorize_depth
from spike_depth_core.evaluation.results import markdown_table
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.samples import DepthSample
from spike_depth_core.spikes import spike_counts
from spike_depth_core.world.domains import Domain
from spike_depth_core.world.drive import World
from spike_depth_core.world.weather import Weather

ROOT = Path(__file__).resolve().parents[1]
SHEET = PinholeCamera.from_focal(300, 130, 200.0)
SMALL = (100, 160)
STREETS = 6  # that a cost is the median of
FIRST_SEED = 700_100


def rig_of(camera: PinholeCamera) -> SensorRig:
    """All sensors behind one lens, and a right-hand colour camera."""
    names = ("spikes", "rgb", "nir", "thermal", "rgb_right")
    return SensorRig({name: camera for name in names}, {"rgb_right": pose((0.54, 0.0, 0.0))})


def stretched(image: np.ndarray) -> np.ndarray:
    """Grey picture uint8 [H, W, 3] of any image [H, W], from its 1st to its 99th percentile."""
    low, high = np.percentile(image, [1, 99])
    grey = (255 * np.clip((image - low) / max(high - low, 1e-6), 0, 1)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def rate(sample: DepthSample, planes: int) -> np.ndarray:
    """Firing rate of the last planes, its root taken for the eye."""
    assert sample.spikes is not None
    return stretched(np.sqrt(spike_counts(sample.spikes, [planes])[0] / planes))


def weather_rows() -> list[np.ndarray]:
    """Rows of colour, spikes (256 planes), near infrared, thermal, for one street by day and one by night."""
    rows = []
    for seed, condition in ((3, "day"), (12, "night")):
        for weather in (Weather.clear(), Weather.fog(300.0), Weather.fog(80.0), Weather.rain(50.0, (2.0, 0.0))):
            world = World(seed, condition, rig_of(SHEET), weather=weather, layout="town", speed=9.0)
            sample = world.sample(3.0, sensors=("spikes", "rgb", "nir", "thermal"))
            assert sample.rgb is not None
            assert sample.nir is not None
            assert sample.thermal is not None
            nir = np.repeat(sample.nir[..., None], 3, axis=2)
            rows.append(
                np.concatenate([sample.rgb, rate(sample, 256), nir, stretched(sample.thermal.astype(float))], 1)
            )
    return rows


def drops_row() -> np.ndarray:
    """What drops of 50 mm/h cover of a picture, ten times: in 10 ms and 0.2 ms, standing and at 20 m/s."""
    cells = []
    for speed in (0.0, 20.0):
        world = World(3, "day", rig_of(SHEET), weather=Weather.rain(50.0), layout="highway", speed=speed)
        rain = world.render(3.0, ("spikes",))["spikes"].rain
        assert rain is not None
        for seconds in (0.01, 0.0002):
            share, _ = rain.cover(-seconds / 2, seconds / 2)
            grey = (255 * np.minimum(10 * share, 1)).astype(np.uint8)
            cells.append(np.repeat(grey[..., None], 3, axis=2))
    return np.concatenate(cells, 1)


def town_rows() -> list[np.ndarray]:
    """Colour and depth of streets of the first town (left) beside those of the second (right)."""
    rows = []
    for seed in (700_102, 700_104, 700_105):
        cells = []
        for town in ("first", "second"):
            world = World(seed, "day", rig_of(SHEET), weather="clear", town=town, layout="town", speed=9.0)
            sample = world.sample(4.0, sensors=("rgb",))
            assert sample.rgb is not None
            cells += [sample.rgb, colorize_depth(sample.depth["rgb"])]
        rows.append(np.concatenate(cells, 1))
    return rows


def stereo_row() -> np.ndarray:
    """Left, right, right warped to the left by the true disparity, and how far that is from the left."""
    world = World(11, "day", rig_of(SHEET), weather="clear", layout="town", speed=9.0)
    sample = world.sample(2.0, sensors=("rgb", "rgb_right"))
    assert sample.rgb is not None
    assert sample.rgb_right is not None
    place = np.arange(SHEET.width)[None] - SHEET.fx * 0.54 / sample.depth["rgb"]
    left = np.clip(np.floor(place), 0, SHEET.width - 2).astype(int)
    part = np.clip(place - left, 0, 1)[..., None]
    rows = np.arange(SHEET.height)[:, None]
    warped = (1 - part) * sample.rgb_right[rows, left] + part * sample.rgb_right[rows, left + 1]
    away = np.abs(warped - sample.rgb).mean(2)
    error = np.repeat(np.minimum(3 * away, 255).astype(np.uint8)[..., None], 3, axis=2)
    return np.concatenate([sample.rgb, sample.rgb_right, warped.astype(np.uint8), error], 1)


def milliseconds(work: Callable[[int], object]) -> float:
    """Median processor time of work(k) over streets k; once before, unmeasured."""
    work(0)
    taken = []
    for k in range(STREETS):
        start = time.process_time()
        work(k)
        taken.append(1e3 * (time.process_time() - start))
    return float(np.median(taken))


def costs() -> list[list[str]]:
    """Rows of (what, building the street, one picture of it with all that its sensors make of it)."""
    rig = rig_of(PinholeCamera.from_focal(SMALL[1], SMALL[0], 132.0))
    rows = []
    for name, condition, options, sensors in (
        ("day", "day", {}, ("spikes", "rgb")),
        ("day, fog", "day", {"weather": Weather.fog(150.0)}, ("spikes", "rgb")),
        ("day, rain of 30 mm/h", "day", {"weather": Weather.rain(30.0)}, ("spikes", "rgb")),
        ("night", "night", {}, ("spikes", "rgb")),
        ("night, fog", "night", {"weather": Weather.fog(150.0)}, ("spikes", "rgb")),
        ("night, rain of 30 mm/h", "night", {"weather": Weather.rain(30.0)}, ("spikes", "rgb")),
        ("day, second town", "day", {"town": "second"}, ("spikes", "rgb")),
        ("day, right-hand colour too", "day", {}, ("spikes", "rgb", "rgb_right")),
    ):
        # The same streets for all, so that differences are those of the addition.
        worlds = [
            World(FIRST_SEED + k, condition, rig, layout="town", speed=9.0, **options)  # type: ignore[arg-type]
            for k in range(STREETS)
        ]
        for world in worlds:
            world.scene.snapshot(3.0)

        def build(k: int, c: str = condition, o: dict = options) -> World:  # type: ignore[assignment]
            return World(FIRST_SEED + k, c, rig, layout="town", speed=9.0, **o)

        def picture(k: int, w: list[World] = worlds, s: tuple[str, ...] = sensors) -> DepthSample:
            return w[k].sample(3.0, sensors=s)

        rows.append([name, f"{milliseconds(build):.0f}", f"{milliseconds(picture):.0f}"])
    for name in ("source", "target"):
        domain = replace(Domain.load(name, SMALL), frames=3)
        whole = milliseconds(lambda k, d=domain: list(d.sequence("test", k)))  # type: ignore[misc]
        rows.append([f"domain {name}, of a sequence of 3, street included", "", f"{whole / 3:.0f}"])
    return rows


def main(
    out: Annotated[Path, typer.Option(help="The documentation's folder.")] = ROOT / "docs",
) -> None:
    """Make the contact sheet and measure the costs."""
    sheet = np.concatenate([*weather_rows(), drops_row(), *town_rows(), stereo_row()])
    Image.fromarray(sheet).save(out / "images" / "weather.jpg", quality=78)
    columns = (f"{SMALL[0]}x{SMALL[1]}", "street, ms", "picture, ms")
    table = costs()
    print_table("What the additions to the world cost", columns, table)
    (out / "results" / "weather.md").write_text(
        "# What weather, the second town and stereo cost\n\n"
        f"Made by `python benchmarks/weather.py`. Processor time, medians over {STREETS} town streets: building "
        "one, and one picture of it, four rays a pixel, with spikes (256 planes) and colour as its sensors make them; "
        f"processor {llvmlite.binding.get_host_cpu_name()}.\n\n" + markdown_table(columns, table)
    )
    console.print(f"{out / 'images' / 'weather.jpg'}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
