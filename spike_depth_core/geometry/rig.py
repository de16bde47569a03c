"""A sensor rig: which cameras there are, and where each looks from."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from spike_depth_core.geometry.cameras import PinholeCamera
from spike_depth_core.sensors import IMAGES

NOMINAL_HEIGHT = 1.65
"""Metres over the road that a camera is taken to have where nobody says: that of KITTI's, and of a car's roof."""
_LEAST_HEIGHT = 0.05  # metres over the road
_REQUIRED = ("width", "height", "fx", "fy", "cx", "cy")  # of a sensor in a rig file
_SHORT = reprlib.Repr()  # of what a file holds: a few lines of YAML can stand for gigabytes
_SHORT.maxlevel, _SHORT.maxstring = 2, 80


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
            A sensor left out sits at the reference. Of the sensors of a moment at which the rig's reference is missing
            another one is it, and keeps its pose: then they are in the frame of the one that is missing.
        reference: the sensor in whose frame the others are placed.
        height: of the frame that poses are in over the road, metres; None where unknown. One picture tells ratios of
            lengths only: metric depth is as right as this height.
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

    def check_reference(self) -> None:
        """Raise ValueError where the reference has a pose of its own. In a file that is a mistake: places from the base
        link would be taken for places from the reference, and its height for another."""
        own = self.reference_from(self.reference)
        if not np.allclose(own, np.eye(4), atol=1e-6):
            raise ValueError(
                f"sensors are placed in the frame of the reference, {self.reference!r}, which has no pose of its own; "
                f"found a translation of {[round(float(v), 4) for v in own[:3, 3]]} m, or a rotation, for it"
            )

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
        try:
            rig = cls.from_dict(parse_yaml(path.read_text(encoding="utf-8")))
            rig.check_reference()
            return rig
        except FileNotFoundError as error:
            raise ValueError(f"there is no file {path}") from error
        except OSError as error:
            raise ValueError(f"{path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{path} is not a valid sensor rig: YAML text was expected, found byte "
                f"0x{error.object[error.start]:02x} at {error.start}"
            ) from error
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is not a valid sensor rig: {_what_is_no_yaml(error)}") from error
        except ValueError as error:
            raise ValueError(f"{path} is not a valid sensor rig: {error}") from error

    @classmethod
    def from_dict(cls, data: Any) -> SensorRig:
        """Build a rig from the plain structure that `to_dict` gives. Raises ValueError naming the field at fault."""
        if not isinstance(data, dict) or not isinstance(data.get("sensors"), dict) or not data["sensors"]:
            raise ValueError("expected a mapping with keys 'reference' and 'sensors', of one sensor at least")
        unknown = set(data) - {"reference", "sensors", "height"}
        if unknown:
            raise ValueError(f"unknown {_names(unknown)}; a rig has 'reference', 'height' and 'sensors'")
        strange = set(data["sensors"]) - set(IMAGES)
        if strange:
            raise ValueError(f"unknown sensor {_names(strange)}; sensors are {_names(set(IMAGES))}")
        cameras, poses = {}, {}
        for name, entry in data["sensors"].items():
            try:
                cameras[name], poses[name] = _camera_and_pose(entry)
            except ValueError as error:
                raise ValueError(f"sensor {name!r}: {error}") from error
        height = data.get("height")
        reference = data.get("reference", next(iter(cameras)))
        if not isinstance(reference, str):
            raise ValueError(f"reference: the name of a sensor was expected, found {_shown(reference)}")
        rig = cls(cameras, poses, reference, None if height is None else _number("height", height))
        for name in cameras:
            if rig.height_of(name) < _LEAST_HEIGHT:
                below = float(rig.reference_from(name)[1, 3])
                known = "" if height else " where no height is given"
                raise ValueError(
                    f"sensor {name!r} is not above the road: it is {below:g} m below the reference (y points down), "
                    f"which is {rig.height_of(reference):g} m over the road{known}"
                )
        return rig

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


def _camera_and_pose(entry: Any) -> tuple[PinholeCamera, np.ndarray]:
    """What a rig's file says of one sensor."""
    if not isinstance(entry, dict):
        raise ValueError(f"a mapping with {', '.join(_REQUIRED)} was expected, found {_shown(entry)}")
    missing = set(_REQUIRED) - set(entry)
    unknown = set(entry) - {*_REQUIRED, "distortion", "translation", "rotation"}
    if missing or unknown:
        raise ValueError(f"missing {_names(missing)}, unknown {_names(unknown)}")
    width, height = (_number(key, entry[key], whole=True) for key in ("width", "height"))
    fx, fy, cx, cy = (_number(key, entry[key]) for key in ("fx", "fy", "cx", "cy"))
    distortion = _numbers("distortion", entry.get("distortion", ()))
    camera = PinholeCamera(int(width), int(height), fx, fy, cx, cy, distortion)
    camera.check_plausible()
    x, y, z = _numbers("translation", entry.get("translation", (0.0, 0.0, 0.0)), 3)
    qx, qy, qz, qw = _numbers("rotation", entry.get("rotation", (0.0, 0.0, 0.0, 1.0)), 4)
    return camera, pose((x, y, z), (qx, qy, qz, qw))


def _number(key: str, value: Any, whole: bool = False) -> float:
    """A finite number of a rig's file. A string that is one will do: YAML 1.1 takes 1e3 for a string."""
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or not math.isfinite(number) or (whole and not number.is_integer()):
        raise ValueError(f"{key}: a {'whole ' if whole else ''}number was expected, found {_shown(value)}")
    return number


def _numbers(key: str, value: Any, count: int | None = None) -> tuple[float, ...]:
    if not isinstance(value, list | tuple) or (count is not None and len(value) != count):
        raise ValueError(
            f"{key}: a list of {count or ''}{' ' if count else ''}numbers was expected, found {_shown(value)}"
        )
    return tuple(_number(key, part) for part in value)


def _shown(value: Any) -> str:
    return "nothing" if value is None else _SHORT.repr(value)


def _names(keys: set[Any]) -> list[str]:
    return sorted(map(str, keys))


class _Loader(yaml.SafeLoader):
    """YAML in which no key stands twice, where plain YAML silently takes the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        marks: dict[str, yaml.Mark] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and marks.setdefault(key.value, key.start_mark) is not key.start_mark:
                first = marks[key.value].line + 1
                problem = f"{key.value!r} stands there again, after line {first}"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """What YAML written by hand holds. Raises yaml.YAMLError, for a key that stands twice too, and ValueError."""
    try:
        return _Loader(text).get_single_data()
    except RecursionError:
        raise yaml.YAMLError("it is nested too deep") from None


def _what_is_no_yaml(error: yaml.YAMLError) -> str:
    """A parser's complaint in one line; by itself it quotes the file over several."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: YAML was expected, but {error.problem}"
    return f"YAML text was expected, but {' '.join(str(error).split())}"
