"""Depth maps as data sets store them, read as metres along the optical axis: NaN where unknown, +inf for the sky."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from spike_depth_core.samples.images import read_grey


def read_depth_png(path: str | Path, units_per_metre: float, sky: int | None = None) -> np.ndarray:
    """A 16-bit picture of distances, float32 [H, W]; 0 is unknown.

    Args:
        path: the picture.
        units_per_metre: 256 for KITTI, DrivingStereo and MS2; 100 for Virtual KITTI.
        sky: the value of what is too far to be measured, where there is one.
    """
    stored = read_grey(path)
    if stored.dtype != np.uint16:
        raise ValueError(f"{path}: depth is stored in 16 bits, found {stored.dtype}")
    depth = stored.astype(np.float32) / np.float32(units_per_metre)
    depth[stored == 0] = np.nan
    if sky is not None:
        depth[stored == sky] = np.inf
    return depth


def read_depth_npy(path: str | Path, sky: float | None = None) -> np.ndarray:
    """An array of metres [H, W] (or [H, W, 1]) as float32; what is not a positive number is unknown.

    Args:
        path: the `.npy`.
        sky: the least value that means too far to be measured, where there is one.
    """
    try:
        stored = np.load(path, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # of a damaged head they are of many types
        raise ValueError(f"{path}: not a readable .npy of depth: {error}") from error
    if not isinstance(stored, np.ndarray):
        raise ValueError(f"{path}: named .npy, but it is an archive of arrays (.npz)")
    if stored.ndim == 3 and stored.shape[2] == 1:
        stored = stored[..., 0]
    if stored.ndim != 2 or stored.dtype.kind != "f":
        raise ValueError(f"{path}: depth is a float array [H, W], found {stored.dtype} {list(stored.shape)}")
    depth = positive(stored)
    return depth if sky is None else np.where(stored >= sky, np.float32(np.inf), depth)


def read_pfm(path: str | Path) -> np.ndarray:
    """A one-channel Portable Float Map as float32 [H, W], rows top down (the file holds them bottom up).

    Format: three lines, `Pf`, width and height, and a number whose sign tells the byte order (negative: little
    endian); then the values (Debevec, "PFM portable floatmap image format", pauldebevec.com).
    """
    data = Path(path).read_bytes()
    header = re.match(rb"(P[Ff])\s+(\d+)\s+(\d+)\s+([-+.\deE]+)\s", data)
    if header is None:
        raise ValueError(f"{path} is not a Portable Float Map: it begins with {data[:20]!r}")
    if header[1] != b"Pf":
        raise ValueError(f"{path}: one channel was expected, found a colour map")
    width, height = int(header[2]), int(header[3])
    values = data[header.end() :]
    if len(values) != 4 * width * height:
        raise ValueError(f"{path}: {width}x{height} values take {4 * width * height} bytes, found {len(values)}")
    try:
        order = "<f4" if float(header[4]) < 0 else ">f4"
    except ValueError as error:
        raise ValueError(f"{path}: its scale is a number, found {header[4].decode()!r}") from error
    return np.frombuffer(values, order).reshape(height, width)[::-1].astype(np.float32)


def positive(depth: np.ndarray) -> np.ndarray:
    """Depth as float32, with NaN for what is no distance: zero, negative, infinite."""
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.nan).astype(np.float32)
