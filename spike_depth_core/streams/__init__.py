"""Time: rings of spike packets, pairing of sensors by time, and an account of every input."""

from spike_depth_core.streams.ledger import Ledger
from spike_depth_core.streams.meters import Percentiles, RateMeter
from spike_depth_core.streams.spike_ring import SpikeRing
from spike_depth_core.streams.synchronizer import Frame, Moment, Synchronizer, Timing

__all__ = ["Frame", "Ledger", "Moment", "Percentiles", "RateMeter", "SpikeRing", "Synchronizer", "Timing"]
