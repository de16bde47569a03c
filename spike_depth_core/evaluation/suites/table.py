"""A suite's results as a page: a table with mean and spread over seeds, what was to be shown, and a chart."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from spike_depth_core.evaluation.plots import bars_by_group
from spike_depth_core.evaluation.results import markdown_table
from spike_depth_core.evaluation.suites.suite import HARD, Finding, Suite
from spike_depth_core.evaluation.suites.trained_stages import digest
from spike_depth_core.whole_files import write_json

Results = Mapping[str, Sequence[Mapping[str, Any]]]


def common_seeds(results: Results) -> set[int]:
    """The seeds that every row with results has.

    Raises:
        ValueError: when rows have results, and no seed in common.
    """
    seeds = {row: {result["seed"] for result in done} for row, done in results.items() if done}
    common = set.intersection(*seeds.values()) if seeds else set()
    if seeds and not common:
        found = "; ".join(f"{row!r} has {', '.join(map(str, sorted(of)))}" for row, of in seeds.items())
        raise ValueError(f"rows are compared by seeds that all have, and there is none: {found}")
    return common


def scores(results: Results, metric: str = "abs_rel") -> dict[str, dict[str, np.ndarray]]:
    """A metric by row and view, one value for each seed that every row with results has, in the order of results; NaN
    where a result, joined from an older page, has not been asked for it. Raises as `common_seeds` does."""
    seeds = common_seeds(results)
    return {
        row: {
            view: np.array([r["views"][view].get(metric, math.nan) for r in done if r["seed"] in seeds], dtype=float)
            for view in done[0]["views"]
        }
        for row, done in results.items()
        if done
    }


def _told(result: Mapping[str, Any]) -> dict[str, Any]:
    # What a result is of is long, and asked by the runner alone: whether it is the same, see `SuiteRun.join`.
    return {**result, "of": digest(result["of"])}


def with_spread(values: np.ndarray) -> str:
    """Mean and standard deviation over seeds."""
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) < 2 else f"{mean} ± {np.std(values, ddof=1):.3f}"


def findings_of(suite: Suite, found: Mapping[str, Mapping[str, np.ndarray]]) -> list[Finding]:
    """The suite's findings; none while rows are missing."""
    return suite.findings(found) if {row.name for row in suite.rows} <= set(found) else []


def write_page(suite: Suite, results: Results, out: Path, command: str, about: Mapping[str, Any]) -> list[Finding]:
    """Write `SUITE.md`, `SUITE.json` and `SUITE.png`.

    Args:
        suite: what was run.
        results: by row, those of each seed.
        out: folder.
        command: that gives the same page.
        about: facts for the head of the page.

    Returns:
        What the rows say.

    Raises:
        ValueError: as `common_seeds`.
    """
    found = scores(results)
    scaled, within = scores(results, "median_scaled"), scores(results, "a1")
    hard = scores(results, "hard_half_abs_rel")
    asked = {row: {**by_view, **{v + HARD: x for v, x in hard[row].items()}} for row, by_view in found.items()}
    findings = findings_of(suite, asked)
    views = [view.name for view in suite.views]

    def table(values: Mapping[str, Mapping[str, np.ndarray]]) -> str:
        cells = {
            (row, view): with_spread(by_view[view]) if view in by_view else ""
            for row, by_view in values.items()
            for view in views
        }
        if len(views) > len(values):  # the longer side goes down the page
            return markdown_table(["view", *values], [[v, *(cells[row, v] for row in values)] for v in views])
        return markdown_table(["row", *views], [[row, *(cells[row, v] for v in views)] for row in values])

    seeds = len(common_seeds(results))
    spread = f"mean and standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    lines = [f"# {suite.title}", ""]
    lines += [f"`{command}`", "", f"AbsRel on test streets; {spread}.", ""]
    lines += [table(found), "Median-scaled, which forgives a wrong scale:", "", table(scaled)]
    # AbsRel falls, too, when whatever is in doubt is told nearer: too far costs it more than too near.
    lines += ["δ < 1.25, the share of pixels told within a quarter of the truth; more is better:", "", table(within)]
    if findings:
        rows = [[f.name, with_spread(f.values), f.wanted, "met" if f.met else "MISSED"] for f in findings]
        lines += ["## What was to be shown", "", markdown_table(["", "found", "wanted", ""], rows)]
    lines += [markdown_table(["", ""], [[key, str(value)] for key, value in about.items()])]
    lines += [f"![AbsRel by row]({suite.name}.png)", ""]
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{suite.name}.md").write_text("\n".join(lines))
    write_json(
        out / f"{suite.name}.json",
        {
            "command": command,
            "about": dict(about),
            "rows": {row: [_told(result) for result in done] for row, done in results.items()},
            "findings": [
                {"name": f.name, "values": f.values.tolist(), "wanted": f.wanted, "met": f.met} for f in findings
            ],
        },
    )
    chart(suite, found).savefig(out / f"{suite.name}.png", dpi=110)
    return findings


def chart(suite: Suite, found: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Mean AbsRel of each row in the suite's main views, and its standard deviation over seeds."""
    shown = suite.shown or (suite.views[0].name,)
    names = [row for row, by_view in found.items() if by_view.keys() & set(shown)]

    def over_seeds(statistic: Callable[[np.ndarray], Any], least: int) -> dict[str, list[float]]:
        none = np.empty(0)
        return {
            view: [float(statistic(x)) if len(x := found[row].get(view, none)) >= least else math.nan for row in names]
            for view in shown
        }

    means, spread = over_seeds(np.mean, 1), over_seeds(functools.partial(np.std, ddof=1), 2)
    figure = bars_by_group(suite.title, names, means, "", "AbsRel", spread)
    figure.axes[0].margins(y=0.35 if len(shown) > 1 else 0.1)  # above the bars, for their names
    figure.set_size_inches(float(np.clip((0.7 + 0.4 * len(shown)) * len(names), 5.2, 13.0)), 3.4)
    for label in figure.axes[0].get_xticklabels():
        label.set(rotation=20, ha="right")
    return figure
