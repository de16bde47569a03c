"""The parameter table, the YAML in config/ and the documentation say the same."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter as RosParameter
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo

from spike_depth_core.adaptation import AdaptationOptions
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.world import DrivePlayer, vehicle_rig
from spike_depth_ros.adaptation_parameters import ADAPTATION_NODE, options
from spike_depth_ros.demo import demo
from spike_depth_ros.depth_parameters import DEPTH_NODE, settings
from spike_depth_ros.parameters import Parameter, declare, markdown, nested
from spike_depth_ros.player_parameters import PLAYER_NODE
from spike_depth_ros.simulator_parameters import SIMULATOR_NODE

ROOT = Path(__file__).resolve().parents[2]
NODES = {"depth_node": DEPTH_NODE, "adaptation_node": ADAPTATION_NODE, "simulator_node": SIMULATOR_NODE}
FILES = {"depth_node": "depth.yaml", "adaptation_node": "adaptation.yaml", "simulator_node": "simulator.yaml"}


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
    assert content == {"/**": {"ros__parameters": nested(NODES[node])}}


@pytest.mark.parametrize("table", [*NODES.values(), PLAYER_NODE])
def test_the_documentation_has_the_table(table):
    assert markdown(table) in (ROOT / "docs" / "ros.md").read_text()


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
        ({"rgb.timeout": -0.1}, InvalidParameterValueException),
        ({"device": "tpu"}, ValueError),
        ({"sensors": ["spikes", "radar"]}, ValueError),
    ],
)
def test_what_is_not_allowed_is_refused(context, values, error):
    with pytest.raises(error) as caught:
        declare(make(context, **values), DEPTH_NODE)
    assert next(iter(values)) in str(caught.value)


@pytest.mark.parametrize(
    ("policy", "value"),
    [
        ("reliability", "besteffort"),
        ("reliability", "unknown"),
        ("reliability", 5),
        ("history", ""),
        ("history", "best_available"),
        ("depth", -1),
        ("depth", 2**31),
        ("depth", True),
        ("depth", "ten"),
    ],
)
def test_a_quality_of_service_that_cannot_be_is_refused_at_the_start(context, policy, value):
    name = f"qos_overrides./n/input/rgb.subscription.{policy}"
    with pytest.raises(ValueError, match=re.escape(f"parameter {name!r} must be ")) as caught:
        declare(make(context, **{name: value}), DEPTH_NODE)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("policy", "value"),
    [("reliability", "RELIABLE"), ("reliability", "best_available"), ("history", "keep_all"), ("depth", 1)],
)
def test_a_quality_of_service_that_rclpy_can_make_is_let_through(context, policy, value):
    node = make(context, **{f"qos_overrides./n/input.subscription.{policy}": value})
    declare(node, DEPTH_NODE)
    node.create_subscription(
        CameraInfo, "/n/input", lambda _: None, 1, qos_overriding_options=QoSOverridingOptions.with_default_policies()
    )


def test_descriptors_carry_ranges_and_choices(context):
    node = make(context)
    table = (Parameter("rate", 1.5, "Rate.", 0.5, 2.0), Parameter("kind", "a", "Kind.", choices=("a", "b")))
    declare(node, table)
    rate, kind = node.describe_parameters(["rate", "kind"])
    assert (rate.floating_point_range[0].from_value, rate.floating_point_range[0].to_value) == (0.5, 2.0)
    assert kind.additional_constraints == "one of 'a', 'b'"


def test_descriptors_say_when_a_change_takes_effect(context):
    node = make(context)
    declare(node, DEPTH_NODE)
    names = [parameter.name for parameter in DEPTH_NODE]
    descriptors = dict(zip(names, node.describe_parameters(names), strict=True))
    assert {name for name, d in descriptors.items() if d.read_only} == {"autostart", "hardware_id", "diagnostics_rate"}
    assert "unconfigured" in descriptors["rig"].additional_constraints
    assert descriptors["rate"].additional_constraints == ""


@pytest.mark.parametrize("rate_hz", [1.0, 1.0001, 7.3, 29.975, 120.0])
def test_the_longest_drive_that_may_be_asked_for_is_one_that_the_street_holds(rate_hz):
    class Begun(Exception):
        pass

    def progress(done, total):
        raise Begun

    parameters = {parameter.name: parameter for parameter in SIMULATOR_NODE}
    assert parameters["frame_rate"].least <= rate_hz <= parameters["frame_rate"].most
    rig = SensorRig({"spikes": PinholeCamera.from_focal(8, 8, 8.0)})
    longest = parameters["duration"].most
    with pytest.raises(Begun):
        DrivePlayer.prepare(3, longest, "day", rig, rate_hz, sensors=(), progress=progress, workers=0)
    with pytest.raises(ValueError, match="a scene lasts"):
        DrivePlayer.prepare(3, longest + 1.5, "day", rig, rate_hz, sensors=(), progress=progress, workers=0)
    seconds = inspect.signature(demo, eval_str=True).parameters["seconds"].annotation
    assert seconds.__metadata__[0].max == longest


def test_a_drive_takes_the_memory_that_its_parameter_says():
    values = {parameter.name: parameter.default for parameter in SIMULATOR_NODE}
    rate, sensors = values["frame_rate"], values["sensors"]
    sizes = []
    for frames in (1, 2):
        player = DrivePlayer.prepare(3, frames / rate, "day", vehicle_rig(), rate, sensors, workers=0)
        held = [*vars(player).values(), *(player.image(sensor, 0).base for sensor in sensors)]
        sizes.append(sum(array.nbytes for array in held if isinstance(array, np.ndarray)))
    measured = (sizes[1] - sizes[0]) * rate / 1e6
    description = next(parameter.description for parameter in SIMULATOR_NODE if parameter.name == "duration")
    for said in (description, DrivePlayer.__doc__):
        assert int(re.search(r"(\d+) MB", said).group(1)) == pytest.approx(measured, rel=0.03)


def defaults(**changes):
    return {p.name: p.default for p in DEPTH_NODE} | {name.replace("__", "."): value for name, value in changes.items()}


def test_what_the_values_come_to():
    changes = {"rate": 20.0, "thermal.offset": -0.004, "thermal.required": True, "range_max": 80.0}
    found = settings(defaults(sensors=["thermal", "spikes"], **changes))
    assert found.sensors == ("spikes", "thermal")
    assert found.required == {"thermal"}
    assert found.timing.interval_ns == 50_000_000
    assert found.timing.of("thermal").offset_ns == -4_000_000
    assert found.timing.of("spikes").noise_ns == 17_000_000
    assert (found.limits.near, found.limits.far) == (0.0, 80.0)
    assert settings(defaults()).timing.interval_ns == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sensors": []}, "'sensors' must name at least one"),
        ({"sensors": ["rgb"], "nir__required": True}, "'nir.required' is true, but 'sensors' has only rgb"),
        ({"sensors": ["rgb"], "trigger": "rate"}, "'trigger' is 'rate', but 'sensors' has only rgb"),
        ({"sensors": ["rgb"], "reference": "spikes"}, "'reference' is 'spikes', but"),
        ({"range_min": 80.0, "range_max": 80.0}, "'range_min' must be less than 'range_max', found 80.0 and 80.0"),
    ],
)
def test_values_that_do_not_fit_one_another_are_named(changes, said):
    with pytest.raises(ValueError, match=said):
        settings(defaults(**changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"students": ["spikes+radar"]}, "'students' must name of .* found 'spikes.radar'"),
        ({"students": []}, "'students' must name at least one"),
        ({"sensors": ["rgb", "thermal"]}, "'students' names spikes, but 'sensors' has only rgb, thermal"),
        ({"sensors": ["spikes", "thermal"]}, "'required' names rgb, but"),
        ({"held_out": 3}, "'least_held_out' is 4, but only 3 moments are ever held out"),
        ({"sensors": ["spikes", "thermal"], "teacher": ["rgb", "nir"]}, "'teacher' names rgb, nir, but 'sensors' has"),
    ],
)
def test_students_that_cannot_be_taught_are_named(changes, said):
    with pytest.raises(ValueError, match=said):
        options({p.name: p.default for p in ADAPTATION_NODE} | changes)


def test_the_defaults_of_the_adaptation_are_those_of_the_engine():
    found = options({p.name: p.default for p in ADAPTATION_NODE})
    assert found.students == (("spikes",), ("spikes", "thermal"))
    assert dataclasses.replace(found, gate=AdaptationOptions().gate) == AdaptationOptions()
    assert found.gate.interval_s == 0.25


def test_the_teacher_is_asked_for_the_sensors_that_are_heard():
    found = options({p.name: p.default for p in ADAPTATION_NODE} | {"sensors": ["rgb", "spikes", "thermal"]})
    assert found.teacher_sensors == ("spikes", "rgb", "thermal")


def test_one_bound_holds_for_the_original_domain_by_night_and_by_day():
    guard = options({p.name: p.default for p in ADAPTATION_NODE} | {"original_bound": 0.5}).guard
    assert (guard.original_bound, guard.fused_bound) == (0.5, 0.5)
