"""From sensors to metric depth."""

from spike_depth_core.inference.estimator import DepthEstimate, DepthEstimator

__all__ = ["DepthEstimate", "DepthEstimator"]
