"""Bit-packed spike planes: the type, file formats, window statistics, the spike-camera model."""

from spike_depth_core.spikes.packed import PackedSpikes
from spike_depth_core.spikes.windows import (
    NETWORK_CHANNELS,
    NETWORK_WINDOW,
    IntervalImage,
    SpikeWindow,
    interval_image,
    network_input,
    network_input_torch,
    spike_counts,
)

__all__ = [
    "NETWORK_CHANNELS",
    "NETWORK_WINDOW",
    "IntervalImage",
    "PackedSpikes",
    "SpikeWindow",
    "interval_image",
    "network_input",
    "network_input_torch",
    "spike_counts",
]
