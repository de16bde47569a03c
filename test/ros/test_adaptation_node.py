"""Learning on the road over real DDS: what the node says, what it is told, and what the depth node then runs."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from spike_depth.msg import AdaptationStatus
from std_srvs.srv import SetBool, Trigger

from spike_depth_core.adaptation import AdaptationSession
from spike_depth_core.geometry.rig import pose
from spike_depth_core.networks.checkpoint import CheckpointInfo, read_info, save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.samples import SENSORS
from spike_depth_ros import adaptation_node, qos
from spike_depth_ros.adaptation_node import AdaptationNode
from spike_depth_ros.depth_node import load_estimator
from spike_depth_ros.diagnostics import ERROR, WARN
from spike_depth_ros.messages import image_to_message, odometry_to_message
from test.core.adaptation.toys import toy_originals
from test.ros.harness import CAMERAS, ENCODINGS, MS, TIMEOUT_S, Observer, Vehicle
from test.ros.test_lifecycle import CLEANUP, CONFIGURE, DEACTIVATE, Manager
from test.ros.test_processes import program
from test.ros.test_runtime_parameters import Setter

SMALL = Architecture(widths=(8, 8, 8, 8, 8), trunk_blocks=1, pixels=32 * 32)
# Whatever has been learned is accepted, so that it is known when something is.
EASY = {
    "live_bound": 9.0,
    "original_bound": 9.0,
    "least_held_out": 1,
    "review_every": 2,
    "max_uncertainty": 9.0,
    "alignment": -2.0,
    "budget": 1000.0,
    "interval": 0.05,
    "students": ["spikes"],
    "status_rate": 10.0,
    "niceness": 0,
}


class Driving(Vehicle):
    """A vehicle whose pictures change."""

    def send_frame(self, sensor, time_ns=None):
        camera, encoding = CAMERAS[sensor], ENCODINGS[sensor]
        shape = (camera.height, camera.width, 3) if sensor == "rgb" else (camera.height, camera.width)
        chance = np.random.default_rng(self.time_ns % 2**32)
        image = chance.integers(20, 200, shape).astype(np.uint16 if encoding == "mono16" else np.uint8)
        self.images[sensor].publish(
            image_to_message(image, encoding, time_ns or self.time_ns, f"{sensor}_optical_frame")
        )

    def moment(self):
        self.announce()
        self.send_spikes(10)
        for sensor in self.images:
            self.send_frame(sensor)
        self.send_spikes(1)
        self.time_ns += 80 * MS


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("first") / "first.safetensors"
    save_checkpoint(path, DepthNetwork(SMALL), CheckpointInfo(SMALL))
    return path


class Scene:
    """A depth node, an adaptation node that is off, and a vehicle that the latter hears."""

    def __init__(self, graph, first, folder, vehicle=Driving, **parameters):
        self.graph, self.first = graph, read_info(first).sha256
        self.depth_node = graph.add_depth_node(load_estimator, checkpoint=str(first), backend="torch", debug=False)
        self.vehicle, self.observer = graph.add(vehicle, "/adaptation_node"), graph.add(Observer)
        self.observer.listen(AdaptationStatus, "/adaptation_node/status")
        self.clients = {
            name: self.observer.create_client(SetBool if name == "enable" else Trigger, f"/adaptation_node/{name}")
            for name in ("enable", "snapshot", "roll_back", "reset")
        }
        values = EASY | {"checkpoint": str(first), "snapshots": str(folder)} | parameters
        values |= {f"{sensor}.timeout": 10.0 for sensor in SENSORS}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        self.node = graph.add(AdaptationNode, lambda _: iter(toy_originals()), parameter_overrides=overrides)
        ready = self.clients.values()
        self.observer.wait(lambda: all(client.service_is_ready() for client in ready), "the services")

    def ask(self, name, **request):
        client = self.clients[name]
        return client.call_async(client.srv_type.Request(**request))

    def call(self, name, **request):
        future = self.ask(name, **request)
        self.observer.wait(future.done, f"the answer to {name}")
        return future.result()

    @property
    def status(self):
        return (self.observer.received["status"] or [AdaptationStatus()])[-1]

    def running(self):
        """The hash that the depth node says."""
        return self.observer.status("depth_node: model").get("sha256", "")

    def drive(self, until, what):
        """Send moments, each when the one before has been looked at."""

        def step():
            if until():
                return True
            looked_at = self.node.learner.progress.moments
            self.vehicle.moment()
            # Long enough that nothing piles up where the machine is slow; a moment that was lost costs as much.
            self.observer.wait_a_little(lambda: self.node.learner.progress.moments > looked_at, 5.0)
            return False

        self.observer.wait(step, f"{what}; {self.status}")

    def in_service(self, sha256=None):
        """Wait until the depth node runs what is in service."""

        def same():
            status = self.status
            wanted = sha256 or status.service_sha256
            return wanted and wanted == status.service_sha256 == status.running_sha256 == self.running()

        self.observer.wait(same, f"{sha256 or 'what was learned'} in the depth node")


def subscribed(node):
    return {s.topic_name for s in node.subscriptions if "/input/" in s.topic_name}


def test_off_it_does_nothing_and_on_it_learns_and_the_depth_node_runs_it(graph, checkpoint, tmp_path):
    scene = Scene(graph, checkpoint, tmp_path / "kept")
    scene.observer.wait(lambda: scene.observer.received["status"], "a status")
    assert (scene.status.state, scene.status.service_sha256) == (AdaptationStatus.DISABLED, "")
    assert subscribed(scene.node) == set()
    assert not (tmp_path / "kept").exists()

    assert scene.call("enable", data=True).success
    scene.vehicle.connect(scene.observer.wait)
    scene.drive(lambda: scene.status.swaps >= 1, "a swap")
    scene.in_service()
    status = scene.status
    assert status.service_sha256 != status.first_sha256 == scene.first
    assert status.steps >= 2
    assert status.accepted > 0
    assert np.isfinite(status.loss)
    assert 0 < status.kept_share <= 1
    assert max(m.spent_ms for m in scene.observer.received["status"]) > 0
    assert read_info(status.service).sha256 == status.service_sha256
    assert int(scene.observer.status("depth_node: model")["changes"]) >= 1
    states = {m.state for m in scene.observer.received["status"]}
    assert {AdaptationStatus.DISABLED, AdaptationStatus.LEARNING} <= states

    assert scene.call("enable", data=False).success
    scene.observer.wait(lambda: scene.status.state == AdaptationStatus.DISABLED, "the end of it")
    assert subscribed(scene.node) == set()
    scene.in_service()  # what was learned stays

    served, parent = scene.status.service_sha256, read_info(scene.status.service).parent
    answer = scene.call("roll_back")  # while it is off, too
    assert (answer.success, answer.message) == (True, f"in service: {parent}")
    scene.in_service(parent)
    assert served != parent
    answer = scene.call("reset")
    assert (answer.success, answer.message) == (True, f"in service: {scene.first}")
    scene.in_service(scene.first)
    answer = scene.call("roll_back")
    assert not answer.success
    assert "nothing before them" in answer.message
    answer = scene.call("snapshot")
    assert scene.node.snapshots.serving() in ("", answer.message.removeprefix("in service: "))


class Moving(Driving):
    """Tells where it is, half a metre further at each moment."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.places = self.create_publisher(Odometry, f"{self.target}/input/odometry", qos.image_publisher())
        self.moments = 0

    def moment(self):
        place = pose((0.0, 0.0, 0.5 * self.moments))
        self.places.publish(odometry_to_message(place, self.time_ns, "odom", "spikes_optical_frame"))
        self.moments += 1
        super().moment()


