"""One moment seen by whichever sensors there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spike_depth_core.geometry import SensorRig
from spike_depth_core.spikes import PackedSpikes

SENSORS = ("spikes", "rgb", "nir", "thermal")


@dataclass(frozen=True)
class DepthSample:
    """Aligned in time, not in space: each image is in its own sensor's frame, the rig says where that is.

    Attributes:
        rig: cameras and poses of the sensors present.
        time_ns: the moment of the sample.
        spikes: the planes that end at that moment, or None.
        rgb: uint8 [H, W, 3], or None.
        nir: uint8 or uint16 [H, W], or None.
        thermal: uint16 [H, W] (world: centikelvin; real cameras: raw counts), or None.
        depth: by sensor name, float32 [H, W] in that sensor's frame: metres along the optical axis, +inf where
            there is nothing to hit (sky), NaN where unknown.
        meta: where the sample comes from (seed, condition, speed...): plain JSON values.
    """

    rig: SensorRig
    time_ns: int = 0
    spikes: PackedSpikes | None = None
    rgb: np.ndarray | None = None
    nir: np.ndarray | None = None
    thermal: np.ndarray | None = None
    depth: dict[str, np.ndarray] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for sensor in self.sensors:
            if sensor not in self.rig.cameras:
                raise ValueError(f"the sample has {sensor}, but its rig has only {sorted(self.rig.cameras)}")
            camera = self.rig.cameras[sensor]
            found = self.size(sensor)
            if found != (camera.height, camera.width):
                raise ValueError(
                    f"{sensor} is {found[1]}x{found[0]} pixels, but its camera is {camera.width}x{camera.height}"
                )

    @property
    def sensors(self) -> tuple[str, ...]:
        """The sensors present, in the fixed order of `SENSORS`."""
        return tuple(sensor for sensor in SENSORS if getattr(self, sensor) is not None)

    def size(self, sensor: str) -> tuple[int, int]:
        """(height, width) of a sensor's image."""
        image = getattr(self, sensor)
        return (image.height, image.width) if sensor == "spikes" else (image.shape[0], image.shape[1])
