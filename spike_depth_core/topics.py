"""How the topics and frames of the simulated vehicle are called, by its node and in bags that are recorded without."""

from __future__ import annotations

SIMULATOR_NODE = "simulator_node"

# Below the node's name; each has its camera_info beside it.
SPIKES = "spikes/packets"
IMAGES = {"rgb": "rgb/image_raw", "nir": "nir/image_raw", "thermal": "thermal/image_raw"}
TRUTH = "truth/depth/image_rect"

ODOMETRY = "truth/odometry"


def optical_frame(sensor: str) -> str:
    """The frame of a sensor."""
    return f"{sensor}_optical_frame"


def beside(image_topic: str) -> str:
    """The camera_info topic of an image topic."""
    return f"{image_topic.rpartition('/')[0]}/camera_info"
