"""KITTI object frames: a colour image with the LiDAR sweep seen from its camera as sparse depth.

Two layouts are read: the one that KITTI publishes (`image_2/`, `velodyne/`, `calib/` in one folder), and a
flat one (`000000.png`, `000000.bin`, `000000.txt` side by side). Format: Geiger, Lenz and Urtasun, "Are we
ready for autonomous driving? The KITTI vision benchmark suite" (CVPR 2012) and the object development kit's
readme.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.samples.sample import DepthSample

CAMERA_HEIGHT = 1.65
"""Metres of the cameras over the road: the setup drawing of Geiger et al., "Vision meets robotics: The KITTI
dataset" (IJRR 2013)."""

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


def read_calibration(path: str | Path) -> dict[str, np.ndarray]:
    """Matrices of a calibration file, float64: `P2` [3, 4], `R0_rect` [3, 3], `Tr_velo_to_cam` [3, 4].

    Raises:
        ValueError: naming the file and the matrix that is missing or has the wrong number of values.
    """
    entries = {}
    for line in Path(path).read_text().splitlines():
        key, colon, values = line.partition(":")
        if colon:
            entries[key.strip()] = values.split()
    matrices = {}
    for key, shape in _SHAPES.items():
        found = entries.get(key)
        if found is None:
            raise ValueError(f"{path}: the calibration lacks {key}; it has {', '.join(sorted(entries))}")
        if len(found) != shape[0] * shape[1]:
            raise ValueError(f"{path}: {key} takes {shape[0] * shape[1]} values, found {len(found)}")
        matrices[key] = np.array(found, dtype=np.float64).reshape(shape)
    return matrices


def read_points(path: str | Path) -> np.ndarray:
    """A LiDAR sweep: float32 [N, 4] of x, y, z (metres, in the LiDAR's frame) and reflectance."""
    size = Path(path).stat().st_size
    if size == 0 or size % 16:
        raise ValueError(f"{path}: a LiDAR sweep is 16 bytes a point, found {size} bytes")
    return np.fromfile(path, dtype="<f4").reshape(-1, 4)


def project(points: np.ndarray, calibration: Mapping[str, np.ndarray]) -> np.ndarray:
    """LiDAR points in the left colour image.

    Args:
        points: [N, 3 or more], metres, in the LiDAR's frame.
        calibration: of `read_calibration`.

    Returns:
        float64 [M, 3]: u, v in pixels and depth in metres of the M points that are in front of the camera.
    """
    rectified = np.eye(4)
    rectified[:3, :3] = calibration["R0_rect"]
    camera_from_lidar = np.vstack([calibration["Tr_velo_to_cam"], [0, 0, 0, 1]])
    homogeneous = np.column_stack([points[:, :3].astype(np.float64), np.ones(len(points))])
    seen = homogeneous @ (calibration["P2"] @ rectified @ camera_from_lidar).T
    seen = seen[seen[:, 2] > 0]
    return np.column_stack([seen[:, :2] / seen[:, 2:], seen[:, 2]])


def rasterise(seen: np.ndarray, width: int, height: int) -> np.ndarray:
    """Points [M, 3] of `project` as a depth image, float32 [H, W]: NaN between them; of two, the nearer."""
    depth = np.full((height, width), np.inf, dtype=np.float32)
    u, v = np.round(seen[:, 0]).astype(np.int64), np.round(seen[:, 1]).astype(np.int64)
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    np.minimum.at(depth, (v[inside], u[inside]), seen[inside, 2].astype(np.float32))
    return np.where(np.isinf(depth), np.nan, depth).astype(np.float32)


def read_frame(folder: str | Path, name: str) -> DepthSample:
    """One frame: `rgb`, and its depth where the LiDAR hit something (NaN elsewhere, sky included).

    Raises:
        ValueError, OSError: naming the file that is missing or malformed.
    """
    image_path, points_path, calibration_path = _paths(Path(folder), name)
    with Image.open(image_path) as image:
        rgb = np.array(image.convert("RGB"))
    calibration = read_calibration(calibration_path)
    height, width = rgb.shape[:2]
    p2 = calibration["P2"]
    camera = PinholeCamera(width, height, p2[0, 0], p2[1, 1], p2[0, 2], p2[1, 2])
    return DepthSample(
        rig=SensorRig.single("rgb", camera, CAMERA_HEIGHT),
        rgb=rgb,
        depth={"rgb": rasterise(project(read_points(points_path), calibration), width, height)},
        meta={"dataset": "KITTI object", "frame": name},
    )
