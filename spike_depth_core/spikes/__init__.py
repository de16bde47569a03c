"""Bit-packed spike planes: the type, file formats, window statistics, the spike-camera model."""

from spike_depth_core.spikes.camera import RealtimeSpikeCamera, SpikeCamera, SpikeCameraParameters
from spike_depth_core.spikes.formats import read_spikes, write_spikes
from spike_depth_core.spikes.packed import PackedSpikes
from spike_depth_core.spikes.packets import PacketFault, check_packet, decode_packet, encode_packet
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
    "PacketFault",
    "RealtimeSpikeCamera",
    "SpikeCamera",
    "SpikeCameraParameters",
    "SpikeWindow",
    "check_packet",
    "decode_packet",
    "encode_packet",
    "interval_image",
    "network_input",
    "network_input_torch",
    "read_spikes",
    "spike_counts",
    "write_spikes",
]
