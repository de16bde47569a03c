"""What errors of a rig the alignment check notices, on streets where the truth is known.

    python benchmarks/alignment.py --out docs/results

The rig that is believed is put wrong about one axis at a time, in both directions; depth is what the network makes of
the images with that rig. Writes `alignment.json` and `alignment.md`. Rendering takes a few minutes.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from spike_depth_core.cli.console import print_table, track
from spike_depth_core.evaluation.results import markdown_table
from spike_depth_core.geometry.rig import pose
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.inference.alignment import Shifts, explain, shifts_of_moment
from spike_depth_core.samples import DepthSample
from spike_depth_core.whole_files import write_json
from spike_depth_core.world import World

FIRST_SEED = 710_000  # streets that no training and no other table has
CONDITIONS = ("day", "day", "day", "dusk", "night")
TIMES_S = (2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
OTHERS = ("rgb", "nir", "thermal")
AXES = ("pitch", "yaw", "roll", "right", "down", "forward")


def errors(degrees: float, metres: float) -> dict[str, np.ndarray]:
    """Every error by its name: about and along each axis, in both directions, and none."""
    found = {"none": np.eye(4)}
    for axis, name in enumerate(AXES):
        for sign in (1, -1):
            turn, move = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
            if axis < 3:
                turn[axis] = sign * np.sin(np.radians(degrees) / 2)
            else:
                move[axis - 3] = sign * metres
            rotation = (*turn, float(np.sqrt(1 - np.dot(turn, turn))))
            found[f"{name} {'+' if sign > 0 else '-'}"] = pose(tuple(move), rotation)
    return found


def with_error(sample: DepthSample, error: np.ndarray) -> DepthSample:
    """The sample with a rig that is wrong about all sensors beside the spikes by the same error."""
    poses = {sensor: sample.rig.reference_from(sensor) for sensor in sample.rig.cameras}
    poses |= {sensor: error @ poses[sensor] for sensor in OTHERS}
    return dataclasses.replace(sample, rig=dataclasses.replace(sample.rig, poses=poses))


def drives(streets: int) -> Iterator[tuple[str, list[DepthSample]]]:
    """Moments of each street."""
    for index in track(range(streets), "Streets"):
        condition = CONDITIONS[index % len(CONDITIONS)]
        world = World(FIRST_SEED + index, condition=condition)
        yield condition, [world.sample(t, planes=128, sensors=("spikes", *OTHERS)) for t in TIMES_S]


def measure(streets: int, degrees: float, metres: float, checkpoint: Path | None) -> list[dict[str, Any]]:
    """A record for each street, sensor and error."""
    estimator = DepthEstimator.load(checkpoint)
    records = []
    for street, (condition, samples) in enumerate(drives(streets)):
        for name, error in errors(degrees, metres).items():
            shifts: dict[str, list[Shifts]] = {sensor: [] for sensor in OTHERS}
            for sample in samples:
                wrong = with_error(sample, error)
                for sensor, found in shifts_of_moment(wrong, estimator.estimate(wrong)).items():
                    shifts[sensor].append(found)
            for sensor in OTHERS:
                found = explain(sensor, shifts[sensor])
                if found is not None:
                    records.append(
                        {
                            "street": street,
                            "condition": condition,
                            "sensor": sensor,
                            "error": name,
                            "rotation_deg": found.rotation_deg.tolist(),
                            "translation_m": found.translation_m.tolist(),
                            "said": found.wrong(),
                        }
                    )
    return records


def rows_of(records: list[dict[str, Any]], degrees: float, metres: float) -> list[tuple[str, ...]]:
    """A row for each sensor and axis: how often it is noticed, and how it is measured."""
    rows = []
    for sensor in OTHERS:
        quiet = [r for r in records if r["sensor"] == sensor and r["error"] == "none"]
        alarms = sum(bool(r["said"]) for r in quiet)
        for axis, name in enumerate(AXES):
            wrong = [r for r in records if r["sensor"] == sensor and r["error"].split()[0] == name]
            noticed = sum(any(said.startswith(name) for said in r["said"]) for r in wrong)
            key, unit, size = ("rotation_deg", "°", degrees) if axis < 3 else ("translation_m", " m", metres)
            signed = [r[key][axis % 3] * (1 if r["error"].endswith("+") else -1) for r in wrong]
            without = [r[key][axis % 3] for r in quiet]
            rows.append(
                (
                    f"{sensor}: {name} {size:g}{unit}",
                    f"{noticed} of {len(wrong)}",
                    f"{np.mean(signed):.3f} ± {np.std(signed):.3f}{unit}",
                    f"{np.mean(without):+.3f} ± {np.std(without):.3f}{unit}",
                    f"{alarms} of {len(quiet)}",
                )
            )
    return rows


COLUMNS = ("error of the rig", "noticed", "measured", "measured without an error", "false alarms")


def main(
    streets: Annotated[int, typer.Option(min=1, help="How many streets.")] = 10,
    degrees: Annotated[float, typer.Option(help="Size of the rotations.")] = 1.0,
    metres: Annotated[float, typer.Option(help="Size of the translations.")] = 0.05,
    checkpoint: Annotated[Path | None, typer.Option(metavar="FILE", help="The shipped one by default.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the results go.")] = None,
) -> None:
    """Measure what the alignment check notices."""
    torch.set_num_threads(1)
    records = measure(streets, degrees, metres, checkpoint)
    rows = rows_of(records, degrees, metres)
    print_table("Errors of the rig", COLUMNS, rows)
    if out is not None:
        table = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        write_json(out / "alignment.json", {"streets": streets, "degrees": degrees, "metres": metres, "rows": table})
        command = shlex.join(["python", "benchmarks/alignment.py", *sys.argv[1:]])
        about = (
            f"`{command}`: {streets} streets of {len(TIMES_S)} moments, by day, dusk and night; depth by the network "
            "from the same, wrong rig; each error in both directions.\n\n"
        )
        (out / "alignment.md").write_text(
            "# What errors of a rig are noticed\n\n" + about + markdown_table(COLUMNS, rows)
        )


if __name__ == "__main__":
    typer.run(main)
