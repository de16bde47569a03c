"""Training recipes, one file a system."""

from collections.abc import Callable
from typing import Any

from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes.adu_depth import AduDepth, adu_depth_stages
from spike_depth_core.recipes.align_and_fuse import align_and_fuse_stages
from spike_depth_core.recipes.bicross import bicross_stages
from spike_depth_core.recipes.r2sdepth import r2sdepth_stages
from spike_depth_core.recipes.recipe import Recipe, Request, Stage, Step
from spike_depth_core.recipes.supervised import Supervised
from spike_depth_core.recipes.unified import Unified


def _supervised(architecture: Architecture, seed: int, **settings: Any) -> tuple[Stage, ...]:
    return (Stage(Supervised(architecture, seed=seed, **settings)),)


def _unified(architecture: Architecture, seed: int, **settings: Any) -> tuple[Stage, ...]:
    return (Stage(Unified(architecture, seed=seed, **settings)),)


RECIPES: dict[str, Callable[..., tuple[Stage, ...]]] = {
    "supervised": _supervised,
    "unified": _unified,
    "bicross": bicross_stages,
    "align_and_fuse": align_and_fuse_stages,
    "adu_depth": adu_depth_stages,
    "r2sdepth": r2sdepth_stages,
}
"""By name, what makes a recipe's stages of an architecture, a seed, and the recipe's own settings."""

__all__ = ["RECIPES", "AduDepth", "Recipe", "Request", "Stage", "Step", "Supervised", "Unified"]
