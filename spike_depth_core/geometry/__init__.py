"""Pinhole cameras, sensor rigs, poses and warps."""

from spike_depth_core.geometry.cameras import PinholeCamera
from spike_depth_core.geometry.rig import SensorRig

__all__ = ["PinholeCamera", "SensorRig"]
