"""KITTI object frames: colour images with the LiDAR sweep seen from the left one as sparse depth.

Two layouts are read: the one that KITTI publishes (`image_2/`, `velodyne/`, `calib/`, and `image_3/` for the
right-hand camera, in one folder), and a flat one (`000000.png`, `000000.bin`, `000000.txt` side by side). Format:
Geiger, Lenz and Urtasun, "Are we ready for autonomous driving? The KITTI vision benchmark suite" (CVPR 2012) and the
object development kit's readme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from spike_depth_core.geometry import SensorRig
from spike_depth_core.samples.images import read_rgb
from spike_depth_core.samples.readers import kitti
from spike_depth_core.samples.readers.dataset import Dataset, Frame
from spike_depth_core.samples.sample import DepthSample

_SHAPES = {"P2": (3, 4), "R0_rect": (3, 3), "Tr_velo_to_cam": (3, 4)}


def _paths(folder: Path, name: str) -> tuple[Path, Path, Path]:
    """Image, LiDAR and calibration file of a frame."""
    if (folder / "image_2").is_dir():
        return (
            folder / "image_2" / f"{name}.png",
            folder / "velodyne" / f"{name}.bin",
            folder / "calib" / f"{name}.txt",
        )
    return folder / f"{name}.png", folder / f"{name}.bin", folder / f"{name}.txt"


def list_frames(folder: str | Path) -> list[str]:
    """Names of the frames in a folder, in order. Raises ValueError when there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    images = folder / "image_2" if (folder / "image_2").is_dir() else folder
    names = sorted(path.stem for path in images.glob("*.png") if _paths(folder, path.stem)[1].is_file())
    if not names:
        raise ValueError(
            f"no KITTI frames in {folder}: expected NAME.png, NAME.bin and NAME.txt, or the folders image_2, "
            "velodyne and calib"
        )
    return names


def read_frame(folder: str | Path, name: str) -> DepthSample:
    """One frame: `rgb`, its depth where the LiDAR hit something (NaN elsewhere, sky included), and `rgb_right` where
    there is a folder `image_3`.

    Raises:
        ValueError, OSError: naming the file that is missing or malformed.
    """
    folder = Path(folder)
    image_path, points_path, calibration_path = _paths(folder, name)
    rgb = read_rgb(image_path)
    height, width = rgb.shape[:2]
    stereo = (folder / "image_3").is_dir()
    calibration = kitti.read_matrices(calibration_path, _SHAPES | ({"P3": (3, 4)} if stereo else {}))
    left = calibration["P2"]
    cameras = {"rgb": kitti.camera_of(left, width, height)}
    poses = {}
    if stereo:
        right = calibration["P3"]
        cameras["rgb_right"] = kitti.camera_of(right, width, height)
        poses["rgb_right"] = kitti.camera_from_rectified(left) @ np.linalg.inv(kitti.camera_from_rectified(right))
    image_from_lidar = (
        left @ kitti.rigid(calibration["R0_rect"]) @ np.vstack([calibration["Tr_velo_to_cam"], [0, 0, 0, 1]])
    )
    points = kitti.project(kitti.read_points(points_path), image_from_lidar)
    return DepthSample(
        rig=SensorRig(cameras, poses, "rgb", kitti.CAMERA_HEIGHT),
        rgb=rgb,
        rgb_right=read_rgb(folder / "image_3" / f"{name}.png") if stereo else None,
        depth={"rgb": kitti.rasterise(points, width, height)},
        meta={"dataset": "KITTI object", "frame": name},
    )


@dataclass(frozen=True)
class KittiObject(Dataset):
    """All frames of a folder. They are single moments of many drives: none has neighbours."""

    split: str = "all"
    crop: ClassVar[str] = "garg"
    name: ClassVar[str] = "kitti_object"
    splits: ClassVar[tuple[str, ...]] = ("all",)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(list_frames(self.root))

    def list_frames(self) -> list[Frame]:
        return [Frame(name, 0) for name in self._names]

    def numbers(self, sequence: str) -> Sequence[int]:
        return (0,)

    def read(self, frame: Frame) -> DepthSample:
        return read_frame(self.root, frame.sequence)
