"""The parameters of `simulator_node`."""

from __future__ import annotations

from spike_depth_core.world.player import START_S
from spike_depth_core.world.scene import LATEST
from spike_depth_ros.parameters import Parameter

SLOWEST_HZ = 1.0
LONGEST_S = LATEST - START_S - 1 / SLOWEST_HZ  # a drive ends with a whole frame: it may last that much longer

SIMULATOR_NODE = (
    Parameter("seed", 700_000, "Which street is driven. The shipped checkpoint was trained on others.", 0, 899_999),
    Parameter("condition", "day", "Light.", choices=("day", "dusk", "night")),
    Parameter(
        "duration",
        20.0,
        "Length of the drive, in seconds. A second takes 65 MB of memory at 30 Hz with rgb and thermal.",
        0.5,
        LONGEST_S,
    ),
    Parameter("loop", True, "Whether to drive again from the start at the end, with stamps that go on."),
    Parameter("frame_rate", 30.0, "Frames of each camera in a second, in Hz.", SLOWEST_HZ, 120.0),
    Parameter("sensors", ["rgb", "thermal"], "Cameras besides the spike camera.", choices=("rgb", "nir", "thermal")),
    Parameter("planes_per_packet", 64, "Spike planes in a packet.", 1, 1024),
    Parameter(
        "prepare_spikes",
        False,
        "Whether to make the spikes beforehand too, for a machine that cannot make them as fast as they are sent. A "
        "second takes 250 MB of memory more.",
    ),
    Parameter(
        "wait_for_subscriber",
        False,
        "Whether to begin only when somebody has subscribed to the spikes.",
    ),
    Parameter("diagnostics_rate", 1.0, "Diagnostics in a second, in Hz.", 0.1, 100.0),
)
