"""The parameters of `adaptation_node`, and the options of the engine that they come to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from spike_depth_core.adaptation import AdaptationOptions, GateOptions, GuardOptions
from spike_depth_core.adaptation.originals import COUNT
from spike_depth_core.inference.motion_stereo import MotionStereoOptions
from spike_depth_core.samples import SENSORS
from spike_depth_ros.depth_parameters import DEPTH_NODE
from spike_depth_ros.parameters import Parameter
from spike_depth_ros.shared_parameters import SHARED

_OF_DEPTH_NODE = {parameter.name: parameter for parameter in DEPTH_NODE}

ADAPTATION_NODE = (
    Parameter("enabled", False, "Whether it learns. Off, it hears nothing and takes no time.", change="now"),
    Parameter(
        "checkpoint",
        "",
        "Checkpoint (.safetensors) that the adaptation begins with: what the depth node is started with. Empty for the "
        "one of the package.",
    ),
    Parameter(
        "snapshots",
        "",
        "Folder where what is learned is kept; empty for spike_depth/adaptation/<name of the node> in $ROS_HOME, or "
        "~/.ros.",
    ),
    Parameter("keep", 5, "Snapshots that stay, the newest; the one in service stays besides.", 1, 1000),
    Parameter("resume", True, "Whether to go on at the start from the snapshot that was in service."),
    Parameter(
        "target",
        "depth_node",
        "The depth node that is given what is learned, by its parameter `checkpoint`; relative names are of the same "
        "namespace. Empty for none: then it is only kept. It must see the same files.",
    ),
    Parameter(
        "budget",
        100.0,
        "Processor time for learning in a second, in milliseconds, in the long run. Receiving is not part of it.",
        0.0,
        1000.0,
        change="now",
    ),
    Parameter(
        "niceness",
        10,
        "Priority of learning on Linux: 0 as everything else, 10 a tenth of what others get that want the same core, "
        "19 a hundredth.",
        0,
        19,
    ),
    Parameter("steps", 1, "Steps for each moment that is learned from.", 1, 100, change="now"),
    Parameter("interval", 0.5, "Least time between two moments that are learned from, in seconds.", 0.05, 3600.0),
    Parameter(
        "parallax",
        True,
        "Whether moments just before correct what the teacher says, where odometry tells how the vehicle has moved.",
    ),
    Parameter(
        "students",
        ["spikes", "spikes+thermal"],
        "Sets of sensors that are taught in turn, each joined by +. Depth is learned in the frame of the very first.",
    ),
    Parameter(
        "teacher", list(SENSORS), "Sensors that the teacher sees, those of them that there are.", choices=tuple(SENSORS)
    ),
    Parameter("required", ["rgb"], "Sensors without which a moment has no teacher.", choices=tuple(SENSORS)),
    Parameter(
        "motion",
        0.05,
        "Least mean change of the picture since the last moment learned from, of its deviation.",
        0.0,
        10.0,
    ),
    Parameter(
        "alignment",
        0.05,
        "Least agreement of the edges of each sensor with the reference's: below, it is mirrored, late or elsewhere. "
        "-2 for no check.",
        -2.0,
        2.0,
    ),
    Parameter(
        "max_uncertainty",
        0.6,
        "Median relative standard deviation beyond which the teacher is not believed.",
        0.0,
        10.0,
    ),
    Parameter(
        "screen",
        0.9,
        "Share of a picture's pixels, the surest of teacher or student, that are learned from.",
        0.01,
        1.0,
    ),
    Parameter("learning_rate", 1e-4, "Of Adam.", 0.0, 1.0),
    Parameter("follow", 0.0, "Share by which the teacher moves towards the weights in service at each swap.", 0.0, 1.0),
    Parameter("reservoir", 64, "Moments of the stream that are remembered.", 1, 100_000),
    Parameter("held_out", 16, "Moments that are kept for the guard instead, the newest of every fifth.", 1, 10_000),
    Parameter("least_held_out", 4, "Held-out moments without which nothing is swapped.", 1, 10_000),
    Parameter("review_every", 25, "Steps between the guard's reviews.", 1, 1_000_000),
    Parameter(
        "live_bound",
        0.0,
        "Largest rise of the error on held-out moments, against the weights in service, with which there is a swap.",
        -1.0,
        10.0,
    ),
    Parameter(
        "original_bound",
        0.02,
        "Largest rise of the error on examples of the original training, against the first weights.",
        -1.0,
        10.0,
    ),
    Parameter(
        "original",
        "",
        "Folder of sample files of the original training; empty to render streets such as the package's checkpoint was "
        "trained on.",
    ),
    Parameter(
        "originals",
        COUNT,
        "Examples of the original training, every fifth for the guard alone. Rendering one takes about a second.",
        1,
        10_000,
    ),
    Parameter("seed", 0, "Of what is drawn.", 0, 2**31 - 1),
    *(dataclasses.replace(_OF_DEPTH_NODE[name], change="start") for name in SHARED),
    Parameter("status_rate", 1.0, "Statuses and diagnostics in a second, in Hz.", 0.1, 100.0),
)


def options(values: Mapping[str, Any]) -> AdaptationOptions:
    """Raises ValueError, naming the parameters, for values that do not fit one another."""
    students = []
    for entry in values["students"]:
        sensors = tuple(part.strip() for part in entry.split("+"))
        if set(sensors) - set(SENSORS):
            raise ValueError(f"parameter 'students' must name of {', '.join(SENSORS)}, joined by +, found {entry!r}")
        students.append(sensors)
    for name in ("students", "teacher", "sensors"):
        if not values[name]:
            raise ValueError(f"parameter {name!r} must name at least one sensor")
    heard = set(values["sensors"])
    teacher = tuple(sensor for sensor in values["teacher"] if sensor in heard)  # what the depth node has by day
    if not teacher:
        raise ValueError(
            f"parameter 'teacher' names {', '.join(values['teacher'])}, but 'sensors' has only "
            f"{', '.join(values['sensors'])}"
        )
    for name, asked in (("students", {s for entry in students for s in entry}), ("required", set(values["required"]))):
        if asked - heard:
            raise ValueError(
                f"parameter {name!r} names {', '.join(sorted(asked - heard))}, but 'sensors' has only "
                f"{', '.join(values['sensors'])}"
            )
    if values["least_held_out"] > values["held_out"]:
        raise ValueError(
            f"parameter 'least_held_out' is {values['least_held_out']}, but only {values['held_out']} moments are ever "
            "held out ('held_out'): nothing would be swapped"
        )
    return AdaptationOptions(
        students=tuple(students),
        teacher_sensors=teacher,
        follow=values["follow"],
        learning_rate=values["learning_rate"],
        reservoir=values["reservoir"],
        held_out_size=values["held_out"],
        review_every=values["review_every"],
        screen=values["screen"],
        gate=GateOptions(
            teacher_sensors=tuple(values["required"]),
            interval_s=0.5 * values["interval"],  # the pairing keeps to the interval, give or take a frame
            motion=values["motion"],
            alignment=values["alignment"],
            max_uncertainty=values["max_uncertainty"],
        ),
        guard=GuardOptions(
            live_bound=values["live_bound"],
            original_bound=values["original_bound"],
            least_held_out=values["least_held_out"],
            fused_bound=values["original_bound"],
        ),
        parallax=MotionStereoOptions() if values["parallax"] else None,
        seed=values["seed"],
    )