def test_with_odometry_parallax_measures_what_is_learned_from(graph, checkpoint, tmp_path):
    scene = Scene(graph, checkpoint, tmp_path, vehicle=Moving, enabled=True)
    scene.vehicle.connect(scene.observer.wait)
    scene.observer.wait(scene.vehicle.places.get_subscription_count, "the subscription to odometry")

    def measured():
        scene.vehicle.moment()
        sent = scene.vehicle.moments
        scene.observer.wait_a_little(lambda: scene.node._reception.sync.counts()["spikes"]["used"] >= sent, 0.3)
        return scene.status.measured > 0 and scene.observer.status("adaptation_node: inputs").get("odometry/topic")

    assert scene.observer.wait(measured, f"measured moments; {scene.status}") == "/adaptation_node/input/odometry"
    inputs = scene.observer.status("adaptation_node: inputs")
    assert inputs["odometry/child_frame"] == "spikes_optical_frame"
    assert scene.status.measured <= scene.status.accepted


def test_a_snapshot_is_asked_for_kept_and_taken_up_again(graph, checkpoint, tmp_path):
    scene = Scene(graph, checkpoint, tmp_path, enabled=True, review_every=1_000_000)
    answer = scene.call("snapshot")
    assert not answer.success
    scene.vehicle.connect(scene.observer.wait)
    scene.drive(lambda: scene.status.steps >= 5, "steps")
    assert scene.status.service_sha256 == scene.first
    answer = scene.call("snapshot")
    assert answer.success, answer.message
    learned = answer.message.removeprefix("in service: ")
    scene.in_service(learned)
    set_parameters = Setter(scene.observer)
    assert set_parameters(checkpoint=str(checkpoint))[0].successful  # by hand: that stays
    scene.observer.wait(lambda: scene.running() == scene.first, "the first weights")
    said = scene.observer.wait(
        lambda: (s := scene.observer.status("adaptation_node: adaptation")).get("level") == WARN and s, "a warning"
    )
    assert f"was set to {scene.first[:16]} by hand" in said["message"]
    before = scene.status.steps
    scene.drive(lambda: scene.status.steps >= before + 5, "more steps")
    answer = scene.call("snapshot")
    assert answer.success, answer.message
    learned = answer.message.removeprefix("in service: ")
    scene.observer.wait(  # whatever goes into service later
        lambda: f"until it is set to {learned[:16]}" in scene.observer.status("adaptation_node: adaptation")["message"],
        "the later weights",
    )
    assert scene.running() == scene.first
    # A depth node that has been started anew is given it again.
    assert Manager(graph, scene.observer)(DEACTIVATE, CLEANUP, CONFIGURE) == [True] * 3
    scene.in_service(learned)


