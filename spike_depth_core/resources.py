"""Where the package's own files lie: the same call from a checkout, a colcon install and a pip install."""

from __future__ import annotations

from pathlib import Path


def config_path(relative: str = "") -> Path:
    """A file under `config/`. Raises FileNotFoundError naming every place looked at."""
    here = Path(__file__).resolve().parent
    places = [here.parent / "config", here / "config"]
    for place in places:
        if (place / relative).exists():
            return place / relative
    raise FileNotFoundError(f"config/{relative} is in none of {[str(p) for p in places]}")


def default_checkpoint() -> Path:
    """The checkpoint shipped with the package."""
    return config_path("checkpoints/spike_depth.safetensors")
