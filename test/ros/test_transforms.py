"""Where the sensors are, as tf has it: the real one where it is installed, and what is made of its answers anywhere."""

from __future__ import annotations

import importlib.util
import types

import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from rclpy.clock import ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.time import Time
from std_srvs.srv import Trigger

from spike_depth_core.geometry import SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_ros import transforms
from spike_depth_ros.diagnostics import WARN
from spike_depth_ros.transforms import SensorTransforms
from test.ros.harness import CAMERAS, Observer, Vehicle
from test.ros.test_lifecycle import ACTIVATE, DEACTIVATE, Manager

RIG = SensorRig(CAMERAS, {"rgb": pose((0.08, 0.0, 0.0)), "thermal": pose((0.0, -0.12, -0.05))}, "spikes", 1.4)
FRAMES = {sensor: f"{sensor}_optical_frame" for sensor in CAMERAS}
TURN = Quaternion(x=0.0, y=0.1, z=0.0, w=0.99498743710662)


class Buffer:
    """Knows where one is, and nothing else. Like that of Jazzy it does more with a node, and does not undo it."""

    def __init__(self, node=None):
        self.known = ("spikes_optical_frame", "rgb_optical_frame")
        self.answer = (Vector3(x=0.1, y=0.2, z=0.3), TURN)
        self.cleared = 0
        if node is not None:
            node.create_service(Trigger, "tf2_frames", lambda _, response: response)
            threshold = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=True)
            self.jump_handle = node.get_clock().create_jump_callback(threshold, post_callback=lambda _: self.clear())

    def clear(self):
        self.cleared += 1

    def lookup_transform(self, target, source, time):
        if (target, source) != self.known:
            raise KeyError(source)
        stamped = TransformStamped()
        stamped.transform.translation, stamped.transform.rotation = self.answer
        return stamped


@pytest.fixture
def node(graph):
    return graph.add(Node, "listener")


@pytest.fixture
def fake(monkeypatch, node):
    listener = types.SimpleNamespace(unregister=lambda: None)
    module = types.SimpleNamespace(
        Buffer=Buffer, TransformListener=lambda *_, **__: listener, TransformException=KeyError
    )
    monkeypatch.setattr(transforms, "tf2_ros", module)
    return SensorTransforms(node)


def test_what_tf_knows_takes_the_place_of_the_rig_file(fake):
    refined = fake.refined(RIG, FRAMES)
    assert fake.source == {"spikes": "rig", "rgb": "tf", "nir": "rig", "thermal": "rig"}
    np.testing.assert_allclose(refined.reference_from("rgb"), pose((0.1, 0.2, 0.3), (0.0, 0.1, 0.0, TURN.w)))
    np.testing.assert_array_equal(refined.reference_from("thermal"), RIG.reference_from("thermal"))
    assert (refined.height, refined.reference) == (1.4, "spikes")


@pytest.mark.parametrize("reference", [{}, {"spikes": ""}])
def test_before_the_reference_has_a_frame_the_others_are_placed_to_one_another(fake, reference):
    fake._buffer.known = ("rgb_optical_frame", "thermal_optical_frame")
    refined = fake.refined(RIG, reference | {sensor: FRAMES[sensor] for sensor in ("thermal", "rgb")})
    assert fake.source == {"spikes": "rig", "rgb": "rig", "nir": "rig", "thermal": "tf"}
    expected = pose((0.1, 0.2, 0.3), (0.0, 0.1, 0.0, TURN.w))
    np.testing.assert_allclose(refined.transform("rgb", "thermal"), expected)
    np.testing.assert_array_equal(refined.reference_from("rgb"), RIG.reference_from("rgb"))


@pytest.mark.parametrize("frames", [{}, {"rgb": "rgb_optical_frame"}, {"spikes": "", "rgb": "rgb_optical_frame"}])
def test_without_frames_there_is_nothing_to_ask(fake, frames):
    refined = fake.refined(RIG, frames)
    np.testing.assert_array_equal(refined.reference_from("rgb"), RIG.reference_from("rgb"))
    assert set(fake.source.values()) == {"rig"}


def test_a_rotation_that_is_none_is_not_believed(fake):
    fake._buffer.answer = (Vector3(), Quaternion(x=0.0, y=0.0, z=0.0, w=0.0))
    assert fake.refined(RIG, FRAMES) is not None
    assert fake.source["rgb"] == "rig"


def test_a_place_that_is_none_is_not_believed(fake):
    fake._buffer.answer = (Vector3(x=float("inf"), y=0.0, z=0.0), TURN)
    np.testing.assert_array_equal(fake.refined(RIG, FRAMES).reference_from("rgb"), RIG.reference_from("rgb"))
    assert fake.source["rgb"] == "rig"


def test_on_the_node_it_serves_nothing_and_when_closed_has_left_nothing(fake, node):
    """What it served would be another name for the security policy; a callback of the clock would outlive its owner."""
    assert not [service.service_name for service in node.services if "tf2" in service.service_name]
    clock, buffer = node.get_clock(), fake._buffer
    assert node.set_parameters([Parameter("use_sim_time", value=True)])[0].successful
    clock.set_ros_time_override(Time(seconds=100, clock_type=ClockType.ROS_TIME))
    before = buffer.cleared
    clock.set_ros_time_override(Time(seconds=50, clock_type=ClockType.ROS_TIME))  # a recording starts over
    assert buffer.cleared == before + 1
    fake.close()
    clock.set_ros_time_override(Time(seconds=10, clock_type=ClockType.ROS_TIME))
    assert buffer.cleared == before + 1


def test_without_tf2_the_rig_file_stands_and_it_is_said(monkeypatch, node, capfd):
    monkeypatch.setattr(transforms, "tf2_ros", None)
    found = SensorTransforms(node)
    assert not found.available
    assert capfd.readouterr().err.count("tf2_ros_py") == 1
    np.testing.assert_array_equal(found.refined(RIG, FRAMES).reference_from("rgb"), RIG.reference_from("rgb"))
    found.close()


@pytest.mark.skipif(importlib.util.find_spec("tf2_ros") is None, reason="tf2_ros comes with a ROS 2 installation only")
def test_a_published_transform_reaches_the_rig_and_a_contradiction_is_named(graph):
    from tf2_ros import StaticTransformBroadcaster

    node = graph.add_depth_node()
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    broadcaster = StaticTransformBroadcaster(graph.add(Node, "calibration"))
    stamped = TransformStamped()
    stamped.header.frame_id, stamped.child_frame_id = "spikes_optical_frame", "rgb_optical_frame"
    stamped.transform.translation = Vector3(x=0.28, y=0.0, z=0.0)
    broadcaster.sendTransform(stamped)
    vehicle.connect(observer.wait)

    def believed():
        vehicle.announce()
        vehicle.send_spikes(2)
        vehicle.send_frame("rgb")
        return observer.status("depth_node: alignment").get("rgb/pose") == "tf"

    observer.wait(believed, "the pose of tf")
    np.testing.assert_allclose(node._pipeline.rig.reference_from("rgb")[:3, 3], (0.28, 0.0, 0.0))
    status = observer.status("depth_node: alignment")
    assert status["level"] == WARN
    assert "tf has rgb 0.0 degrees and 0.20 m from where the rig file has it" in status["message"]
    # It listens anew, and leaves nothing behind.
    assert Manager(graph, observer)(DEACTIVATE, ACTIVATE) == [True] * 2
    observer.wait(believed, "the pose of tf again")
