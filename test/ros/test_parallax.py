"""Depth with the moments before, by odometry from a real topic: what the estimator is handed."""

from __future__ import annotations

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile, ReliabilityPolicy

from spike_depth_core.geometry.rig import pose
from spike_depth_ros.diagnostics import OK, WARN
from spike_depth_ros.messages import odometry_to_message
from test.ros.harness import CountingEstimator, Observer, Vehicle

STEP_M = 0.4


def connected(graph, **parameters):
    """A depth node, its estimator, and a vehicle whose spikes it hears."""
    estimator = CountingEstimator()
    graph.add_depth_node(load=lambda values: estimator, sensors=["spikes"], trigger="rate", **parameters)
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    vehicle.connect(observer.wait, ["spikes"])
    observer.wait(lambda: observer.count_publishers("/depth_node/depth/image_rect"), "the depth topic")
    return estimator, vehicle, observer


def inference(observer):
    return observer.status("depth_node: inference")


def test_moments_are_handed_over_with_those_before_and_their_places(graph):
    estimator, vehicle, observer = connected(graph, parallax=True, odometry_timeout=1.0)
    odometry = vehicle.create_publisher(Odometry, "/depth_node/input/odometry", 10)
    observer.wait(lambda: odometry.get_subscription_count(), "the subscription to odometry")
    begin_ns, forward = vehicle.time_ns, 0

    def place(time_ns):
        return STEP_M * (time_ns - begin_ns) / 20e6

    def driven():
        """On by a packet at a time, which is 20 metres a second, the pose a little ahead."""
        nonlocal forward
        vehicle.announce()
        ahead_ns = vehicle.time_ns + 50_000_000
        where = pose((0.0, 0.0, place(ahead_ns)))
        odometry.publish(odometry_to_message(where, ahead_ns, "odom", "spikes_optical_frame"))
        vehicle.send_spikes(1)
        return [(sample, before) for sample, before in estimator.asked if len(before) == 2]

    sample, before = observer.wait(driven, "a moment with two before it")[0]
    for one in (sample, *before):
        np.testing.assert_allclose(one.world_from_reference[2, 3], place(one.time_ns), atol=1e-3)
    assert sample.time_ns > before[0].time_ns > before[1].time_ns
    apart = [sample.world_from_reference[2, 3] - one.world_from_reference[2, 3] for one in before]
    assert all(0.2 <= metres <= 5.0 for metres in apart)
    observer.wait(lambda: int(inference(observer).get("measured", 0)) > 0, "it is counted")


def test_without_poses_there_is_depth_and_a_warning_and_without_parallax_neither(graph):
    estimator, vehicle, observer = connected(graph, parallax=True)

    def warned():
        vehicle.announce()
        vehicle.send_spikes(1)
        return "no parallax" in inference(observer).get("message", "")

    observer.wait(warned, "the warning")
    status = inference(observer)
    assert "no pose on /depth_node/input/odometry" in status["message"]
    assert status["level"] == WARN
    assert int(status["published"]) > 0
    assert status["measured"] == "0"
    assert int(status["unplaced"]) > 0
    assert all(before == () for _, before in estimator.asked)


def test_why_there_is_no_parallax_is_said(graph):
    _, vehicle, observer = connected(graph, parallax=True, odometry_timeout=0.2)
    odometry = vehicle.create_publisher(Odometry, "/depth_node/input/odometry", 10)
    observer.wait(lambda: odometry.get_subscription_count(), "the subscription to odometry")

    def unrelated():
        vehicle.announce()
        ahead_ns = vehicle.time_ns + 50_000_000
        odometry.publish(odometry_to_message(pose((0.0, 0.0, 0.0)), ahead_ns, "odom", "base_link"))
        vehicle.send_spikes(1)
        return "tf does not say how 'base_link'" in inference(observer).get("message", "")

    observer.wait(unrelated, "the warning")


def test_odometry_that_does_not_match_is_named_with_both_ends(graph):
    topic = "/depth_node/input/odometry"
    _, vehicle, observer = connected(
        graph, parallax=True, **{f"qos_overrides.{topic}.subscription.reliability": "reliable"}
    )
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    other = vehicle.create_publisher(Odometry, topic, profile)

    def named():
        vehicle.announce()
        vehicle.send_spikes(1)
        return f"{topic} cannot be received: " in inference(observer).get("message", "")

    observer.wait(named, "the warning")
    vehicle.destroy_publisher(other)


def test_it_is_off_by_default(graph):
    _, vehicle, observer = connected(graph)

    def estimated():
        vehicle.announce()
        vehicle.send_spikes(1)
        return int(inference(observer).get("published", 0)) > 0

    observer.wait(estimated, "depth")
    status = inference(observer)
    assert status["level"] == OK
    assert "measured" not in status
    assert observer.count_subscribers("/depth_node/input/odometry") == 0
