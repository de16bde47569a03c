"""What the adaptation node takes for a moment: where there is odometry, one whose place is known."""

from __future__ import annotations

import functools
from types import SimpleNamespace

import pytest
from rclpy.node import Node
from spike_depth.msg import SpikePacket

from spike_depth_core.geometry import SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.streams import Poses
from spike_depth_ros import reception
from spike_depth_ros.adaptation_parameters import ADAPTATION_NODE
from spike_depth_ros.reception import Reception
from spike_depth_ros.reporter import Reporter
from test.ros.harness import CAMERAS, MS, Observer, Vehicle

STEP_NS = 100_000_000


class Track:
    """Odometry without a topic."""

    heard = True

    def __init__(self):
        self.poses = Poses()

    def placed(self, sample, frame_ids):
        return sample.time_ns, None if (place := self.poses.pose(sample.time_ns)) is None else float(place[0, 3])


@pytest.fixture
def listening(monkeypatch):
    """A reception that is given times of moments, and its odometry."""
    heard = Reception.__new__(Reception)
    times_ns = []
    heard.sync = SimpleNamespace(wait=lambda _: SimpleNamespace(sensors=("spikes",), time_ns=times_ns.pop(0)))
    heard.inputs = SimpleNamespace(known_cameras=dict, frame_ids={})
    heard.odometry, heard._placed, heard._unplaced = Track(), None, reception.deque()
    monkeypatch.setattr(reception, "sample_from_moment", lambda moment, *_: SimpleNamespace(time_ns=moment.time_ns))

    def moment(number):
        times_ns.append(round(number * STEP_NS))
        found = heard.sample(0.0)
        return None if found is None else (found[0] / STEP_NS, found[1])

    return moment, heard.odometry.poses


def test_a_moment_waits_for_the_pose_after_it(listening):
    moment, poses = listening
    poses.add(0, pose((0.0, 0.0, 0.0)))
    assert moment(1) is None
    poses.add(2 * STEP_NS, pose((4.0, 0.0, 0.0)))
    assert moment(3) == (1.0, 2.0)
    poses.add(4 * STEP_NS, pose((8.0, 0.0, 0.0)))
    assert moment(4) == (4.0, 8.0)  # of two whose place is known, the newest


def test_it_does_not_wait_for_ever_nor_for_what_has_not_been(listening):
    moment, poses = listening
    poses.add(0, pose((0.0, 0.0, 0.0)))
    assert [moment(k) for k in (1, 2, 3, 4, 5, 6)] == [None] * 6
    assert moment(6.5) == (1.0, None)  # more than half a second without odometry
    assert moment(100) == (6.5, None)
    assert moment(2) is None  # the clock was set back
    poses.add(-5 * STEP_NS, pose((0.0, 0.0, 0.0)))
    poses.add(-4 * STEP_NS, pose((0.0, 0.0, 0.0)))
    assert moment(3) is None
    assert moment(8) == (2.0, None)


@pytest.fixture
def live(graph):
    """A reception over DDS of spikes and RGB, a vehicle that it hears, and an observer."""
    node, observer = graph.add(Node, "listener"), graph.add(Observer)
    vehicle = graph.add(Vehicle, target="/listener")
    values = {parameter.name: parameter.default for parameter in ADAPTATION_NODE} | {"use_tf": False}
    values["sensors"] = ["spikes", "rgb"]
    heard = Reception(node, SensorRig(CAMERAS), values, Reporter(node.get_logger()))
    vehicle.connect(observer.wait, ("spikes", "rgb"))
    yield heard, vehicle, observer
    heard.close()


def test_spikes_that_come_with_the_next_batch_are_waited_for(monkeypatch, request):
    monkeypatch.setattr(reception, "BATCH_S", 0.2)
    monkeypatch.setattr(reception, "LINGER_S", 1e6)
    heard, vehicle, observer = request.getfixturevalue("live")
    heard.sample(0.0)
    vehicle.send_spikes(4)
    observer.wait(lambda: heard.inputs.age_ns("spikes") is not None, "the first spikes")
    begin_ns = vehicle.time_ns
    for number in range(1, 4):
        vehicle.send_frame("rgb", vehicle.time_ns + 30 * MS)
        received = functools.partial(lambda n: heard.sync.counts()["rgb"]["received"] == n, number)
        observer.wait(received, "the frame, in a batch")
        assert heard.sample(0.0) is None
        vehicle.send_spikes(40)  # these come with the next
        sample = observer.wait(lambda: heard.sample(0.0), "a moment")
        assert sample.time_ns >= begin_ns
        assert {"spikes", "rgb"} <= set(sample.rig.cameras)


def test_nothing_is_taken_in_while_no_moment_is_asked_for_and_nothing_of_that_time_is_lost(live):
    heard, vehicle, observer = live
    arrived = []
    observer.create_subscription(SpikePacket, "/listener/input/spikes", arrived.append, 1000)
    observer.wait(lambda: vehicle.spikes.get_subscription_count() == 2, "both subscriptions")

    def moment():
        vehicle.announce()
        vehicle.send_spikes(40)
        vehicle.send_frame("rgb", vehicle.time_ns - MS)
        return heard.sample(0.1)

    observer.wait(moment, "a moment")
    assert heard.listened_ns > 0
    observer.wait(lambda: not heard.listened_ns, "the end of listening")
    before = heard.sync.counts()["spikes"]["received"]
    for _ in range(4):  # more than the queue holds
        vehicle.send_spikes(100)
        observer.wait(lambda: arrived[-1].seq == vehicle.seq - 1, "the packets elsewhere")
    assert heard.sync.counts()["spikes"]["received"] == before
    sample = observer.wait(moment, "a moment after the break")
    assert {"spikes", "rgb"} <= set(sample.rig.cameras)
    assert heard.sync.counts()["spikes"]["lost"] == 0
