"""What the depth node publishes, read as others read it; and that nothing is made that nobody hears."""

from __future__ import annotations

import numpy as np
import pytest
from sensor_msgs.msg import Image, PointCloud2
from stereo_msgs.msg import DisparityImage

from spike_depth_core.inference import products
from spike_depth_ros import outputs
from spike_depth_ros.messages import image_from_message
from spike_depth_ros.time import from_stamp
from test.ros.harness import CAMERAS, MS, Observer, Vehicle

NODE = "/depth_node"


@pytest.fixture
def scene(graph):
    graph.add_depth_node(millimetres=True, disparity=True, disparity_baseline=0.2, points_stride=3)
    return graph.add(Vehicle), graph.add(Observer)


def send_until(vehicle, observer, *names: str, sensors: tuple[str, ...] = ("spikes",)) -> int:
    """Send until topics have come for one moment; returns its time."""
    for name in names:
        observer.received[name].clear()

    def complete():
        vehicle.announce()
        for sensor in sensors:
            if sensor != "spikes":
                vehicle.send_frame(sensor)
        vehicle.send_spikes(2)
        stamps = [{from_stamp(m.header.stamp) for m in observer.received[name]} for name in names]
        return set.intersection(*stamps)

    return min(observer.wait(complete, str(names)))


def at(observer, name: str, time_ns: int):
    return next(m for m in observer.received[name] if from_stamp(m.header.stamp) == time_ns)


def test_every_topic_tells_the_same_depth(scene):
    vehicle, observer = scene
    observer.listen(Image, f"{NODE}/depth/image_raw")
    observer.listen(DisparityImage, f"{NODE}/depth/disparity")
    observer.listen(PointCloud2, f"{NODE}/depth/points")
    observer.listen(Image, f"{NODE}/debug/depth", "picture")
    vehicle.connect(observer.wait)
    names = ("image_rect", "uncertainty", "camera_info", "image_raw", "disparity", "points", "picture")
    time_ns = send_until(vehicle, observer, *names)
    messages = {name: at(observer, name, time_ns) for name in names}
    assert {m.header.frame_id for m in messages.values()} == {"spikes_optical_frame"}

    depth = image_from_message(messages["image_rect"])
    known = np.isfinite(depth)
    raw = image_from_message(messages["image_raw"])
    assert messages["image_raw"].encoding == "16UC1"
    np.testing.assert_array_equal(raw[known], np.where(depth[known] <= 65.535, depth[known] * 1000, 0))
    assert raw[~known].tolist() == [0]

    stereo = messages["disparity"]
    np.testing.assert_allclose(image_from_message(stereo.image)[known], stereo.f * stereo.t / depth[known], rtol=1e-6)
    assert (stereo.f, stereo.t) == (pytest.approx(CAMERAS["spikes"].fx), pytest.approx(0.2))
    assert stereo.min_disparity == pytest.approx(stereo.f * stereo.t / depth[known].max())
    assert (stereo.valid_window.width, stereo.valid_window.height) == (32, 24)

    points = cloud_of(messages["points"])
    assert points.shape == (8, 11)
    np.testing.assert_array_equal(points["z"], depth[::3, ::3])
    np.testing.assert_allclose(points["x"][4, 5], (15 - 15.5) / 30.0 * depth[12, 15], rtol=1e-5)
    np.testing.assert_allclose(points["y"][4, 5], (12 - 11.5) / 31.0 * depth[12, 15], rtol=1e-5)
    assert "rgb" not in points.dtype.names

    assert messages["picture"].encoding == "rgb8"
    assert messages["picture"].width == messages["image_rect"].width


def cloud_of(message: PointCloud2) -> np.ndarray:
    """A cloud read by what its fields say, as sensor_msgs_py does."""
    kinds = {PointCloud2: None, 7: "<f4", 6: "<u4"}
    dtype = np.dtype(
        {
            "names": [field.name for field in message.fields],
            "formats": [kinds[field.datatype] for field in message.fields],
            "offsets": [field.offset for field in message.fields],
            "itemsize": message.point_step,
        }
    )
    assert message.row_step == message.point_step * message.width
    return np.frombuffer(message.data, dtype).reshape(message.height, message.width)


