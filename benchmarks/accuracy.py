"""The accuracy table: depth on streets never trained on, from every set of sensors, beside the row prior.

    python benchmarks/accuracy.py

renders 200 streets of the test seeds (700,000 and up: training uses seeds below 500,000), and as many by night, once;
evaluates each set of sensors on them; scores the KITTI sample frames where they are; and writes
`docs/results/accuracy.md`, `accuracy.json` and a chart. About ten minutes on two cores with the defaults.
"""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from spike_depth_core.cli.console import console, print_table, track
from spike_depth_core.evaluation.baselines import RowPrior
from spike_depth_core.evaluation.evaluate import NETWORK, ROW_PRIOR, SKY_FROM_M, Evaluation
from spike_depth_core.evaluation.evaluation_report import HEADINGS, band_names, method_rows, metric_cells
from spike_depth_core.evaluation.frames import Frames, KittiFrames, StoredFrames, WorldFrames, store
from spike_depth_core.evaluation.results import markdown_table
from spike_depth_core.evaluation.sheets import sensor_names
from spike_depth_core.geometry import SensorRig
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.metrics import bootstrap_interval
from spike_depth_core.samples import DepthSample
from spike_depth_core.samples.resize import resize_sample
from spike_depth_core.spikes.video import spikes_from_frames
from spike_depth_core.whole_files import write_json

ROOT = Path(__file__).resolve().parents[1]
SEED, FRAMES = 700_000, 200
SUBSETS: tuple[tuple[str, ...], ...] = (
    ("spikes", "rgb", "nir", "thermal"),
    ("spikes", "rgb", "thermal"),
    ("spikes", "thermal"),
    ("spikes",),
    ("rgb",),
    ("nir",),
    ("thermal",),
)
NIGHT_SUBSETS: tuple[tuple[str, ...], ...] = (
    ("spikes", "rgb", "nir", "thermal"),
    ("spikes", "thermal"),
    ("spikes",),
    ("rgb",),
    ("thermal",),
)
COMPARED = (("spikes", "thermal"), ("rgb",))
COLUMNS = ("sensors", *HEADINGS, "95% interval of AbsRel", "of the row prior's", "certain half", "near sky")


def run_subsets(
    estimator: DepthEstimator,
    frames_of: Any,
    subsets: Sequence[tuple[str, ...]],
    prior: RowPrior,
    label: str,
) -> dict[tuple[str, ...], Evaluation]:
    """Evaluate each set of sensors, each in the frame of its own first sensor."""
    results = {}
    for subset in subsets:
        if not set(subset) <= set(estimator.sensors):
            continue
        frames: Frames = frames_of(subset)
        samples = track(frames, f"{label}: {sensor_names(subset)}", len(frames))
        results[subset] = Evaluation(prior, independent=True).run(samples, estimator, subset)
    return results


def row(name: str, evaluation: Evaluation, method: str = NETWORK) -> list[str]:
    """A row of `COLUMNS`."""
    values = evaluation.mean(method)
    low, high = evaluation.averages[method, "none"].interval("abs_rel")
    cells = [name, *metric_cells(values), f"{low:.3f} to {high:.3f}"]
    if method == ROW_PRIOR:
        return [*cells, "1", "", ""]
    ratio = values["abs_rel"] / evaluation.mean(ROW_PRIOR)["abs_rel"]
    return [*cells, f"{ratio:.2f}", f"{evaluation.certain_half_ratio:.2f}", f"{evaluation.near_sky_share:.1%}"]


def rows_with_priors(results: dict[tuple[str, ...], Evaluation]) -> list[list[str]]:
    """A row for each set of sensors, and one for the row prior in each frame of reference."""
    rows = [row(sensor_names(subset), evaluation) for subset, evaluation in results.items()]
    references = {subset[0]: evaluation for subset, evaluation in reversed(results.items())}
    for reference in dict.fromkeys(subset[0] for subset in results):
        rows.append(row(f"row prior, {sensor_names([reference])} camera", references[reference], ROW_PRIOR))
    return rows


def by_light(results: dict[tuple[str, ...], Evaluation]) -> tuple[list[str], list[list[str]]]:
    """AbsRel by condition: (columns, rows)."""
    conditions = sorted({name for evaluation in results.values() for name in evaluation.by_condition()})
    first = next(iter(results.values())).by_condition()
    columns = ["AbsRel", *(f"{name} ({first[name]['frames']} frames)" for name in conditions)]
    rows = []
    for subset, evaluation in results.items():
        found = evaluation.by_condition()
        rows.append([sensor_names(subset), *(f"{found[name]['abs_rel']:.3f}" for name in conditions)])
    rows.append(["row prior", *(f"{first[name]['row_prior_abs_rel']:.3f}" for name in conditions)])
    return columns, rows


