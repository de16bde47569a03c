"""What a recorded drive says: figures, a table, a video and a page. Knows nothing of ROS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spike_depth_core.cli.console import print_table, track
from spike_depth_core.evaluation import pictures, plots
from spike_depth_core.evaluation.evaluate import Evaluation
from spike_depth_core.evaluation.evaluation_report import evaluation_report
from spike_depth_core.evaluation.report import Block, Chart, Headline, Report, Section, Table, Video, write_report
from spike_depth_core.whole_files import write_json

VIDEO_RATE_HZ = 10.0
LATE_MS = 100.0  # a packet that leaves later than this: the machine cannot simulate the camera in real time


@dataclass(frozen=True)
class Frame:
    """One depth image of the drive.

    Attributes:
        time_s: since the first.
        images: `depth` and what there is of `uncertainty`, `truth` (float32 [H, W]), `rgb`, `spikes`, `thermal`.
    """

    time_s: float
    images: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Drive:
    """A drive through the live graph, as it was measured.

    Attributes:
        figures: counts and rates, by the keys of metrics.json.
        latencies_ms: of every depth image, from the last plane used to its publication.
        times_s: of every depth image, since the first.
        frames: those that were kept.
        evaluation: their accuracy.
        facts: (name, value) pairs for the foot of the report.
        command: that does it again.
    """

    figures: Mapping[str, Any]
    latencies_ms: Sequence[float]
    times_s: Sequence[float]
    frames: Sequence[Frame]
    evaluation: Evaluation
    facts: Sequence[tuple[str, str]]
    command: str

    def metrics(self) -> dict[str, Any]:
        """Everything measured, for metrics.json."""
        latency = {
            f"latency_ms_p{percent}": float(np.percentile(self.latencies_ms, percent)) for percent in (50, 90, 99)
        }
        return {**self.figures, **latency, **self.evaluation.summary(), "command": self.command}


def headline_rows(metrics: Mapping[str, Any]) -> list[list[str]]:
    """The headline figures as (measured, value)."""
    rows = [
        ["spike packets sent", f"{metrics['packets_sent']:,}"],
        ["spike packets received", f"{metrics['packets_received']:,}"],
        ["spike packets lost", f"{metrics['packets_lost']:,}"],
        ["spike planes", f"{metrics['planes_per_second']:,.0f} a second"],
        ["depth images", f"{metrics['depth_frames']:,}, {metrics['depth_hz']:.1f} Hz"],
        ["latency, last plane used to depth published, p50", f"{metrics['latency_ms_p50']:.0f} ms"],
        ["the same, p99", f"{metrics['latency_ms_p99']:.0f} ms"],
    ]
    late_ms = metrics["simulator_behind_ms_max"]
    if late_ms > LATE_MS:
        rows.append(["the simulator's own delay in it, at most", f"{late_ms:.0f} ms: see --prepare-spikes"])
    rows.append(["AbsRel", f"{metrics['abs_rel']:.3f}"])
    if "measured_frames" in metrics:
        rows.insert(5, ["of these corrected by parallax", f"{metrics['measured_frames']:,}"])
    if metrics["row_prior_abs_rel"] is not None:
        rows.append(["AbsRel of the row prior", f"{metrics['row_prior_abs_rel']:.3f}"])
    return rows + adaptation_rows(metrics.get("adaptation", {}))


def adaptation_rows(said: Mapping[str, Any]) -> list[list[str]]:
    """What was learned on the road, as (measured, value); none where nothing was to be."""
    if not said:
        return []
    if not said["statuses"]:
        return [["learning on the road", "nothing was heard of it"]]
    rows = [
        ["learning on the road", ", ".join(said["states"])],
        ["moments learned from", f"{said['accepted']:,} of {said['moments']:,}; {said['steps']:,} steps"],
        ["of these measured by parallax", f"{said['measured']:,}"],
        ["swaps, roll-backs", f"{said['swaps']}, {said['rollbacks']} in {said['reviews']} reviews"],
        ["weights that depth was made with", ", ".join(sha256[:8] for sha256 in said["running"])],
    ]
    if said["losses"]:
        first, last = said["losses"]
        rows.insert(2, ["loss, first and last step", f"{first:.3f}, {last:.3f}"])
    return rows


def show(metrics: Mapping[str, Any], title: str) -> None:
    """Print the headline figures."""
    print_table(title, ["measured", "value"], headline_rows(metrics))


def write_metrics(out: Path, metrics: Mapping[str, Any]) -> None:
    """Write metrics.json."""
    write_json(out / "metrics.json", dict(metrics))


def write_video(out: Path, frames: Sequence[Frame]) -> Path:
    """The drive side by side, at the speed of life: RGB, spikes, thermal; depth, truth, error."""
    shown = list(at_rate(frames, VIDEO_RATE_HZ))
    blanks = {name: np.zeros_like(image) for frame in frames for name, image in frame.images.items()}
    sheets = (video_sheet(frame, blanks) for frame in track(shown, "Composing the video", len(shown)))
    return pictures.write_video(out / "demo.mp4", sheets, VIDEO_RATE_HZ)


def at_rate(frames: Sequence[Frame], rate_hz: float) -> Iterator[Frame]:
    """For each tick of a rate, from the first frame to the last, the newest frame by then."""
    index = 0
    for tick in range(round(frames[-1].time_s * rate_hz) + 1):
        while index + 1 < len(frames) and frames[index + 1].time_s <= (tick + 0.5) / rate_hz:
            index += 1
        yield frames[index]


def video_sheet(frame: Frame, blanks: Mapping[str, np.ndarray], cell_width: int = 320) -> np.ndarray:
    """One picture of the video, uint8 [H, W, 3].

    `blanks` has an image of each name that any frame has: it stands in where this one has none, so that all sheets of a
    video are of one size.
    """
    images = {**blanks, **frame.images}
    upper = [
        (label, draw(images[name]))
        for name, label, draw in (
            ("rgb", "RGB", np.asarray),
            ("spikes", "spikes", pictures.gray_picture),
            ("thermal", "thermal", pictures.thermal_picture),
        )
        if name in images
    ]
    lower = [("depth", pictures.colorize_depth(images["depth"]))]
    if "truth" in images:
        lower.append(("true depth", pictures.colorize_depth(images["truth"])))
        lower.append(("error", pictures.colorize_error(images["depth"], images["truth"])))
    scales = pictures.bars(3 * (cell_width + 8) - 8, dark=True)
    return pictures.grid([upper, lower], cell_width, f"{frame.time_s:.1f} s", scales, dark=True)


def write_page(out: Path, drive: Drive, metrics: Mapping[str, Any], video: Path) -> Path:
    """The report as one HTML page, the video within."""
    figures = [
        Headline(str(metrics["packets_lost"]), "spike packets lost", f"of {metrics['packets_sent']:,}"),
        Headline(f"{metrics['planes_per_second']:,.0f}", "spike planes a second"),
        Headline(f"{metrics['depth_hz']:.1f} Hz", "depth"),
        Headline(f"{metrics['latency_ms_p50']:.0f} ms", "latency", f"p99 {metrics['latency_ms_p99']:.0f} ms"),
    ]
    marks = {"p50": metrics["latency_ms_p50"], "p99": metrics["latency_ms_p99"]}
    times_s, latencies_ms = np.asarray(drive.times_s), np.asarray(drive.latencies_ms)
    graph: list[Block] = [
        Table(["measured", "value"], headline_rows(metrics)),
        Chart(plots.timeline("Latency of each depth image", {"": (times_s, latencies_ms)}, "ms"), wide=True),
        Chart(plots.histogram("Latency", {"": latencies_ms}, "ms", "depth images", marks)),
    ]
    caption = "RGB, spikes and thermal as they came; depth, the truth and the error."
    sections = [Section("The drive", [Video(video, caption)]), Section("The graph", graph)]
    if drive.evaluation.frames:
        accuracy = evaluation_report(drive.evaluation, "", "", "live depth")
        figures.append(accuracy.figures[0])
        sections += accuracy.sections
    report = Report(
        title="Spikes and frames in, depth out",
        subtitle="A simulator and a depth node as two processes, over real DDS",
        figures=figures,
        sections=sections,
        command=drive.command,
        facts=drive.facts,
    )
    return write_report(out / "report.html", report)
