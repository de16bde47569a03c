"""A procedural street: scenes by seed, and their renderer."""

from spike_depth_core.world.drive import World, vehicle_rig
from spike_depth_core.world.player import DrivePlayer
from spike_depth_core.world.render import RenderPass, render
from spike_depth_core.world.scene import CONDITIONS, Scene, build_scene

__all__ = ["CONDITIONS", "DrivePlayer", "RenderPass", "Scene", "World", "build_scene", "render", "vehicle_rig"]
