"""Where the package's own files lie: the same call from a checkout, a pip install and a ROS workspace."""

from __future__ import annotations

import os
from pathlib import Path


def config_path(relative: str = "") -> Path:
    """A file or folder under `config/`, e.g. `config_path("rigs/vehicle.yaml")`.

    Raises:
        FileNotFoundError: naming every place looked at.
    """
    package = Path(__file__).resolve().parent
    # A ROS prefix holds lib/python3.X/site-packages/spike_depth_core beside share/spike_depth.
    prefixes = list(package.parents[3:4])
    prefixes += [Path(prefix) for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if prefix]
    places = [
        package / "config",  # pip
        package.parent / "config",  # checkout
        *(prefix / "share" / "spike_depth" / "config" for prefix in prefixes),
    ]
    for place in places:
        if (place / relative).exists():
            return place / relative
    raise FileNotFoundError(f"config/{relative} is in none of {', '.join(str(place) for place in places)}")


def default_checkpoint() -> Path:
    """The checkpoint shipped with the package."""
    return config_path("checkpoints/spike_depth.safetensors")
