"""Bit-packed spike planes: the type, file formats, window statistics, the spike-camera model."""

from spike_depth_core.spikes.packed import PackedSpikes

__all__ = ["PackedSpikes"]
