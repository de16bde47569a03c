"""A sensor rig: which cameras there are, and where each looks from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spike_depth_core.geometry.cameras import PinholeCamera

NOMINAL_HEIGHT = 1.65
"""Metres over the road that a camera is taken to have where nobody says: that of KITTI's, and of a car's roof."""


def rotation_from_quaternion(quaternion: tuple[float, float, float, float]) -> np.ndarray:
    """3x3 rotation matrix of a quaternion (x, y, z, w), ROS order; it is normalised first."""
    q = np.asarray(quaternion, dtype=np.float64)
    norm = np.linalg.norm(q)
    if q.shape != (4,) or not np.isfinite(norm) or norm < 1e-9:
        raise ValueError(f"a rotation is a quaternion (x, y, z, w) of non-zero length, found {quaternion}")
    x, y, z, w = q / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_rotation(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """Quaternion (x, y, z, w) with w >= 0 of a 3x3 rotation matrix."""
    # The eigenvector of the largest eigenvalue of this symmetric matrix is the quaternion (Bar-Itzhack 2000):
    # no case distinction, and it tolerates a matrix that is only nearly orthogonal.
    r = rotation
    k = np.array(
        [
            [r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0], r[2, 1] - r[1, 2]],
            [r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1], r[0, 2] - r[2, 0]],
            [r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], r[0, 0] + r[1, 1] + r[2, 2]],
        ]
    )
    q = np.linalg.eigh(k)[1][:, -1]
    q = q if q[3] >= 0 else -q
    return float(q[0]), float(q[1]), float(q[2]), float(q[3])


def pose(
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0),
    quaternion: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0),
) -> np.ndarray:
    """4x4 rigid transform, float64, from a translation in metres and a quaternion (x, y, z, w)."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_quaternion(quaternion)
    matrix[:3, 3] = translation
    return matrix


@dataclass(frozen=True)
class SensorRig:
    """Cameras by sensor name, and the pose of each in the reference sensor's optical frame.

    Attributes:
        cameras: intrinsics of each sensor.
        poses: 4x4 `reference_from_sensor`: maps points in the sensor's optical frame to the reference's (metres).
            A sensor left out sits at the reference.
        reference: the sensor in whose frame the others are placed.
        height: of the reference over the road, metres; None where unknown. One picture tells ratios of lengths only:
            metric depth is as right as this height.
    """

    cameras: Mapping[str, PinholeCamera]
    poses: Mapping[str, np.ndarray] = field(default_factory=dict)
    reference: str = "spikes"
    height: float | None = None

    def __post_init__(self) -> None:
        if self.reference not in self.cameras:
            raise ValueError(
                f"the rig's reference is {self.reference!r}, but it has cameras for {sorted(self.cameras)}"
            )
        for name, matrix in self.poses.items():
            if np.shape(matrix) != (4, 4) or not np.isfinite(matrix).all():
                raise ValueError(f"pose of {name!r} must be a finite 4x4 matrix, found shape {np.shape(matrix)}")
        if self.height is not None and not 0.1 <= self.height <= 10.0:
            raise ValueError(f"height is that of the reference over the road, 0.1 to 10 m; found {self.height}")

    def reference_from(self, sensor: str) -> np.ndarray:
        """4x4 transform from a sensor's optical frame to the reference's."""
        if sensor not in self.cameras:
            raise KeyError(f"the rig has no sensor {sensor!r}; it has {sorted(self.cameras)}")
        return np.asarray(self.poses.get(sensor, np.eye(4)), dtype=np.float64)

    def transform(self, target: str, source: str) -> np.ndarray:
        """4x4 `target_from_source`: maps points in one sensor's optical frame to another's."""
        return np.linalg.inv(self.reference_from(target)) @ self.reference_from(source)

    def height_of(self, sensor: str) -> float:
        """Metres from a sensor down to the road, with the reference's axes level; `NOMINAL_HEIGHT` where unknown."""
        height = NOMINAL_HEIGHT if self.height is None else self.height
        return height - float(self.reference_from(sensor)[1, 3])

    @classmethod
    def single(cls, sensor: str, camera: PinholeCamera, height: float | None = None) -> SensorRig:
        """A rig of one sensor."""
        return cls({sensor: camera}, {}, sensor, height)

    @classmethod
    def load(cls, path: str | Path) -> SensorRig:
        """Read a rig from YAML (see `config/rigs/`). Raises ValueError naming the file and the field at fault."""
        path = Path(path)
        data = yaml.safe_load(path.read_text())
        try:
            return cls.from_dict(data)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a valid sensor rig: {error}") from error

    @classmethod
    def from_dict(cls, data: Any) -> SensorRig:
        """Build a rig from the plain structure that `to_dict` gives."""
        if not isinstance(data, dict) or not isinstance(data.get("sensors"), dict):
            raise ValueError("expected a mapping with keys 'reference' and 'sensors'")
        unknown = set(data) - {"reference", "sensors", "height"}
        if unknown:
            raise ValueError(f"unknown {sorted(unknown)}; a rig has 'reference', 'height' and 'sensors'")
        cameras, poses = {}, {}
        for name, entry in data["sensors"].items():
            missing = {"width", "height", "fx", "fy", "cx", "cy"} - set(entry)
            unknown = set(entry) - {
                "width",
                "height",
                "fx",
                "fy",
                "cx",
                "cy",
                "distortion",
                "translation",
                "rotation",
            }
            if missing or unknown:
                raise ValueError(f"sensor {name!r}: missing {sorted(missing)}, unknown {sorted(unknown)}")
            fx, fy, cx, cy = (float(entry[k]) for k in ("fx", "fy", "cx", "cy"))
            distortion = tuple(float(v) for v in entry.get("distortion", ()))
            cameras[name] = PinholeCamera(int(entry["width"]), int(entry["height"]), fx, fy, cx, cy, distortion)
            poses[name] = pose(
                tuple(entry.get("translation", (0.0, 0.0, 0.0))),
                tuple(entry.get("rotation", (0.0, 0.0, 0.0, 1.0))),
            )
        height = data.get("height")
        reference = str(data.get("reference", next(iter(cameras))))
        return cls(cameras, poses, reference, None if height is None else float(height))

    def to_dict(self) -> dict[str, Any]:
        """A plain structure of lists and numbers: what the YAML holds, and what JSON can hold."""
        sensors = {}
        for name, camera in self.cameras.items():
            matrix = self.reference_from(name)
            sensors[name] = {
                "width": camera.width,
                "height": camera.height,
                "fx": float(camera.fx),
                "fy": float(camera.fy),
                "cx": float(camera.cx),
                "cy": float(camera.cy),
                "distortion": list(camera.distortion),
                "translation": [float(v) for v in matrix[:3, 3]],
                "rotation": list(quaternion_from_rotation(matrix[:3, :3])),
            }
        known = {} if self.height is None else {"height": float(self.height)}
        return {"reference": self.reference, **known, "sensors": sensors}

    def save(self, path: str | Path) -> None:
        """Write the rig as YAML."""
        Path(path).write_text(yaml.safe_dump(self.to_dict(), sort_keys=False))
