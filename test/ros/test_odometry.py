"""Where the vehicle is, from a real topic: poses at the moments of samples, in the frame of the rig's reference."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from nav_msgs.msg import Odometry as OdometryMessage
from rclpy.node import Node

from spike_depth_core.geometry.rig import pose
from spike_depth_ros.messages import odometry_to_message
from spike_depth_ros.odometry import PATIENCE, Odometry
from spike_depth_ros.topic_watch import TopicWatch
from test.core.factories import small_rig, small_sample
from test.ros.harness import Observer

FRAMES = {"rgb": "/rgb_optical_frame"}
MOUNTED = pose((0.5, -0.2, 1.5), (0.5, -0.5, 0.5, -0.5))  # of rgb on the vehicle
STEP_NS = 100_000_000


class Notes:
    def __init__(self):
        self.texts = []

    def warn(self, text, key=None):
        self.texts.append(text)


def known(target, source):
    return MOUNTED if (target, source) == ("base_link", "/rgb_optical_frame") else None


@pytest.fixture
def drive(graph):
    """Makes what listens, and a publisher; sends poses and waits until the last is there."""
    node, observer = graph.add(Node, "listener"), graph.add(Observer)
    publisher = observer.create_publisher(OdometryMessage, "/listener/input/odometry", 10)

    def send(child, *places):
        notes, watch = Notes(), TopicWatch(node)
        odometry = Odometry(node, notes, known, watch)
        observer.wait(lambda: publisher.get_subscription_count() > 0, "the subscription")
        for k, place in enumerate(places):
            publisher.publish(odometry_to_message(place, (k + 1) * STEP_NS, "odom", child))
        observer.wait(lambda: odometry.poses.is_settled(len(places) * STEP_NS, 0), "the poses")
        return odometry, notes

    return send


def at(time_ns):
    return dataclasses.replace(small_sample(0, planes=16, rig=small_rig()), time_ns=time_ns)


def test_a_sample_is_where_the_vehicle_was_at_its_moment(drive):
    odometry, notes = drive("/base_link", pose((1.0, 0.0, 0.0)), pose((2.0, 0.0, 0.0)), pose((4.0, 1.0, 0.0)))
    sample = at(round(2.5 * STEP_NS))
    found = odometry.placed(sample, FRAMES).world_from_reference
    expected = pose((3.0, 0.5, 0.0)) @ MOUNTED @ np.linalg.inv(sample.rig.reference_from("rgb"))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert odometry.placed(at(4 * STEP_NS), FRAMES).world_from_reference is None  # nothing is known after the last
    assert not notes.texts


def test_odometry_of_the_camera_itself_needs_no_tf(drive):
    odometry, _ = drive("rgb_optical_frame", pose((1.0, 0.0, 0.0)), pose((2.0, 0.0, 0.0)))
    sample = at(2 * STEP_NS)
    expected = pose((2.0, 0.0, 0.0)) @ np.linalg.inv(sample.rig.reference_from("rgb"))
    np.testing.assert_allclose(odometry.placed(sample, FRAMES).world_from_reference, expected, atol=1e-9)


def test_a_frame_that_nobody_knows_is_named_once_it_has_had_time_to_come(drive):
    odometry, notes = drive("imu", pose((1.0, 0.0, 0.0)), pose((2.0, 0.0, 0.0)))
    for _ in range(PATIENCE - 1):
        assert odometry.placed(at(2 * STEP_NS), FRAMES).world_from_reference is None
    assert notes.texts == []
    odometry.placed(at(2 * STEP_NS), FRAMES)
    assert notes.texts == ["/listener/input/odometry: tf does not say how 'imu' lies to any of /rgb_optical_frame"]


def test_odometry_that_does_not_say_what_moves_is_told_and_not_used(drive, graph):
    odometry, notes = drive("rgb_optical_frame", pose((1.0, 0.0, 0.0)), pose((2.0, 0.0, 0.0)))
    observer = graph.add(Observer)
    publisher = observer.create_publisher(OdometryMessage, "/listener/input/odometry", 10)
    observer.wait(lambda: publisher.get_subscription_count() > 0, "the subscription")
    publisher.publish(odometry_to_message(pose((9.0, 0.0, 0.0)), 3 * STEP_NS, "odom", ""))
    observer.wait(lambda: notes.texts, "a warning")
    assert notes.texts == ["/listener/input/odometry: child_frame_id is empty: it is not said what moves"]
    assert not odometry.poses.is_settled(3 * STEP_NS, 0)
