"""The parameter table, the YAML in config/ and the documentation say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import rclpy
import yaml
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter

from spike_depth_ros.parameters import DEPTH_NODE, NODES, Parameter, declare, markdown

ROOT = Path(__file__).resolve().parents[2]
FILES = {"depth_node": "depth.yaml", "simulator_node": "simulator.yaml"}


@pytest.fixture
def context():
    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    rclpy.shutdown(context=context)


def make(context, **values):
    overrides = [RosParameter(name, value=value) for name, value in values.items()]
    return Node("n", context=context, parameter_overrides=overrides, start_parameter_services=False)


@pytest.mark.parametrize("node", NODES)
def test_the_parameter_file_is_complete_and_holds_the_defaults(node):
    content = yaml.safe_load((ROOT / "config" / FILES[node]).read_text())
    assert content == {"/**": {"ros__parameters": {p.name: p.default for p in NODES[node]}}}


@pytest.mark.parametrize("node", NODES)
def test_the_documentation_has_the_table(node):
    assert markdown(NODES[node]) in (ROOT / "docs" / "ros.md").read_text()


@pytest.mark.parametrize("node", NODES)
def test_defaults_are_within_their_ranges_and_everything_is_described(context, node):
    values = declare(make(context), NODES[node])
    assert vars(values) == {p.name: p.default for p in NODES[node]}
    assert all(p.description.endswith(".") for p in NODES[node])


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"threads": 0}, InvalidParameterValueException),
        ({"threads": "two"}, InvalidParameterTypeException),
        ({"tolerance": -0.1}, InvalidParameterValueException),
        ({"device": "tpu"}, ValueError),
        ({"sensors": ["spikes", "radar"]}, ValueError),
    ],
)
def test_what_is_not_allowed_is_refused(context, values, error):
    with pytest.raises(error) as caught:
        declare(make(context, **values), DEPTH_NODE)
    assert next(iter(values)) in str(caught.value)


def test_descriptors_carry_ranges_and_choices(context):
    node = make(context)
    table = (Parameter("rate", 1.5, "Rate.", 0.5, 2.0), Parameter("kind", "a", "Kind.", choices=("a", "b")))
    declare(node, table)
    rate, kind = node.describe_parameters(["rate", "kind"])
    assert (rate.floating_point_range[0].from_value, rate.floating_point_range[0].to_value) == (0.5, 2.0)
    assert kind.additional_constraints == "one of 'a', 'b'"
