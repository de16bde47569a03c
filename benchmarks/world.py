"""The speed of the world's renderer: streets and pictures a second on one core, and on two at once.

    python benchmarks/world.py --out docs/results

writes `world.json` and `world.md`. Scenes of all layouts, by day and by night; each picture holds four bands of
radiance, temperature, depth and image velocity. Kernels are compiled before anything is timed. About a minute.
"""

from __future__ import annotations

import multiprocessing
import platform
import time
from pathlib import Path
from typing import Annotated, Any

import llvmlite.binding
import numba
import numpy as np
import typer

from spike_depth_core.cli.console import print_table
from spike_depth_core.evaluation.results import markdown_table
from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.whole_files import write_json
from spike_depth_core.world import build_scene, render

SCENES = 16
FRAMES = 3  # of each scene
CAMERAS = {
    "96x320": PinholeCamera.from_focal(320, 96, 186.0),
    "250x400": PinholeCamera.from_focal(400, 250, 330.0),
}


def time_pictures(size: str, supersample: int, first_seed: int) -> tuple[list[float], list[float]]:
    """Milliseconds of a new street (build, and gather what is near), and of each of its pictures."""
    camera = CAMERAS[size]
    streets, pictures = [], []
    for k in range(SCENES):
        start = time.perf_counter()
        scene = build_scene(first_seed + k, "night" if k % 4 == 3 else "day")
        snapshot = scene.snapshot(1.0)
        streets.append((time.perf_counter() - start) * 1e3)
        for _ in range(FRAMES):
            start = time.perf_counter()
            render(scene, camera, scene.world_from_reference, 1.0, supersample=supersample, snapshot=snapshot)
            pictures.append((time.perf_counter() - start) * 1e3)
    return streets, pictures


def _process(size: str, first_seed: int, ready: Any, seconds: Any) -> None:
    time_pictures(size, 1, first_seed)
    ready.wait()
    start = time.perf_counter()
    time_pictures(size, 1, first_seed)
    seconds.put(time.perf_counter() - start)


def pictures_per_second(size: str, processes: int) -> float:
    """Pictures a second, streets included (one for three pictures), of processes that run at the same time."""
    context = multiprocessing.get_context("spawn")
    ready, seconds = context.Barrier(processes), context.Queue()
    workers = [
        context.Process(target=_process, args=(size, 1000 * (k + 1), ready, seconds), daemon=True)
        for k in range(processes)
    ]
    for worker in workers:
        worker.start()
    slowest = max(seconds.get() for _ in workers)
    for worker in workers:
        worker.join()
    return processes * SCENES * FRAMES / slowest


def measure() -> dict[str, Any]:
    """All figures."""
    sizes = {}
    for size in CAMERAS:
        time_pictures(size, 1, 0)
        streets, plain = time_pictures(size, 1, 0)
        _, smooth = time_pictures(size, 2, 0)
        sizes[size] = {
            "picture_ms": float(np.median(plain)),
            "picture_ms_90th_percentile": float(np.percentile(plain, 90)),
            "picture_supersampled_ms": float(np.median(smooth)),
            "street_ms": float(np.median(streets)),
            "pictures_per_second_one_core": pictures_per_second(size, 1),
            "pictures_per_second_two_cores": pictures_per_second(size, 2),
        }
    return {
        "sizes": sizes,
        "scenes": SCENES,
        "pictures_of_each": FRAMES,
        "machine": {
            "processor": llvmlite.binding.get_host_cpu_name(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
        },
    }


def run(out: Path) -> dict[str, Any]:
    """Measure, print the table, and write `world.json` and `world.md` to a folder."""
    results = measure()
    columns = ("picture", "one, ms", "2x2 rays, ms", "new street, ms", "one core, 1/s", "two cores, 1/s")
    table = [
        [
            size,
            f"{figures['picture_ms']:.0f}",
            f"{figures['picture_supersampled_ms']:.0f}",
            f"{figures['street_ms']:.0f}",
            f"{figures['pictures_per_second_one_core']:.0f}",
            f"{figures['pictures_per_second_two_cores']:.0f}",
        ]
        for size, figures in results["sizes"].items()
    ]
    print_table("Rendering the world", columns, table)
    machine = ", ".join(f"{key} {value}" for key, value in results["machine"].items())
    write_json(out / "world.json", results)
    (out / "world.md").write_text(
        "# Rendering the world\n\n"
        f"Made by `python benchmarks/world.py --out docs/results`. Medians over {SCENES} streets on one core; "
        "pictures a second include the building of a new street for every three pictures, and are those of one "
        f"process and of two at the same time; {machine}.\n\n" + markdown_table(columns, table)
    )
    return results


def main(
    out: Annotated[Path, typer.Option(help="Folder for world.json and world.md.")] = Path("docs/results"),
) -> None:
    """Measure the renderer on one and two cores."""
    run(out)


if __name__ == "__main__":
    typer.run(main)
