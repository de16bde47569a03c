"""What an evaluation says, as tables and as the one-page report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from spike_depth_core.evaluation.evaluate import DISTANCE_BANDS, NETWORK, ROW_PRIOR, Evaluation
from spike_depth_core.extras import how_to_install
from spike_depth_core.metrics import METRICS

if TYPE_CHECKING:
    from spike_depth_core.evaluation.report import Block, Report

HEADINGS = ("AbsRel", "SqRel (m)", "RMSE (m)", "RMSE log", "SILog", "δ < 1.25", "δ < 1.25²", "δ < 1.25³")


def metric_cells(values: Mapping[str, float]) -> list[str]:
    """`METRICS` as text, in the order of `HEADINGS`."""
    places = {"rmse": 2, "sq_rel": 2, "silog": 1}
    return [f"{values[key]:.{places.get(key, 3)}f}" for key in METRICS]


def method_rows(evaluation: Evaluation, name: str) -> list[list[str]]:
    """A table row for each method: its name (the network's is `name`), then `metric_cells`."""
    rows = []
    for (method, scaling), average in evaluation.averages.items():
        label = name if method == NETWORK else method
        rows.append([label + (", median-scaled" if scaling == "median" else ""), *metric_cells(average.mean())])
    return rows


def band_names() -> list[str]:
    """`1-5`, `5-10`, ...: the distance bands in metres."""
    return [f"{a:g}-{b:g}" for a, b in pairwise(DISTANCE_BANDS)]


def evaluation_report(
    evaluation: Evaluation,
    title: str,
    subtitle: str,
    name: str,
    sheets: Sequence[tuple[str, np.ndarray]] = (),
    command: str = "",
    facts: Sequence[tuple[str, str]] = (),
) -> Report:
    """The report of an evaluation, for `write_report`.

    Args:
        evaluation: with at least one frame.
        title, subtitle: of the page.
        name: of the network's row in tables: the sensors it used.
        sheets: (caption, picture) of chosen frames.
        command: that makes the report again.
        facts: (name, value) for the foot of the page.

    Raises:
        ImportError: saying what to install, where matplotlib is missing.
    """
    try:
        from spike_depth_core.evaluation import plots
        from spike_depth_core.evaluation.report import Chart, Headline, Picture, Report, Section, Table, Text
    except ImportError as error:
        raise ImportError(f"reports need jinja2 and matplotlib; {how_to_install('report')}") from error

    network = evaluation.mean()
    prior = evaluation.mean(ROW_PRIOR) if evaluation.row_prior is not None else None

    def beside(key: str, unit: str = "", places: int = 3) -> str:
        return f"row prior {prior[key]:.{places}f}{unit}" if prior else ""

    headlines = [
        Headline(f"{network['abs_rel']:.3f}", "AbsRel", beside("abs_rel")),
        Headline(f"{network['rmse']:.2f} m", "RMSE", beside("rmse", " m", 2)),
        Headline(f"{network['a1']:.1%}", "within 25 % of the truth", f"row prior {prior['a1']:.1%}" if prior else ""),
    ]
    if prior:
        headlines.insert(1, Headline(f"{network['abs_rel'] / prior['abs_rel']:.2f}", "of the row prior's AbsRel"))
    if np.isfinite(evaluation.certain_half_ratio):
        headlines.append(
            Headline(f"{evaluation.certain_half_ratio:.2f}", "AbsRel of the most certain half", "1 = knows nothing")
        )
    accuracy: list[Block] = [
        Table(
            ["method", *HEADINGS],
            method_rows(evaluation, name),
            f"Mean over {evaluation.averages[NETWORK, 'none'].frames} frames, truth between {evaluation.near:g} and "
            f"{evaluation.far:g} m. The row prior is the mean log-depth of each image row over the training set: what "
            "can be guessed without looking at the image.",
            strong=[0],
        )
    ]
    if evaluation.independent and network["frames"] >= 10:
        low, high = evaluation.averages[NETWORK, "none"].interval("abs_rel")
        text = f"AbsRel {network['abs_rel']:.3f}, 95% bootstrap interval over frames {low:.3f} to {high:.3f}."
        accuracy.insert(0, Text(text))
    methods = {name: NETWORK} | ({ROW_PRIOR: ROW_PRIOR} if prior else {})
    profile = evaluation.distance_profile
    heights, row_errors = evaluation.row_profile
    where = [
        Chart(
            plots.bars_by_group(
                "Error by distance",
                band_names(),
                {label: profile[method].tolist() for label, method in methods.items()},
                "true depth (m)",
                "AbsRel",
            )
        ),
        Chart(
            plots.bars_by_group(
                "Too near or too far?",
                band_names(),
                {name: profile["bias"].tolist()},
                "true depth (m)",
                "mean of (depth - truth) / truth",
            )
        ),
        Chart(
            plots.lines(
                "Error by image row",
                {label: (heights, row_errors[method]) for label, method in methods.items()},
                "height in the image (0 top, 1 bottom)",
                "AbsRel",
            )
        ),
        Chart(
            plots.histogram(
                "Frames by error",
                {label: evaluation.averages[method, "none"].values("abs_rel") for label, method in methods.items()},
                "AbsRel",
            )
        ),
    ]
    sections = [Section("Accuracy", accuracy), Section("Where the error is", where)]
    conditions = evaluation.by_condition()
    if len(conditions) > 1:
        columns = ["condition", "frames", "AbsRel", *(["row prior"] if prior else [])]
        rows = [
            [
                condition,
                str(entry["frames"]),
                f"{entry['abs_rel']:.3f}",
                *([f"{entry['row_prior_abs_rel']:.3f}"] if prior else []),
            ]
            for condition, entry in conditions.items()
        ]
        sections.append(Section("By light", [Table(columns, rows)]))
    curves = evaluation.sparsification
    if curves is not None:
        dropped, by_uncertainty, by_error = curves
        predicted, observed, _ = evaluation.reliability.curve()
        sections.append(
            Section(
                "Is the uncertainty worth something?",
                [
                    Chart(
                        plots.lines(
                            "AbsRel of what is left when doubtful pixels are dropped",
                            {"by uncertainty": (dropped, by_uncertainty), "best possible": (dropped, by_error)},
                            "share of pixels dropped",
                            "AbsRel, share of all",
                        ),
                        "Falling: the pixels it doubts are the wrong ones.",
                    ),
                    Chart(
                        plots.lines(
                            "Reliability",
                            {"observed": (predicted, observed)},
                            "predicted relative standard deviation",
                            "observed error of log-depth (RMS)",
                            diagonal=True,
                        ),
                        "On the dashed line the uncertainty has the right size; above it, it is too confident.",
                    ),
                ],
            )
        )
    if sheets:
        sections.append(Section("Pictures", [Picture(image, caption, lossless=False) for caption, image in sheets]))
    return Report(title, subtitle, headlines, sections, command, facts)
