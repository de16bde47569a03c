"""The depth node as others see it: messages in, messages out."""

from __future__ import annotations

import array

import numpy as np
import pytest
from rosgraph_msgs.msg import Clock

from spike_depth_ros.diagnostics import ERROR
from spike_depth_ros.messages import (
    camera_from_message,
    image_from_message,
    spikes_from_message,
)
from spike_depth_ros.time import from_stamp, to_stamp
from test.ros.harness import CAMERAS, MS, PACKET_NS, CountingEstimator, Observer, Vehicle


@pytest.fixture
def scene(graph):
    """A depth node that is connected: (vehicle, observer)."""
    graph.add_depth_node()
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    vehicle.connect(observer.wait)
    observer.wait(lambda: observer.count_publishers("/depth_node/depth/image_rect"), "the depth topic")

    # The cameras' intrinsics travel on other topics than the images: wait until they are known.
    def known() -> bool:
        vehicle.announce()
        vehicle.send_spikes(1)
        return int(observer.counts("spikes").get("used", 0)) > 0

    observer.wait(known, "the first depth")
    return vehicle, observer


def test_depth_comes_from_the_planes_that_end_at_the_frame(scene):
    vehicle, observer = scene
    for sensor in ("rgb", "thermal"):  # from now on they are alive, and are waited for
        vehicle.send_frame(sensor)
        observer.wait(lambda sensor=sensor: observer.counts(sensor).get("received") == "1", sensor)
    packets = vehicle.send_spikes(4)
    end_ns = vehicle.time_ns
    vehicle.send_frame("rgb")
    vehicle.send_frame("thermal")
    vehicle.send_spikes(8)

    def at_the_frame(topic: str):
        return [m for m in observer.received[topic] if from_stamp(m.header.stamp) == end_ns]

    depth_message = observer.wait(lambda: at_the_frame("image_rect"), "depth at the frame")[0]
    camera_message = observer.wait(lambda: at_the_frame("camera_info"), "its camera_info")[0]
    uncertainty_message = observer.wait(lambda: at_the_frame("uncertainty"), "its uncertainty")[0]

    expected = 1.0 + sum(spikes_from_message(p).planes().sum(axis=0, dtype=float) for p in packets[-2:])
    depth = image_from_message(depth_message)
    assert depth_message.encoding == "32FC1"
    assert np.isnan(depth[0, 0])
    np.testing.assert_array_equal(depth.ravel()[1:], expected.ravel()[1:])
    assert camera_from_message(camera_message) == CAMERAS["spikes"]
    assert (camera_message.width, camera_message.height) == (depth_message.width, depth_message.height)
    assert depth_message.header == camera_message.header == uncertainty_message.header
    assert depth_message.header.frame_id == "spikes_optical_frame"
    assert image_from_message(uncertainty_message).max() == np.float32(0.1)  # of one sensor that is not used: nir


def test_a_lost_packet_is_counted_by_its_number(scene):
    vehicle, observer = scene
    vehicle.send_spikes(3)
    vehicle.seq += 2
    vehicle.time_ns += 2 * PACKET_NS
    vehicle.send_spikes(3)
    observer.wait(lambda: observer.counts("spikes").get("lost") == "2", "two lost packets")
    warned = [
        status.message
        for message in observer.received["diagnostics"]
        for status in message.status
        if status.name == "depth_node: inputs"
    ]
    assert any("2 lost" in message for message in warned)


def test_malformed_packets_are_counted_and_survived(scene):
    vehicle, observer = scene

    def send(**changes):
        packet = vehicle.packet()
        for name, value in changes.items():
            setattr(packet, name, value)
        vehicle.spikes.publish(packet)
        vehicle.seq += 1

    packet = vehicle.packet()
    send(data=packet.data[:-1])
    send(data=array.array("B"))
    send(count=0)
    send(count=2**32 - 1)
    send(height=0)
    send(width=2**32 - 1, height=2**32 - 1)
    send(width=packet.width + 8)
    send(width=packet.width - 8)
    send(encoding="packed_msb")
    send(period_ns=0)
    expected = {"length": "4", "count": "2", "size": "2", "encoding": "1", "period": "1"}
    observer.wait(
        lambda: all(observer.counts("spikes").get(f"dropped/{r}") == n for r, n in expected.items()), str(expected)
    )
    assert observer.counts("spikes")["lost"] == "0"
    observer.received["image_rect"].clear()
    vehicle.send_spikes(4)
    observer.wait(lambda: observer.received["image_rect"], "depth after the malformed packets")


def test_images_that_cannot_be_used_are_counted_and_survived(scene):
    vehicle, observer = scene
    from spike_depth_ros.messages import image_to_message

    good = np.zeros((30, 40, 3), np.uint8)

    def send(**changes):
        message = image_to_message(good, "rgb8", vehicle.time_ns, "rgb_optical_frame")
        for name, value in changes.items():
            setattr(message, name, value)
        vehicle.images["rgb"].publish(message)

    send(encoding="bayer_rggb8")
    send(encoding="mono16")
    send(step=1)
    send(height=31)
    send(data=array.array("B", b"abc"))
    smaller = image_to_message(good[:20], "rgb8", vehicle.time_ns, "rgb_optical_frame")
    vehicle.images["rgb"].publish(smaller)
    expected = {"encoding": "2", "length": "3", "camera_info_size": "1"}
    observer.wait(
        lambda: all(observer.counts("rgb").get(f"dropped/{r}") == n for r, n in expected.items()), str(expected)
    )


