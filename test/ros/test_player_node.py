"""The player as others see it: the bytes of the recording, its time, pauses; and depth as the offline replay has it."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict

import numpy as np
import pytest
from rcl_interfaces.msg import Log
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from spike_depth.msg import SpikePacket
from std_srvs.srv import SetBool

from spike_depth_core.bags import BagReader, BagWriter, messages, types
from spike_depth_core.bags.sensors import SensorTopics
from spike_depth_core.evaluation.replay import Replay
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_ros.domain import private_domain
from spike_depth_ros.messages import image_from_message
from spike_depth_ros.playback_clock import PlaybackClock
from spike_depth_ros.player_node import PlayerNode, main
from spike_depth_ros.time import from_stamp
from test.core.bags.recordings import START_NS, small_recording, write_recording
from test.core.factories import small_rig
from test.ros.harness import TIMEOUT_S, Observer

RIG = small_rig(64, 48)
KINDS = {
    "/spikes/packets": SpikePacket,
    "/spikes/camera_info": CameraInfo,
    "/rgb/image_raw": Image,
    "/rgb/camera_info": CameraInfo,
    "/truth/depth/image_rect": Image,
}
EVERYTHING = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_recording(tmp_path_factory.mktemp("bag") / "a.mcap", small_recording(rig=RIG))


class Listener(Observer):
    """Keeps what comes as the bytes that came, by topic, and /clock."""

    def __init__(self, kinds, latched=(), **options):
        super().__init__("/none", **options)
        self.bytes = defaultdict(list)
        self.times = []
        for topic, kind in kinds.items():
            profile = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
            if topic in latched:
                profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
            self.create_subscription(kind, topic, self._keep(topic), profile, raw=True)
        self.create_subscription(Clock, "/clock", self._tick, EVERYTHING)

    def _keep(self, topic):
        def keep(data):
            with self._changed:
                self.bytes[topic].append(data)
                self._changed.notify_all()

        return keep

    def _tick(self, message):
        with self._changed:
            self.times.append(from_stamp(message.clock))
            self._changed.notify_all()


def play(graph, path, on_end=lambda: None, **parameters):
    overrides = [Parameter(name, value=value) for name, value in ({"bag": str(path)} | parameters).items()]
    return graph.add(PlayerNode, on_end, parameter_overrides=overrides)


def begin(graph, observer, player, subscribers):
    """Let a player that was made with `paused` begin once its topics are heard."""
    observer.wait(
        lambda: all(player._outputs[topic].get_subscription_count() >= n for topic, n in subscribers.items()),
        "the subscriptions",
    )
    pause(graph, observer, False)


def pause(graph, observer, paused):
    client = observer.create_client(SetBool, "/player_node/pause")
    observer.wait(client.service_is_ready, "the service")
    future = client.call_async(SetBool.Request(data=paused))
    observer.wait(future.done, "the answer")
    assert future.result().success
    return future.result().message


def recorded(path, topic, start_ns=0):
    return [bytes(message.data) for message in BagReader(path).messages([topic], start_ns)]


def test_every_message_comes_as_it_was_recorded(graph, path):
    listener = graph.add(Listener, KINDS)
    ended = threading.Event()
    player = play(graph, path, ended.set, paused=True, rate=2.0)
    begin(graph, listener, player, dict.fromkeys(KINDS, 1))
    listener.wait(ended.is_set, "the end")
    for topic in KINDS:
        expected = recorded(path, topic)
        assert listener.wait(lambda t=topic, all_of=expected: len(listener.bytes[t]) >= len(all_of), topic)
        assert listener.bytes[topic] == expected
    bag = BagReader(path)
    listener.wait(lambda: listener.times[-1] >= bag.end_ns, "the last of the clock")
    assert listener.times == sorted(listener.times)
    assert bag.start_ns <= listener.times[0]
    assert player.played == {topic: len(recorded(path, topic)) for topic in KINDS}


def test_a_pause_holds_everything_and_loses_nothing(graph, path):
    listener = graph.add(Listener, {"/spikes/packets": SpikePacket})
    player = play(graph, path, paused=True, rate=0.02, topics=["/spikes/packets"])
    begin(graph, listener, player, {"/spikes/packets": 1})
    listener.wait(lambda: len(listener.bytes["/spikes/packets"]) >= 5, "five packets")
    assert pause(graph, listener, True).startswith("paused at 0.")
    stood_ns = player.clock.now_ns()
    sent = player.played["/spikes/packets"]
    ticks = len(listener.times)
    listener.wait(lambda: len(listener.times) >= ticks + 20, "the clock, which goes on being told")
    # One message may have been under way.
    assert sent <= player.played["/spikes/packets"] <= sent + 1
    assert player.clock.now_ns() == stood_ns == listener.times[-1]
    (result,) = player.set_parameters([Parameter("rate", value=2.0)])
    assert result.successful
    pause(graph, listener, False)
    expected = recorded(path, "/spikes/packets")
    listener.wait(lambda: len(listener.bytes["/spikes/packets"]) >= len(expected), "the rest")
    assert listener.bytes["/spikes/packets"] == expected


def test_it_may_wait_for_one_node_whoever_else_listens(graph, path):
    listener = graph.add(Listener, KINDS)
    player = play(graph, path, wait_for_subscriber=True, subscriber="depth", rate=10.0)
    listener.wait(lambda: len(listener.times) > 20, "the clock, which is told meanwhile")
    assert not any(player.played.values())
    late = graph.add(Node, "depth")
    late.create_subscription(SpikePacket, "/spikes/packets", lambda _: None, EVERYTHING)
    listener.wait(lambda: player.played["/spikes/packets"] > 0, "the first packet")


def test_it_says_what_it_waits_for(graph, path, monkeypatch):
    """And again and again: a node that listens to other topics would be waited for without a word."""
    monkeypatch.setattr("spike_depth_ros.player_node.REMIND_S", 0.1)
    listener = graph.add(Listener, {})
    listener.listen(Log, "/rosout", depth=1000)
    play(graph, path, wait_for_subscriber=True, subscriber="front/depth", topics=["/rgb/image_raw"])

    def said(text):
        return [m for m in listener.received["rosout"] if m.name == "player_node" and m.msg.endswith(text)]

    awaited = "waiting for /front/depth to subscribe to one of: /rgb/image_raw; "
    listener.wait(lambda: said(f"{awaited}it is not there"), "the log")
    other = graph.add(Node, "depth", namespace="/front", start_parameter_services=False)
    other.create_subscription(SpikePacket, "/spikes/packets", lambda _: None, EVERYTHING)
    listener.wait(lambda: len(said(f"{awaited}it listens to: /spikes/packets")) > 2, "the log")


def test_what_the_depth_node_said_is_not_said_again_in_its_name(graph, tmp_path):
    """A recording of everything has the outputs of a depth node, and what is told of it."""
    left_out = ["/diagnostics", "/front/depth/depth/image_rect", "/front/depth/transition_event/down"]
    played = ["/front/depth/input/rgb", "/front/depth_too", "/rgb/image_raw"]
    image = messages.image_to_message(np.zeros((4, 4), np.uint8), "mono8", START_NS, "c")
    diagnostics = types.type_store().types["diagnostic_msgs/msg/DiagnosticArray"](header=image.header, status=[])
    with BagWriter(tmp_path / "a.mcap") as bag:
        bag.write("/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", diagnostics, START_NS)
        for topic in (*left_out[1:], *played):
            bag.write(topic, types.IMAGE, image, START_NS)
    listener = graph.add(Listener, {})
    logged = {"paused": True, "subscriber": "/front/depth"}
    player = play(graph, tmp_path / "a.mcap", **logged)
    assert player.skipped.keys() == set(left_out)
    listener.wait(lambda: all(listener.count_publishers(topic) for topic in played), "what is played")
    assert not any(listener.count_publishers(topic) for topic in left_out[1:])
    everything = play(graph, tmp_path / "a.mcap", **logged, exclude=[""])
    assert everything.skipped == {}
    asked = play(graph, tmp_path / "a.mcap", **logged, topics=["/diagnostics"])
    assert asked.skipped == {}


def test_a_recording_that_breaks_off_is_no_success(path, monkeypatch):
    def fails(self, topic, message):
        raise RuntimeError("the disk is gone")

    monkeypatch.setattr(PlayerNode, "_publish", fails)
    with private_domain():
        assert main(["--ros-args", "-p", f"bag:={path}"]) == 1


def test_a_part_again_and_again(graph, path):
    listener = graph.add(Listener, {"/rgb/image_raw": Image})
    player = play(graph, path, paused=True, rate=4.0, topics=["/rgb/image_raw"], start=0.1, loop=True)
    begin(graph, listener, player, {"/rgb/image_raw": 1})
    expected = recorded(path, "/rgb/image_raw", BagReader(path).start_ns + 100_000_000)
    assert 0 < len(expected) < 5
    listener.wait(lambda: len(listener.bytes["/rgb/image_raw"]) >= 3 * len(expected), "three rounds")
    assert listener.bytes["/rgb/image_raw"][: 3 * len(expected)] == 3 * expected


def test_what_was_said_once_is_said_before_the_part_that_is_played(graph, tmp_path):
    camera = messages.camera_to_message(RIG.cameras["rgb"], START_NS, "rgb")
    with BagWriter(tmp_path / "a.mcap") as bag:
        bag.add_topic("/rgb/camera_info", types.CAMERA_INFO, latched=True)
        bag.write("/rgb/camera_info", types.CAMERA_INFO, camera, START_NS)
        for topic, kind, message, time_ns in small_recording(rig=RIG):
            if topic == "/rgb/image_raw":
                bag.write(topic, kind, message, time_ns)
    player = play(graph, tmp_path / "a.mcap", start=0.1, rate=10.0)
    heard = {"/rgb/camera_info": CameraInfo}
    listener = graph.add(Listener, heard, latched=heard)  # it comes late, and hears it all the same
    listener.wait(lambda: listener.bytes["/rgb/camera_info"], "the latched message")
    assert listener.bytes["/rgb/camera_info"] == recorded(tmp_path / "a.mcap", "/rgb/camera_info")
    assert player.skipped == {}


def test_a_late_comer_hears_all_that_was_said_once(graph, tmp_path):
    """As of the static transforms of many nodes, each of which has said its own."""
    camera = messages.camera_to_message(RIG.cameras["rgb"], START_NS, "rgb")
    with BagWriter(tmp_path / "a.mcap") as bag:
        bag.add_topic("/rgb/camera_info", types.CAMERA_INFO, latched=True)
        for k in range(14):
            bag.write("/rgb/camera_info", types.CAMERA_INFO, camera, START_NS + k)
        bag.write("/rgb/camera_info", types.CAMERA_INFO, camera, START_NS + 10**10)
    player = play(graph, tmp_path / "a.mcap")
    early = graph.add(Observer)
    early.wait(lambda: player.played["/rgb/camera_info"] == 14, "all to be said")
    heard = {"/rgb/camera_info": CameraInfo}
    late = graph.add(Listener, heard, latched=heard)
    late.wait(lambda: len(late.bytes["/rgb/camera_info"]) == 14, "all that was said")


def test_a_clock_that_was_recorded_is_played_instead_of_the_players(graph, tmp_path):
    """The stamps of a simulated drive go by its clock, which begins at zero; messages were received by another."""
    ticks = [10_000_000 * k for k in range(1, 15)]
    with BagWriter(tmp_path / "a.mcap") as bag:
        store = types.type_store()
        kind, time = (store.types[name] for name in ("rosgraph_msgs/msg/Clock", "builtin_interfaces/msg/Time"))
        for tick in ticks:
            bag.write("/clock", "rosgraph_msgs/msg/Clock", kind(clock=time(sec=0, nanosec=tick)), START_NS + tick)
        for topic, kind_name, message, time_ns in small_recording(rig=RIG):
            if topic == "/rgb/image_raw":
                bag.write(topic, kind_name, message, time_ns)
    listener = graph.add(Listener, {"/rgb/image_raw": Image})
    ended = threading.Event()
    player = play(graph, tmp_path / "a.mcap", ended.set, paused=True)
    begin(graph, listener, player, {"/rgb/image_raw": 1, "/clock": 1})
    listener.wait(ended.is_set, "the end")
    listener.wait(lambda: len(listener.times) >= len(ticks), "the last of the clock")
    assert listener.times == ticks
    assert listener.count_publishers("/clock") == 1


def test_types_that_are_not_installed_are_named(graph, tmp_path, path):
    static = messages.transforms_to_message([("a", "b", np.eye(4))], START_NS)
    with BagWriter(tmp_path / "a.mcap") as bag:
        bag.write("/tf_static", types.TRANSFORMS, static, START_NS)
        for topic, kind, message, time_ns in small_recording(rig=RIG):
            bag.write(topic, kind, message, time_ns)
    content = (tmp_path / "a.mcap").read_bytes()
    # The same length, so that the file stays whole.
    (tmp_path / "b.mcap").write_bytes(content.replace(b"tf2_msgs/msg/TFMessage", b"tf9_msgs/msg/TFMessage"))
    player = play(graph, tmp_path / "b.mcap", paused=True)
    assert player.skipped == {"/tf_static": "tf9_msgs/msg/TFMessage is not installed"}
    for parameters, said in (
        ({"bag": ""}, "parameter 'bag' must name a recording"),
        ({"topics": ["/none"]}, "has no /none; it has"),
        ({"start": 9.0}, "parameter 'start' is 9.0 s; the bag has 0.2 s"),
        ({"topics": ["/tf_static"]}, "nothing of .* can be played"),
    ):
        with pytest.raises(ValueError, match=said):
            play(graph, **({"path": tmp_path / "b.mcap"} | parameters))


def test_another_version_of_a_type_is_not_played(graph, tmp_path):
    path = write_recording(tmp_path / "a.db3", small_recording(rig=RIG))
    digest = types.type_hash(types.IMAGE)
    assert BagReader(path).topics["/rgb/image_raw"].digest == digest
    other = digest[:-1] + ("0" if digest[-1] != "0" else "1")
    path.write_bytes(path.read_bytes().replace(digest.encode(), other.encode()))
    player = play(graph, path, paused=True)
    assert player.skipped == dict.fromkeys(
        ("/rgb/image_raw", "/truth/depth/image_rect"),
        "the sensor_msgs/msg/Image that is installed is of another version",
    )


# The same depth


def digest(values):
    return hashlib.sha256(np.ascontiguousarray(values)).hexdigest()


class Witness:
    """An estimator that keeps what it was given and what it said, by the moment."""

    def __init__(self, estimator):
        self._estimator = estimator
        self.sensors, self.spike_planes = estimator.sensors, estimator.spike_planes
        self.inputs, self.depths = {}, {}

    def estimate(self, sample, reference, sensors, before=()):
        estimate = self._estimator.estimate(sample, reference, sensors, before)
        spikes = sample.spikes
        found = [reference, *sensors]
        if spikes is not None:
            found += [int(spikes.start_ns), int(spikes.period_ns), digest(spikes.data)]
        found += [digest(getattr(sample, name)) for name in sample.images if name != "spikes"]
        self.inputs[estimate.time_ns], self.depths[estimate.time_ns] = found, estimate.depth
        return estimate


def test_a_node_in_the_recordings_time_says_what_the_offline_replay_says(graph, path, tmp_path):
    """By the stamp: where the node had the same inputs, bit by bit the same depth."""
    network = Architecture(sensors=("spikes", "rgb"), widths=(8, 8, 8, 8, 8), trunk_blocks=1, pixels=64 * 64)
    estimator = DepthEstimator.untrained(0, network)
    offline, live = Witness(estimator), Witness(estimator)
    bag = BagReader(path)
    inputs = {"spikes": "/spikes/packets", "rgb": "/rgb/image_raw"}
    infos = {sensor: topic.rpartition("/")[0] + "/camera_info" for sensor, topic in inputs.items()}
    assert len(list(Replay(bag, offline, SensorTopics(inputs, infos), RIG).frames())) == 5

    RIG.save(tmp_path / "rig.yaml")
    remapped = [f"~/input/{sensor}:={topic}" for sensor, topic in inputs.items()]
    remapped += [f"~/input/{sensor}/camera_info:={topic}" for sensor, topic in infos.items()]
    arguments = ["--ros-args", *(word for rule in remapped for word in ("-r", rule))]
    observer = graph.add(Observer)
    node = graph.add_depth_node(
        lambda values: live,
        arguments,
        use_sim_time=True,
        rig=str(tmp_path / "rig.yaml"),
        sensors=list(inputs),
        alignment_period=0.0,
    )
    ended = threading.Event()
    player = play(graph, path, ended.set, paused=True, rate=0.1)
    begin(graph, observer, player, {topic: 1 for topic in (*inputs.values(), *infos.values())})
    observer.wait(ended.is_set, "the end")
    observer.wait(lambda: len(observer.received["image_rect"]) >= 2, "depth images")

    def everything_came():
        sent = {sensor: str(len(recorded(path, topic))) for sensor, topic in inputs.items()}
        return all(observer.counts(sensor).get("received") == number for sensor, number in sent.items())

    complete = observer.wait_a_little(everything_came, 2.0)
    counts = {sensor: observer.counts(sensor) for sensor in inputs}
    complete &= not any(int(n) for c in counts.values() for key, n in c.items() if key.startswith(("lost", "dropped")))
    images = {from_stamp(m.header.stamp): image_from_message(m) for m in observer.received["image_rect"]}
    assert images.keys() <= offline.depths.keys()
    same = [time_ns for time_ns in images if live.inputs[time_ns] == offline.inputs[time_ns]]
    for time_ns in same:
        assert np.array_equal(images[time_ns], offline.depths[time_ns], equal_nan=True)
    # What else differs is explained by what did not arrive.
    assert same, f"not one moment had the same inputs: {live.inputs}, {offline.inputs}"
    assert len(same) == len(images) or not complete, counts
    assert node.get_clock().now().nanoseconds <= bag.end_ns + TIMEOUT_S * 1e9  # the recording's time, not today's


def test_the_clock_stands_still_and_changes_its_pace(monkeypatch):
    steady = [0]
    monkeypatch.setattr("spike_depth_ros.playback_clock.time.monotonic_ns", lambda: steady[0])
    clock = PlaybackClock(rate=2.0)
    clock.set(1000)
    steady[0] = 50
    assert clock.now_ns() == 1100
    clock.set(paused=True)
    steady[0] = 80
    assert clock.now_ns() == 1100
    assert not clock.wait_until(0, at_most_s=0.0)
    clock.set(rate=0.5, paused=False)
    steady[0] = 90
    assert clock.now_ns() == 1105
    assert clock.wait_until(1105, at_most_s=0.0)
    clock.close()
    assert not clock.wait_until(1105, at_most_s=0.0)