def test_points_have_the_colours_of_rgb_where_it_is_there(scene):
    vehicle, observer = scene
    observer.listen(PointCloud2, f"{NODE}/depth/points")
    vehicle.connect(observer.wait)
    time_ns = send_until(vehicle, observer, "points", "image_rect", sensors=("spikes", "rgb"))
    points = cloud_of(at(observer, "points", time_ns))
    bits = points["rgb"].copy().view(np.uint32)
    assert {int(value) for value in np.unique(bits)} <= {0x646464, 0x808080}  # the frame is 100 all over; unseen is 128
    assert (bits == 0x646464).mean() > 0.5


def test_what_nobody_hears_is_not_computed(graph, monkeypatch):
    made = []
    for name in ("points_of", "millimetres", "disparity", "colorize_depth", "spike_image"):
        original = getattr(outputs, name)
        monkeypatch.setattr(outputs, name, lambda *a, _o=original, _n=name: (made.append(_n), _o(*a))[1])
    graph.add_depth_node(millimetres=True, disparity=True)
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    vehicle.connect(observer.wait)
    send_until(vehicle, observer, "image_rect")
    assert made == []
    observer.listen(PointCloud2, f"{NODE}/depth/points")
    send_until(vehicle, observer, "points")
    assert set(made) == {"points_of"}
    assert products.points_of is not outputs.points_of  # the count is of what the node calls


def test_without_listeners_there_is_not_even_an_estimate(graph):
    node = graph.add_depth_node()
    vehicle, observer = graph.add(Vehicle), graph.add(Observer, "/elsewhere")
    vehicle.connect(observer.wait)

    def idle():
        vehicle.announce()
        vehicle.send_spikes(1)
        return int(observer.status("depth_node: inference").get("unheard", 0)) > 2

    observer.wait(idle, "moments that nobody hears")
    status = observer.status("depth_node: inference")
    assert (status["published"], status["message"]) == ("0", "idle: nobody listens")
    assert node._pipeline.tally.last is None


@pytest.mark.parametrize("trigger", ["rgb", "thermal"])
def test_one_output_for_one_trigger_with_its_stamp(graph, trigger):
    """Each frame is sent when the depth of the one before has come: none may be left out, none come twice."""
    graph.add_depth_node(trigger=trigger, sensors=["spikes", trigger])
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    vehicle.connect(observer.wait, ("spikes", trigger))
    observer.wait(lambda: observer.count_publishers(f"{NODE}/depth/image_rect"), "the topic")

    def known():
        vehicle.announce()
        vehicle.send_spikes(1)
        vehicle.send_frame(trigger)
        return observer.received["image_rect"]

    observer.wait(known, "the first depth")
    begin_ns, sent = vehicle.time_ns, []

    def came() -> list[int]:
        stamps = [from_stamp(m.header.stamp) for m in observer.received["image_rect"]]
        return [stamp for stamp in stamps if stamp > begin_ns]

    for _ in range(20):
        vehicle.send_spikes(10)
        sent.append(vehicle.time_ns)
        vehicle.send_frame(trigger)
        observer.wait(lambda: len(came()) >= len(sent), f"depth number {len(sent)}")
    assert came() == sent


def test_two_cameras_side_by_side_do_not_hear_one_another(graph):
    for side in ("left", "right"):
        graph.add_depth_node(cli_args=["--ros-args", "-r", f"__ns:=/{side}"])
    left = graph.add(Vehicle, "/left/depth_node")
    observers = {side: graph.add(Observer, f"/{side}/depth_node") for side in ("left", "right")}
    left.connect(observers["left"].wait)
    send_until(left, observers["left"], "image_rect")
    left.time_ns += MS
    send_until(left, observers["left"], "image_rect")
    assert observers["right"].received["image_rect"] == []
