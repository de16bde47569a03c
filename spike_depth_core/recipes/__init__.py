"""Training recipes, one file a system."""

from spike_depth_core.recipes.recipe import Recipe
from spike_depth_core.recipes.supervised import Supervised

RECIPES = {"supervised": Supervised}

__all__ = ["RECIPES", "Recipe", "Supervised"]
