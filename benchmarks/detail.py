"""How much depth hangs on the look of fine detail.

    python benchmarks/detail.py [CHECKPOINT...] [--kitti DIR]

answers validation streets (RGB alone, three kinds of view, scene seeds 500,000 and up) whose fine detail is lowered or
raised, by the shipped checkpoint and any others, and writes `docs/results/detail.md`. What is near and what is far does
not change with it, so no answer should. KITTI frames come into the page beside them, and choose nothing. About five
minutes on two cores, most of them for rendering.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from spike_depth_core.cli.console import console, print_table, track
from spike_depth_core.evaluation.evaluate import NETWORK, Evaluation
from spike_depth_core.evaluation.frames import Frames, KittiFrames, StoredFrames
from spike_depth_core.evaluation.results import markdown_table
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.networks.preprocess import network_size
from spike_depth_core.samples import DepthSample
from spike_depth_core.samples.augmentation import soften
from spike_depth_core.training.world_data import FORMATS, VALIDATION_SEED, WideFormat, render_samples

ROOT = Path(__file__).resolve().parents[1]
VIEWS = {"wide_frames": "ahead", "wide_aside": "to the side", "wide_yards": "yards of the third town"}
ENLARGED = 4
"""How many times as wide the streets are rendered as those of trainings: as many pixels as a real camera has."""
STREETS = 40
GAINS = (0.5, 1.0, 2.0, 3.0)
COARSE = 4
"""What is finer than so many pixels of the network's picture is detail."""


class Detailed(Frames):
    """Frames with their RGB's detail multiplied by a gain.

    Args:
        frames: what is changed.
        pixels: of the network's picture.
        gain: 1 leaves them as they are.
    """

    def __init__(self, frames: Frames, pixels: int, gain: float) -> None:
        self.frames, self.pixels, self.gain = frames, pixels, gain

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> DepthSample:
        sample = self.frames[index]
        if self.gain == 1.0 or sample.rgb is None:
            return sample
        height, width = sample.rgb.shape[:2]
        picture = torch.from_numpy(np.ascontiguousarray(sample.rgb.transpose(2, 0, 1)))[None].float()
        coarse = soften(picture, COARSE / network_size(height, width, self.pixels)[2])
        changed = (coarse + self.gain * (picture - coarse)).clamp(0, 255).round().byte()
        return replace(sample, rgb=changed[0].permute(1, 2, 0).contiguous().numpy())


def contrast(frames: Frames, pixels: int) -> float:
    """Mean difference of neighbouring pixels of the network's pictures, of white: the median over the frames."""
    found = []
    for sample in frames:
        height, width = sample.rgb.shape[:2]
        scale = network_size(height, width, pixels)[2]
        picture = torch.from_numpy(np.ascontiguousarray(sample.rgb.transpose(2, 0, 1)))[None].float() / 255
        grey = torch.nn.functional.interpolate(
            picture, (round(height * scale), round(width * scale)), mode="area"
        ).mean(1)
        found.append(float((grey[..., 1:] - grey[..., :-1]).abs().mean()))
    return float(np.median(found))


def main(
    others: Annotated[list[Path] | None, typer.Argument(help="Checkpoints beside the shipped one.")] = None,
    streets: Annotated[int, typer.Option(min=2, help="Streets of each kind of view.")] = STREETS,
    kitti: Annotated[Path | None, typer.Option(help="KITTI object frames; left out by default.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Keep the rendered streets here.")] = None,
    out: Annotated[Path, typer.Option(help="Where the page goes.")] = ROOT / "docs" / "results",
) -> None:
    """Make the table."""
    torch.set_num_threads(1)
    estimators = {"shipped": DepthEstimator.load()} | {str(path): DepthEstimator.load(path) for path in others or ()}
    formats = tuple(
        replace(f, sensors=("rgb",), share=1.0, width=f.width * ENLARGED, height=f.height * ENLARGED)
        for f in FORMATS
        if isinstance(f, WideFormat) and f.name in VIEWS
    )
    rows: list[Sequence[str]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = cache or Path(temporary)
        count = streets * len(formats)
        for _ in track(render_samples(folder, count, VALIDATION_SEED, formats), f"rendering {count} streets", count):
            pass
        sets: dict[str, Frames] = {about: StoredFrames(folder / name, ("rgb",)) for name, about in VIEWS.items()}
        if kitti is not None:
            frames = KittiFrames(kitti)
            sets[f"{len(frames)} KITTI frames"] = frames
        contrasts = {about: contrast(frames, estimators["shipped"].pixels) for about, frames in sets.items()}
        for checkpoint, estimator in estimators.items():
            for about, frames in track(sets.items(), checkpoint, len(sets)):
                cells = [checkpoint, about, f"{contrasts[about]:.3f}"]
                for gain in GAINS:
                    evaluation = Evaluation(crop="garg" if isinstance(frames, KittiFrames) else "none")
                    changed = Detailed(frames, estimator.pixels, gain)
                    cells.append(f"{evaluation.run(changed, estimator, ('rgb',)).mean(NETWORK)['abs_rel']:.3f}")
                rows.append(cells)
    columns = ["checkpoint", "frames", "contrast", *("as they are" if g == 1 else f"detail x {g:g}" for g in GAINS)]
    # What the figures depend on; where the streets are kept does not change them.
    options = [str(path) for path in others or ()] + (["--streets", str(streets)] if streets != STREETS else [])
    command = shlex.join(["python", "benchmarks/detail.py", *options, *(["--kitti", "DIR"] if kitti else [])])
    page = [
        "# What hangs on fine detail\n",
        f"Made by `{command}` with the checkpoint of sha256 `{estimators['shipped'].info.sha256[:16]}…`: AbsRel of "
        f"RGB alone on {streets} validation streets a row (scene seeds from {VALIDATION_SEED}), rendered with as many "
        "pixels as a real camera has. *Detail* is what is finer than "
        f"{COARSE} pixels of the network's picture; *contrast* the mean difference of neighbouring pixels of that "
        "picture, of white. Depth does not change with either.\n",
        markdown_table(columns, rows),
    ]
    (out / "detail.md").write_text("\n".join(page) + "\n", encoding="utf-8")
    print_table("detail", columns, rows)
    console.print(f"wrote {out / 'detail.md'}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
