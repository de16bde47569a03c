"""Which sensors there are, by the names that everything calls them by."""

from __future__ import annotations

SENSORS = ("spikes", "rgb", "nir", "thermal")
RIGHT = {sensor: f"{sensor}_right" for sensor in SENSORS}
"""The right-hand camera of a stereo pair, whose left one is the sensor itself."""
IMAGES = (*SENSORS, *RIGHT.values())


def modality(image: str) -> str:
    """What kind of sensor took an image: `rgb` of `rgb` and of `rgb_right`."""
    return image.removesuffix("_right")
