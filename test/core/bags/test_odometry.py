"""Poses between odometry messages, against scipy's interpolation and motions that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from spike_depth_core.bags import BagReader, BagWriter, messages, types
from spike_depth_core.bags.odometry import OdometryTopic, find_odometry
from spike_depth_core.bags.reader import BagMessage
from spike_depth_core.geometry.rig import pose
from spike_depth_core.streams.poses import interpolated

STEP_NS = 100_000_000


def event(time_ns: int, place: np.ndarray, child: str = "/base_link") -> BagMessage:
    message = messages.odometry_to_message(place, time_ns, "odom", child)
    return BagMessage(time_ns, "/odom", types.ODOMETRY, memoryview(bytes(messages.encode(types.ODOMETRY, message))))


def driven(*places: tuple[int, np.ndarray]) -> OdometryTopic:
    topic = OdometryTopic("/odom")
    for time_ns, place in places:
        topic.take(event(time_ns, place))
    return topic


def test_rotations_are_interpolated_as_scipy_does():
    rng = np.random.default_rng(0)
    for share in (0.0, 0.2, 0.7, 1.0):
        turns = Rotation.from_rotvec(rng.normal(size=(2, 3)))
        before, after = (pose(tuple(rng.normal(size=3)), tuple(q)) for q in turns.as_quat())
        found = interpolated(before, after, share)
        np.testing.assert_allclose(found[:3, :3], Slerp([0, 1], turns)(share).as_matrix(), atol=1e-9)
        np.testing.assert_allclose(found[:3, 3], before[:3, 3] + share * (after[:3, 3] - before[:3, 3]), atol=1e-12)


def test_a_vehicle_that_turns_past_south_takes_the_short_way():
    """Quaternions of 170 and 190 degrees, each with a positive real part, are nearly opposite to one another."""
    south = [Rotation.from_euler("z", degrees, degrees=True) for degrees in (170, 180, 190)]
    before, _, after = (pose((0.0, 0.0, 0.0), tuple(turn.as_quat(canonical=True))) for turn in south)
    np.testing.assert_allclose(interpolated(before, after, 0.5)[:3, :3], south[1].as_matrix(), atol=1e-9)


def test_poses_and_speeds_between_messages():
    topic = driven(*((k * STEP_NS, pose((1.5 * k, 0.0, 0.0))) for k in range(1, 5)))
    assert topic.child_frame == "base_link"
    assert topic.pose(250_000_000)[0, 3] == pytest.approx(3.75)
    assert topic.pose(4 * STEP_NS)[0, 3] == pytest.approx(6.0)
    assert topic.pose(STEP_NS)[0, 3] == pytest.approx(1.5)
    assert topic.speed(250_000_000) == pytest.approx(15.0)
    assert topic.pose(STEP_NS - 1) is None
    assert topic.pose(4 * STEP_NS + 1) is None
    assert topic.is_settled(4 * STEP_NS, 0)
    assert not topic.is_settled(4 * STEP_NS + 1, 5 * STEP_NS)
    assert topic.is_settled(4 * STEP_NS + 1, 10 * STEP_NS)


def test_no_pose_is_made_up_across_a_gap_or_a_jump_of_time():
    topic = driven((0, pose()), (3 * STEP_NS, pose((3.0, 0.0, 0.0))), (4 * STEP_NS, pose((4.0, 0.0, 0.0))))
    assert topic.pose(2 * STEP_NS) is None
    assert topic.pose(350_000_000)[0, 3] == pytest.approx(3.5)
    topic.take(event(4 * STEP_NS - 1, pose()))
    assert topic.damaged == {"late": 1}
    topic.take(event(0, pose()))
    assert topic.pose(350_000_000) is None
    assert OdometryTopic("/odom").pose(5) is None


def test_the_first_pose_waits_for_the_second():
    topic = driven((STEP_NS, pose()))
    assert topic.pose(STEP_NS) is None
    assert not topic.is_settled(STEP_NS, STEP_NS)
    topic.take(event(2 * STEP_NS, pose((1.0, 0.0, 0.0))))
    assert topic.is_settled(STEP_NS, STEP_NS)
    assert topic.speed(STEP_NS) == pytest.approx(10.0)


def test_which_topic_is_the_odometry(tmp_path):
    def bag(name: str, *topics: str) -> BagReader:
        with BagWriter(tmp_path / name) as writer:
            writer.add_topic("/image", types.IMAGE)
            for topic in topics:
                writer.add_topic(topic, types.ODOMETRY)
        return BagReader(tmp_path / name)

    assert find_odometry(bag("a.mcap")) is None
    assert find_odometry(bag("b.mcap", "/odom")) == "/odom"
    two = bag("c.mcap", "/odom", "/gps/odom")
    assert find_odometry(two, "/odom") == "/odom"
    with pytest.raises(ValueError, match="could be any of /gps/odom, /odom; say which"):
        find_odometry(two)
    with pytest.raises(ValueError, match="no odometry on /image; it has /gps/odom, /odom"):
        find_odometry(two, "/image")
