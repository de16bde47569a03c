"""A contact sheet of the world: what a wide colour camera sees of many streets, true depth below each.

    python benchmarks/streets.py

writes `docs/images/world.jpg`. Half a minute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from spike_depth_core.cli.console import console
from spike_depth_core.evaluation.pictures import colorize_depth
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.world.drive import World

ROOT = Path(__file__).resolve().parents[1]
CAMERA = PinholeCamera.from_focal(364, 112, 211.0)  # KITTI's picture, smaller
FIRST_SEED = 700_000
COLUMNS = 4


def street(seed: int) -> np.ndarray:
    """Colour above depth, uint8 [224, 364, 3]."""
    sample = World(seed, rig=SensorRig.single("rgb", CAMERA)).sample(1.0 + seed % 7, sensors=("rgb",))
    assert sample.rgb is not None
    return np.concatenate([sample.rgb, colorize_depth(sample.depth["rgb"])])


def main(
    count: Annotated[int, typer.Option(min=1, help="How many streets.")] = 24,
    out: Annotated[Path, typer.Option(help="The picture.")] = ROOT / "docs" / "images" / "world.jpg",
) -> None:
    """Make the contact sheet."""
    tiles = [street(FIRST_SEED + k) for k in range(count)]
    tiles += [np.zeros_like(tiles[0])] * (-count % COLUMNS)
    rows = [np.concatenate(tiles[k : k + COLUMNS], axis=1) for k in range(0, len(tiles), COLUMNS)]
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(out, quality=85)
    console.print(f"{count} streets in {out}")


if __name__ == "__main__":
    typer.run(main)
