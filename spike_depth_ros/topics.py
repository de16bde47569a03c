"""How the simulator's topics are connected to the other nodes', in one place for the launch files and the demo."""

from __future__ import annotations

SIMULATOR_NODE = "simulator_node"
DEPTH_NODE = "depth_node"
ADAPTATION_NODE = "adaptation_node"

# Image topics of the simulator, below its own name; each has its camera_info beside it.
SPIKES = "spikes/packets"
IMAGES = {"rgb": "rgb/image_raw", "nir": "nir/image_raw", "thermal": "thermal/image_raw"}
TRUTH = "truth/depth/image_rect"
ODOMETRY = "truth/odometry"


def optical_frame(sensor: str) -> str:
    """The frame of a sensor of the simulated vehicle."""
    return f"{sensor}_optical_frame"


def beside(image_topic: str) -> str:
    """The camera_info topic of an image topic."""
    return f"{image_topic.rpartition('/')[0]}/camera_info"


def simulator_remappings() -> list[tuple[str, str]]:
    """Remappings of the depth node, or the adaptation node, that connect it to a simulator in the same namespace."""
    inputs = {"spikes": SPIKES} | IMAGES | {"odometry": ODOMETRY}
    return [(f"~/input/{name}", f"{SIMULATOR_NODE}/{topic}") for name, topic in inputs.items()]
