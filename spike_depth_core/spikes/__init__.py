"""Bit-packed spike planes: the type, file formats, window statistics, the spike-camera model."""

from spike_depth_core.spikes.packed import PackedSpikes
from spike_depth_core.spikes.windows import (
    NETWORK_CHANNELS,
    NETWORK_WINDOW,
    network_input,
    network_input_torch,
)

__all__ = ["NETWORK_CHANNELS", "NETWORK_WINDOW", "PackedSpikes", "network_input", "network_input_torch"]
