"""Parameters from one table: declared with it, documented from it, and the YAML in config/ is tested against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node


@dataclass(frozen=True)
class Parameter:
    """One parameter. Its type is that of the default.

    Attributes:
        name: as in the YAML.
        default: value where none is given.
        description: what it does, with its unit.
        least, most: the range of a number, both ends included.
        choices: the values allowed, if these are few.
    """

    name: str
    default: Any
    description: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def type_name(self) -> str:
        if isinstance(self.default, list):
            return "string array"
        return {bool: "bool", int: "int", float: "double", str: "string"}[type(self.default)]

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""
        if self.choices:
            return ", ".join(repr(choice) for choice in self.choices)
        return "" if self.least is None else f"{self.least} to {self.most}"

    def descriptor(self) -> ParameterDescriptor:
        descriptor = ParameterDescriptor(description=self.description, read_only=True)
        if self.choices:
            descriptor.additional_constraints = f"one of {self.allowed}"
        if isinstance(self.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=self.least, to_value=self.most)]
        elif isinstance(self.default, int) and not isinstance(self.default, bool):
            descriptor.integer_range = [IntegerRange(from_value=self.least, to_value=self.most, step=1)]
        return descriptor

    def check(self, value: Any) -> None:
        """Raise ValueError for a value that is not among the choices."""
        if self.choices:
            for entry in value if isinstance(value, list) else [value]:
                if entry not in self.choices:
                    raise ValueError(f"parameter {self.name!r} must be one of {self.allowed}, found {entry!r}")


def declare(node: Node, table: Sequence[Parameter]) -> SimpleNamespace:
    """Declare a table of parameters and read them.

    Raises:
        ValueError: naming the parameter, what was expected and what found.
        rclpy.exceptions.InvalidParameterTypeException, InvalidParameterValueException: likewise.
    """
    values = {}
    for parameter in table:
        value = node.declare_parameter(parameter.name, parameter.default, parameter.descriptor()).value
        value = list(value) if isinstance(parameter.default, list) else value
        parameter.check(value)
        values[parameter.name] = value
    return SimpleNamespace(**values)


def markdown(table: Sequence[Parameter]) -> str:
    """The table for the documentation."""
    rows = ["| parameter | type | default | allowed | meaning |", "| --- | --- | --- | --- | --- |"]
    for entry in table:
        default = f"`{entry.default!r}`".replace("'", '"')
        rows.append(f"| `{entry.name}` | {entry.type_name} | {default} | {entry.allowed} | {entry.description} |")
    return "\n".join(rows) + "\n"


SENSORS = ("spikes", "rgb", "nir", "thermal")

DEPTH_NODE = (
    Parameter("checkpoint", "", "Checkpoint (.safetensors) of the network; empty for the one of the package."),
    Parameter(
        "rig",
        "",
        "Sensor rig (YAML) that places the sensors to one another; empty for config/rigs/vehicle.yaml. "
        "Intrinsics come from the camera_info topics.",
    ),
    Parameter("device", "cpu", "Where the network runs.", choices=("cpu", "cuda", "auto")),
    Parameter("threads", 1, "Threads of the network on the CPU. Receiving needs a core of its own.", 1, 256),
    Parameter("sensors", list(SENSORS), "Sensors to subscribe to.", choices=SENSORS),
    Parameter(
        "tolerance", 0.017, "The most that a frame may be from the moment it is paired into, in seconds.", 0.0, 1.0
    ),
    Parameter("wait", 0.015, "How long a moment waits for a sensor that is late, in seconds.", 0.0, 1.0),
    Parameter(
        "alive",
        0.25,
        "A sensor whose newest stamp is older than the newest of all by more is not waited for, in seconds.",
        0.0,
        10.0,
    ),
    Parameter(
        "jump_back",
        0.5,
        "A stamp that goes back by more is a jump in time: all streams start anew, in seconds.",
        0.0,
        60.0,
    ),
    Parameter(
        "fallback",
        1.0,
        "How long there is no depth when the sensor in whose frame it is given falls silent, before it is given in the "
        "frame of the next one, in seconds.",
        0.0,
        3600.0,
    ),
    Parameter("max_rate", 0.0, "The most depth images in a second, in Hz; 0 for as many as can be.", 0.0, 1000.0),
    Parameter(
        "spike_history",
        4096,
        "Spike planes that are kept: as long as the slowest frame takes to arrive, and a window.",
        256,
        1_000_000,
    ),
    Parameter("diagnostics_rate", 1.0, "Diagnostics in a second, in Hz.", 0.1, 100.0),
)

SIMULATOR_NODE = (
    Parameter("seed", 700_000, "Which street is driven. The shipped checkpoint was trained on others.", 0, 899_999),
    Parameter("condition", "day", "Light and weather.", choices=("day", "dusk", "night")),
    Parameter("duration", 20.0, "Length of the drive, in seconds. A second takes 40 MB of memory.", 0.5, 600.0),
    Parameter("loop", True, "Whether to drive again from the start at the end, with stamps that go on."),
    Parameter("frame_rate", 30.0, "Frames of each camera in a second, in Hz.", 1.0, 120.0),
    Parameter("sensors", ["rgb", "thermal"], "Cameras besides the spike camera.", choices=("rgb", "nir", "thermal")),
    Parameter("planes_per_packet", 64, "Spike planes in a packet.", 1, 1024),
    Parameter(
        "wait_for_subscriber",
        False,
        "Whether to begin only when somebody has subscribed to the spikes.",
    ),
    Parameter("diagnostics_rate", 1.0, "Diagnostics in a second, in Hz.", 0.1, 100.0),
)

NODES = {"depth_node": DEPTH_NODE, "simulator_node": SIMULATOR_NODE}