def by_distance(results: dict[tuple[str, ...], Evaluation]) -> tuple[list[str], list[list[str]]]:
    """AbsRel by distance, and the mean signed error of the first row: (columns, rows)."""
    rows = [
        [sensor_names(subset), *(f"{value:.3f}" for value in evaluation.distance_profile[NETWORK])]
        for subset, evaluation in results.items()
    ]
    subset, first = next(iter(results.items()))
    rows.append(["row prior", *(f"{value:.3f}" for value in first.distance_profile[ROW_PRIOR])])
    rows.append([f"signed error, {sensor_names(subset)}", *(f"{v:+.3f}" for v in first.distance_profile["bias"])])
    return ["AbsRel", *(f"{name} m" for name in band_names())], rows


def advantage(results: dict[tuple[str, ...], Evaluation], a: tuple[str, ...], b: tuple[str, ...]) -> str:
    """How much lower the AbsRel of one set of sensors is than another's on the same streets, in words."""
    first, second = (results[subset].averages[NETWORK, "none"].values("abs_rel") for subset in (a, b))
    low, high = bootstrap_interval(second - first)
    return (
        f"Street by street, AbsRel from {sensor_names(a)} is {np.mean(second - first):.3f} below that from "
        f"{sensor_names(b)} (95% interval {low:.3f} to {high:.3f}), and it is lower in {np.mean(first < second):.0%} "
        "of the streets.\n"
    )


class KittiSpikes(Frames):
    """KITTI object frames as a spike camera that stands still sees them: without noise, at the size of Spike-KITTI.

    Args:
        folder: of the frames.
        planes: of a sample.
    """

    def __init__(self, folder: Path, planes: int) -> None:
        self.frames, self.planes = KittiFrames(folder), planes

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> DepthSample:
        sample = resize_sample(self.frames[index], 640, 192)
        assert sample.rgb is not None
        (spikes,) = spikes_from_frames([sample.rgb, sample.rgb], 20_000 / self.planes, self.planes)
        rig = SensorRig({"spikes": sample.rig.cameras["rgb"]}, {}, "spikes", sample.rig.height)
        return replace(sample, rig=rig, rgb=None, spikes=spikes, depth={"spikes": sample.depth["rgb"]})


def kitti_methods(real: dict[tuple[str, ...], Evaluation]) -> list[tuple[str, Evaluation, str]]:
    """What has answered KITTI's frames: (name, evaluation, method), the row prior once."""
    first = next(iter(real.values()))
    return [(sensor_names(s), of, NETWORK) for s, of in real.items()] + [("row prior", first, ROW_PRIOR)]


def kitti_rows(real: dict[tuple[str, ...], Evaluation]) -> list[list[str]]:
    """Rows of KITTI's table, raw and median-scaled, the row prior once."""
    rows = [row for sensors, of in real.items() for row in method_rows(of, sensor_names(sensors))]
    return list({row[0]: row for row in reversed(rows)}.values())[::-1]


def plain(results: dict[tuple[str, ...], Evaluation]) -> dict[str, Any]:
    """For the JSON: summaries by sensors, frames as one list of AbsRel."""
    collected = {}
    for subset, evaluation in results.items():
        summary = evaluation.summary()
        summary["abs_rel_of_frames"] = [round(frame.abs_rel, 5) for frame in evaluation.frames]
        del summary["per_frame"]
        collected["+".join(subset)] = summary
    return collected


def write_chart(path: Path, results: dict[tuple[str, ...], Evaluation]) -> None:
    """AbsRel by distance of a few sets of sensors and of the row prior."""
    from spike_depth_core.evaluation.plots import bars_by_group

    shown = [subset for subset in (SUBSETS[0], ("spikes",), ("rgb",), ("thermal",)) if subset in results]
    series = {sensor_names(subset): results[subset].distance_profile[NETWORK].tolist() for subset in shown}
    series["row prior"] = results[shown[0]].distance_profile[ROW_PRIOR].tolist()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = bars_by_group("Error by distance, unseen streets", band_names(), series, "true depth (m)", "AbsRel")
    figure.savefig(path, dpi=150)


