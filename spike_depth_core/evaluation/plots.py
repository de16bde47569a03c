"""Charts for reports. Each function returns a matplotlib figure that belongs to nobody else: no global
state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLORS = ("#1f6feb", "#d1603d", "#2a9d6f", "#8a5cd6", "#c9a227", "#0f8b9d")
BASELINE, BASELINE_COLOR = "row prior", "#8b949e"  # the same grey in every chart
FONT_SIZE = 9
INK, GRID = "#24292f", "#e4e7eb"
PLACES = 1000  # beside one another in a timeline, of about a pixel each


def _figure(title: str, x_label: str, y_label: str, width: float = 5.2, height: float = 3.1) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, fontsize=FONT_SIZE + 1, color=INK, loc="left", fontweight="bold")
    axes.set_xlabel(x_label, fontsize=FONT_SIZE, color=INK)
    axes.set_ylabel(y_label, fontsize=FONT_SIZE, color=INK)
    axes.tick_params(labelsize=FONT_SIZE - 1, colors=INK)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#b6bcc4")
    return figure, axes


def _color(name: str, index: int) -> str:
    return BASELINE_COLOR if name == BASELINE else COLORS[index % len(COLORS)]


def _legend(axes: Axes, location: str = "best") -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=FONT_SIZE - 1, frameon=False, loc=location)  # type: ignore[call-overload]


def bars_by_group(
    title: str,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    x_label: str,
    y_label: str,
    spread: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Bars side by side, one colour a series: error by distance band, by condition. NaN is no bar, and the
    others of its group close ranks.

    `spread` has, by series, how far a bar's line reaches to either side; none where it is NaN.
    """
    figure, axes = _figure(title, x_label, y_label)
    width = 0.8 / max(len(series), 1)
    there = np.isfinite(np.array(list(series.values()), dtype=float).reshape(len(series), len(groups)))
    ranks, counts = np.cumsum(there, axis=0) - 1, there.sum(axis=0)
    for index, (name, values) in enumerate(series.items()):
        at = np.arange(len(groups)) + (ranks[index] - (counts - 1) / 2) * width
        line: dict[str, Any] = (
            {} if spread is None else {"yerr": np.asarray(spread[name]), "ecolor": INK, "capsize": 1.5}
        )
        drawn = axes.bar(at, np.nan_to_num(values), width * 0.92, label=name, color=_color(name, index), **line)
        if len(groups) * len(series) <= 14:
            labels = [f"{v:.3f}".lstrip("0") if np.isfinite(v) else "" for v in values]
            axes.bar_label(drawn, labels, fontsize=7, color=INK, padding=1)
    axes.set_xticks(np.arange(len(groups)), list(groups))
    axes.grid(False, axis="x")
    _legend(axes)
    return figure


def lines(
    title: str,
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    x_label: str,
    y_label: str,
    diagonal: bool = False,
    zero_based: bool = True,
) -> Figure:
    """Curves x against y by name. `diagonal` adds the line y = x, on which a calibrated prediction lies."""
    figure, axes = _figure(title, x_label, y_label)
    for index, (name, (x, y)) in enumerate(series.items()):
        axes.plot(x, y, label=name, color=_color(name, index), linewidth=1.8, marker="o", markersize=2.5)
    if diagonal and series:
        end = max((float(np.max(np.concatenate([x, y]))) for x, y in series.values() if len(x)), default=1.0)
        axes.plot([0, end], [0, end], color="#8b949e", linestyle="--", linewidth=1, label="ideal")
    if zero_based:
        axes.set_ylim(bottom=0)
    _legend(axes)
    return figure


def histogram(
    title: str,
    series: Mapping[str, np.ndarray],
    x_label: str,
    y_label: str = "frames",
    marks: Mapping[str, float] | None = None,
    bins: int = 30,
) -> Figure:
    """Histograms over common bins, with dashed marks such as p50 and p99. Values that are not finite are left
    out."""
    figure, axes = _figure(title, x_label, y_label)
    kept = {name: np.asarray(v, dtype=np.float64)[np.isfinite(v)] for name, v in series.items()}
    every = np.concatenate([*kept.values(), np.zeros(0)])
    edges = np.histogram_bin_edges(every, bins) if every.size else np.linspace(0, 1, bins + 1)
    for index, (name, values) in enumerate(kept.items()):
        axes.hist(values, edges.tolist(), label=name, color=_color(name, index), alpha=0.75)
    for index, (name, value) in enumerate((marks or {}).items()):
        axes.axvline(value, color=INK, linestyle="--", linewidth=1)
        axes.annotate(
            name, (value, 0.96 - 0.09 * index), xycoords=("data", "axes fraction"), fontsize=8,
            xytext=(3, 0), textcoords="offset points", va="top",
        )  # fmt: skip
    _legend(axes)
    return figure


def timeline(
    title: str,
    series: Mapping[str, tuple[np.ndarray, np.ndarray]],
    y_label: str,
    events: Sequence[tuple[float, str]] = (),
    x_label: str = "time (s)",
) -> Figure:
    """Points over time by name, and vertical marks for events such as a dropped packet: (seconds, label).

    Of a long series those points are drawn that are the lowest or the highest of their place; the axis says so.
    """
    longest = max((len(y) for _, y in series.values()), default=0)
    if longest > 2 * PLACES:
        x_label += f"; of {-(-longest // PLACES)} points each the lowest and the highest are drawn"
    figure, axes = _figure(title, x_label, y_label, width=10.6, height=2.8)
    for index, (name, (x, y)) in enumerate(series.items()):
        x, y = _extremes(x, y)
        axes.plot(x, y, label=name, color=_color(name, index), linewidth=0.8, marker=".", markersize=3.5)
    for time, label in events:
        axes.axvline(time, color=COLORS[1], linewidth=0.8)
        axes.annotate(
            label,
            (time, 0.98),
            xycoords=("data", "axes fraction"),
            rotation=90,
            va="top",
            ha="right",
            fontsize=7,
        )
    axes.set_ylim(bottom=0)
    _legend(axes)
    return figure


def _extremes(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest point of each of `PLACES` stretches, in order; a stretch of NaN stays a gap."""
    if len(y) <= 2 * PLACES:
        return x, y
    kept = []
    for stretch in np.array_split(np.arange(len(y)), PLACES):
        known = np.isfinite(y[stretch])
        for extreme in (np.where(known, y[stretch], np.inf).argmin(), np.where(known, y[stretch], -np.inf).argmax()):
            kept.append(stretch[extreme])
    chosen = np.unique(kept)
    return x[chosen], y[chosen]
