"""Why nothing arrives is said, with the quality of service of both ends."""

from __future__ import annotations

import io

import numpy as np
import PIL.Image
import pytest
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from spike_depth_ros.depth_parameters import DEPTH_NODE
from spike_depth_ros.diagnostics import ERROR, WARN
from spike_depth_ros.messages import camera_to_message
from spike_depth_ros.topic_watch import TopicWatch
from test.ros.harness import CAMERAS, Graph, Observer, Vehicle

RGB = "/depth_node/input/rgb"
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def said(observer, text: str, status: str = "depth_node: inputs") -> dict[str, str]:
    """The first status that has a text in its message."""

    def find():
        for array in observer.received["diagnostics"]:
            for entry in array.status:
                if entry.name == status and text in entry.message:
                    return entry

    return observer.wait(find, repr(text))


def test_a_publisher_that_is_not_reliable_enough_is_named_with_both_ends(graph):
    overrides = {f"qos_overrides.{RGB}.subscription.reliability": "reliable"}
    graph.add_depth_node(**overrides)
    observer = graph.add(Observer)
    driver = graph.add(Node, "driver")
    driver.create_publisher(Image, RGB, QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    status = said(observer, RGB)
    assert status.level >= WARN
    assert "cannot be received: /driver offers best effort, volatile" in status.message
    assert "the subscription asks for reliable, volatile, keep last 10" in status.message
    assert "reliab" in status.message.rpartition("keep last 10")[2]  # the policy at fault


def test_another_type_is_named(graph):
    graph.add_depth_node()
    observer = graph.add(Observer)
    with Graph() as other:  # one participant has but one type for a topic
        other.add(Node, "driver").create_publisher(CompressedImage, RGB, 10)
        said(observer, "/driver publishes sensor_msgs/msg/CompressedImage, expected sensor_msgs/msg/Image")


def test_silence_is_named_with_both_ends_and_when_it_is_over_no_more(graph):
    graph.add_depth_node(silence=0.2)
    observer, vehicle = graph.add(Observer), graph.add(Vehicle)
    status = said(observer, RGB + " has been silent")
    assert "/vehicle offers reliable, volatile" in status.message
    assert "the subscription asks for best effort, volatile, keep last 10" in status.message
    vehicle.connect(observer.wait)

    def over():
        vehicle.announce()
        vehicle.send_frame("rgb")
        vehicle.time_ns += 1_000_000
        return observer.counts("rgb").get("state") == "receiving" and RGB + " has" not in observer.status(
            "depth_node: inputs"
        ).get("message", "")

    observer.wait(over, "the end of the silence")


def test_silence_is_named_within_five_seconds_by_default():
    """It is noticed when the diagnostics are made that follow the time of silence."""
    found = {parameter.name: parameter.default for parameter in DEPTH_NODE}
    assert found["silence"] + 2 / found["diagnostics_rate"] < 5.0


def test_a_required_sensor_that_nobody_publishes_is_an_error(graph):
    graph.add_depth_node(silence=0.1, rgb__required=True)
    observer = graph.add(Observer)
    status = said(observer, f"rgb is away: nobody publishes {RGB}")
    assert status.level == ERROR
    assert observer.counts("nir")["state"] in ("not connected", "waiting")


def test_images_without_intrinsics_are_no_delivery_and_why_they_are_missing_is_said(graph):
    graph.add_depth_node(silence=0.1, sensors=["rgb"], rgb__required=True)
    observer, vehicle = graph.add(Observer), graph.add(Vehicle)  # it would publish intrinsics, and does not

    def unusable():
        vehicle.send_frame("rgb")
        vehicle.time_ns += 1_000_000
        return observer.counts("rgb").get("state") == "unusable"

    observer.wait(unusable, "the state")
    assert said(observer, f"rgb: nothing usable comes on {RGB}").level == ERROR
    assert said(observer, "/depth_node/input/rgb/camera_info has been silent").level == ERROR
    assert said(observer, "no sensor delivers").level == ERROR


def test_no_sensor_is_an_error(graph):
    graph.add_depth_node(silence=0.1)
    observer = graph.add(Observer)
    assert said(observer, "no sensor delivers").level == ERROR
    assert observer.received["image_rect"] == []


def test_a_subscriber_that_cannot_be_reached_is_named(graph):
    graph.add_depth_node()
    observer = graph.add(Observer)
    observer.create_subscription(Image, "/depth_node/depth/image_rect", lambda _: None, LATCHED)
    status = said(observer, "/depth_node/depth/image_rect does not reach /observer", "depth_node: inference")
    assert status.level == WARN
    assert "it asks for reliable, transient local" in status.message
    assert "reliable, volatile, keep last 10 is offered" in status.message


def test_a_camera_info_that_was_said_once_before_is_heard_where_the_override_asks_for_it(graph):
    driver = graph.add(Node, "driver")
    info = driver.create_publisher(CameraInfo, f"{RGB}/camera_info", LATCHED)
    info.publish(camera_to_message(CAMERAS["rgb"], 0, "rgb_optical_frame"))
    overridden = f"qos_overrides.{RGB}/camera_info.subscription"
    graph.add_depth_node(**{f"{overridden}.durability": "transient_local", f"{overridden}.reliability": "reliable"})
    observer, vehicle = graph.add(Observer), graph.add(Vehicle)

    def used():
        vehicle.send_frame("rgb")  # nobody says its camera again
        vehicle.time_ns += 1_000_000
        return int(observer.counts("rgb").get("used", 0)) > 0

    observer.wait(used, "a frame to be used")


def test_what_was_said_once_for_all_is_not_silent(graph):
    driver = graph.add(Node, "driver")
    infos = {name: driver.create_publisher(CameraInfo, name, LATCHED) for name in ("/heard", "/unheard")}
    now_ns = [1]
    watch = TopicWatch(driver, lambda: now_ns[0])
    for name in infos:
        watch.add(name, driver.create_subscription(CameraInfo, name, lambda _: None, LATCHED))
    watch.arrived("/heard")
    now_ns[0] += 10_000_000_000
    assert watch.trouble("/unheard", 2_000_000_000) is None  # its publisher may have come this moment
    now_ns[0] += 10_000_000_000
    assert watch.trouble("/heard", 2_000_000_000) is None
    assert "/unheard has been silent for 10.0 s" in watch.trouble("/unheard", 2_000_000_000)


def test_overrides_of_one_topic_leave_the_others_alone(graph):
    points = "/depth_node/depth/points"
    overrides = {f"qos_overrides.{RGB}.subscription.depth": 3, f"qos_overrides.{points}.publisher.depth": 1}
    node = graph.add_depth_node(**overrides)
    depths = {s.topic_name: s.qos_profile.depth for s in node.subscriptions}
    assert (depths[RGB], depths["/depth_node/input/nir"], depths["/depth_node/input/spikes"]) == (3, 10, 256)
    depths = {p.topic_name: p.qos_profile.depth for p in node.publishers}
    assert (depths[points], depths["/depth_node/depth/image_rect"]) == (1, 10)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"frame_id": "other"}, "is in the frame 'rgb_optical_frame', but"),
        ({"size": (20, 15)}, "the image is 40x30, but /depth_node/input/rgb/camera_info says 20x15"),
        ({"focal": 100.0}, "has a focal length of 2.50 widths of the image"),
    ],
)
def test_sizes_frames_and_lenses_that_do_not_fit_are_named_with_the_topic(graph, capfd, change, expected):
    graph.add_depth_node()
    observer, vehicle = graph.add(Observer), graph.add(Vehicle)
    vehicle.connect(observer.wait)
    camera = CAMERAS["rgb"]
    if "size" in change:
        camera = camera.resized(*change["size"])
    if "focal" in change:
        camera = type(camera).from_focal(camera.width, camera.height, change["focal"])
    message = camera_to_message(camera, vehicle.time_ns, change.get("frame_id", "rgb_optical_frame"))
    heard = []

    def named():
        vehicle.cameras["rgb"].publish(message)
        vehicle.send_frame("rgb")
        vehicle.time_ns += 1_000_000
        heard.append(capfd.readouterr().err)
        return expected in "".join(heard)

    observer.wait(named, expected)
    line = next(line for line in "".join(heard).splitlines() if expected in line)
    assert "/depth_node/input/rgb" in line


def test_pictures_broken_off_anywhere_are_one_trouble_in_the_log(graph, capfd):
    node = graph.add_depth_node(sensors=["rgb"], rgb__compressed=True)
    observer, vehicle = graph.add(Observer), graph.add(Vehicle)
    publisher = vehicle.create_publisher(CompressedImage, f"{RGB}/compressed", 10)
    observer.wait(lambda: publisher.get_subscription_count() > 0, "the subscription")
    stream = io.BytesIO()
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)).save(stream, "jpeg")
    for cut in (20_000, 30_000, 40_000, 50_000):
        publisher.publish(CompressedImage(format="jpeg", data=stream.getvalue()[:cut]))

    def dropped():
        return sum(node._pipeline.sync.counts()["rgb"]["dropped"].values()) == 4

    observer.wait(dropped, "all four")
    assert capfd.readouterr().err.count("dropped a message of") == 1
