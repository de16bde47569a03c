"""`DepthSample`: what every data source produces and every recipe consumes."""

from spike_depth_core.samples.sample import DepthSample
from spike_depth_core.sensors import IMAGES, RIGHT, SENSORS, modality

__all__ = ["IMAGES", "RIGHT", "SENSORS", "DepthSample", "modality"]
