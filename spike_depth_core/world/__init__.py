"""A procedural street: scenes by seed, and their renderer."""

from spike_depth_core.world.render import RenderPass, render
from spike_depth_core.world.scene import CONDITIONS, Scene, build_scene

__all__ = ["CONDITIONS", "RenderPass", "Scene", "build_scene", "render"]
