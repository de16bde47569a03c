from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from spike_depth_core.bags import BagReader, BagWriter, messages, types
from spike_depth_core.bags.playback import Playback, PlayedMoment, rig_of_bag
from spike_depth_core.bags.recording import (
    START_NS,
    about_drive,
    drive_metadata,
    record_drive,
    record_spikes,
    spikes_of_bag,
)
from spike_depth_core.bags.sensors import find_sensors, find_truth
from spike_depth_core.geometry.rig import pose
from spike_depth_core.spikes import PackedSpikes
from test.core.factories import small_rig

RIG = small_rig(32, 24)


class SmallDrive:
    """Random planes and frames where `world.DrivePlayer` has rendered ones."""

    rate_hz = 30.0
    frame_count = 4
    sensors = ("rgb", "thermal")

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        camera = RIG.cameras["spikes"]
        planes = self.rng.integers(0, 2, (2000, camera.height, camera.width), dtype=np.uint8)
        self.spikes = PackedSpikes.from_planes(planes)
        self.at = 0

    def planes(self, count: int) -> PackedSpikes:
        first, self.at = self.at, min(self.at + count, len(self.spikes))
        return self.spikes.slice(first, self.at)

    def frame_time_ns(self, frame: int) -> int:
        return round(frame * 1e9 / self.rate_hz)

    def image(self, sensor: str, frame: int) -> np.ndarray:
        camera = RIG.cameras[sensor]
        if sensor == "rgb":
            return np.full((camera.height, camera.width, 3), frame, np.uint8)
        return np.full((camera.height, camera.width), 29_000 + frame, np.uint16)

    def depth(self, frame: int) -> np.ndarray:
        camera = RIG.cameras["spikes"]
        return np.full((camera.height, camera.width), 10.0 + frame, np.float32)


@pytest.fixture(scope="module")
def bag(tmp_path_factory) -> BagReader:
    path = tmp_path_factory.mktemp("drive") / "a.mcap"
    poses = [pose((float(frame), 0.0, 0.0)) for frame in range(4)]
    with BagWriter(path, custom=drive_metadata(RIG, {"condition": "night", "seed": 3})) as writer:
        *_, last_ns = record_drive(SmallDrive(), RIG, writer, poses=poses)
    assert last_ns == 2000 * 50_000
    return BagReader(path)


def test_a_recorded_drive_plays_back_as_it_was(bag):
    drive = SmallDrive()
    rig = rig_of_bag(bag)
    assert rig.cameras == RIG.cameras
    assert about_drive(bag)["condition"] == "night"
    playback = Playback(bag, find_sensors(bag), rig, 64)
    truth = find_truth(bag)
    events = list(playback.play([truth]))
    moments = [event.moment for event in events if isinstance(event, PlayedMoment)]
    frames = [(m.time_ns - START_NS, int(m.frames["rgb"].image[0, 0, 0])) for m in moments if m.spikes is not None]
    assert frames == [(drive.frame_time_ns(1), 1), (drive.frame_time_ns(2), 2)]
    for moment in moments[1:]:
        last = (moment.time_ns - START_NS) // 50_000
        assert np.array_equal(moment.spikes.data, drive.spikes.data[last - 64 : last])
    depths = [event.decode() for event in events if not isinstance(event, PlayedMoment)]
    assert [messages.depth_image(depth)[0, 0] for depth in depths] == [10.0, 11.0, 12.0]
    assert [messages.stamp_ns(depth) - START_NS for depth in depths] == [drive.frame_time_ns(k) for k in range(3)]
    np.testing.assert_allclose(playback.rig.transform("spikes", "rgb"), RIG.transform("spikes", "rgb"), atol=1e-9)


def test_the_topics_are_those_of_the_simulator_node(bag):
    """So that a bag recorded by `ros2 bag record` and one that was simulated are read by the same names."""
    for name in ("spikes/packets", "truth/depth/image_rect", "rgb/image_raw", "thermal/image_raw"):
        assert f"/simulator_node/{name}" in bag.topics
        assert f"/simulator_node/{name.rpartition('/')[0]}/camera_info" in bag.topics


def test_launch_files_get_the_names_without_waiting_for_pytorch():
    """Nor for ROS: what the names come with is imported by every `ros2 launch`."""
    code = "import sys, spike_depth_ros.topics; print(sorted({'torch', 'numpy', 'rclpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_poses_are_recorded_as_odometry(bag):
    found = [message.decode() for message in bag.messages(bag.of_type(types.ODOMETRY))]
    assert [messages.pose_from_odometry(message)[0, 3] for message in found] == [0.0, 1.0, 2.0]
    assert {message.child_frame_id for message in found} == {"spikes_optical_frame"}


def test_planes_go_into_a_bag_and_come_back(tmp_path):
    spikes = SmallDrive().spikes.slice(0, 150)
    with BagWriter(tmp_path / "a.mcap") as writer:
        assert record_spikes(iter([spikes]), writer) == 150
    back = PackedSpikes.concatenate(list(spikes_of_bag(BagReader(tmp_path / "a.mcap"))))
    assert np.array_equal(back.data, spikes.data)
    assert (back.width, back.period_ns, back.start_ns) == (spikes.width, spikes.period_ns, spikes.start_ns)


def test_missing_packets_are_not_passed_over(tmp_path):
    spikes = SmallDrive().spikes
    with BagWriter(tmp_path / "a.mcap") as writer:
        for seq in (0, 1, 3):
            part = spikes.slice(64 * seq, 64 * (seq + 1))
            writer.write("/s", types.SPIKE_PACKET, messages.spikes_to_message(part, seq, ""), part.end_ns)
    with pytest.raises(ValueError, match="packet 3 follows on 1"):
        list(spikes_of_bag(BagReader(tmp_path / "a.mcap")))
    with BagWriter(tmp_path / "b.mcap") as writer:
        writer.add_topic("/image", types.IMAGE)
    with pytest.raises(ValueError, match="one topic of spike packets was expected, found none"):
        list(spikes_of_bag(BagReader(tmp_path / "b.mcap")))
