"""`DepthSample`: what every data source produces and every recipe consumes."""

from spike_depth_core.samples.sample import SENSORS, DepthSample

__all__ = ["SENSORS", "DepthSample"]
