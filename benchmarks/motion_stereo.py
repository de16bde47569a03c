"""What parallax makes of depth, domain by domain, what it costs, and how good odometry has to be for it.

    python benchmarks/motion_stereo.py --out docs/results

A moment of each street is compared with those 0.25 and 0.1 s before it, as `adaptation.AdaptationEngine` does for its
teacher ("thorough"), and as `depth_node` does for what it publishes ("live"); depth is of the package's checkpoint, by
the point estimate by which it is published.
Writes `motion_stereo.json` and `motion_stereo.md`. Takes some ten minutes of a core.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import llvmlite.binding
import numpy as np
import torch
import typer
from torch import Tensor

from spike_depth_core.adaptation.lessons import from_truth, network_input, restricted
from spike_depth_core.adaptation.originals import scaled_rig
from spike_depth_core.cli.console import print_table, track
from spike_depth_core.evaluation.results import markdown_table
from spike_depth_core.evaluation.suites.online import GLANCES_S, KNOWN, SCENARIOS, Scenario, shifted
from spike_depth_core.evaluation.suites.table import with_spread
from spike_depth_core.geometry.rig import pose
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.inference.motion_stereo import LIVE, OtherMoment, corrected
from spike_depth_core.inference.neighbours import Neighbours, motion
from spike_depth_core.inference.point_estimate import least_relative_error
from spike_depth_core.networks.depth_network import Prediction
from spike_depth_core.resources import default_checkpoint
from spike_depth_core.samples import DepthSample
from spike_depth_core.whole_files import write_json

FIRST_SEED = 720_000  # streets that no training and no other table has
REFERENCE = "spikes"
TURNS_DEG = (0.05, 0.1, 0.2, 0.5)
STRETCHES = (0.9, 0.95, 1.05, 1.1)


def turned(step: Tensor, degrees: float) -> Tensor:
    """A motion [1, 4, 4] with an error of rotation: upwards, which a road full of texture shows best."""
    half = np.radians(degrees) / 2
    error = pose((0.0, 0.0, 0.0), (float(np.sin(half)), 0.0, 0.0, float(np.cos(half))))
    return torch.from_numpy(error).float() @ step


def stretched(step: Tensor, factor: float) -> Tensor:
    """A motion with an error of scale, as of a wheel's radius."""
    step = step.clone()
    step[:, :3, 3] *= factor
    return step


ERRORS = {
    "none": lambda step: step,
    **{f"rotation off by {deg:g} degrees": lambda step, deg=deg: turned(step, deg) for deg in TURNS_DEG},
    **{f"distance times {factor:g}": lambda step, factor=factor: stretched(step, factor) for factor in STRETCHES},
}


def drives(scenario: Scenario, count: int, scale: float) -> Iterator[list[DepthSample]]:
    """A moment and those before it that it is compared with, of so many streets on which the vehicle does not stand."""
    told = scaled_rig(scale)
    seed = FIRST_SEED
    while count:
        world = scenario.enter(told, seed)
        seed += 1
        past = Neighbours()
        for ago in GLANCES_S:
            past.add(shifted(world.sample(5.0 - ago), told, 0))
        now = shifted(world.sample(5.0), told, 0)
        if before := past.of(now):
            count -= 1
            yield [now, *before]


@torch.no_grad()
def measure(samples: list[DepthSample], estimator: DepthEstimator, errors: dict[str, Any]) -> dict[str, float]:
    """AbsRel of spikes alone, of all sensors, and of these corrected: live, and by odometry with each of the errors.
    Beside them what all sensors and either correction took of the processor's time, in milliseconds."""
    now, network = samples[0], estimator.network
    pixels = network.architecture.pixels
    inputs = [network_input(sample, REFERENCE, sample.sensors, pixels) for sample in samples]
    truth = from_truth(now, REFERENCE, now.sensors, pixels, (1.0, 80.0))
    laid_out = {s: x.contiguous(memory_format=torch.channels_last) for s, x in inputs[0].images.items()}
    inputs[0] = replace(inputs[0], images=laid_out)

    def abs_rel(told: Prediction) -> float:
        log_depth = told.log_depth
        if estimator.info.calibrated:
            log_depth = least_relative_error(log_depth, told.log_scale)
        depth = log_depth.exp().clamp(1.0, 80.0)
        return float(((depth - truth.depth).abs() / truth.depth)[truth.mask].mean())

    def timed(name: str, work: Callable[[], Any]) -> Any:
        begin = time.thread_time()
        result = work()
        found[f"{name}, ms"] = 1e3 * (time.thread_time() - begin)
        return result

    found: dict[str, float] = {}
    told = timed("network", lambda: network(inputs[0]))
    found |= {
        "spikes alone": abs_rel(network(restricted(inputs[0], (REFERENCE,)))),
        "all sensors": abs_rel(told),
    }
    for name, error in errors.items():
        steps = [error(motion(now, other, REFERENCE)) for other in samples[1:]]
        others = [OtherMoment(seen, step) for seen, step in zip(inputs[1:], steps, strict=True)]
        thorough = timed("thorough", lambda others=others: corrected(told, inputs[0], others)[0])
        found[name] = abs_rel(thorough)
        if name == "none":
            live = timed("live", lambda others=others: corrected(told, inputs[0], others, LIVE)[0])
            found["live"] = abs_rel(live)
    return found


