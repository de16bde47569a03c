"""The pictures of the documentation: depth on streets never trained on, and on real recordings.

    python benchmarks/gallery.py

writes `docs/images/*.jpg` from the shipped checkpoint: `streets` (the procedural world, test seeds), and, where the
sample recordings are, `spikes` (a real spike camera, and spikes of the REDS video set), `ms2` (a real frame in
colour, near infrared and thermal) and `highway` (a real driving video, and spikes simulated from it).
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from spike_depth_core.cli.console import console
from spike_depth_core.evaluation import pictures
from spike_depth_core.evaluation.frames import WorldFrames
from spike_depth_core.evaluation.sheets import NAMES
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.samples import DepthSample
from spike_depth_core.samples.images import read_grey, read_rgb
from spike_depth_core.spikes import PackedSpikes
from spike_depth_core.spikes.formats import read_spikes
from spike_depth_core.spikes.video import read_video, spikes_from_frames

ROOT = Path(__file__).resolve().parents[1]
STREETS = ((700_003, "day"), (700_001, "dusk"), (700_002, "night"))
ASSUMED_FOCAL = 0.8  # image widths; 65 degrees, as most driving cameras. The recordings come without calibration
CELL = 300

Row = list[tuple[str, np.ndarray] | None]


def one_sensor(estimator: DepthEstimator, sensor: str, data: np.ndarray | PackedSpikes, focal: float) -> Row:
    """What one sensor saw, the depth it gave and how certain that is; `focal` in image widths."""
    height, width = (data.height, data.width) if isinstance(data, PackedSpikes) else data.shape[:2]
    camera = PinholeCamera.from_focal(width, height, focal * width)
    sample = DepthSample(SensorRig.single(sensor, camera), **{sensor: data})  # type: ignore[arg-type]
    estimate = estimator.estimate(sample)
    return [
        (NAMES[sensor], pictures.sensor_picture(sensor, data)),
        (f"depth from {NAMES[sensor]}", pictures.colorize_depth(estimate.depth)),
        ("uncertainty", pictures.colorize_uncertainty(estimate.uncertainty)),
    ]


def sheet(rows: list[Row], scales: tuple[str, ...] = ("depth", "uncertainty"), cell: int = CELL) -> np.ndarray:
    """Rows with their colour scales below."""
    columns = max(len(row) for row in rows)
    return pictures.grid(rows, cell, footer=pictures.bars(columns * (cell + 8) - 8, scales))


def streets(estimator: DepthEstimator) -> np.ndarray:
    """A street by day, at dusk and by night: three sensors, depth from all, truth and error."""
    rows = []
    for seed, condition in STREETS:
        sample = WorldFrames(seed, 1, condition, ("spikes", "rgb", "thermal"), estimator.spike_planes)[0]
        estimate = estimator.estimate(sample)
        truth = sample.depth[estimate.reference]
        cells: Row = [
            (f"{NAMES[sensor]}, {condition}", pictures.sensor_picture(sensor, getattr(sample, sensor)))
            for sensor in ("rgb", "spikes", "thermal")
        ]
        cells += [
            ("depth from all three", pictures.colorize_depth(estimate.depth)),
            ("true depth", pictures.colorize_depth(truth)),
            ("error", pictures.colorize_error(estimate.depth, truth)),
        ]
        rows.append(cells)
    return sheet(rows, ("depth", "error"), 256)


def spikes(estimator: DepthEstimator, data: Path) -> np.ndarray:
    """A real spike recording in low light, and spikes of a REDS video."""
    real = read_spikes(data / "spikes" / "uhsr_real_200x250x250.npz")
    reds = read_spikes(data / "spikes" / "reds_301x250x400.dat")
    return sheet(
        [
            one_sensor(estimator, "spikes", part.last(min(estimator.spike_planes, len(part))), ASSUMED_FOCAL)
            for part in (real, reds)
        ]
    )


def ms2(estimator: DepthEstimator, data: Path) -> np.ndarray:
    """One moment in colour, near infrared and thermal, each on its own."""
    folder = data / "ms2"
    return sheet(
        [
            one_sensor(estimator, "rgb", read_rgb(folder / "000011_left_rgb.png"), ASSUMED_FOCAL),
            one_sensor(estimator, "nir", read_grey(folder / "000011_left_nir.png"), ASSUMED_FOCAL),
            one_sensor(estimator, "thermal", read_grey(folder / "000011_left_thr.png"), ASSUMED_FOCAL),
        ],
        cell=400,
    )


def highway(estimator: DepthEstimator, data: Path, moments: tuple[int, ...] = (30, 110, 190)) -> np.ndarray:
    """Moments of a driving video: depth from its frames, and from spikes simulated of its motion."""
    path = data / "video" / "highway_960x540.mp4"
    rows = []
    for moment in moments:
        rate, frames = read_video(path)
        frame = next(itertools.islice(frames, moment, None))
        _, small = read_video(path, height=248, width=440)
        seen = spikes_from_frames(itertools.islice(small, moment - 2, moment + 1), rate)
        stream = PackedSpikes.concatenate(list(seen)).last(estimator.spike_planes)
        rows.append(
            one_sensor(estimator, "rgb", frame, ASSUMED_FOCAL)[:2]
            + one_sensor(estimator, "spikes", stream, ASSUMED_FOCAL)[:2]
        )
    return sheet(rows, ("depth",))


def main(
    checkpoint: Annotated[Path | None, typer.Option(help="The shipped one by default.")] = None,
    data: Annotated[Path, typer.Option(help="The sample recordings.")] = ROOT.parent / "shared" / "data",
    only: Annotated[str | None, typer.Option(help="streets, spikes, ms2 or highway.")] = None,
    out: Annotated[Path, typer.Option(help="Where the pictures go.")] = ROOT / "docs" / "images",
) -> None:
    """Make the pictures of the documentation."""
    estimator = DepthEstimator.load(checkpoint)
    makers = {
        "streets": lambda: streets(estimator),
        "spikes": lambda: spikes(estimator, data),
        "ms2": lambda: ms2(estimator, data),
        "highway": lambda: highway(estimator, data),
    }
    if only is not None and only not in makers:
        raise typer.BadParameter(f"--only is one of {', '.join(makers)}, found {only!r}")
    out.mkdir(parents=True, exist_ok=True)
    for name, make in makers.items():
        if only not in (None, name):
            continue
        if name != "streets" and not data.is_dir():
            console.print(f"{name}: left out, there are no sample recordings at {data}", highlight=False)
            continue
        path = out / f"{name}.jpg"
        Image.fromarray(make()).save(path, quality=86, optimize=True)
        console.print(f"{path}: {path.stat().st_size / 1e3:.0f} kB", highlight=False)


if __name__ == "__main__":
    typer.run(main)
