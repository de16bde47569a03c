"""Parameters that change while the node runs, through its services."""

from __future__ import annotations

import numpy as np
import pytest
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter

from spike_depth_ros.messages import image_from_message, image_to_message
from spike_depth_ros.time import from_stamp
from test.ros.harness import CAMERAS, MS, PACKET_NS, Observer, Vehicle
from test.ros.test_lifecycle import CONFIGURE, Manager


class Setter:
    """Sets parameters of a depth node from outside."""

    def __init__(self, observer):
        self._observer = observer
        self._clients = {
            False: observer.create_client(SetParameters, "/depth_node/set_parameters"),
            True: observer.create_client(SetParametersAtomically, "/depth_node/set_parameters_atomically"),
        }
        observer.wait(lambda: all(client.service_is_ready() for client in self._clients.values()), "the services")

    def __call__(self, atomically: bool = False, **values) -> list:
        messages = [
            Parameter(name.replace("__", "."), value=value).to_parameter_msg() for name, value in values.items()
        ]
        kind = SetParametersAtomically if atomically else SetParameters
        future = self._clients[atomically].call_async(kind.Request(parameters=messages))
        self._observer.wait(future.done, f"the answer to {values}")
        return [future.result().result] if atomically else list(future.result().results)


@pytest.fixture
def scene(graph):
    node = graph.add_depth_node()
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    vehicle.connect(observer.wait)
    return node, vehicle, observer, Setter(observer)


def next_depth(vehicle, observer, **sent):
    """A depth image of spikes that are sent now."""
    begin_ns = vehicle.time_ns

    def depth():
        vehicle.announce()
        vehicle.send_spikes(2)
        return [m for m in observer.received["image_rect"] if from_stamp(m.header.stamp) > begin_ns]

    return image_from_message(observer.wait(depth, f"depth after {sent}")[-1])


def test_range_and_confidence(scene):
    _, vehicle, observer, set_parameters = scene
    assert np.isfinite(next_depth(vehicle, observer)).sum() == 24 * 32 - 1  # one pixel is never known
    assert all(result.successful for result in set_parameters(range_min=60.0, range_max=70.0))
    depth = next_depth(vehicle, observer)
    assert np.nanmin(depth) >= 60.0
    assert np.nanmax(depth) <= 70.0
    assert np.isnan(depth).sum() > 10
    assert set_parameters(range_infinite=True)[0].successful
    depth = next_depth(vehicle, observer)
    assert np.isposinf(depth).any()
    assert np.isneginf(depth).any()
    assert set_parameters(max_uncertainty=0.2)[0].successful  # of spikes alone it is 0.3
    assert np.isnan(next_depth(vehicle, observer)).all()


def test_rate(scene):
    _, vehicle, observer, set_parameters = scene
    next_depth(vehicle, observer)
    assert all(result.successful for result in set_parameters(trigger="rate", rate=50.0))
    next_depth(vehicle, observer)
    begin_ns = vehicle.time_ns
    vehicle.send_spikes(60)
    end_ns = vehicle.time_ns - 20 * MS

    def times():
        found = sorted({from_stamp(m.header.stamp) for m in observer.received["image_rect"]})
        return [t for t in found if t > begin_ns] if found and found[-1] >= end_ns else None

    steps = np.diff(observer.wait(times, "depth at the end"))
    assert (steps % (20 * MS) == 0).all()  # on the grid; a slow machine may leave some out


def test_sensors(scene):
    node, vehicle, observer, set_parameters = scene
    assert set_parameters(sensors=["rgb", "thermal"])[0].successful
    topics = {name for name, _ in node.get_subscriber_names_and_types_by_node("depth_node", "/")}
    assert "/depth_node/input/spikes" not in topics
    assert "/depth_node/input/nir/camera_info" not in topics
    observer.received["image_rect"].clear()

    def depth():
        vehicle.announce()
        vehicle.send_spikes(1)
        vehicle.send_frame("rgb")
        vehicle.time_ns += 33 * MS
        return observer.received["image_rect"]

    assert observer.wait(depth, "depth of rgb")[0].header.frame_id == "rgb_optical_frame"
    assert set_parameters(sensors=["spikes"])[0].successful
    observer.wait(lambda: vehicle.spikes.get_subscription_count(), "the subscription")
    observer.received["image_rect"].clear()
    next_depth(vehicle, observer)


