"""Parameters from one table: declared with it, documented from it, and the YAML in config/ is tested against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from spike_depth_ros.qos import check_overrides
from spike_depth_ros.reporter import cause

# When a change takes effect: at once; when the node is configured, so that it is to be cleaned up before; at its start.
Change = Literal["now", "configure", "start"]


@dataclass(frozen=True)
class Parameter:
    """One parameter. Its type is that of the default.

    Attributes:
        name: as in the YAML; a dot stands for a level.
        default: value where none is given.
        description: what it does, with its unit.
        least, most: the range of a number, both ends included.
        choices: the values allowed, if these are few.
        change: when a change takes effect.
    """

    name: str
    default: Any
    description: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    change: Change = "start"

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
        descriptor = ParameterDescriptor(description=self.description, read_only=self.change == "start")
        if self.choices:
            descriptor.additional_constraints = f"one of {self.allowed}"
        if self.change == "configure":
            descriptor.additional_constraints += "; " if self.choices else ""
            descriptor.additional_constraints += "can be set while the node is unconfigured"
        if isinstance(self.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=self.least, to_value=self.most)]
        elif isinstance(self.default, int) and not isinstance(self.default, bool):
            descriptor.integer_range = [IntegerRange(from_value=self.least, to_value=self.most, step=1)]
        return descriptor

    def checked(self, value: Any) -> Any:
        """The value, arrays as lists. Raises ValueError for one that is not among the choices."""
        value = list(value) if isinstance(self.default, list) else value
        if self.choices:
            for entry in value if isinstance(value, list) else [value]:
                if entry not in self.choices:
                    raise ValueError(f"parameter {self.name!r} must be one of {self.allowed}, found {entry!r}")
        return value


def declare(node: Node, table: Sequence[Parameter]) -> SimpleNamespace:
    """Declare a table of parameters and read them. Those of QoS are checked too.

    Raises:
        ValueError: naming the parameter, what was expected and what found.
        rclpy.exceptions.InvalidParameterTypeException, InvalidParameterValueException: likewise.
    """
    check_overrides(node)
    values = {}
    for parameter in table:
        # An empty array would be declared without a type, so that any would do: the default says it.
        found = node.declare_parameter(parameter.name, parameter.default, parameter.descriptor()).value
        values[parameter.name] = parameter.checked(found)
    return SimpleNamespace(**values)


class LiveParameters:
    """Parameters of which some may change while the node runs.

    A change is checked as a whole before any of it is applied: the values one by one by their types and ranges, and all
    of them together by `check`.

    Args:
        node: declares them.
        table: the parameters.
        check: raises ValueError for values that do not fit one another.
        apply: is called with all values after a change.
        may_configure: whether what takes effect when the node is configured may be changed at present.

    Attributes:
        values: the present ones by name.
    """

    def __init__(
        self,
        node: Node,
        table: Sequence[Parameter],
        check: Callable[[dict[str, Any]], Any],
        apply: Callable[[dict[str, Any]], None],
        may_configure: Callable[[], bool],
    ):
        self._table = {parameter.name: parameter for parameter in table}
        self._check, self._apply, self._may_configure = check, apply, may_configure
        self.values: dict[str, Any] = vars(declare(node, table))
        check(self.values)
        node.add_on_set_parameters_callback(self._validate)
        node.add_post_set_parameters_callback(self._changed)

    def _own(self, parameters: Sequence[RosParameter]) -> dict[str, Any]:
        """Values of those that are in the table; a node has others, such as those of QoS."""
        return {p.name: self._table[p.name].checked(p.value) for p in parameters if p.name in self._table}

    def _validate(self, parameters: Sequence[RosParameter]) -> SetParametersResult:
        try:
            new = self._own(parameters)
            for name, value in new.items():
                if self._table[name].change == "configure" and value != self.values[name] and not self._may_configure():
                    raise ValueError(f"parameter {name!r} takes effect when the node is configured: clean it up first")
            self._check(self.values | new)
        except Exception as error:  # whatever it is: nothing that is asked for ends the node
            return SetParametersResult(successful=False, reason=cause(error))
        return SetParametersResult(successful=True)

    def _changed(self, parameters: Sequence[RosParameter]) -> None:
        new = self._own(parameters)
        if new:
            self.values = self.values | new
            self._apply(self.values)


CHANGES = {"now": "at once", "configure": "when configured", "start": "at start"}


def markdown(table: Sequence[Parameter]) -> str:
    """The table for the documentation."""
    rows = [
        "| parameter | type | default | allowed | takes effect | meaning |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for entry in table:
        default = f"`{entry.default!r}`".replace("'", '"')
        change = CHANGES[entry.change]
        rows.append(
            f"| `{entry.name}` | {entry.type_name} | {default} | {entry.allowed} | {change} | {entry.description} |"
        )
    return "\n".join(rows) + "\n"


def nested(table: Sequence[Parameter]) -> dict[str, Any]:
    """The defaults as the structure that the YAML holds."""
    tree: dict[str, Any] = {}
    for parameter in table:
        *levels, name = parameter.name.split(".")
        branch = tree
        for level in levels:
            branch = branch.setdefault(level, {})
        branch[name] = parameter.default
    return tree