def test_weights_of_another_origin_are_left_alone(graph, checkpoint, tmp_path):
    other = tmp_path / "other.safetensors"
    torch.manual_seed(1)
    save_checkpoint(other, DepthNetwork(SMALL), CheckpointInfo(SMALL))
    scene = Scene(graph, checkpoint, tmp_path / "kept", enabled=True, checkpoint=str(other))
    status = scene.observer.wait(
        lambda: "left alone" in (s := scene.observer.status("adaptation_node: adaptation")).get("message", "") and s,
        "the note",
    )
    assert status["level"] == WARN
    assert scene.running() == scene.first


def test_what_it_cannot_do_without_is_named_and_tried_again(graph, checkpoint, tmp_path):
    scene = Scene(graph, checkpoint, tmp_path)
    working = scene.node.learner._original

    def failing():
        raise ValueError("no sample files in /nowhere")

    scene.node.learner._original = failing
    assert scene.call("enable", data=True).success
    scene.observer.wait(lambda: scene.status.state == AdaptationStatus.FAILED, "the failure")
    assert scene.status.reason == "no sample files in /nowhere"
    scene.observer.wait(lambda: scene.observer.status("adaptation_node: adaptation").get("level") == ERROR, "the error")
    scene.node.learner._original = working
    assert scene.call("enable", data=True).success
    scene.observer.wait(lambda: scene.status.state == AdaptationStatus.WATCHING, "the second try")
    assert scene.status.reason == "no moment yet"


