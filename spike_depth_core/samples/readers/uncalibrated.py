"""Recordings of real spike cameras that were published without a calibration."""

from __future__ import annotations

from spike_depth_core.geometry import PinholeCamera

FOCAL_WIDTHS = 0.8
"""Focal length in image widths that is assumed where nobody says: 64 degrees across."""


def assumed_camera(width: int, height: int, focal: float | None) -> PinholeCamera:
    """A camera with its principal point in the middle; `focal` in pixels, `FOCAL_WIDTHS` of the width when None."""
    return PinholeCamera.from_focal(width, height, FOCAL_WIDTHS * width if focal is None else focal)


def calibration_note(focal: float | None) -> dict[str, str]:
    """What a sample's `meta` says of where its intrinsics come from."""
    return {"calibration": "focal length assumed" if focal is None else "focal length as told"}
