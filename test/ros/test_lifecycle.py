"""The life of the depth node, driven through its services as a lifecycle manager does."""

from __future__ import annotations

import gc
import resource
import threading
from pathlib import Path

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState

from spike_depth_core.networks.checkpoint import CheckpointInfo, save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_ros.depth_node import load_estimator
from spike_depth_ros.diagnostics import ERROR, OK
from test.ros.harness import Observer, Vehicle

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
SHUTDOWN = Transition.TRANSITION_ACTIVE_SHUTDOWN


class Manager:
    """Asks a node for transitions."""

    def __init__(self, graph, observer):
        self._observer = observer
        self._change = observer.create_client(ChangeState, "/depth_node/change_state")
        self._get = observer.create_client(GetState, "/depth_node/get_state")
        observer.wait(lambda: self._change.service_is_ready() and self._get.service_is_ready(), "the services")

    def _call(self, client, request, what):
        future = client.call_async(request)
        self._observer.wait(future.done, what)
        return future.result()

    def __call__(self, *transitions: int) -> list[bool]:
        return [
            self._call(
                self._change, ChangeState.Request(transition=Transition(id=number)), f"transition {number}"
            ).success
            for number in transitions
        ]

    @property
    def state(self) -> int:
        return self._call(self._get, GetState.Request(), "the state").current_state.id


def published(node) -> set[str]:
    """What the node itself has: the graph also tells of nodes of this name whose process has not forgotten them."""
    return {publisher.topic_name for publisher in node.publishers}


def subscribed(node) -> set[str]:
    return {subscription.topic_name for subscription in node.subscriptions}


def send_until_depth(vehicle, observer):
    observer.received["image_rect"].clear()

    def depth():
        vehicle.announce()
        vehicle.send_spikes(1)
        return observer.received["image_rect"]

    observer.wait(depth, "depth")


def test_what_each_transition_does(graph):
    node = graph.add_depth_node(autostart=False)
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    manager = Manager(graph, observer)
    assert manager.state == State.PRIMARY_STATE_UNCONFIGURED
    assert "/depth_node/depth/image_rect" not in published(node)

    assert manager(CONFIGURE) == [True]
    assert manager.state == State.PRIMARY_STATE_INACTIVE
    assert {"/depth_node/depth/image_rect", "/depth_node/depth/points"} <= published(node)
    assert "/depth_node/input/spikes" not in subscribed(node)

    assert manager(ACTIVATE) == [True]
    assert manager.state == State.PRIMARY_STATE_ACTIVE
    assert {"/depth_node/input/spikes", "/depth_node/input/spikes/camera_info"} <= subscribed(node)
    vehicle.connect(observer.wait)
    send_until_depth(vehicle, observer)

    assert manager(DEACTIVATE) == [True]
    assert "/depth_node/input/spikes" not in subscribed(node)
    assert node._pipeline is None
    assert not [thread for thread in threading.enumerate() if thread.name == "estimate"]

    assert manager(CLEANUP) == [True]
    assert manager.state == State.PRIMARY_STATE_UNCONFIGURED
    assert "/depth_node/depth/image_rect" not in published(node)
    assert node._estimator is None

    assert manager(CONFIGURE, ACTIVATE) == [True, True]
    vehicle.connect(observer.wait)
    send_until_depth(vehicle, observer)
    assert manager(SHUTDOWN) == [True]
    assert manager.state == State.PRIMARY_STATE_FINALIZED
    assert "/depth_node/input/spikes" not in subscribed(node)


def test_a_transition_that_the_state_does_not_have_is_refused_and_depth_goes_on(graph, capfd):
    graph.add_depth_node()
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    manager = Manager(graph, observer)
    assert manager(CONFIGURE, ACTIVATE, CLEANUP, 250) == [False] * 4
    assert manager.state == State.PRIMARY_STATE_ACTIVE
    said = capfd.readouterr().err
    assert all(f"there is no transition {number} from the state active" in said for number in (CONFIGURE, 250))
    vehicle.connect(observer.wait)
    send_until_depth(vehicle, observer)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"checkpoint": "/nowhere/x.safetensors"}, "there is no checkpoint /nowhere/x.safetensors"),
        ({"rig": "/nowhere/rig.yaml"}, "/nowhere/rig.yaml"),
        ({"device": "cuda"}, "cuda"),
    ],
)
def test_configure_fails_with_the_reason_and_the_node_stays_up(graph, parameters, said):
    if parameters.get("device") == "cuda":
        import torch

        if torch.cuda.is_available():
            pytest.skip("this machine has CUDA")
    graph.add_depth_node(load_estimator, autostart=False, **parameters)
    observer = graph.add(Observer)
    manager = Manager(graph, observer)
    assert manager(CONFIGURE) == [False]
    assert manager.state == State.PRIMARY_STATE_UNCONFIGURED
    status = observer.wait(lambda: (s := observer.status("depth_node: model")).get("level") == ERROR and s, "the error")
    assert said in status["message"]