def test_a_command_that_fails_is_answered_with_the_reason(graph, checkpoint, tmp_path, monkeypatch):
    def failing(_):
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(AdaptationSession, "snapshot", failing)
    scene = Scene(graph, checkpoint, tmp_path)
    for _ in range(2):
        answer = scene.call("snapshot")
        assert (answer.success, answer.message) == (False, "RuntimeError: CUDA out of memory")


@pytest.fixture
def held_up(monkeypatch):
    """Set, it lets snapshots be taken that have been asked for."""
    go_on = threading.Event()

    def snapshot(_):
        assert go_on.wait(TIMEOUT_S)
        return "what was learned"

    monkeypatch.setattr(AdaptationSession, "snapshot", snapshot)
    yield go_on
    go_on.set()


def test_while_a_command_takes_its_time_the_node_does_all_else(graph, checkpoint, tmp_path, held_up):
    scene = Scene(graph, checkpoint, tmp_path, enabled=True)
    snapshots = [scene.ask("snapshot") for _ in range(2)]
    assert scene.call("enable", data=False).success
    assert subscribed(scene.node) == set()
    for kind in ("status", "diagnostics"):
        scene.observer.received[kind].clear()
        scene.observer.wait(lambda kind=kind: scene.observer.received[kind], kind)
    assert not any(snapshot.done() for snapshot in snapshots)
    held_up.set()
    for snapshot in snapshots:
        scene.observer.wait(snapshot.done, "the answer")
        assert (snapshot.result().success, snapshot.result().message) == (True, "in service: what was learned")


def test_a_command_that_takes_too_long_is_answered_before_it_is_done(graph, checkpoint, tmp_path, held_up, monkeypatch):
    monkeypatch.setattr(adaptation_node, "ANSWER_S", 0.1)
    scene = Scene(graph, checkpoint, tmp_path)
    timers = len(list(scene.node.timers))
    answer = scene.call("snapshot")
    assert (answer.success, answer.message) == (False, "not done after 0 s; it will be")
    held_up.set()
    scene.observer.wait(lambda: scene.call("snapshot").success, "the next")
    assert len(list(scene.node.timers)) == timers


def test_in_a_namespace_its_statuses_have_the_full_name(graph, tmp_path):
    observer = graph.add(Observer)
    arguments = ["--ros-args", "-r", "__ns:=/left"]
    overrides = [Parameter("snapshots", value=str(tmp_path)), Parameter("target", value="")]
    graph.add(AdaptationNode, lambda _: iter(()), parameter_overrides=overrides, cli_args=arguments)
    array = observer.wait(lambda: observer.received["diagnostics"], "diagnostics")[0]
    assert [s.name for s in array.status] == ["left/adaptation_node: adaptation", "left/adaptation_node: inputs"]


def test_a_budget_that_is_raised_is_used_at_once(graph, checkpoint, tmp_path):
    scene = Scene(graph, checkpoint, tmp_path, enabled=True, budget=0.0)
    scene.vehicle.connect(scene.observer.wait)
    scene.drive(lambda: scene.node.learner.progress.moments == 1, "the one moment that may be begun")
    assert scene.node.set_parameters([Parameter("budget", value=1000.0)])[0].successful
    scene.drive(lambda: scene.node.learner.progress.moments > 1, "more moments")


def test_the_process_starts_off_and_ends_when_told_to(graph, tmp_path):
    observer = graph.add(Observer)
    observer.listen(AdaptationStatus, "/adaptation_node/status")
    arguments = ["--ros-args", "--params-file", "config/adaptation.yaml"]
    with program("adaptation_node", *arguments, ROS_HOME=str(tmp_path)) as process:
        observer.wait(lambda: observer.received["status"] or process.poll() is not None, "a status")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert observer.received["status"][-1].state == AdaptationStatus.DISABLED
    assert not (tmp_path / "spike_depth").exists()
