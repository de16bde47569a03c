"""KITTI raw: drives of rectified colour stereo frames at 10 Hz, with LiDAR and the pose of the vehicle.

The layout is the published one: a folder a date with its calibration, in it a folder a drive.

```
2011_09_26/calib_cam_to_cam.txt  calib_velo_to_cam.txt  calib_imu_to_velo.txt
2011_09_26/2011_09_26_drive_0001_sync/
    image_02/data/0000000000.png  image_02/timestamps.txt     left colour (or .jpg, as many copies have it)
    image_03/data/0000000000.png                              right colour
    velodyne_points/data/0000000000.bin
    oxts/data/0000000000.txt                                  GPS and inertial unit
    proj_depth/groundtruth/image_02/0000000005.png            improved depth, metres times 256
```

Improved depth (Uhrig et al., "Sparsity invariant CNNs", 3DV 2017) is also found where its own archive puts it:
`train/DRIVE/proj_depth/...` and `val/DRIVE/proj_depth/...` below the root.

Sources: Geiger, Lenz, Stiller and Urtasun, "Vision meets robotics: The KITTI dataset" (IJRR 2013) and the readme and
Matlab code of its development kit.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from spike_depth_core.geometry import SensorRig
from spike_depth_core.samples.images import read_rgb
from spike_depth_core.samples.readers import kitti, kitti_splits
from spike_depth_core.samples.readers.dataset import Dataset, Frame, files_by_number, present
from spike_depth_core.samples.readers.depth_maps import read_depth_png
from spike_depth_core.samples.sample import DepthSample

DepthSource = Literal["lidar", "improved", "none"]

FRAME_PERIOD_NS = 100_000_000
"""The cameras are triggered by the LiDAR, ten times a second."""

_EARTH_RADIUS = 6378137.0  # as the development kit has it
_OXTS_VALUES = 30
_IMPROVED = ("eigen_benchmark", "bicross_train", "bicross_test")  # splits that were published with improved depth
_SHAPES = {
    "calib_cam_to_cam.txt": {
        "S_rect_02": (2,),
        "R_rect_00": (3, 3),
        "P_rect_02": (3, 4),
        "P_rect_03": (3, 4),
    },
    "calib_velo_to_cam.txt": {"R": (3, 3), "T": (3,)},
    "calib_imu_to_velo.txt": {"R": (3, 3), "T": (3,)},
}


@dataclass(frozen=True)
class Calibration:
    """Calibration of one date.

    Attributes:
        size: (width, height) of the rectified left colour image.
        left, right: projections of the colour cameras [3, 4], from the rectified frame of camera 0.
        rectified_from_lidar: 4x4, to the rectified frame of camera 0.
        lidar_from_imu: 4x4, or None without its file.
    """

    size: tuple[int, int]
    left: np.ndarray
    right: np.ndarray
    rectified_from_lidar: np.ndarray
    lidar_from_imu: np.ndarray | None

    @property
    def left_from_right(self) -> np.ndarray:
        """4x4 transform between the colour cameras' frames."""
        return kitti.camera_from_rectified(self.left) @ np.linalg.inv(kitti.camera_from_rectified(self.right))

    @classmethod
    def read(cls, folder: Path) -> Calibration:
        """Read the files of a date's folder. Raises ValueError or OSError naming the file at fault."""
        cameras, lidar = (
            kitti.read_matrices(folder / name, _SHAPES[name])
            for name in ("calib_cam_to_cam.txt", "calib_velo_to_cam.txt")
        )
        imu_path = folder / "calib_imu_to_velo.txt"
        lidar_from_imu = None
        if imu_path.is_file():
            imu = kitti.read_matrices(imu_path, _SHAPES[imu_path.name])
            lidar_from_imu = kitti.rigid(imu["R"], imu["T"])
        return cls(
            (int(cameras["S_rect_02"][0]), int(cameras["S_rect_02"][1])),
            cameras["P_rect_02"],
            cameras["P_rect_03"],
            kitti.rigid(cameras["R_rect_00"]) @ kitti.rigid(lidar["R"], lidar["T"]),
            lidar_from_imu,
        )


