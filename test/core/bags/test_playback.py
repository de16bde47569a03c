from __future__ import annotations

import numpy as np
import pytest

from spike_depth_core.bags import BagReader, BagWriter, MessageError, messages, types
from spike_depth_core.bags.lidar import points_from_message
from spike_depth_core.bags.playback import Playback, PlayedMoment, rig_of_bag
from spike_depth_core.bags.recording import drive_metadata
from spike_depth_core.bags.sensors import SensorTopics, find_sensors, find_truth
from spike_depth_core.bags.transforms import FrameTree
from spike_depth_core.bags.types import type_store
from spike_depth_core.geometry import PinholeCamera
from spike_depth_core.geometry.projection import depth_of_points
from spike_depth_core.geometry.rig import pose
from test.core.bags.recordings import FRAME_NS, START_NS, Written, small_recording, write_recording
from test.core.factories import small_rig

RIG = small_rig(32, 24)


@pytest.fixture(scope="module")
def recording() -> list[Written]:
    return small_recording(rig=RIG)


@pytest.fixture(scope="module")
def bag(tmp_path_factory, recording) -> BagReader:
    return BagReader(write_recording(tmp_path_factory.mktemp("bag") / "a.mcap", recording))


def moments(bag: BagReader, planes: int = 64, **options) -> list[PlayedMoment]:
    playback = Playback(bag, find_sensors(bag), RIG, planes)
    return [event for event in playback.play(**options) if isinstance(event, PlayedMoment)]


def test_each_frame_is_a_moment_with_the_planes_that_end_there(bag, recording):
    packets = [messages.spikes_from_message(m) for _, kind, m, _ in recording if kind == types.SPIKE_PACKET]
    planes = np.concatenate([packet.data for packet in packets])
    found = moments(bag)
    assert [played.moment.time_ns for played in found] == [START_NS + k * FRAME_NS for k in range(1, 6)]
    for played in found:
        moment = played.moment
        assert moment.sensors == ("spikes", "rgb")
        last = (moment.time_ns - START_NS) // packets[0].period_ns
        assert np.array_equal(moment.spikes.data, planes[last - 64 : last])
        # Complete with whichever came last: the frame, 2 ms late, or the packet of the moment.
        assert 2_000_000 <= played.complete_ns - moment.time_ns <= 5_200_000


def test_two_plays_give_the_same(bag):
    one, other = moments(bag), moments(bag)
    assert [(p.moment.time_ns, p.complete_ns) for p in one] == [(p.moment.time_ns, p.complete_ns) for p in other]
    assert all(np.array_equal(a.moment.spikes.data, b.moment.spikes.data) for a, b in zip(one, other, strict=True))


def test_a_part_of_a_bag_gives_the_moments_of_the_whole(bag):
    whole = moments(bag)
    begin, end = START_NS + 80_000_000, START_NS + 150_000_000
    part = moments(bag, start_ns=begin, stop_ns=end)
    expected = [p for p in whole if begin <= p.complete_ns < end]
    assert [p.moment.time_ns for p in part] == [p.moment.time_ns for p in expected]
    assert all(np.array_equal(a.moment.spikes.data, b.moment.spikes.data) for a, b in zip(part, expected, strict=True))


def test_lost_packets_are_counted_and_no_window_reaches_across_them(tmp_path, recording):
    without = [w for w in recording if w[1] != types.SPIKE_PACKET or w[2].seq != 20]
    bag = BagReader(write_recording(tmp_path / "a.mcap", without))
    playback = Playback(bag, find_sensors(bag), RIG, 64)
    found = [event.moment for event in playback.play() if isinstance(event, PlayedMoment)]
    assert playback.counts()["spikes"]["lost"] == 1
    gap_ns = START_NS + 20 * 64 * 50_000
    for moment in found:
        if moment.spikes is not None:
            assert not moment.spikes.start_ns <= gap_ns < moment.spikes.end_ns


def test_images_without_intrinsics_are_dropped_by_name(tmp_path, recording):
    without = [w for w in recording if w[0] != "/rgb/camera_info"]
    bag = BagReader(write_recording(tmp_path / "a.mcap", without))
    topics = find_sensors(bag)
    assert topics.cameras == {"spikes": "/spikes/camera_info"}
    wrong = small_rig(32, 32)
    playback = Playback(bag, topics, wrong, 64)
    found = [event.moment for event in playback.play() if isinstance(event, PlayedMoment)]
    assert all(moment.sensors == ("spikes",) for moment in found)
    assert playback.counts()["rgb"]["dropped"] == {"camera_info_size": 5}
    assert "64x40" in playback.dropped["/rgb/image_raw", "camera_info_size"]
    # The intrinsics of a rig that fits serve as well.
    assert [event.moment.sensors for event in Playback(bag, topics, RIG, 64).play()] == 5 * [("spikes", "rgb")]


