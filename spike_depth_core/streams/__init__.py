"""Time: rings of spike packets, pairing of sensors by time, and an account of every input."""

from spike_depth_core.streams.collector import Frame
from spike_depth_core.streams.ledger import Ledger
from spike_depth_core.streams.meters import JitterMeter, Percentiles, RateMeter
from spike_depth_core.streams.policy import Policy, Verdict
from spike_depth_core.streams.poses import Poses
from spike_depth_core.streams.spike_ring import SpikeRing
from spike_depth_core.streams.synchronizer import Moment, SensorTiming, Synchronizer, Timing

__all__ = [
    "Frame",
    "JitterMeter",
    "Ledger",
    "Moment",
    "Percentiles",
    "Policy",
    "Poses",
    "RateMeter",
    "SensorTiming",
    "SpikeRing",
    "Synchronizer",
    "Timing",
    "Verdict",
]
