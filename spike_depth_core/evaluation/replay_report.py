"""What a replay shows: the sheets of its video, its figures, its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spike_depth_core.evaluation import pictures
from spike_depth_core.evaluation.evaluation_report import evaluation_report
from spike_depth_core.evaluation.replay import Replay, ReplayedFrame
from spike_depth_core.evaluation.replay_adaptation import ReplayAdaptation
from spike_depth_core.evaluation.replay_adaptation import rows_of as rows_of_adaptation
from spike_depth_core.evaluation.sheets import is_sparse, sensor_cells, sensor_names
from spike_depth_core.extras import how_to_install
from spike_depth_core.samples import SENSORS


def at_rate(frames: Iterator[ReplayedFrame], rate_hz: float) -> Iterator[ReplayedFrame]:
    """The first frame of each tick of a rate; all are taken from the replay."""
    tick: int | None = None
    for frame in frames:
        now = int(frame.estimate.time_ns * rate_hz // 1e9)
        if tick is None or now != tick:
            tick = now
            yield frame


def video_sheets(
    frames: Iterator[ReplayedFrame], sensors: Sequence[str], truth: bool, start_ns: int, cell_width: int = 320
) -> Iterator[np.ndarray]:
    """One picture a frame, uint8 [H, W, 3] of one size: the sensors above, below depth, truth and error.

    Args:
        frames: of a replay.
        sensors: that there is room for; where a moment lacks one its place is dark.
        truth: whether there is room for the truth and the error.
        start_ns: from where times are counted.
        cell_width: of each picture, pixels.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    size: tuple[int, ...] | None = None
    for frame in frames:
        cells = dict(zip(frame.sample.sensors, sensor_cells(frame.sample), strict=True))
        shapes |= {sensor: cell[1].shape for sensor, cell in cells.items()}
        blank = next(iter(shapes.values()))
        upper = [
            cells.get(s) or (sensor_names((s,)), np.zeros(shapes.get(s, blank), np.uint8))
            for s in SENSORS
            if s in sensors
        ]
        depth = frame.estimate.depth
        lower = [("depth", pictures.colorize_depth(depth))]
        if truth:
            known = frame.truth if frame.truth is not None else np.full_like(depth, np.nan)
            if is_sparse(known):
                radius = max(1, round(depth.shape[1] / 300))
                error = pictures.thicken_like(depth, known, radius)
                known = pictures.thicken(known, radius)
            else:
                error = depth
            lower += [("true depth", pictures.colorize_depth(known)), ("error", pictures.colorize_error(error, known))]
        else:
            lower.append(("uncertainty", pictures.colorize_uncertainty(frame.estimate.uncertainty)))
        scales = pictures.bars(3 * (cell_width + 8) - 8, ("depth", "error" if truth else "uncertainty"), dark=True)
        title = f"{(frame.estimate.time_ns - start_ns) / 1e9:.1f} s"
        sheet = pictures.grid([upper, lower], cell_width, title, scales, dark=True)
        size = size or sheet.shape
        if sheet.shape == size:  # a sensor that came later with another shape would change it
            yield sheet


def figures_of(replay: Replay, elapsed_s: float) -> dict[str, Any]:
    """Everything measured, as plain values for `metrics.json`."""
    line = replay.timeline
    result: dict[str, Any] = {
        "bag": str(replay.bag.path),
        "depth_frames": len(line.times_ns),
        "depth_sha256": replay.digest,
        "skipped_moments": dict(replay.skipped),
        "unscored": dict(replay.unscored),
        "inputs": replay.counts(),
        "damage": [str(damage) for damage in replay.bag.damage],
        "skipped_topics": replay.bag.skipped(),
        "topics": replay.topics.images,
        "elapsed_s": elapsed_s,
        "bag_seconds": float(line.times_s[-1]) if line.times_ns else 0.0,
    }
    for name, values in (("inference_ms", line.inference_ms), ("waited_ms", line.waited_ms)):
        for percent in (50, 99) if values else ():
            result[f"{name}_p{percent}"] = float(np.percentile(values, percent))
    if replay.unplaced:
        result["unplaced"] = dict(replay.unplaced)
    if replay.parallax and line.measured:
        result["measured_frames"] = sum(share > 0 for share in line.measured)
        result["measured_share"] = float(np.mean(line.measured))
    if replay.evaluation.frames:
        result |= replay.evaluation.summary()
        result["by_sensors"] = by_sensors(replay)
    return result


def by_sensors(replay: Replay) -> dict[str, dict[str, Any]]:
    """AbsRel and number of the frames by the sensors that they were estimated from."""
    groups: dict[str, list[float]] = {}
    for frame in replay.evaluation.frames:
        groups.setdefault(",".join(frame.meta["sensors"]), []).append(frame.abs_rel)
    return {name: {"frames": len(v), "abs_rel": float(np.mean(v))} for name, v in sorted(groups.items())}


