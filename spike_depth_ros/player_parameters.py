"""The parameters of `player_node`."""

from __future__ import annotations

from spike_depth_ros.parameters import Parameter

# What nodes have said that are no more: those that run would be taken to say it.
EXCLUDE = ["/diagnostics", "/rosout", "/parameter_events", "~"]
PLAYER_NODE = (
    Parameter("bag", "", "The recording: folder of a rosbag2 bag, or one .mcap or .db3 file."),
    Parameter("topics", [""], "Topics to play; all whose types are installed when empty."),
    Parameter(
        "exclude",
        EXCLUDE,
        "Topics that are not played where `topics` is empty, with all below them; ~ for what is below the name of "
        "`subscriber`, but for its ~/input. Empty for none.",
    ),
    Parameter("start", 0.0, "Seconds of the recording to pass over.", 0.0, 1e9),
    Parameter("rate", 1.0, "How many times as fast as it was recorded.", 0.01, 100.0, change="now"),
    Parameter("loop", False, "Whether to begin again at the end, with the same stamps.", change="now"),
    Parameter("paused", False, "Whether time stands still; the service ~/pause sets it too.", change="now"),
    Parameter("clock_rate", 100.0, "How often /clock is published, at the least, in Hz.", 1.0, 1000.0),
    Parameter(
        "wait_for_subscriber",
        False,
        "Whether to begin only when somebody has subscribed to one of the topics.",
    ),
    Parameter(
        "subscriber",
        "",
        "Name of the node that is played to; with wait_for_subscriber it is waited for, any when "
        "empty. Relative names are of the same namespace.",
    ),
)