def test_other_topics_are_handed_through(bag):
    playback = Playback(bag, find_sensors(bag), RIG, 64)
    others = [e for e in playback.play(["/truth/depth/image_rect"]) if not isinstance(e, PlayedMoment)]
    assert [messages.stamp_ns(e.decode()) for e in others] == [START_NS + k * FRAME_NS for k in range(1, 6)]


# Which topic is which sensor


def named_bag(path, names: dict[str, str]) -> BagReader:
    with BagWriter(path) as bag:
        for name, kind in names.items():
            bag.add_topic(name, kind)
    return BagReader(path)


def test_a_topic_is_not_given_for_two_sensors(tmp_path):
    bag = named_bag(tmp_path / "a.mcap", {"/cam/image": types.IMAGE})
    with pytest.raises(ValueError, match="one topic is one sensor, but /cam/image is given for nir and thermal"):
        find_sensors(bag, {"nir": "/cam/image", "thermal": "/cam/image"})


def test_sensors_are_told_by_type_and_name(tmp_path):
    bag = named_bag(
        tmp_path / "a.mcap",
        {
            "/front/packets": types.SPIKE_PACKET,
            "/color_camera/image_raw": types.IMAGE,
            "/color_camera/image_raw/compressed": types.COMPRESSED_IMAGE,
            "/color_camera/camera_info": types.CAMERA_INFO,
            "/thermal/image_raw/compressed": types.COMPRESSED_IMAGE,
            "/thermal/camera_info": types.CAMERA_INFO,
            "/depth/rgb/image": types.IMAGE,
            "/simulator/truth/depth/image_rect": types.IMAGE,
        },
    )
    topics = find_sensors(bag)
    assert topics.images == {
        "spikes": "/front/packets",
        "rgb": "/color_camera/image_raw",
        "thermal": "/thermal/image_raw/compressed",
    }
    assert topics.cameras == {"rgb": "/color_camera/camera_info", "thermal": "/thermal/camera_info"}
    assert find_truth(bag) == "/simulator/truth/depth/image_rect"
    assert find_sensors(bag, {"nir": "/depth/rgb/image"}).images["nir"] == "/depth/rgb/image"
    with pytest.raises(ValueError, match="no depth images or points on /lidar"):
        find_truth(bag, "/lidar")
    with pytest.raises(ValueError, match="a sensor is one of spikes, rgb, nir, thermal, found 'radar'"):
        find_sensors(bag, {"radar": "/front/packets"})
    with pytest.raises(ValueError, match="image is of sensor_msgs/msg/Image; spikes are of spike_depth/msg/Spike"):
        find_sensors(bag, {"spikes": "/depth/rgb/image"})
    with pytest.raises(ValueError, match="of spike_depth/msg/SpikePacket; rgb is of sensor_msgs/msg/Image or sensor_"):
        find_sensors(bag, {"rgb": "/front/packets"})
    with pytest.raises(ValueError, match="/camera_info is of sensor_msgs/msg/CameraInfo; nir is of sensor_"):
        find_sensors(bag, {"nir": "/color_camera/camera_info"})
    with pytest.raises(ValueError, match="has nothing on /gone; it has /front/packets"):
        find_sensors(bag, {"spikes": "/gone"})


def test_what_cannot_be_told_is_asked_for(tmp_path):
    bag = named_bag(tmp_path / "a.mcap", {"/left/rgb/image": types.IMAGE, "/front/rgb/image": types.IMAGE})
    with pytest.raises(ValueError, match="rgb could be any of /front/rgb/image, /left/rgb/image; say which"):
        find_sensors(bag)
    bag = named_bag(tmp_path / "b.mcap", {"/camera/image": types.IMAGE})
    with pytest.raises(ValueError, match="no sensor that can be told by its name; it has /camera/image"):
        find_sensors(bag)


# Rig, frames and points


