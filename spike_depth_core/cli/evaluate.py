"""`spike-depth evaluate`: accuracy on bags or frames with a known depth, beside the row prior."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from spike_depth_core.cli.options import (
    Backend,
    Checkpoint,
    Device,
    Pixels,
    finite,
    parse_sensors,
    parse_topics,
    typed,
)
from spike_depth_core.cli.paths import check_out, remove_earlier

BAGS = "Bags"
# Names of the files of an evaluation, of bags or of frames.
FILES = r"metrics\.json|table\.md|report\.html|(best|median|worst)\.png"


def evaluate(
    context: typer.Context,
    bags: Annotated[
        list[Path] | None,
        typer.Argument(metavar="BAGS", help="rosbag2 bags with a truth in them: folders, .mcap or .db3 files."),
    ] = None,
    world: Annotated[
        int | None,
        typer.Option(
            metavar="SEED",
            help="Evaluate on streets of the procedural world: frame k shows the street of seed SEED + k.",
        ),
    ] = None,
    kitti: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Evaluate on KITTI object frames: RGB against the LiDAR, Garg crop, up to 80 m."
        ),
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Evaluate on sample files that `simulate` wrote.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Evaluate on a public data set, such as kitti_raw; see docs/datasets.md."),
    ] = None,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help="Where --dataset was unpacked.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Which split of --dataset, such as eigen_test, where it has more than one.")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Make do with the parts of --dataset that are there.")
    ] = False,
    frames: Annotated[int, typer.Option(min=1, metavar="N", help="How many frames of the world.")] = 20,
    condition: Annotated[
        str | None,
        typer.Option(metavar="day|dusk|night", help="Light of the world; each street's seed draws it by default."),
    ] = None,
    sensors: Annotated[
        str | None,
        typer.Option(
            metavar="LIST", help="Sensors to use, such as spikes,rgb,thermal. All that the network knows by default."
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="SENSOR",
            help="In whose image depth is compared: the first used of spikes, rgb, nir, thermal by default.",
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    device: Device = "cpu",
    backend: Backend = None,
    pixels: Pixels = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the results go.")] = Path("out/evaluate"),
    compare: Annotated[
        Path | None,
        typer.Option(metavar="FILE", rich_help_panel=BAGS, help="A second one: side by side, with a paired test."),
    ] = None,
    block: Annotated[
        float,
        typer.Option(
            callback=finite,
            min=0.1,
            metavar="SECONDS",
            rich_help_panel=BAGS,
            help="What counts as one moment to the paired test, whose blocks of time are longer by far.",
        ),
    ] = 2.0,
    truth: Annotated[
        str | None,
        typer.Option(
            metavar="TOPIC",
            rich_help_panel=BAGS,
            help="True depth: images, or LiDAR points whose frame /tf_static connects to the camera's. Of simulated "
            "drives their own by default.",
        ),
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SENSOR=TOPIC",
            rich_help_panel=BAGS,
            help="Which topic is spikes, rgb, nir or thermal, where names do not tell.",
        ),
    ] = None,
    rig: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=BAGS,
            help="YAML with the sensors' places; by default each bag's, or config/rigs/vehicle.yaml.",
        ),
    ] = None,
    rate: Annotated[
        float,
        typer.Option(
            callback=finite,
            min=0.0,
            rich_help_panel=BAGS,
            help="The most frames in a second of a bag; 0 for one a moment.",
        ),
    ] = 0.0,
    truth_tolerance: Annotated[
        float,
        typer.Option(
            callback=finite,
            min=0.0,
            metavar="SECONDS",
            rich_help_panel=BAGS,
            help="The most that a truth may be from the moment it is compared with.",
        ),
    ] = 0.02,
    workers: Annotated[
        int, typer.Option(min=1, metavar="N", rich_help_panel=BAGS, help="Processes of this machine, a bag each.")
    ] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            rich_help_panel=BAGS,
            help="A Ray cluster to run on instead: auto, host:port, or local for one of this machine. Bags and "
            "checkpoints must have the same paths everywhere.",
        ),
    ] = None,
) -> None:
    """Measure accuracy on bags or frames with a known depth, beside the row prior.

    Of BAGS it writes metrics.json, table.md and report.html with a row for each condition, each bag and everything, and
    what each came to in bags/: interrupted, the same command goes on. Other results that an earlier evaluation left
    there are removed. For example:

    spike-depth evaluate drives/*.mcap --out out/drives --workers 4

    spike-depth evaluate drives/*.mcap --checkpoint old.safetensors --compare new.safetensors --out out/both

    Of frames it writes metrics.json, table.md, report.html and sheets of the best, the median and the worst frame. Give
    one of --world, --kitti, --samples and --dataset:

    spike-depth evaluate --world 700000 --frames 50 --sensors spikes,thermal --condition night --out out/night

    spike-depth evaluate --dataset kitti_raw --root DIR --split eigen_test --sensors rgb --out out/eigen
    """
    sources = {"BAGS": bags or None, "--world": world, "--kitti": kitti, "--samples": samples, "--dataset": dataset}
    given = [name for name, value in sources.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"give one of {', '.join(sources)}; found {', '.join(given) or 'none'}")
    of_bags = ("compare", "block", "truth", "topic", "rig", "rate", "truth_tolerance", "workers", "ray")
    if not bags and (stray := typed(context, *of_bags)):
        raise ValueError(f"{', '.join(stray)} belongs to BAGS, of which there are none")
    if compare is None and typed(context, "block"):
        raise ValueError("--block belongs to --compare: it is of the test of two checkpoints")
    if world is not None and world < 0:
        raise ValueError(f"--world is the seed of the first street, 0 or more; found {world}")
    if condition is not None and world is None:
        raise ValueError("--condition belongs to --world: the light of recorded frames is as it is")
    if world is None and typed(context, "frames"):
        raise ValueError("--frames belongs to --world: of recorded frames all are evaluated")
    if (dataset is None) != (root is None):
        raise ValueError("--dataset and --root belong together: which data set, and where it was unpacked")
    if dataset is None and (split is not None or partial):
        raise ValueError("--split and --partial belong to --dataset")
    check_out(out)
    if bags:
        from spike_depth_core.cli import evaluate_bags

        options = evaluate_bags.options_of(
            truth, parse_topics(topic), rig, sensors, reference, rate, truth_tolerance, device, pixels
        )
        evaluate_bags.run(bags, checkpoint, compare, options, backend, block, workers, ray, out)
        return

    from spike_depth_core.cli.console import console, print_table, track
    from spike_depth_core.evaluation.baselines import RowPrior
    from spike_depth_core.evaluation.evaluate import Evaluation
    from spike_depth_core.evaluation.evaluation_report import HEADINGS, evaluation_report, method_rows
    from spike_depth_core.evaluation.frames import DatasetFrames, Frames, KittiFrames, StoredFrames, WorldFrames
    from spike_depth_core.evaluation.pictures import write_png
    from spike_depth_core.evaluation.results import markdown_table
    from spike_depth_core.evaluation.sheets import ranked_sheets, sensor_names
    from spike_depth_core.inference import DepthEstimator
    from spike_depth_core.samples.readers import open_dataset
    from spike_depth_core.whole_files import write_json

    estimator = DepthEstimator.load(checkpoint, device, backend, pixels)
    known = estimator.sensors
    chosen = parse_sensors(sensors, known)
    if reference is not None and reference not in known:
        raise ValueError(f"--reference is one of {', '.join(known)}, found {reference!r}")
    source: Frames
    crop = "garg" if kitti is not None else "none"
    if world is not None:
        rendered = [s for s in known if s in (chosen or known) or s == reference]
        source = WorldFrames(world, frames, condition, rendered, estimator.spike_planes)
        where = f"{frames} streets of the procedural world, seeds {world} to {world + frames - 1}"
        where += f", {condition}" if condition else ", light drawn from each seed"
    elif kitti is not None:
        source = KittiFrames(kitti)
        where = f"{len(source)} KITTI frames, LiDAR as truth, Garg crop"
    elif dataset is not None:
        assert root is not None
        data = open_dataset(dataset, root, split, **({"partial": True} if partial else {}))
        source, crop = DatasetFrames(data), data.crop
        where = f"{len(source)} frames of {dataset}, split {data.split}" + (", Garg crop" if crop == "garg" else "")
    else:
        assert samples is not None
        source = StoredFrames(samples)
        where = f"{len(source)} samples of {samples}"
    prior = RowPrior.of(estimator.info)
    evaluation = Evaluation(prior, crop=crop, independent=world is not None)

    began = time.perf_counter()
    evaluation.run(track(source, "Evaluating", len(source)), estimator, chosen, reference)
    elapsed = time.perf_counter() - began

    used = evaluation.sensors
    command = shlex.join(["spike-depth", *sys.argv[1:]])
    summary = evaluation.summary() | {
        "sensors": list(used),
        "reference": reference or used[0],
        "source": where,
        "seeds": [world, world + frames - 1] if world is not None else None,
        "checkpoint": {"file": str(checkpoint or "default"), "sha256": estimator.info.sha256},
        "backend": estimator.backend,
        "pixels": estimator.pixels,
        "command": command,
        "elapsed_s": elapsed,
    }
    remove_earlier(out, FILES)
    write_json(out / "metrics.json", summary)
    sheets, written = [], ["metrics.json", "table.md"]
    for label, caption, sheet in ranked_sheets(evaluation, source, estimator, chosen, reference):
        write_png(out / f"{label}.png", sheet)
        sheets.append((caption, sheet))
        written.append(f"{label}.png")
    name = sensor_names(used)
    rows = method_rows(evaluation, name)
    title = f"Depth from {name}"
    table = markdown_table(["method", *HEADINGS], rows)
    (out / "table.md").write_text(f"# {title}\n\n{where}; `{command}`\n\n{table}", encoding="utf-8")
    print_table(f"{title}: {where}", ["method", *HEADINGS], rows, verdict(summary))
    try:
        from spike_depth_core.evaluation.report import write_report

        facts = [("Checkpoint", f"{checkpoint or 'default'}, sha256 {estimator.info.sha256[:16]}")]
        report = evaluation_report(evaluation, title, where, name, sheets, command, facts)
        write_report(out / "report.html", report)
        written.append("report.html")
    except ImportError as error:
        console.print(f"no report.html: {error}", style="yellow", highlight=False, soft_wrap=True)
    console.print(f"{out}/: {', '.join(sorted(written))}", highlight=False, soft_wrap=True)


def verdict(summary: dict[str, Any]) -> str:
    """The result in a line."""
    parts = [f"AbsRel {summary['abs_rel']:.3f}"]
    if "abs_rel_interval_95" in summary and summary["frames"] >= 10:
        low, high = summary["abs_rel_interval_95"]
        parts[0] += f" (95% of redraws {low:.3f} to {high:.3f})"
    if summary["row_prior_abs_rel"]:
        parts.append(f"{summary['ratio_to_row_prior']:.2f} of the row prior's")
    if "certain_half_ratio" in summary:
        parts.append(f"its most certain half {summary['certain_half_ratio']:.2f} of the whole")
    if summary["skipped_frames"]:
        parts.append(f"{len(summary['skipped_frames'])} frames without a truth in range left out")
    if summary["unanswered_frames"]:
        parts.append(f"{len(summary['unanswered_frames'])} frames WITHOUT A DEPTH where there is a truth left out")
    return "; ".join(parts)
