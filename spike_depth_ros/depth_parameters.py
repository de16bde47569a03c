"""The parameters of `depth_node`, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spike_depth_core.inference.estimator import BACKENDS
from spike_depth_core.inference.products import Limits
from spike_depth_core.samples import SENSORS
from spike_depth_core.streams import SensorTiming, Timing
from spike_depth_core.streams.synchronizer import AUTO, RATE
from spike_depth_ros.parameters import Parameter

SLOWEST_HZ = 0.001
CAMERAS = tuple(sensor for sensor in SENSORS if sensor != "spikes")


def _of_sensor(sensor: str) -> tuple[Parameter, ...]:
    name = "the spike camera" if sensor == "spikes" else f"the {sensor} camera"
    window = (
        "The most that spike planes may end before the moment they are used for, after a loss, in seconds."
        if sensor == "spikes"
        else "The most that a frame may be from the moment it is used for, in seconds."
    )
    parameters = (
        Parameter(
            f"{sensor}.required",
            False,
            f"Whether there is no depth without {name}. Else depth goes on with what is left.",
            change="now",
        ),
        Parameter(
            f"{sensor}.offset",
            0.0,
            f"Added to the stamps of {name}, in seconds: minus the delay of a driver that stamps late.",
            -1.0,
            1.0,
            change="now",
        ),
        Parameter(f"{sensor}.noise_window", 0.017, window, 0.0, 1.0, change="now"),
        Parameter(
            f"{sensor}.timeout",
            0.015,
            f"How long a moment waits for {name} while it is alive but late, in seconds.",
            0.0,
            10.0,
            change="now",
        ),
    )
    if sensor == "spikes":
        return parameters
    compressed = Parameter(
        f"{sensor}.compressed",
        False,
        "Whether to subscribe to sensor_msgs/CompressedImage (JPEG or PNG) on the topic with /compressed at its end.",
        change="configure",
    )
    return (*parameters, compressed)


DEPTH_NODE = (
    Parameter(
        "autostart",
        True,
        "Whether to configure and activate at the start. Without, a lifecycle manager does: "
        "`ros2 lifecycle set /depth_node configure`, and `activate`.",
    ),
    Parameter(
        "checkpoint",
        "",
        "Checkpoint (.safetensors) of the network; empty for the one of the package. Where the node is configured with "
        "it, a folder that `spike-depth export` wrote will do. While the node runs, one of "
        "another architecture or with something wrong about it is refused; else it is loaded beside, and takes the "
        "other's place between two depth images.",
        change="now",
    ),
    Parameter(
        "rig",
        "",
        "Sensor rig (YAML) that places the sensors to one another and over the road; empty for "
        "config/rigs/vehicle.yaml. Intrinsics come from the camera_info topics.",
        change="configure",
    ),
    Parameter(
        "use_tf",
        True,
        "Whether transforms between the frames of the sensors, where tf2_ros is installed and somebody publishes them, "
        "take the place of the rig file's.",
        change="configure",
    ),
    Parameter("device", "cpu", "Where the network runs.", choices=("cpu", "cuda", "auto"), change="configure"),
    Parameter(
        "backend",
        BACKENDS[0],
        "What computes the network: torch, or onnxruntime, on the CPU only. With auto ONNX Runtime does on a CPU where "
        "it is installed and can take the network: it is the faster one.",
        choices=BACKENDS,
        change="configure",
    ),
    Parameter(
        "pixels",
        0,
        "Size of the picture that the network works on, in pixels; 0 for what the checkpoint was trained on. Fewer "
        "take less time and tell less (docs/results/picture_size.md); from 1 to 1023 there is no network.",
        0,
        10_000_000,
        change="configure",
    ),
    Parameter(
        "threads",
        1,
        "Threads of the network on the CPU. Receiving needs a core of its own.",
        1,
        256,
        change="configure",
    ),
    Parameter("sensors", list(SENSORS), "Sensors to subscribe to.", choices=SENSORS, change="now"),
    Parameter(
        "reference",
        AUTO,
        "The sensor in whose frame depth is; auto for the first of spikes, rgb, nir, thermal that delivers. It is kept "
        "when that sensor falls silent.",
        choices=(AUTO, *SENSORS),
        change="configure",
    ),
    Parameter(
        "patience",
        1.0,
        "How long, with reference auto, depth waits at the beginning for a sensor that somebody publishes before it is "
        "given in the frame of the next one, in seconds.",
        0.0,
        3600.0,
        change="configure",
    ),
    Parameter(
        "trigger",
        AUTO,
        "What there is a depth image for: each frame of a camera, of the first one alive (auto), or, at a fixed rate, "
        "the spikes alone. When the camera is away the next one takes its place, and then the rate.",
        choices=(AUTO, RATE, *CAMERAS),
        change="now",
    ),
    Parameter(
        "rate",
        0.0,
        "With trigger rate the depth images in a second, else the most of them, in Hz, at least "
        f"{SLOWEST_HZ}; 0 for as many as can be.",
        0.0,
        1000.0,
        change="now",
    ),
    Parameter(
        "alive",
        0.25,
        "A sensor whose newest stamp is older than the newest of all by more is not waited for, in seconds.",
        0.0,
        10.0,
        change="now",
    ),
    *(parameter for sensor in SENSORS for parameter in _of_sensor(sensor)),
    Parameter(
        "parallax",
        False,
        "Whether the moments before correct the depth, where odometry on ~/input/odometry tells how the vehicle has "
        "moved.",
        change="configure",
    ),
    Parameter(
        "odometry_timeout",
        0.02,
        "With parallax, how long a moment waits for the pose after it, in seconds; without one there is depth of the "
        "moment alone.",
        0.0,
        1.0,
        change="configure",
    ),
    Parameter(
        "jump",
        0.5,
        "Stamps that go back by more, or run ahead of the clock by more, and go on from there, are a jump in time, of "
        "the sensor or of all, in seconds.",
        0.01,
        60.0,
        change="configure",
    ),
    Parameter(
        "spike_history",
        4096,
        "Spike planes that are kept: as long as the slowest frame takes to arrive, and a window.",
        256,
        1_000_000,
        change="configure",
    ),
    Parameter(
        "gather",
        0.005,
        "How long messages gather before they are taken in together, in seconds; 0 for each as it comes, which takes "
        "more of the processor.",
        0.0,
        0.1,
        change="configure",
    ),
    Parameter("range_min", 0.0, "Least depth that is given out, in metres.", 0.0, 1000.0, change="now"),
    Parameter("range_max", 1000.0, "Largest depth that is given out, in metres.", 0.0, 1000.0, change="now"),
    Parameter(
        "range_infinite",
        False,
        "Whether depth out of range is given as infinity with its sign, as REP 117 has it; else as NaN.",
        change="now",
    ),
    Parameter(
        "max_uncertainty",
        0.0,
        "Depth with a larger relative standard deviation is given as NaN; 0 for no limit.",
        0.0,
        10.0,
        change="now",
    ),
    Parameter(
        "degraded_growth",
        1.15,
        "By what uncertainty is multiplied for each sensor that had delivered and is missing: a network does not know "
        "what it has lost.",
        1.0,
        10.0,
        change="now",
    ),
    Parameter(
        "points_stride",
        2,
        "The point cloud has a point for every so many pixels, across and down.",
        1,
        64,
        change="now",
    ),
    Parameter("millimetres", False, "Whether to offer depth as 16UC1 on ~/depth/image_raw.", change="now"),
    Parameter("disparity", False, "Whether to offer disparity on ~/depth/disparity.", change="now"),
    Parameter(
        "disparity_baseline",
        0.1,
        "Distance of the two cameras that the disparity is for, in metres: there is no second one.",
        0.001,
        10.0,
        change="now",
    ),
    Parameter("debug", True, "Whether to offer the pictures on ~/debug.", change="now"),
    Parameter(
        "alignment_period",
        2.0,
        "How often the places of the sensors to one another are checked on what they see, in seconds; 0 for never.",
        0.0,
        3600.0,
        change="now",
    ),
    Parameter(
        "silence",
        2.0,
        "A topic that somebody publishes but on which nothing arrives for longer is named, with the QoS of both "
        "ends, in seconds.",
        0.1,
        60.0,
        change="now",
    ),
    Parameter("hardware_id", "", "What the diagnostics name as the hardware, for example a serial number."),
    Parameter("diagnostics_rate", 1.0, "Diagnostics in a second, in Hz.", 0.1, 100.0),
)


@dataclass(frozen=True)
class Settings:
    """What parameters that may change at any time come to.

    Attributes:
        sensors: to subscribe to.
        required: without these there is no depth.
        timing: how inputs are paired.
        limits: which depth is given out.
        degraded_growth: see the parameter, as for all that follow.
    """

    sensors: tuple[str, ...]
    required: frozenset[str]
    timing: Timing
    limits: Limits
    degraded_growth: float
    points_stride: int
    millimetres: bool
    disparity: bool
    disparity_baseline: float
    debug: bool
    alignment_period: float
    silence: float


def matching(values: Mapping[str, Any], sensors: Sequence[str], gather_s: float) -> dict[str, SensorTiming]:
    """How the inputs of each sensor are matched, of messages that gather for a time before they are taken in: one that
    is just too late for a batch comes with the next."""
    return {
        sensor: SensorTiming(
            offset_ns=round(values[f"{sensor}.offset"] * 1e9),
            noise_ns=round(values[f"{sensor}.noise_window"] * 1e9),
            timeout_ns=round((values[f"{sensor}.timeout"] + gather_s) * 1e9),
        )
        for sensor in sensors
    }


def settings(values: Mapping[str, Any]) -> Settings:
    """Raises ValueError, naming the parameters, for values that do not fit one another."""
    sensors = tuple(sensor for sensor in SENSORS if sensor in values["sensors"])
    if not sensors:
        raise ValueError("parameter 'sensors' must name at least one sensor")
    required = frozenset(sensor for sensor in SENSORS if values[f"{sensor}.required"])
    for sensor in required - set(sensors):
        raise ValueError(f"parameter '{sensor}.required' is true, but 'sensors' has only {', '.join(sensors)}")
    for name in ("trigger", "reference"):
        needed = "spikes" if values[name] == RATE else values[name]
        if needed in SENSORS and needed not in sensors:
            raise ValueError(f"parameter {name!r} is {values[name]!r}, but 'sensors' has only {', '.join(sensors)}")
    if 0 < values["rate"] < SLOWEST_HZ:
        raise ValueError(f"parameter 'rate' is 0 or at least {SLOWEST_HZ} Hz, found {values['rate']}")
    near, far = values["range_min"], values["range_max"]
    if not near < far:
        raise ValueError(f"parameter 'range_min' must be less than 'range_max', found {near} and {far}")

    return Settings(
        sensors=sensors,
        required=required,
        timing=Timing(
            trigger=values["trigger"],
            interval_ns=round(1e9 / values["rate"]) if values["rate"] else 0,
            alive_ns=round(values["alive"] * 1e9),
            sensors=matching(values, sensors, values["gather"]),
        ),
        limits=Limits(near, far, values["max_uncertainty"], values["range_infinite"]),
        degraded_growth=values["degraded_growth"],
        points_stride=values["points_stride"],
        millimetres=values["millimetres"],
        disparity=values["disparity"],
        disparity_baseline=values["disparity_baseline"],
        debug=values["debug"],
        alignment_period=values["alignment_period"],
        silence=values["silence"],
    )
