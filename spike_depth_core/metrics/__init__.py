"""Accuracy of depth, and worth of uncertainty: pure functions on NumPy arrays."""

from spike_depth_core.metrics.depth import (
    FAR_M,
    METRICS,
    NEAR_M,
    SCALINGS,
    MetricAverage,
    bootstrap_interval,
    frame_metrics,
    garg_crop,
    hard_half,
    scored_pixels,
    valid_mask,
)
from spike_depth_core.metrics.uncertainty import Reliability, Sparsification, certain_half, sparsification

__all__ = [
    "FAR_M",
    "METRICS",
    "NEAR_M",
    "SCALINGS",
    "MetricAverage",
    "Reliability",
    "Sparsification",
    "bootstrap_interval",
    "certain_half",
    "frame_metrics",
    "garg_crop",
    "hard_half",
    "scored_pixels",
    "sparsification",
    "valid_mask",
]
