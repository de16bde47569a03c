"""What a recorded drive says: figures, a table, a video and a page. Knows nothing of ROS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spike_depth_core.cli.console import print_table, track
from spike_depth_core.evaluation import pictures, plots
from spike_depth_core.evaluation.evaluate import NETWORK, ROW_PRIOR, Evaluation
from spike_depth_core.evaluation.evaluation_report import evaluation_report, method_rows
from spike_depth_core.evaluation.report import Chart, Headline, Report, Section, Table, Video, write_report
from spike_depth_core.evaluation.results import write_json
from spike_depth_core.geometry import PinholeCamera

VIDEO_RATE_HZ = 10.0


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
        camera: of the depth images.
        evaluation: their accuracy.
        facts: (name, value) pairs for the foot of the report.
        command: that does it again.
    """

    figures: Mapping[str, Any]
    latencies_ms: Sequence[float]
    times_s: Sequence[float]
    frames: Sequence[Frame]
    camera: PinholeCamera | None
    evaluation: Evaluation
    facts: Sequence[tuple[str, str]]
    command: str

    def metrics(self) -> dict[str, Any]:
        """Everything measured, as plain values."""
        values = dict(self.figures)
        values["latency_ms_p50"], values["latency_ms_p99"] = self._latency(50), self._latency(99)
        accuracy = self.evaluation.summary()
        values |= accuracy | {"frames_scored": accuracy.pop("frames")}
        return values

    def _latency(self, percent: float) -> float:
        return float(np.percentile(self.latencies_ms, percent)) if self.latencies_ms else float("nan")


def rows_of(metrics: Mapping[str, Any]) -> list[list[str]]:
    """The headline figures as table rows."""
    prior = metrics["row_prior_abs_rel"]
    beside = f"  (row prior {prior:.3f})" if prior is not None else ""
    return [
        ["spike packets sent, received, lost", "{packets_sent}, {packets_received}, {packets_lost}".format(**metrics)],
        ["spike planes received", f"{metrics['planes_per_second']:,.0f} a second"],
        ["depth images", f"{metrics['depth_frames']}, {metrics['depth_hz']:.1f} Hz"],
        [
            "latency, last plane to depth",
            f"{metrics['latency_ms_p50']:.0f} ms p50, {metrics['latency_ms_p99']:.0f} ms p99",
        ],
        ["AbsRel", f"{metrics['abs_rel']:.3f}{beside}"],
    ]


def show(metrics: Mapping[str, Any], title: str) -> None:
    """Print the headline figures."""
    print_table(title, ["measured", "value"], rows_of(metrics))


def write_metrics(out: Path, metrics: Mapping[str, Any]) -> None:
    write_json(out / "metrics.json", dict(metrics))


def write_video(out: Path, frames: Sequence[Frame]) -> Path:
    """The drive as a side-by-side video: RGB, spikes, thermal; depth, truth, error. At the speed of life."""
    chosen = list(_at_rate(frames, VIDEO_RATE_HZ))
    sheets = (video_sheet(frame.images, frame.time_s) for frame in track(chosen, "Composing the video"))
    return pictures.write_video(out / "demo.mp4", sheets, VIDEO_RATE_HZ)


def _at_rate(frames: Sequence[Frame], rate_hz: float) -> Iterator[Frame]:
    """For each tick of a rate the frame that is shown then."""
    index = 0
    for tick in range(int(frames[-1].time_s * rate_hz) + 1):
        while index + 1 < len(frames) and frames[index + 1].time_s <= tick / rate_hz:
            index += 1
        yield frames[index]


def video_sheet(images: Mapping[str, np.ndarray], time_s: float, cell_width: int = 320) -> np.ndarray:
    """One picture of the video. What is missing leaves its cell empty."""

    def cell(name: str, label: str) -> tuple[str, np.ndarray] | None:
        if name not in images:
            return None
        if name == "rgb":
            return label, images[name]
        picture = pictures.thermal_picture if name == "thermal" else pictures.gray_picture
        return label, picture(images[name])

    depth, truth = images["depth"], images.get("truth")
    below: list[tuple[str, np.ndarray] | None] = [("depth", pictures.colorize_depth(depth)), None, None]
    if truth is not None:
        below[1:] = [
            ("true depth", pictures.colorize_depth(truth)),
            ("error", pictures.colorize_error(depth, truth)),
        ]
    rows = [[cell("rgb", "RGB"), cell("spikes", "spikes, 20,000 planes/s"), cell("thermal", "thermal")], below]
    page = 3 * (cell_width + 8) - 8
    return pictures.grid(rows, cell_width, f"{time_s:5.1f} s", pictures.bars(page, dark=True), dark=True)


def write_page(out: Path, drive: Drive, metrics: Mapping[str, Any], video: Path | None) -> Path:
    """The report as one HTML page."""
    latencies = np.asarray(drive.latencies_ms)
    name = "live graph"
    accuracy = evaluation_report(drive.evaluation, "", "", name).sections if drive.evaluation.frames else ()
    prior = drive.evaluation.row_prior is not None and drive.evaluation.frames
    figures = [
        Headline(str(metrics["packets_lost"]), "packets lost", f"of {metrics['packets_sent']:,}"),
        Headline(f"{metrics['planes_per_second']:,.0f}", "spike planes a second"),
        Headline(f"{metrics['depth_hz']:.1f} Hz", "depth"),
        Headline(f"{metrics['latency_ms_p50']:.0f} ms", "latency", f"p99 {metrics['latency_ms_p99']:.0f} ms"),
    ]
    if drive.evaluation.frames:
        beside = f"row prior {drive.evaluation.mean(ROW_PRIOR)['abs_rel']:.3f}" if prior else ""
        figures.append(Headline(f"{drive.evaluation.mean(NETWORK)['abs_rel']:.3f}", "AbsRel", beside))
    marks = {"p50": metrics["latency_ms_p50"], "p99": metrics["latency_ms_p99"]}
    sections = []
    if video is not None:
        sections.append(
            Section(
                "The drive", [Video(video, "RGB, spikes and thermal as they came; depth, its truth and its error.")]
            )
        )
    sections.append(Section("The graph", [Table(["measured", "value"], rows_of(metrics))]))
    if latencies.size:
        sections[-1].blocks.extend(  # type: ignore[attr-defined]
            [
                Chart(plots.timeline("Latency", {"": (np.asarray(drive.times_s), latencies)}, "ms"), wide=True),
                Chart(plots.histogram("Latency", {"": latencies}, "ms", "depth images", marks)),
            ]
        )
    report = Report(
        title="Spikes and frames in, depth out",
        subtitle="A simulator and the depth node as two processes over real DDS",
        figures=figures,
        sections=[*sections, *accuracy],
        command=drive.command,
        facts=drive.facts,
    )
    return write_report(out / "report.html", report)


def accuracy_rows(evaluation: Evaluation) -> list[list[str]]:
    """The accuracy table's rows."""
    return method_rows(evaluation, "live graph")