def read_oxts(path: str | Path) -> np.ndarray:
    """The 30 values of an OXTS packet, float64; the first six are latitude, longitude (degrees), altitude (metres),
    roll, pitch and yaw (radians)."""
    try:
        values = np.array(Path(path).read_text().split(), dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: an OXTS packet is made of numbers: {error}") from error
    if len(values) != _OXTS_VALUES:
        raise ValueError(f"{path}: an OXTS packet has {_OXTS_VALUES} values, found {len(values)}")
    if not np.isfinite(values[:6]).all():
        raise ValueError(f"{path}: a place and an attitude are finite, found {values[:6]}")
    return values


def pose_of_oxts(packet: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """4x4 pose of the inertial unit in a local frame: x east, y north, z up, metres.

    Args:
        packet: of `read_oxts`.
        origin: the packet at which the local frame begins, and whose latitude sets the scale of the map.

    Source: `convertOxtsToPose.m` of the development kit (Mercator projection; R = Rz(yaw) Ry(pitch) Rx(roll)).
    """
    scale = np.cos(np.radians(origin[0]))

    def place(values: np.ndarray) -> np.ndarray:
        east = scale * _EARTH_RADIUS * np.radians(values[1])
        north = scale * _EARTH_RADIUS * np.log(np.tan(np.radians(90.0 + values[0]) / 2))
        return np.array([east, north, values[2]])

    (sx, sy, sz), (cx, cy, cz) = np.sin(packet[3:6]), np.cos(packet[3:6])
    roll = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    pitch = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    yaw = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return kitti.rigid(yaw @ pitch @ roll, place(packet) - place(origin))


def read_timestamps(path: str | Path) -> tuple[int, ...]:
    """Nanoseconds since 1970 of a file with a line `2011-09-26 13:02:25.964389445` a frame, taken as UTC."""
    times = []
    for count, line in enumerate(Path(path).read_text().splitlines(), start=1):
        found = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)\.(\d{1,9})\s*", line)
        if found is None:
            raise ValueError(f"{path}, line {count}: expected a time like 2011-09-26 13:02:25.964389445: {line[:40]!r}")
        parts = [int(value) for value in found.groups()[:6]]
        times.append(calendar.timegm((*parts, 0, 0, 0)) * 10**9 + int(found[7].ljust(9, "0")))
    return tuple(times)


@dataclass(frozen=True)
class KittiRaw(Dataset):
    """Frames of KITTI raw: `rgb`, `rgb_right` where there is an `image_03`, depth in the left image, and the pose.

    `world_from_reference` is the pose of the left colour camera in a frame that begins where the drive's first OXTS
    packet was taken (x east, y north, z up); it is left out for a drive without `oxts`. Times are those of the left
    camera, or 10 Hz where its `timestamps.txt` is missing.

    Attributes:
        split: one of `splits`, or the path of a published list of frames (see `kitti_splits.read_split_file`).
        depth: `lidar` projects the sweep of the moment; `improved` reads the accumulated maps; `none` reads neither.
            By default `improved` for `eigen_benchmark` and BiCross's splits, as they were published, else `lidar`.
            Frames that lack it are left out of the splits that take whole drives: the first and last five of a drive
            have no improved depth, a few no sweep.
        partial: make do with the drives that are there.
    """

    depth: DepthSource | None = None
    partial: bool = False
    crop: ClassVar[str] = "garg"
    name: ClassVar[str] = "kitti_raw"
    splits: ClassVar[tuple[str, ...]] = (
        "eigen_train",
        "eigen_test",
        "eigen_benchmark",
        "bicross_train",
        "bicross_test",
        "all",
    )
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.depth is None:
            object.__setattr__(self, "depth", "improved" if self.split in _IMPROVED else "lidar")
        if self.depth not in get_args(DepthSource):
            raise ValueError(f"depth of {self.name} is one of {', '.join(get_args(DepthSource))}; found {self.depth!r}")
        super().__post_init__()

    def check_split(self) -> None:
        if not Path(self.split).is_file():
            super().check_split()

    def list_frames(self) -> Iterator[Frame]:
        whole: Mapping[str, Sequence[str]] = {
            "eigen_train": kitti_splits.EIGEN_TRAIN,
            "bicross_train": kitti_splits.BICROSS_TRAIN,
            "bicross_test": kitti_splits.BICROSS_TEST,
        }
        chosen: Mapping[str, Sequence[Frame]] = {
            "eigen_test": kitti_splits.EIGEN_TEST,
            "eigen_benchmark": kitti_splits.EIGEN_BENCHMARK,
        }
        if self.split in whole or self.split == "all":
            drives = self._all_drives if self.split == "all" else whole[self.split]
            for drive in present(drives, self.root, self.partial, f"split {self.split}"):
                yield from (Frame(drive, number) for number in self.numbers(drive) if self.usable(drive, number))
            return
        frames = chosen.get(self.split) or kitti_splits.read_split_file(self.split)
        drives = list(dict.fromkeys(frame.sequence for frame in frames))
        there = set(present(drives, self.root, self.partial, f"split {self.split}"))
        yield from (frame for frame in frames if frame.sequence in there)

    @cached_property
    def _all_drives(self) -> tuple[str, ...]:
        found = self.root.glob("????_??_??/*_sync/image_02/data")
        drives = sorted(str(path.parent.parent.relative_to(self.root)) for path in found)
        if not drives:
            raise ValueError(
                f"no drives of KITTI raw in {self.root}: expected DATE/DATE_drive_NUMBER_sync/image_02/data"
            )
        return tuple(drives)

    def _once(self, key: Any, make: Any) -> Any:
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    def _images(self, drive: str, camera: str) -> dict[int, Path]:
        folder = self.root / drive / camera / "data"
        return self._once((drive, camera), lambda: files_by_number(folder, "*.png") or files_by_number(folder, "*.jpg"))

    def numbers(self, sequence: str) -> Sequence[int]:
        found = tuple(self._images(sequence, "image_02"))
        if not found:
            raise ValueError(f"there are no images in {self.root / sequence / 'image_02' / 'data'}")
        return found

    def image(self, frame: Frame, camera: str) -> np.ndarray:
        """A picture of `image_02` or `image_03`, uint8 [H, W, 3], of the size that the calibration says."""
        path = self._images(frame.sequence, camera).get(frame.number)
        if path is None:
            folder = self.root / frame.sequence / camera / "data"
            raise ValueError(f"there is no file {folder / f'{frame.number:010d}.png'}")
        image = read_rgb(path)
        size = self.calibration(frame.sequence).size
        if (image.shape[1], image.shape[0]) != size:
            raise ValueError(
                f"{path} is {image.shape[1]}x{image.shape[0]} pixels, but its calibration is for {size[0]}x{size[1]}"
            )
        return image

    def calibration(self, sequence: str) -> Calibration:
        """Calibration of a drive's date."""
        date = sequence.split("/")[0]
        return self._once(("calibration", date), lambda: Calibration.read(self.root / date))

    def time_ns(self, frame: Frame) -> int:
        """Nanoseconds since 1970 at which the left camera took a frame, or since the drive's first where unknown."""
        path = self.root / frame.sequence / "image_02" / "timestamps.txt"
        if not path.is_file():
            return frame.number * FRAME_PERIOD_NS
        times = self._once(path, lambda: read_timestamps(path))
        if frame.number >= len(times):
            raise ValueError(f"{path} has {len(times)} times, none for frame {frame.number}")
        return times[frame.number]

    def has_right(self, sequence: str) -> bool:
        """Whether a drive has right-hand images."""
        return bool(self._images(sequence, "image_03"))

    def _sweep(self, drive: str, number: int) -> Path:
        return self.root / drive / "velodyne_points" / "data" / f"{number:010d}.bin"

    def improved_folder(self, drive: str) -> Path:
        """Where the improved depth of a drive lies, or would lie."""
        name = drive.split("/")[1]
        places = [self.root / drive, *(self.root / part / name for part in ("", "train", "val"))]
        inside = Path("proj_depth/groundtruth/image_02")
        return next((place / inside for place in places if (place / inside).is_dir()), places[0] / inside)

    def usable(self, drive: str, number: int) -> bool:
        """Whether a frame has all that is wanted of it; of whole drives, those that have not are left out."""
        if self.depth == "improved":
            return (self.improved_folder(drive) / f"{number:010d}.png").is_file()
        return self.depth == "none" or self._sweep(drive, number).is_file()

    def depth_points(self, frame: Frame) -> np.ndarray:
        """What is known of a frame's depth: float64 [M, 3] of u, v in pixels of the left image, and metres."""
        calibration = self.calibration(frame.sequence)
        if self.depth == "lidar":
            points = kitti.read_points(self._sweep(frame.sequence, frame.number))
            return kitti.project(points, calibration.left @ calibration.rectified_from_lidar)
        if self.depth == "improved":
            path = self.improved_folder(frame.sequence) / f"{frame.number:010d}.png"
            depth = read_depth_png(path, 256)
            if depth.shape != calibration.size[::-1]:
                raise ValueError(
                    f"{path} is {depth.shape[1]}x{depth.shape[0]} pixels, its image {calibration.size[0]}x"
                    f"{calibration.size[1]}"
                )
            v, u = np.nonzero(np.isfinite(depth))
            return np.column_stack([u, v, depth[v, u]]).astype(np.float64)
        return np.empty((0, 3))

    def pose(self, frame: Frame) -> np.ndarray | None:
        """`world_from_reference` of the left colour camera, or None for a drive without OXTS packets."""
        calibration = self.calibration(frame.sequence)
        folder = self.root / frame.sequence / "oxts" / "data"
        if calibration.lidar_from_imu is None or not folder.is_dir():
            return None
        first = self._once(folder, lambda: read_oxts(folder / f"{0:010d}.txt"))
        world_from_imu = pose_of_oxts(read_oxts(folder / f"{frame.number:010d}.txt"), first)
        left_from_imu = (
            kitti.camera_from_rectified(calibration.left)
            @ calibration.rectified_from_lidar
            @ calibration.lidar_from_imu
        )
        return world_from_imu @ np.linalg.inv(left_from_imu)

    def rig(self, sequence: str) -> SensorRig:
        """The colour cameras of a drive; the left one is the reference."""
        calibration = self.calibration(sequence)
        cameras = {"rgb": kitti.camera_of(calibration.left, *calibration.size)}
        poses = {}
        if self.has_right(sequence):
            cameras["rgb_right"] = kitti.camera_of(calibration.right, *calibration.size)
            poses["rgb_right"] = calibration.left_from_right
        return SensorRig(cameras, poses, "rgb", kitti.CAMERA_HEIGHT)

    def read(self, frame: Frame) -> DepthSample:
        rgb = self.image(frame, "image_02")
        right = self.image(frame, "image_03") if self.has_right(frame.sequence) else None
        height, width = rgb.shape[:2]
        depth = {} if self.depth == "none" else {"rgb": kitti.rasterise(self.depth_points(frame), width, height)}
        return DepthSample(
            rig=self.rig(frame.sequence),
            time_ns=self.time_ns(frame),
            rgb=rgb,
            rgb_right=right,
            depth=depth,
            world_from_reference=self.pose(frame),
            meta={"dataset": "KITTI raw", "sequence": frame.sequence, "frame": frame.number},
        )
