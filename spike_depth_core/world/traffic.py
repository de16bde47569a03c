"""What moves: vehicles, cyclists and pedestrians as functions of time along the road.

s(t) = start + speed t, plus the ego car's own way where the mover goes with it, plus a slow sway; wrapped into a window
around the ego car where the mover is part of a stream. d(t) = offset + side speed (t - moment).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

Look = tuple[int, np.ndarray, np.ndarray, int]
"""What an instance looks like: model number, palette [6, 4], facade style [13], seed of its textures."""

WINDOW, BEHIND = 300.0, 60.0
# Columns of a mover.
START, SPEED, WITH_EGO, SWAY, RATE, PHASE, STREAM, OFFSET, SIDEWAYS, MOMENT, YAW = range(11)


@dataclass
class Movers:
    """Rows of movers; `models`, `palettes`, `params`, `seeds` describe what each looks like."""

    rows: list[list[float]] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)

    def add(
        self,
        look: Look,
        start: float,
        offset: float,
        speed: float = 0.0,
        yaw: float = 0.0,
        with_ego: bool = False,
        sway: float = 0.0,
        rate: float = 0.0,
        phase: float = 0.0,
        stream: bool = False,
        sideways: float = 0.0,
        moment: float = 0.0,
    ) -> None:
        self.rows.append(
            [start, speed, float(with_ego), sway, rate, phase, float(stream), offset, sideways, moment, yaw]
        )
        self.looks.append(look)


def places(rows: np.ndarray, time: float, ego: float, lap_time: float, lap_ego: float) -> tuple[np.ndarray, np.ndarray]:
    """(s, d) of movers at a time at which the ego car is at s = ego.

    The lap of a stream's window is taken at (lap_time, lap_ego), so that rates taken across close times see no jump.
    """

    def along(at: float, ego_s: float) -> np.ndarray:
        return (
            rows[:, START]
            + rows[:, SPEED] * at
            + rows[:, WITH_EGO] * ego_s
            + rows[:, SWAY] * np.sin(rows[:, RATE] * at + rows[:, PHASE])
        )

    lap = np.floor((along(lap_time, lap_ego) - lap_ego + BEHIND) / WINDOW) * WINDOW * rows[:, STREAM]
    return along(time, ego) - lap, rows[:, OFFSET] + rows[:, SIDEWAYS] * (time - rows[:, MOMENT])
