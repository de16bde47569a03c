"""Online distillation from a live stream: gate, memory, steps, guard, snapshots. Knows nothing of ROS."""

from spike_depth_core.adaptation.budget import Budget
from spike_depth_core.adaptation.engine import AdaptationEngine, AdaptationOptions
from spike_depth_core.adaptation.gate import ACCEPTED, Gate, GateOptions
from spike_depth_core.adaptation.guard import Guard, GuardOptions, Verdict
from spike_depth_core.adaptation.reservoir import Reservoir
from spike_depth_core.adaptation.session import AdaptationSession
from spike_depth_core.adaptation.snapshots import Snapshots

__all__ = [
    "ACCEPTED",
    "AdaptationEngine",
    "AdaptationOptions",
    "AdaptationSession",
    "Budget",
    "Gate",
    "GateOptions",
    "Guard",
    "GuardOptions",
    "Reservoir",
    "Snapshots",
    "Verdict",
]