def test_time_that_jumps_back_resets_once_and_depth_goes_on(scene):
    vehicle, observer = scene
    for _ in range(3):
        vehicle.send_spikes(4)
        vehicle.send_frame("rgb")
    vehicle.time_ns -= 3_000 * MS
    vehicle.seq = 0
    observer.received["image_rect"].clear()

    def again():
        vehicle.send_spikes(4)
        vehicle.send_frame("rgb")
        return any(from_stamp(m.header.stamp) <= vehicle.time_ns for m in observer.received["image_rect"])

    observer.wait(again, "depth at the earlier time")
    observer.wait(lambda: sum(int(observer.counts(s).get("resets", 0)) for s in ("spikes", "rgb")) == 1, "one reset")
    assert observer.counts("spikes")["lost"] == "0"


def test_a_recording_that_starts_over_with_its_clock_resets_once_and_says_so(graph):
    """As `ros2 bag play --loop --clock` does: all stamps and the node's clock go back together."""
    node = graph.add_depth_node(use_sim_time=True, sensors=["spikes", "rgb"])
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    clock = vehicle.create_publisher(Clock, "/clock", 10)
    observer.wait(clock.get_subscription_count, "the subscription to the clock")
    vehicle.connect(observer.wait, ("spikes", "rgb"))

    def at(time_ns: int) -> None:
        """Go on from a time, as soon as the node's clock is there."""
        vehicle.time_ns = time_ns
        clock.publish(Clock(clock=to_stamp(time_ns)))
        observer.wait(lambda: abs(node.get_clock().now().nanoseconds - time_ns) < 400 * MS, "the time")

    def depth_of(begin_ns: int) -> list[int]:
        """A frame more, and the stamps of all depth of that part of the recording."""
        clock.publish(Clock(clock=to_stamp(vehicle.time_ns)))
        vehicle.announce()
        vehicle.send_spikes(4)
        vehicle.send_frame("rgb")
        stamps = [from_stamp(m.header.stamp) for m in observer.received["image_rect"]]
        return [stamp for stamp in stamps if begin_ns <= stamp < begin_ns + 30_000 * MS]

    def clock_jumps() -> int:
        return int(observer.status("depth_node: latency").get("clock_jumps", -1))

    late, early = 100_000 * MS, 50_000 * MS
    at(late)
    observer.wait(lambda: len(depth_of(late)) > 3, "depth")
    before = observer.wait(lambda: (clock_jumps(),) if clock_jumps() >= 0 else None, "the status")[0]
    at(early)
    observer.wait(lambda: len(depth_of(early)) > 3, "depth of the second time")
    observer.wait(lambda: clock_jumps() > before, "the jump of the clock")
    observer.wait(lambda: sum(int(observer.counts(s).get("resets", 0)) for s in ("spikes", "rgb")) == 1, "one reset")
    again = depth_of(early)
    assert again == sorted(again)
    jumps = [s.message for m in observer.received["diagnostics"] for s in m.status if "time jumped" in s.message]
    assert len(jumps) == 1  # said once, in the report that follows


def test_inputs_add_up_in_the_diagnostics(scene):
    vehicle, observer = scene
    for _ in range(20):
        vehicle.send_spikes(5)
        vehicle.send_frame("rgb")
        vehicle.send_frame("thermal")

    def settled():
        values = observer.counts("spikes")
        return values if values.get("received") == str(vehicle.seq) else None

    values = observer.wait(settled, "all packets")
    dropped = sum(int(value) for key, value in values.items() if key.startswith("dropped/"))
    assert int(values["used"]) + dropped + int(values["pending"]) == vehicle.seq


def test_images_without_intrinsics_are_dropped_and_said_so(graph):
    graph.add_depth_node()
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    observer.wait(lambda: vehicle.images["rgb"].get_subscription_count(), "the subscription")
    vehicle.send_frame("rgb")
    observer.wait(lambda: observer.counts("rgb").get("dropped/no_camera_info") == "1", "the drop")


def test_the_estimator_may_fail_without_ending_the_node(graph):
    class Failing(CountingEstimator):
        def estimate(self, sample, reference, sensors, before=()):
            if sample.time_ns > 0:  # not at the warm-up
                raise RuntimeError("out of memory, say")
            return super().estimate(sample, reference, sensors)

    graph.add_depth_node(lambda _: Failing())
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    vehicle.connect(observer.wait)

    def failed():
        vehicle.announce()
        vehicle.send_spikes(1)
        return int(observer.status("depth_node: inference").get("failures", 0)) > 1

    observer.wait(failed, "failures in the diagnostics")
    statuses = [s for m in observer.received["diagnostics"] for s in m.status if s.name == "depth_node: inference"]
    assert any(s.message.startswith("RuntimeError: out of memory, say") and s.level == ERROR for s in statuses)


def test_camera_info_is_beside_the_topic_that_an_image_is_remapped_to(graph):
    node = graph.add_depth_node(cli_args=["--ros-args", "-r", "~/input/rgb:=/front/rgb/image_raw", "-r", "__ns:=/car"])
    topics = {name for name, _ in node.get_subscriber_names_and_types_by_node("depth_node", "/car")}
    assert {"/front/rgb/image_raw", "/front/rgb/camera_info"} <= topics
    assert {"/car/depth_node/input/thermal", "/car/depth_node/input/thermal/camera_info"} <= topics


def test_stamps_are_exact():
    time_ns = 1_764_000_000_123_456_789
    assert from_stamp(to_stamp(time_ns)) == time_ns