def rows_of(figures: dict[str, Any]) -> list[list[str]]:
    """The headline figures as (measured, value)."""
    rows = [
        ["depth images", f"{figures['depth_frames']:,}"],
        ["seconds of the bag", f"{figures['bag_seconds']:.2f}"],
        ["replayed in", f"{figures['elapsed_s']:.1f} s"],
    ]
    if "inference_ms_p50" in figures:
        rows.append(["estimate, p50", f"{figures['inference_ms_p50']:.0f} ms"])
    if "measured_frames" in figures:
        text = f"{figures['measured_frames']:,} depth images, {figures['measured_share']:.0%} of all pixels"
        rows.append(["corrected by parallax", text])
    for sensor, counts in figures["inputs"].items():
        dropped = ", ".join(f"{n} {reason}" for reason, n in counts["dropped"].items())
        text = f"{counts['received']:,} received, {counts['used']:,} used, {counts['lost']:,} lost"
        rows.append([f"inputs of {sensor}", text + (f"; dropped: {dropped}" if dropped else "")])
    for title in ("skipped_moments", "unscored"):
        if figures[title]:
            text = ", ".join(f"{n} ({reason})" for reason, n in figures[title].items())
            rows.append([title.replace("_", " "), text])
    if "abs_rel" in figures:
        rows.append(["frames with truth", f"{figures['frames']:,}"])
        rows.append(["AbsRel", f"{figures['abs_rel']:.3f}"])
        if figures["row_prior_abs_rel"] is not None:
            rows.append(["AbsRel of the row prior", f"{figures['row_prior_abs_rel']:.3f}"])
        for name, entry in figures["by_sensors"].items():
            rows.append([f"AbsRel with {name}", f"{entry['abs_rel']:.3f} in {entry['frames']} frames"])
    rows.append(["SHA-256 of the depth", figures["depth_sha256"][:16]])
    return rows


def write_page(
    out: Path,
    replay: Replay,
    figures: dict[str, Any],
    video: Path | None,
    sheets: Sequence[tuple[str, np.ndarray]],
    command: str,
    facts: Sequence[tuple[str, str]],
    adaptation: ReplayAdaptation | None = None,
) -> Path:
    """The report as one HTML page. Raises ImportError saying what to install."""
    try:
        from spike_depth_core.evaluation import plots
        from spike_depth_core.evaluation.report import (
            Block,
            Chart,
            Headline,
            Picture,
            Report,
            Section,
            Table,
            Video,
            write_report,
        )
    except ImportError as error:
        raise ImportError(f"reports need jinja2 and matplotlib; {how_to_install('report')}") from error
    line = replay.timeline
    times = line.times_s
    timelines: list[Block] = [
        Chart(
            plots.timeline(
                "Latency",
                {
                    "until the moment was complete": (times, np.array(line.waited_ms)),
                    "estimate": (times, np.array(line.inference_ms)),
                },
                "ms",
            ),
            wide=True,
        ),
        Chart(
            plots.timeline(
                "Inputs lost or dropped, added up",
                {sensor: (times[-len(values) :], np.array(values)) for sensor, values in line.lost.items()},
                "inputs",
            ),
            wide=True,
        ),
    ]
    headlines = [
        Headline(f"{figures['depth_frames']:,}", "depth images", f"{figures['bag_seconds']:.1f} s of the bag"),
        Headline(f"{figures.get('inference_ms_p50', float('nan')):.0f} ms", "an estimate", "p50"),
    ]
    sections = [Section("The replay", [Table(["measured", "value"], rows_of(figures))])]
    if figures["damage"] or figures["skipped_topics"]:
        rows = [[text, ""] for text in figures["damage"]]
        rows += [[topic, why] for topic, why in figures["skipped_topics"].items()]
        sections.append(Section("What could not be read", [Table(["what", "why"], rows)]))
    if video is not None:
        sections.insert(0, Section("The drive", [Video(video, "The sensors as they came; depth below.")]))
    if replay.evaluation.frames:
        accuracy = evaluation_report(replay.evaluation, "", "", sensor_names(replay.evaluation.sensors))
        headlines += list(accuracy.figures)[:2]
        timelines.append(Chart(plots.timeline("Accuracy", {"": (times, np.array(line.abs_rel))}, "AbsRel"), wide=True))
        sections += accuracy.sections
    sections.append(Section("Over time", timelines))
    if adaptation is not None:
        measured = adaptation.figures()
        learned: list[Block] = [Table(["measured", "value"], rows_of_adaptation(measured))]
        begin_ns = line.times_ns[0] if line.times_ns else 0
        swaps = [((time_ns - begin_ns) / 1e9, sha256[:8]) for time_ns, sha256 in adaptation.changes]
        for name, view in adaptation.views.items():
            seconds = (np.array(view.times_ns, np.int64) - begin_ns) / 1e9
            series = {"frozen": (seconds, np.array(view.frozen)), "adapted": (seconds, np.array(view.adapted))}
            learned.append(Chart(plots.timeline(f"With {name}", series, "AbsRel", swaps), wide=True))
        sections.append(Section("Learning on the road", learned))
    if sheets:
        sections.append(Section("Frames", [Picture(image, caption, lossless=False) for caption, image in sheets]))
    report = Report(
        f"Replay of {replay.bag.path.name}", "The node's own pipeline, offline", headlines, sections, command, facts
    )
    return write_report(out / "report.html", report)