def test_the_rig_comes_with_a_recorded_drive(tmp_path, recording):
    path = write_recording(tmp_path / "a.mcap", recording[:1], custom=drive_metadata(RIG, {}))
    read = rig_of_bag(BagReader(path))
    assert read.cameras == RIG.cameras
    np.testing.assert_allclose(read.reference_from("rgb"), RIG.reference_from("rgb"), atol=1e-12)
    path = write_recording(tmp_path / "b.mcap", recording[:1], custom={"spike_depth.rig": "sensors: 3"})
    with pytest.raises(ValueError, match=r"b\.mcap has a rig that cannot be understood"):
        rig_of_bag(BagReader(path))


def test_static_transforms_take_the_place_of_the_rigs(tmp_path, recording):
    camera = pose((0.3, 0.1, -0.2), (0.0, 0.1, 0.0, 1.0))
    base = pose((1.0, 2.0, 3.0), (0.5, 0.5, 0.5, 0.5))
    steps = [("base", "spikes_optical_frame", base), ("base", "rgb_optical_frame", base @ camera)]
    static = ("/tf_static", types.TRANSFORMS, messages.transforms_to_message(steps, START_NS), START_NS)
    bag = BagReader(write_recording(tmp_path / "a.mcap", [static, *recording]))
    playback = Playback(bag, find_sensors(bag), RIG, 64)
    assert len(list(playback.play())) == 5
    np.testing.assert_allclose(playback.rig.transform("spikes", "rgb"), camera, atol=1e-9)


def test_frames_are_connected_over_any_path():
    tree = FrameTree()
    a, b, c = (pose((k, 2 * k, -k), (0.1 * k, 0.2, 0.3, 1.0)) for k in (1.0, 2.0, 3.0))
    tree.add("base", "lidar", a)
    tree.add("base", "mount", b)
    tree.add("mount", "camera", c)
    np.testing.assert_allclose(tree.transform("camera", "/lidar"), np.linalg.inv(b @ c) @ a, atol=1e-12)
    assert tree.transform("camera", "moon") is None


def cloud(points: np.ndarray, big_endian: bool = False):
    """A cloud as LiDARs send them: coordinates and an intensity, in rows of two."""
    dtype = np.dtype({"names": list("xyzi"), "formats": [">f4" if big_endian else "<f4"] * 4, "itemsize": 20})
    data = np.zeros(len(points), dtype)
    for axis, name in enumerate("xyz"):
        data[name] = points[:, axis]
    store = type_store().types
    fields = [store["sensor_msgs/msg/PointField"](name, 4 * k, 7, 1) for k, name in enumerate("xyzi")]
    header = messages.image_to_message(np.zeros((1, 1), np.uint8), "mono8", 5, "lidar").header
    raw = np.frombuffer(data.tobytes(), np.uint8)
    message = store[types.POINT_CLOUD](header, len(points) // 2, 2, fields, big_endian, 20, 40, raw, True)
    return messages.decode(types.POINT_CLOUD, memoryview(bytes(messages.encode(types.POINT_CLOUD, message))))


@pytest.mark.parametrize("big_endian", [False, True])
def test_points_fall_into_the_pixels_that_see_them(big_endian):
    camera = PinholeCamera(40, 30, 50.0, 50.0, 20.0, 15.0)
    # The vehicle's axes: x forward, y left, z up.
    camera_from_lidar = np.eye(4)
    camera_from_lidar[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    points = np.array([[10.0, 0, 0], [20.0, 0, 0], [5.0, -1.0, 0.5], [-3.0, 0, 0], [np.nan, 0, 0], [8.0, 9.0, 0]])
    depth = depth_of_points(points_from_message(cloud(points, big_endian)), camera_from_lidar, camera)
    assert depth[15, 20] == 10.0  # the nearer of two
    assert depth[10, 30] == 5.0  # 1 m to the right is 10 pixels, half a metre up five
    assert np.isfinite(depth).sum() == 2


def test_clouds_that_do_not_fit_are_refused():
    message = cloud(np.ones((4, 3)))
    message.row_step = 30
    with pytest.raises(MessageError, match="do not fit"):
        points_from_message(message)
    message = cloud(np.ones((4, 3)))
    message.fields = message.fields[:2]
    with pytest.raises(MessageError, match="has no z; it has x, y"):
        points_from_message(message)


def test_a_sensor_may_be_left_out(bag):
    topics = find_sensors(bag)
    only = SensorTopics({"spikes": topics.images["spikes"]}, topics.cameras)
    found = [e.moment for e in Playback(bag, only, RIG, 64).play() if isinstance(e, PlayedMoment)]
    assert found
    assert all(moment.sensors == ("spikes",) for moment in found)
