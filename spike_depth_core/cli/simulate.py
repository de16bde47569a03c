"""`spike-depth simulate`: a drive through the procedural street, as files and as a picture."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from spike_depth_core.cli.console import console, print_table, track
from spike_depth_core.cli.options import finite, typed
from spike_depth_core.cli.paths import check_out, remove_earlier
from spike_depth_core.cli.record_simulation import record_simulation
from spike_depth_core.geometry import SensorRig
from spike_depth_core.samples import IMAGES, SENSORS, DepthSample, modality
from spike_depth_core.samples.files import sample_path, save_sample
from spike_depth_core.spikes import spike_counts, write_spikes
from spike_depth_core.whole_files import write_json

_SHEET_ROWS = 8
# Names of the files of a moment, and of the drive; and of those in samples/.
_FILES = rf"\d{{6}}_(depth\.npy|({'|'.join(IMAGES)})\.(dat|npz|png))|drive\.json|contact_sheet\.png"
_SAMPLES = r"\d{7}\.npz"


def simulate(
    context: typer.Context,
    seed: Annotated[int, typer.Option(min=0, help="Of the street: the same seed is the same drive.")] = 1,
    frames: Annotated[int, typer.Option(min=1, metavar="N", help="How many moments of the drive.")] = 8,
    condition: Annotated[
        str | None, typer.Option(metavar="day|dusk|night", help="Light; drawn from the seed if left out.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(metavar="town|suburb|country|highway|square", help="Kind of street; drawn from the seed."),
    ] = None,
    weather: Annotated[
        str | None,
        typer.Option(metavar="clear|fog|rain", help="How strong, the seed draws; left out: as the light has it."),
    ] = None,
    town: Annotated[
        str, typer.Option(metavar="first|second|third", help="Streets of which of three kinds of town.")
    ] = "first",
    speed: Annotated[
        float | None, typer.Option(callback=finite, help="Of the vehicle, m/s; drawn from the seed.")
    ] = None,
    rate: Annotated[float, typer.Option(callback=finite, min=0.01, help="Moments a second.")] = 2.0,
    start: Annotated[float, typer.Option(callback=finite, min=0.5, help="Time of the first moment, seconds.")] = 1.0,
    planes: Annotated[int, typer.Option(min=1, help="Spike planes that end at each moment.")] = 256,
    rig: Annotated[
        Path | None, typer.Option(help="YAML with the sensors; by default config/rigs/vehicle.yaml.")
    ] = None,
    supersample: Annotated[int, typer.Option(min=1, max=2, help="2: smoother edges, slower.")] = 1,
    bag: Annotated[
        Path | None,
        typer.Option(
            help="Record a drive with its truth instead, at the cameras' full rates: .mcap, .db3 or a folder."
        ),
    ] = None,
    duration: Annotated[float, typer.Option(callback=finite, min=0.1, help="Of the drive of --bag, seconds.")] = 5.0,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")] = Path("out/simulate"),
) -> None:
    """Drive through a street that never was, and keep what the sensors see.

    Writes for each moment, here the first: 000000_spikes.dat, 000000_rgb.png, 000000_nir.png, 000000_thermal.png
    (16 bit, hundredths of a kelvin) and 000000_depth.npy (metres, in the reference sensor's frame, +inf for sky), and
    000000_rgb_right.png and the like where the rig has right-hand cameras (config/rigs/stereo.yaml); the same as a
    sample file in samples/, which `evaluate --samples` reads; rig.yaml, drive.json with the poses, and
    contact_sheet.png. What an earlier drive left there is removed.
    """
    from spike_depth_core.evaluation.pictures import colorize_depth, depth_bar, grid, write_png
    from spike_depth_core.evaluation.sheets import sensor_cells
    from spike_depth_core.world import World

    if bag is not None and (stray := typed(context, "frames", "rate", "planes", "out")):
        raise ValueError(
            f"{', '.join(stray)}: not of a --bag, which has all that the cameras of --duration seconds see"
        )
    if bag is None and typed(context, "duration"):
        raise ValueError("--duration belongs to --bag; --frames says how many moments there are")
    sensor_rig = SensorRig.load(rig) if rig else None
    options: dict[str, Any] = {"layout": layout, "speed": speed, "weather": weather, "town": town}
    if bag is not None:
        record_simulation(bag, seed, duration, condition, sensor_rig, start, supersample=supersample, **options)
        return
    check_out(out)
    world = World(seed, condition, sensor_rig, supersample, workers=os.cpu_count() or 1, **options)
    samples = world.frames(frames, rate, start, planes)  # what cannot be is said before earlier results are removed
    for path in (out / "samples").glob("[!.]*"):
        if not re.fullmatch(_SAMPLES, path.name):
            raise ValueError(f"{path.parent} holds {path.name}, which simulate has not written: choose another --out")
    remove_earlier(out, _FILES)
    remove_earlier(out / "samples", _SAMPLES)
    (out / "samples").mkdir(parents=True, exist_ok=True)
    world.rig.save(out / "rig.yaml")
    reference = next(sensor for sensor in (world.rig.reference, *SENSORS) if sensor in world.rig.cameras)
    shown = set(np.linspace(0, frames - 1, min(frames, _SHEET_ROWS)).round().astype(int).tolist())
    sheet, table, moments = [], [], []
    for k, sample in enumerate(track(samples, "moments", frames)):
        _write(out, k, sample, reference)
        save_sample(sample_path(out / "samples", k), sample)
        time_s = sample.time_ns * 1e-9
        moments.append(
            {
                "time_ns": sample.time_ns,
                "speed": sample.meta["speed"],
                "world_from_reference": world.world_from(reference, time_s).tolist(),
            }
        )
        depth = sample.depth[reference]
        if k in shown:
            sheet.append([*sensor_cells(sample), ("true depth", colorize_depth(depth))])
        hits = depth[np.isfinite(depth)]
        fired = spike_counts(sample.spikes, [planes]).mean() / planes if sample.spikes is not None else np.nan
        table.append(
            [
                f"{time_s:.2f} s",
                f"{sample.meta['speed']:.1f}",
                f"{fired:.3f}",
                f"{hits.min():.1f}" if hits.size else "",
                f"{np.median(hits):.1f}" if hits.size else "",
            ]
        )
    description = {
        **{key: value for key, value in sample.meta.items() if key not in ("speed", "frame", "sequence")},
        "reference": reference,
        "moments": moments,
    }
    write_json(out / "drive.json", description)
    title = ", ".join([f"seed {seed}", world.condition, *([weather] if weather else []), world.scene.layout])
    picture = grid(sheet, cell_width=320, title=title, footer=depth_bar(480))
    write_png(out / "contact_sheet.png", picture)
    print_table(title, ("time", "m/s", "spikes a plane", "nearest, m", "median, m"), table)
    console.print(f"{out / 'contact_sheet.png'}", highlight=False)


def _write(out: Path, k: int, sample: DepthSample, reference: str) -> None:
    for name in sample.images:
        image = getattr(sample, name)
        if modality(name) == "spikes":
            # A .dat holds whole bytes a row.
            suffix = ".dat" if image.width % 8 == 0 else ".npz"
            write_spikes(out / f"{k:06d}_{name}{suffix}", image)
        else:
            Image.fromarray(image).save(out / f"{k:06d}_{name}.png")
    np.save(out / f"{k:06d}_depth.npy", sample.depth[reference])
