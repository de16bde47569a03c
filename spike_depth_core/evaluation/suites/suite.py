"""What a benchmark suite is: rows to train, views to measure them in, and what has to come out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import Stage

ROW_PRIOR_ROW = "row prior"
HARD = ", hard half"
"""After a view's name: AbsRel of the half of each picture's pixels at which the row prior errs most. They are the same
for all rows; of the pixels that each row doubts the error would be compared with how well it doubts."""
Scores = Mapping[str, Mapping[str, np.ndarray]]
"""AbsRel by row and view, and by view and `HARD`; one value a seed."""


@dataclass(frozen=True)
class Preset:
    """How large a suite is run.

    Attributes:
        steps: optimiser steps of a stage whose `share` is 1.
        batch_size, learning_rate: of every row.
        pixels, widths: of the network, see `Architecture`.
        train_frames, validation_frames, test_frames: samples rendered of each domain.
        size: (height, width) of the pictures of the domains' reference sensor.
    """

    steps: int
    batch_size: int
    learning_rate: float
    pixels: int
    widths: tuple[int, ...]
    train_frames: int
    validation_frames: int
    test_frames: int
    size: tuple[int, int] = (100, 160)


PRESETS = {
    # Shows that everything runs; its figures mean nothing.
    "smoke": Preset(4, 4, 1e-3, 64 * 96, (8, 8, 16, 16, 16), 12, 3, 10, size=(48, 80)),
    # Hours a seed on two cores.
    "small": Preset(1500, 8, 1.5e-3, 6500, (16, 32, 64, 128, 192), 1200, 48, 100),
    # For a GPU.
    "full": Preset(20_000, 32, 2e-3, 160 * 256, (16, 32, 64, 128, 192), 12_000, 200, 200, size=(250, 400)),
}


@dataclass(frozen=True)
class View:
    """One way to look at a trained row: whose pictures, which sensors.

    Attributes:
        name: heading of its column.
        domain: whose test samples.
        sensors: what the network may use.
        reference: in whose frame depth is compared; None for the first of `sensors`.
        condition: only samples of this `meta["weather"]`, or of this `meta["condition"]` in clear air; None takes all.
        faster_than: only samples whose camera moves at more metres a second than this.
        points: sensors that must see a point for it to be scored, so that views of different sensors are of the same
            points; see `evaluation.common_points`. None scores whatever has a truth.
    """

    name: str
    domain: str
    sensors: tuple[str, ...]
    reference: str | None = None
    condition: str | None = None
    points: tuple[str, ...] | None = None
    faster_than: float | None = None

    @property
    def frame(self) -> str:
        """The sensor in whose frame depth is compared."""
        return self.reference or self.sensors[0]

    @property
    def taken(self) -> str:
        """Which samples it takes, in words."""
        bounds = [f"of {self.condition}"] if self.condition else []
        bounds += [] if self.faster_than is None else [f"faster than {self.faster_than:g} m/s"]
        return " and ".join(bounds) or "there"

    def takes(self, meta: Mapping[str, Any]) -> bool:
        """Whether a sample with this `meta` belongs to the view."""
        if self.faster_than is not None and not meta.get("speed", 0.0) > self.faster_than:
            return False
        condition, weather = meta.get("condition"), meta.get("weather", "clear")
        return self.condition in (None, weather) or (self.condition == condition and weather == "clear")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: as the table names it.
        stages: all that is trained, from random weights on, made of an architecture and a seed; their `share` is of the
            preset's steps. What the trainings of several rows begin with in common is trained once a seed.
        views: names of the views it is measured in; None for all. A network of one sensor cannot be in every one.
    """

    name: str
    stages: Callable[[Architecture, int], tuple[Stage, ...]]
    views: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Finding:
    """What the rows say when they are compared.

    Attributes:
        name: what is compared.
        values: one a seed.
        wanted: what counts as working, in words.
        met: whether the mean is on the wanted side, by more than the spread over seeds.
    """

    name: str
    values: np.ndarray
    wanted: str
    met: bool


def at_least(name: str, values: np.ndarray, bound: float, unit: str = "") -> Finding:
    """A finding that wants values of at least `bound`: their mean less one standard deviation must reach it."""
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Finding(name, values, f"at least {bound:g}{unit}", bool(np.mean(values) - spread >= bound))


@dataclass(frozen=True)
class Suite:
    """A table and what it has to show.

    Attributes:
        name: of the suite and of its recipe.
        title: of the page.
        rows: in the table's order.
        views: the columns.
        sensors: of every network.
        findings: compares the rows, given AbsRel by row and view.
        domains: data that training or measuring needs, by name the attributes of the `Domain` that differ from its
            file: which sensors are rendered, how many frames a sequence has. The first one is labelled.
        train_frames: training samples, as a multiple of the preset's, for where some frames of a sequence only are
            learned from.
        architecture: fields of the network's that are the same in every row and not the default.
        shown: views in the chart; the first one where there are none.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    views: tuple[View, ...]
    findings: Callable[[Scores], list[Finding]]
    sensors: tuple[str, ...] = ("spikes", "rgb", "nir", "thermal")
    domains: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"source": {}, "target": {}})
    train_frames: int = 1
    architecture: Mapping[str, object] = field(default_factory=dict)
    shown: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known: set[str] = {ROW_PRIOR_ROW}
        for row in self.rows:
            if row.name in known:
                raise ValueError(f"suite {self.name}: two rows are called {row.name!r}")
            unknown = set(row.views or ()) - {view.name for view in self.views}
            if unknown:
                raise ValueError(f"suite {self.name}: {row.name!r} is measured in unknown views {sorted(unknown)}")
            known.add(row.name)

    def views_of(self, row: Row) -> tuple[View, ...]:
        """The views a row is measured in."""
        return tuple(view for view in self.views if row.views is None or view.name in row.views)
