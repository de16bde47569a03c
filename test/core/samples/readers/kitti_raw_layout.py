"""A drive in the exact layout of KITTI raw, small enough to be written in a test.

The vehicle drives straight to the north-east at 10 m/s; calibration as of KITTI's cars, for images of 62x19 pixels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

DATE = "2011_09_26"
DRIVE = f"{DATE}/{DATE}_drive_0001_sync"
WIDTH, HEIGHT, FOCAL, CX, CY = 62, 19, 36.0, 30.5, 9.0
LEFT, RIGHT = np.array([0.06, 0.0, 0.0]), np.array([-0.47, 0.0, 0.0])  # of camera 0, in each colour camera's frame
LIDAR = np.array([0.0, -0.08, -0.27])  # the LiDAR, in camera 0's frame
IMU = np.array([-0.81, 0.32, -0.8])  # the inertial unit, in the LiDAR's frame
ORIGIN = (49.0, 8.4, 116.0)  # latitude, longitude, altitude
YAW = np.radians(45.0)  # of the vehicle's forward axis, from the east


def numbers(*values: float) -> str:
    return " ".join(f"{value:.12e}" for value in np.ravel(values))


def projection(offset: np.ndarray) -> str:
    matrix = np.array([[FOCAL, 0, CX], [0, FOCAL, CY], [0, 0, 1]])
    return numbers(np.column_stack([matrix, matrix @ offset]))


def packet(east: float, north: float, up: float = 0.0, roll: float = 0.0, pitch: float = 0.0) -> str:
    """An OXTS line of 30 values, a place away from the origin by metres. Flat earth: right to a millimetre here."""
    latitude = ORIGIN[0] + np.degrees(north / 6378137.0)
    longitude = ORIGIN[1] + np.degrees(east / (6378137.0 * np.cos(np.radians(ORIGIN[0]))))
    values = [latitude, longitude, ORIGIN[2] + up, roll, pitch, YAW]
    return " ".join(f"{value:.14g}" for value in values) + " 0" * 19 + " 4 11 6 6 6"


def picture(seed: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Blocks of random colours: smooth enough to be resized."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (4, 8, 3), dtype=np.uint8))
    return np.array(small.resize((width, height), Image.Resampling.BICUBIC))


def write_calibration(root: Path) -> None:
    folder = root / DATE
    folder.mkdir(parents=True, exist_ok=True)
    identity = numbers(np.eye(3))
    (folder / "calib_cam_to_cam.txt").write_text(
        "calib_time: 09-Jan-2012 13:57:47\ncorner_dist: 9.950000e-02\n"
        f"S_rect_02: {numbers(WIDTH, HEIGHT)}\nR_rect_00: {identity}\n"
        f"P_rect_02: {projection(LEFT)}\nP_rect_03: {projection(RIGHT)}\n"
    )
    # LiDAR and vehicle: x forward, y left, z up. Camera: x right, y down, z forward.
    axes = numbers([[0, -1, 0], [0, 0, -1], [1, 0, 0]])
    (folder / "calib_velo_to_cam.txt").write_text(f"calib_time: 15-Mar-2012\nR: {axes}\nT: {numbers(LIDAR)}\n")
    (folder / "calib_imu_to_velo.txt").write_text(f"calib_time: 25-May-2012\nR: {identity}\nT: {numbers(IMU)}\n")


def write_drive(root: Path, drive: str = DRIVE, frames: int = 3, points: np.ndarray | None = None) -> Path:
    """Write a drive and the calibration of its date; returns the drive's folder."""
    write_calibration(root)
    folder = root / drive
    for name in ("image_02/data", "image_03/data", "velodyne_points/data", "oxts/data"):
        (folder / name).mkdir(parents=True)
    times = [f"2011-09-26 13:02:{25 + k // 10}.{k % 10}64389445" for k in range(frames)]
    (folder / "image_02" / "timestamps.txt").write_text("\n".join(times) + "\n")
    if points is None:
        points = np.array([[10.0, 0.0, 0.0, 0.5]])
    for k in range(frames):
        name = f"{k:010d}"
        Image.fromarray(picture(k)).save(folder / "image_02" / "data" / f"{name}.png")
        Image.fromarray(picture(100 + k)).save(folder / "image_03" / "data" / f"{name}.png")
        points.astype("<f4").tofile(folder / "velodyne_points" / "data" / f"{name}.bin")
        (folder / "oxts" / "data" / f"{name}.txt").write_text(packet(k * np.cos(YAW), k * np.sin(YAW)) + "\n")
    return folder
