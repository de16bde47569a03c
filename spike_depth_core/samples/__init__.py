"""`DepthSample`: what every data source produces and every recipe consumes."""

from spike_depth_core.samples.sample import IMAGES, RIGHT, SENSORS, DepthSample, modality

__all__ = ["IMAGES", "RIGHT", "SENSORS", "DepthSample", "modality"]