def change(records: list[dict[str, float]], name: str) -> str:
    """By how much the mean AbsRel differs from all sensors' without parallax, and its standard error over streets."""
    told, found = (np.array([record[key] for record in records]) for key in ("all sensors", name))
    error = (found - told).std(ddof=1) / np.sqrt(len(told)) / told.mean()
    return f"{found.mean() / told.mean() - 1:+.1%} ± {error:.1%}"


def main(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results go.")] = Path("out/motion_stereo"),
    streets: Annotated[int, typer.Option(min=2, help="Of each domain.")] = 30,
    scale: Annotated[float, typer.Option(min=0.1, help="Of the cameras' size.")] = 0.5,
    checkpoint: Annotated[Path | None, typer.Option(metavar="FILE", help="The shipped one by default.")] = None,
) -> None:
    """Measure, print and write."""
    torch.set_num_threads(1)
    estimator = DepthEstimator.load(checkpoint or default_checkpoint(), backend="torch")
    records: dict[str, list[dict[str, float]]] = {}
    for scenario in track([KNOWN, *SCENARIOS], "Domains"):
        errors = ERRORS if scenario is KNOWN else {"none": ERRORS["none"]}
        records[scenario.name] = [measure(samples, estimator, errors) for samples in drives(scenario, streets, scale)]
    shown = ("spikes alone", "all sensors")
    domains = [
        [
            name,
            *(with_spread(np.array([r[key] for r in found])) for key in shown),
            *(change(found, key) for key in ("none", "live")),
        ]
        for name, found in records.items()
    ]
    costs = {
        name: float(np.median([record[f"{name}, ms"] for found in records.values() for record in found]))
        for name in ("network", "thorough", "live")
    }
    cost = [[name, f"{ms:.0f} ms", f"{ms / costs['network']:.1f}"] for name, ms in costs.items()]
    motions = [[name, change(records[KNOWN.name], name)] for name in ERRORS]
    command = shlex.join(["python", *sys.argv])
    heads = ["domain", "spikes alone", "all sensors", "thorough", "live"]
    text = [
        "# Parallax between moments: what it makes of depth",
        "",
        f"`{command}`",
        "",
        f"AbsRel, mean and standard deviation over {streets} streets a domain on which the vehicle drives, seeds "
        f"{FIRST_SEED} and on; and by how much the two moments before change that of all sensors, with the standard "
        "error: compared thoroughly, as the adaptation does for its teacher, and live, as the depth node does with "
        f"`parallax`. Cameras of {scale:g} times their size. Checkpoint {estimator.info.sha256[:8]}.",
        "",
        markdown_table(heads, domains),
        "## What it costs",
        "",
        f"Median of the processor's time a picture on one core ({llvmlite.binding.get_host_cpu_name()}), and over that "
        "of the network with all sensors, as the node runs it by PyTorch, in the same run.",
        "",
        markdown_table(["", "time", "of the network's"], cost),
        "## How good the odometry has to be",
        "",
        "Thorough, by day, where the motion that is told is wrong.",
        "",
        markdown_table(["error of the motion", "change"], motions),
    ]
    out.mkdir(parents=True, exist_ok=True)
    (out / "motion_stereo.md").write_text("\n".join(text))
    write_json(out / "motion_stereo.json", {"command": command, "sha256": estimator.info.sha256, "streets": records})
    print_table("Parallax", heads, domains)
    print_table("Cost", ["", "time", "of the network's"], cost)
    print_table("Odometry", ["error of the motion", "change"], motions)


if __name__ == "__main__":
    typer.run(main)