def main(
    frames: Annotated[int, typer.Option(min=2, help="Streets in each of the two sets.")] = FRAMES,
    seed: Annotated[int, typer.Option(help="Scene seed of the first street.")] = SEED,
    checkpoint: Annotated[Path | None, typer.Option(help="The shipped one by default.")] = None,
    kitti: Annotated[Path | None, typer.Option(help="KITTI object frames; left out by default.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Keep the rendered streets here; a temporary folder by default.")
    ] = (None),
    workers: Annotated[int, typer.Option(min=0, help="Rendering processes; all cores when 0.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "cpu",
    out: Annotated[Path, typer.Option(help="Where the results go.")] = ROOT / "docs" / "results",
) -> None:
    """Make the accuracy table."""
    if kitti is not None and not kitti.is_dir():
        raise typer.BadParameter(f"there is no folder {kitti}", param_hint="--kitti")
    estimator = DepthEstimator.load(checkpoint, device)
    prior = RowPrior.from_dict(estimator.info.row_prior)
    known = tuple(estimator.sensors)
    with tempfile.TemporaryDirectory() as temporary:
        folder = cache or Path(temporary)
        sets = {
            "mixed": WorldFrames(seed, frames, None, known, estimator.spike_planes),
            "night": WorldFrames(seed, frames, "night", known, estimator.spike_planes),
        }
        for name, source in sets.items():
            for _ in track(store(source, folder / name, workers), f"rendering {frames} streets ({name})", frames):
                pass
        mixed = run_subsets(estimator, lambda s: StoredFrames(folder / "mixed", s), SUBSETS, prior, "mixed light")
        night = run_subsets(estimator, lambda s: StoredFrames(folder / "night", s), NIGHT_SUBSETS, prior, "night")
    real: dict[tuple[str, ...], Evaluation] = {}
    if kitti is not None:
        seen: dict[str, Frames] = {"rgb": KittiFrames(kitti), "spikes": KittiSpikes(kitti, estimator.spike_planes)}
        for sensor in (sensor for sensor in seen if sensor in known):
            samples = track(seen[sensor], f"KITTI: {sensor_names([sensor])}", len(seen[sensor]))
            real[sensor,] = Evaluation(prior, crop="garg").run(samples, estimator, (sensor,))

    # What the figures depend on; the cache and the number of processes do not change them.
    chosen = {"--frames": (frames, FRAMES), "--seed": (seed, SEED), "--checkpoint": (checkpoint, None)}
    options = [part for name, (value, usual) in chosen.items() if value != usual for part in (name, str(value))]
    options += ["--kitti", "DIR"] if real else []
    command = shlex.join(["python", "benchmarks/accuracy.py", *options])
    write_json(
        out / "accuracy.json",
        {
            "command": command,
            "frames": frames,
            "seeds": [seed, seed + frames - 1],
            "checkpoint_sha256": estimator.info.sha256,
            "mixed": plain(mixed),
            "night": plain(night),
            "kitti": plain(real) or None,
        },
    )
    parts = [
        "# Accuracy\n",
        f"Made by `{command}` with the checkpoint of sha256 `{estimator.info.sha256[:16]}…`. Streets of the procedural "
        f"world, scene seeds {seed} to {seed + frames - 1}, one moment in each: none was trained or selected on. Depth "
        "from 1 to 80 m, metric, no scaling; means over frames; the interval is a bootstrap over frames. The row prior "
        "is the mean log-depth of each image row over the training set. Each set of sensors is scored in the frame of "
        "its first sensor. *Certain half*: AbsRel of the half of the pixels that the network is most certain of, over "
        f"that of all. *Near sky*: share of the sky's pixels told nearer than {SKY_FROM_M:g} m.\n",
        f"## {frames} unseen streets, light drawn from each seed\n",
        markdown_table(COLUMNS, rows_with_priors(mixed)),
        "### By light\n",
        markdown_table(*by_light(mixed)),
        "### By distance\n",
        markdown_table(*by_distance(mixed)),
        "![AbsRel by distance](../images/accuracy_by_distance.png)\n",
        f"## {frames} unseen streets by night\n",
        markdown_table(COLUMNS, rows_with_priors(night)),
        advantage(night, *COMPARED) if set(COMPARED) <= set(night) else "",
    ]
    if real:
        names = [frame.name for frame in next(iter(real.values())).frames]
        by_frame = [
            [of, *(f"{f.scores[method, 'none']['abs_rel']:.3f}" for f in evaluation.frames)]
            for of, evaluation, method in kitti_methods(real)
        ]
        parts += [
            f"## {len(names)} KITTI frames\n",
            "Real frames, never trained or selected on, against the LiDAR points of the same moment; Garg crop, 80 m. "
            "So few frames cannot tell differences below about 0.03 apart. The spikes are what a spike camera that "
            "stands still sees in them, without noise, at the size of Spike-KITTI.\n",
            markdown_table(["method", *HEADINGS], kitti_rows(real)),
            markdown_table(["AbsRel", *names], by_frame),
        ]
    (out / "accuracy.md").write_text("\n".join(parts), encoding="utf-8")
    write_chart(out.parent / "images" / "accuracy_by_distance.png", mixed)
    short = [0, 1, 3, 6, 9, 10, 11, 12]
    for title, results in ((f"{frames} unseen streets", mixed), (f"{frames} unseen streets by night", night)):
        table = [[cells[i] for i in short] for cells in rows_with_priors(results)]
        print_table(title, [COLUMNS[i] for i in short], table)
    if real:
        print_table(f"{len(names)} KITTI frames", ["method", *HEADINGS], kitti_rows(real))
    console.print(f"wrote {out / 'accuracy.md'} and {out / 'accuracy.json'}", highlight=False)


if __name__ == "__main__":
    typer.run(main)
