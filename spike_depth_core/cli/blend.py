"""`spike-depth blend`: the best of what lies between a checkpoint and what it was trained into."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from spike_depth_core.cli.paths import check_out

SHARES = tuple(k / 10 for k in range(11))


def blend(
    first: Annotated[Path, typer.Argument(help="Checkpoint that a training began with (--init), or `default`.")],
    second: Annotated[Path, typer.Argument(help="What that training has made of it.")],
    data: Annotated[
        list[Path],
        typer.Option(help="What judges: an extracted set or rendered streets, as `train --data`; several count alike."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for checkpoint.safetensors and its JSON.")],
    shares: Annotated[
        list[float] | None,
        typer.Option("--share", help="Share of the second to try; may be given several times. Tenths when left out."),
    ] = None,
    through: Annotated[
        list[Path] | None,
        typer.Option(help="Checkpoint between the two, where several trainings are; may be given several times."),
    ] = None,
) -> None:
    """Weights between two checkpoints, of which one was trained from the other; validation chooses how far.

    Further training, on recordings of one's own say, gains on those and forgets a little of the rest; between the two
    there is often more of the one than there is lost of the other (WiSE-FT, CVPR 2022).
    """
    import shlex
    import sys
    from itertools import pairwise
    from statistics import mean

    from spike_depth_core.cli.console import console, print_table
    from spike_depth_core.networks.checkpoint import CheckpointInfo, load_checkpoint, read_info, save_checkpoint
    from spike_depth_core.resources import default_checkpoint
    from spike_depth_core.training.blending import blended, scored
    from spike_depth_core.training.sources import validations_in

    check_out(out)
    if len({folder.name for folder in data}) < len(data):
        raise ValueError(f"folders of --data must have names of their own, found {', '.join(map(str, data))}")
    before, about_before = load_checkpoint(default_checkpoint() if str(first) == "default" else first)
    after, about_after = load_checkpoint(second)
    line = [(first, about_before), *((path, read_info(path)) for path in through or ()), (second, about_after)]
    for (older, before_it), (newer, about) in pairwise(line):
        # Of a training of several stages the parent is the stage before the last.
        ancestors = (about.parent, about.training.get("init"))
        if before_it.sha256 not in ancestors:
            known = " and ".join(dict.fromkeys(sha256 for sha256 in ancestors if sha256)) or "random weights"
            raise ValueError(f"{newer} was not trained from {older}, {before_it.sha256}, but from {known}")
    tried = shares or SHARES
    by_folder = {
        folder: scored(before, after, tried, validations_in(folder), about_after.calibrated) for folder in data
    }
    found: dict[float, dict[str, float]] = {}
    means: dict[float, float] = {}
    for share in tried:
        scores = {folder: by_folder[folder][share] for folder in data}
        means[share] = mean(mean(of.values()) for of in scores.values())
        found[share] = {
            name if len(data) == 1 else f"{folder.name}/{name}": value
            for folder, of in scores.items()
            for name, value in of.items()
        }
    best = min(means, key=means.__getitem__)
    blend = {
        "of": [about_before.sha256, about_after.sha256],
        "share": best,
        "validation_mean": {f"{share:g}": round(value, 5) for share, value in means.items()},
        "command": shlex.join(["spike-depth", *sys.argv[1:]]),
    }
    kept = {name: round(score, 5) for name, score in found[best].items()}
    training = {**about_after.training, "validation_abs_rel": kept, "blend": blend}
    info = CheckpointInfo(**{**vars(about_after), "training": training, "parent": about_after.sha256})
    out.mkdir(parents=True, exist_ok=True)
    save_checkpoint(out / "checkpoint.safetensors", blended(before, after, best), info, compact=True)
    names = list(found[best])
    print_table(
        "AbsRel on validation samples",
        ["share of the second", *names, "mean"],
        [
            [f"{share:g}", *(f"{row[name]:.4f}" for name in names), f"{means[share]:.4f}"]
            for share, row in found.items()
        ],
    )
    console.print(f"Kept: {best:g} of the second, {out / 'checkpoint.safetensors'}")
