"""The simulator as others see it, with a drive that takes no time to render."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from spike_depth.msg import SpikePacket

from spike_depth_core.geometry import SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.spikes import PackedSpikes
from spike_depth_ros import simulator_node
from spike_depth_ros.messages import camera_from_message, image_from_message, pose_from_odometry, spikes_from_message
from spike_depth_ros.simulator_node import SimulatorNode
from spike_depth_ros.time import from_stamp
from test.ros.harness import CAMERAS, PERIOD, Observer


class InstantPlayer:
    """Answers as `DrivePlayer` does: planes that tell their number, frames that tell theirs."""

    rate_hz, duration_s, frame_count = 30.0, 0.2, 7
    prepared = threading.Event()
    prepared.set()

    def __init__(self):
        self.world = type("World", (), {"rig": SensorRig(CAMERAS)})
        self.first = 0

    @classmethod
    def prepare(cls, seed, duration, condition, rig, rate_hz, sensors, progress):
        progress(0, 2)
        while not cls.prepared.wait(0.01):
            progress(1, 2)
        return cls()

    def again(self):
        return type(self)()

    def planes(self, count):
        camera = CAMERAS["spikes"]
        count = min(count, 4000 - self.first)
        numbers = np.arange(self.first, self.first + count)
        data = np.broadcast_to(numbers[:, None, None] % 256, (count, camera.height, camera.width // 8))
        self.first += count
        return PackedSpikes(data.astype(np.uint8), camera.width, PERIOD, (self.first - count) * PERIOD)

    def frame_time_ns(self, frame):
        return round(frame * 1e9 / self.rate_hz)

    def image(self, sensor, frame):
        camera = CAMERAS[sensor]
        shape = (camera.height, camera.width, 3) if sensor == "rgb" else (camera.height, camera.width)
        return np.full(shape, frame, np.uint8 if sensor == "rgb" else np.uint16)

    def pose(self, frame):
        return pose((float(frame), 0.0, 0.0))

    def depth(self, frame):
        return np.full((CAMERAS["spikes"].height, CAMERAS["spikes"].width), frame, np.float32)


@pytest.fixture
def observer(graph, monkeypatch):
    monkeypatch.setattr(simulator_node, "DrivePlayer", InstantPlayer)
    observer = graph.add(Observer, "/simulator_node")
    for kind, topic in (
        (SpikePacket, "spikes/packets"),
        (CameraInfo, "spikes/camera_info"),
        (Image, "rgb/image_raw"),
        (CameraInfo, "rgb/camera_info"),
        (Image, "thermal/image_raw"),
        (Image, "truth/depth/image_rect"),
        (CameraInfo, "truth/depth/camera_info"),
        (Odometry, "truth/odometry"),
    ):
        observer.listen(kind, f"/simulator_node/{topic}", name=topic, depth=200)
    return observer


def start(graph, cli_args=(), **parameters):
    overrides = {"wait_for_subscriber": True, "loop": False, "diagnostics_rate": 20.0} | parameters
    overrides = [Parameter(name, value=value) for name, value in overrides.items()]
    return graph.add(SimulatorNode, parameter_overrides=overrides, cli_args=list(cli_args))


def finished(observer):
    return lambda: observer.status("simulator_node: drive").get("message") == "finished"


@pytest.mark.parametrize("prepare_spikes", [False, True])
def test_every_plane_comes_once_in_order_at_its_time(graph, observer, prepare_spikes):
    start(graph, prepare_spikes=prepare_spikes)
    observer.wait(finished(observer), "the end of the drive")
    packets = observer.wait(
        lambda: observer.received["spikes/packets"] if len(observer.received["spikes/packets"]) == 63 else None,
        "63 packets",
    )
    assert [p.seq for p in packets] == list(range(63))
    assert [p.count for p in packets] == [64] * 62 + [32]
    numbers = np.concatenate([spikes_from_message(p).data[:, 0, 0] for p in packets])
    np.testing.assert_array_equal(numbers, np.arange(4000) % 256)
    stamps = [from_stamp(p.header.stamp) for p in packets]
    assert np.diff(stamps).tolist() == [64 * PERIOD] * 62
    assert camera_from_message(observer.received["spikes/camera_info"][0]) == CAMERAS["spikes"]
    status = observer.status("simulator_node: drive")
    assert (status["packets"], status["planes"], status["frames"]) == ("63", "4000", "6")
    # Real time: the drive cannot have ended before its planes were read out.
    assert float(status["elapsed_s"]) >= 0.2


def test_frames_and_truth_share_their_stamps(graph, observer):
    start(graph)
    observer.wait(finished(observer), "the end of the drive")
    rgb = observer.wait(
        lambda: observer.received["rgb/image_raw"] if len(observer.received["truth/odometry"]) == 6 else None,
        "six frames",
    )
    truth, thermal = observer.received["truth/depth/image_rect"], observer.received["thermal/image_raw"]
    first_ns = from_stamp(observer.received["spikes/packets"][0].header.stamp)
    for frame, (color, depth, heat) in enumerate(zip(rgb, truth, thermal, strict=True)):
        assert color.header.stamp == depth.header.stamp == heat.header.stamp
        assert from_stamp(color.header.stamp) == first_ns + round(frame * 1e9 / 30)
        assert image_from_message(color).max() == image_from_message(depth).max() == image_from_message(heat).max()
        assert image_from_message(depth).max() == frame
    assert (color.encoding, depth.encoding, heat.encoding) == ("rgb8", "32FC1", "mono16")
    assert depth.header.frame_id == "spikes_optical_frame"
    for frame, place in enumerate(observer.received["truth/odometry"]):
        assert place.header.stamp == truth[frame].header.stamp
        assert (place.header.frame_id, place.child_frame_id) == ("world", "spikes_optical_frame")
        np.testing.assert_allclose(pose_from_odometry(place), InstantPlayer().pose(frame))
    assert camera_from_message(observer.received["rgb/camera_info"][0]) == CAMERAS["rgb"]
    assert camera_from_message(observer.received["truth/depth/camera_info"][0]) == CAMERAS["spikes"]


def test_a_loop_goes_on_in_number_and_time(graph, observer):
    start(graph, loop=True)
    packets = observer.wait(
        lambda: observer.received["spikes/packets"] if len(observer.received["spikes/packets"]) > 70 else None,
        "a second round",
    )
    stamps = [from_stamp(p.header.stamp) for p in packets]
    assert [p.seq for p in packets] == list(range(len(packets)))
    assert np.diff(stamps).tolist()[:70] == [64 * PERIOD] * 62 + [32 * PERIOD] + [64 * PERIOD] * 7


def test_in_a_namespace_its_status_has_the_full_name(graph, observer):
    start(graph, cli_args=["--ros-args", "-r", "__ns:=/left"])
    observer.wait(lambda: observer.status("left/simulator_node: drive"), "the diagnostics")


def test_a_node_that_is_told_to_end_while_it_renders_ends(graph, observer, monkeypatch):
    monkeypatch.setattr(InstantPlayer, "prepared", threading.Event())
    node = start(graph)
    observer.wait(lambda: observer.status("simulator_node: drive").get("prepared") == "0.500", "half the rendering")
    node.destroy_node()
    assert not node._thread.is_alive()


def test_what_goes_wrong_is_in_the_diagnostics(graph, observer, monkeypatch):
    def fail(*_, **__):
        raise MemoryError("no room for the drive")

    monkeypatch.setattr(InstantPlayer, "prepare", fail)
    start(graph)
    observer.wait(
        lambda: observer.status("simulator_node: drive").get("message") == "MemoryError: no room for the drive",
        "the error",
    )