def test_depth_stays_in_the_frame_of_a_sensor_that_is_given_up_for_one_of_the_same_frame(scene):
    _, vehicle, observer, set_parameters = scene

    def frames(send):
        begin_ns = vehicle.time_ns

        def depth():
            vehicle.announce()
            send()
            return [m for m in observer.received["image_rect"] if from_stamp(m.header.stamp) > begin_ns]

        return {message.header.frame_id for message in observer.wait(depth, "depth")}

    def spikes():
        packet = vehicle.packet()
        packet.header.frame_id = "camera"
        vehicle.spikes.publish(packet)
        vehicle.seq += 1
        vehicle.time_ns += PACKET_NS

    def rgb():
        image = np.zeros((CAMERAS["rgb"].height, CAMERAS["rgb"].width, 3), np.uint8)
        vehicle.images["rgb"].publish(image_to_message(image, "rgb8", vehicle.time_ns, "camera"))
        vehicle.time_ns += 33 * MS

    assert frames(spikes) == {"camera"}
    assert set_parameters(sensors=["rgb"])[0].successful
    assert frames(rgb) == {"camera"}


def test_debug_outputs(scene):
    node, _, observer, set_parameters = scene

    def debug() -> set[str]:
        names = (name for name, _ in node.get_publisher_names_and_types_by_node("depth_node", "/"))
        return {name for name in names if "/debug/" in name}

    topics = {"/depth_node/debug/depth", "/depth_node/debug/spikes"}
    observer.wait(lambda: debug() == topics, "the debug topics")
    assert set_parameters(debug=False)[0].successful
    observer.wait(lambda: debug() == set(), "their end")
    assert set_parameters(debug=True)[0].successful
    observer.wait(lambda: debug() == topics, "the debug topics again")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"range_min": 2000.0}, "range_min"),
        ({"rate": -1.0}, "rate"),
        ({"rate": 1e-300}, "'rate' is 0 or at least 0.001 Hz"),
        ({"checkpoint": "x" * 300}, "File name too long"),
        ({"rate": 5}, "expected 'Type.DOUBLE' got 'Type.INTEGER'"),
        ({"sensors": ["spikes", "radar"]}, "radar"),
        ({"trigger": "lidar"}, "trigger"),
        ({"nir__required": 1}, "expected 'Type.BOOL' got 'Type.INTEGER'"),
        ({"rig": "/other.yaml"}, "clean it up first"),
        ({"checkpoint": "/other.safetensors"}, "there is no checkpoint /other.safetensors"),
        ({"autostart": False}, "autostart"),
        ({"diagnostics_rate": 2.0}, "diagnostics_rate"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_changes(scene, values, said):
    node, _, _, set_parameters = scene
    before = node.parameters.values
    (result,) = set_parameters(**values)
    assert not result.successful
    assert said in result.reason
    assert node.parameters.values == before


def test_values_that_do_not_fit_one_another_are_refused_as_a_whole(scene):
    node, _, _, set_parameters = scene
    before = node.parameters.values
    (result,) = set_parameters(atomically=True, range_min=50.0, range_max=40.0)
    assert not result.successful
    assert "'range_min' must be less than 'range_max'" in result.reason
    (result,) = set_parameters(atomically=True, sensors=["rgb"], trigger="thermal")
    assert "'trigger' is 'thermal'" in result.reason
    (result,) = set_parameters(atomically=True, sensors=["rgb"], spikes__required=True)
    assert "'spikes.required'" in result.reason
    assert node.parameters.values == before
    (result,) = set_parameters(atomically=True, range_min=2.0, range_max=40.0)
    assert result.successful
    assert (node.parameters.values["range_min"], node.parameters.values["range_max"]) == (2.0, 40.0)


def test_what_takes_effect_when_configured_can_be_set_before(graph):
    graph.add_depth_node(autostart=False)
    observer = graph.add(Observer)
    set_parameters = Setter(observer)
    assert set_parameters(spike_history=512)[0].successful
    assert Manager(graph, observer)(CONFIGURE) == [True]
    assert not set_parameters(spike_history=1024)[0].successful
    assert set_parameters(spike_history=512)[0].successful  # no change is none
