"""A checkpoint that knows clear days in the first town and nothing else: what online distillation begins with where
every other domain has to be new. It is trained like the row of a suite, of which it is the only one.
"""

from __future__ import annotations

from dataclasses import replace

from spike_depth_core.evaluation.suites.suite import PRESETS as SUITE_PRESETS
from spike_depth_core.evaluation.suites.suite import Finding, Preset, Row, Scores, Suite, View
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes import Stage, Supervised
from spike_depth_core.samples import SENSORS
from spike_depth_core.world import vehicle_rig
from spike_depth_core.world.domains import PhysicalSpikes

ROW = "clear days"
CONDITIONS = ("day",)
"""All that it has been taught of light, and so its only examples against forgetting."""


def _stages(architecture: Architecture, seed: int) -> tuple[Stage, ...]:
    supervised = Supervised(architecture, seed=seed)
    return Stage(supervised, 1.5), Stage(supervised, 0.5, learning_rate=0.5)


def _nothing_wanted(found: Scores) -> list[Finding]:
    return []


SUITE = Suite(
    name="newcomer",
    title="A checkpoint that knows clear days alone",
    rows=(Row(ROW, _stages),),
    views=(View("spikes", "source", ("spikes",)), View("all", "source", SENSORS)),
    findings=_nothing_wanted,
    domains={
        # The vehicle that is driven afterwards, with the spike camera that it has.
        "source": {"rig": vehicle_rig(), "sensors": SENSORS, "spikes": PhysicalSpikes(), "frames": 1}
    },
)


def preset_for(name: str, scale: float) -> Preset:
    """The training of a preset's name, for the default vehicle with pictures scaled so."""
    camera = vehicle_rig().cameras["spikes"]
    size = (round(camera.height * scale), round(camera.width * scale / 8) * 8)
    return replace(SUITE_PRESETS[name], pixels=size[0] * size[1] // 2, size=size)