def test_activate_fails_with_the_reason_leaves_nothing_and_may_be_tried_again(graph):
    node = graph.add_depth_node(autostart=False)
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    manager = Manager(graph, observer)
    assert manager(CONFIGURE) == [True]
    inactive, subscribe = entities(node), node.create_subscription

    def failing(kind, topic, *arguments, **options):
        if topic.endswith("thermal/camera_info"):
            raise RuntimeError("no more subscriptions")
        return subscribe(kind, topic, *arguments, **options)

    node.create_subscription = failing
    for _ in range(3):
        assert manager(ACTIVATE) == [False]
        assert manager.state == State.PRIMARY_STATE_INACTIVE
        assert entities(node) == inactive
    status = observer.wait(lambda: (s := observer.status("depth_node: model")).get("level") == ERROR and s, "the error")
    assert status["message"] == "RuntimeError: no more subscriptions"
    assert not any(publisher.is_activated for publisher in node._outputs.publishers)
    node.create_subscription = subscribe
    assert manager(ACTIVATE) == [True]
    vehicle.connect(observer.wait)
    send_until_depth(vehicle, observer)
    assert manager(DEACTIVATE) == [True]
    observer.wait(lambda: observer.status("depth_node: model").get("state") == "inactive", "the end of it")
    assert observer.status("depth_node: model")["level"] == OK


def test_a_rig_that_lacks_all_sensors_is_no_configuration(graph, tmp_path):
    rig = tmp_path / "rig.yaml"
    rig.write_text("reference: nir_right\nsensors:\n  nir_right: {width: 8, height: 8, fx: 8, fy: 8, cx: 4, cy: 4}\n")
    with pytest.raises(ValueError, match="the rig has nir_right"):
        graph.add_depth_node(rig=str(rig))


def entities(node) -> dict[str, int]:
    return {
        "subscriptions": len(list(node.subscriptions)),
        "publishers": len(list(node.publishers)),
        "timers": len(list(node.timers)),
        "services": len(list(node.services)),
        "waitables": len(list(node.waitables)),
        "managed": len(node._managed_entities),
        "threads": threading.active_count(),
    }


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def test_fifty_cycles_leak_nothing(graph, tmp_path):
    """A network of a megabyte is loaded fifty times, and a history of spikes is filled: kept even once in a while, they
    would show."""
    architecture = Architecture(widths=(8, 16, 32, 64, 96), trunk_blocks=1)
    network = DepthNetwork(architecture)
    checkpoint = tmp_path / "small.safetensors"
    save_checkpoint(checkpoint, network, CheckpointInfo(architecture))
    node = graph.add_depth_node(load_estimator, autostart=False, checkpoint=str(checkpoint), debug=False)
    node._warm = lambda estimator: estimator  # it is slow at the size of the vehicle's cameras, and keeps nothing
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    manager = Manager(graph, observer)

    def cycle():
        assert manager(CONFIGURE, ACTIVATE) == [True, True]
        active = entities(node)
        observer.wait(lambda: vehicle.spikes.get_subscription_count(), "the subscription")
        vehicle.announce()
        vehicle.send_spikes(4)
        assert manager(DEACTIVATE, CLEANUP) == [True, True]
        return active, entities(node)

    for _ in range(5):  # what is cached and compiled
        first = cycle()
    gc.collect()
    before = resident_mib()
    for _ in range(45):
        assert cycle() == first
    gc.collect()
    assert resident_mib() - before < 12.0  # MiB; a network kept each time would be 45
    assert sum(p.numel() * 4 for p in network.parameters()) > 2**20


def test_without_autostart_nothing_is_loaded(graph):
    def fail(_):
        raise AssertionError("loaded")

    node = graph.add_depth_node(fail, autostart=False)
    assert node.state == "unconfigured"
    observer = graph.add(Observer)
    observer.wait(lambda: observer.status("depth_node: inputs").get("message") == "unconfigured", "diagnostics")
