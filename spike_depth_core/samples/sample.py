"""One moment seen by whichever sensors there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spike_depth_core.geometry import SensorRig
from spike_depth_core.sensors import IMAGES, SENSORS, modality
from spike_depth_core.spikes import PackedSpikes


@dataclass(frozen=True)
class DepthSample:
    """Aligned in time, not in space: each image is in its own sensor's frame, the rig says where that is.

    Attributes:
        rig: cameras and poses of the sensors present, right-hand ones under their own names (`rgb_right`).
        time_ns: the moment of the sample.
        spikes: the planes that end at that moment, or None.
        rgb: uint8 [H, W, 3], or None.
        nir: uint8 or uint16 [H, W], or None.
        thermal: uint16 [H, W] (world: centikelvin; real cameras: raw counts), or None.
        spikes_right, rgb_right, nir_right, thermal_right: the same moment from the right-hand camera of a stereo
            pair, in the type of its left one, or None. They are rectified: a point's row is the same in both.
        depth: by image name, float32 [H, W] in that image's frame: metres along the optical axis, +inf where
            there is nothing to hit (sky), NaN where unknown.
        world_from_reference: pose of the rig's reference in a frame that all samples of a sequence share, 4x4
            (metres), or None.
        offsets_ns: by image name, how much later than the moment it was taken, where that is known.
        meta: where the sample comes from (seed, condition, speed...): plain JSON values. Samples of one recording
            have the same `sequence`, and count its moments in `frame`.
    """

    rig: SensorRig
    time_ns: int = 0
    spikes: PackedSpikes | None = None
    rgb: np.ndarray | None = None
    nir: np.ndarray | None = None
    thermal: np.ndarray | None = None
    depth: dict[str, np.ndarray] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    spikes_right: PackedSpikes | None = None
    rgb_right: np.ndarray | None = None
    nir_right: np.ndarray | None = None
    thermal_right: np.ndarray | None = None
    world_from_reference: np.ndarray | None = None
    offsets_ns: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.images:
            if name not in self.rig.cameras:
                raise ValueError(f"the sample has {name}, but its rig has only {sorted(self.rig.cameras)}")
            camera, size = self.rig.cameras[name], self.size(name)
            if size != (camera.height, camera.width):
                raise ValueError(
                    f"{name} is {size[1]}x{size[0]} pixels, but its camera is {camera.width}x{camera.height}"
                )
        for name, depth in self.depth.items():
            its = self.rig.cameras.get(name)  # it may be that of an image that was not read
            if its is not None and depth.shape != (its.height, its.width):
                found = "x".join(map(str, reversed(depth.shape)))
                raise ValueError(f"depth of {name} is {found} pixels, but its camera is {its.width}x{its.height}")
        pose = self.world_from_reference
        if pose is not None and (np.shape(pose) != (4, 4) or not np.isfinite(pose).all()):
            raise ValueError(f"world_from_reference must be a finite 4x4 matrix, found shape {np.shape(pose)}")

    @property
    def sensors(self) -> tuple[str, ...]:
        """The sensors present, in the fixed order of `SENSORS`: without right-hand cameras."""
        return tuple(sensor for sensor in SENSORS if getattr(self, sensor) is not None)

    @property
    def images(self) -> tuple[str, ...]:
        """The images present, right-hand ones too, in the fixed order of `IMAGES`."""
        return tuple(name for name in IMAGES if getattr(self, name) is not None)

    def size(self, image: str) -> tuple[int, int]:
        """(height, width) of an image."""
        found = getattr(self, image)
        return (found.height, found.width) if modality(image) == "spikes" else (found.shape[0], found.shape[1])
