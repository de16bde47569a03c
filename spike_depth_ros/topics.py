"""How the simulator's topics are connected to the other nodes', in one place for the launch files and the demo."""

from __future__ import annotations

from spike_depth_core.topics import IMAGES, ODOMETRY, SIMULATOR_NODE, SPIKES, TRUTH, beside, optical_frame

__all__ = ["IMAGES", "ODOMETRY", "SIMULATOR_NODE", "SPIKES", "TRUTH", "beside", "optical_frame"]

DEPTH_NODE = "depth_node"
ADAPTATION_NODE = "adaptation_node"


def simulator_remappings() -> list[tuple[str, str]]:
    """Remappings of the depth node, or the adaptation node, that connect it to a simulator in the same namespace."""
    inputs = {"spikes": SPIKES} | IMAGES | {"odometry": ODOMETRY}
    return [(f"~/input/{name}", f"{SIMULATOR_NODE}/{topic}") for name, topic in inputs.items()]
