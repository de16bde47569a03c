"""Cameras and rigs against scipy's rotations and hand-made projections."""

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.geometry.rig import pose, quaternion_from_rotation, rotation_from_quaternion


def test_quaternions_agree_with_scipy_both_ways():
    for rotation in Rotation.random(50, random_state=3):
        matrix = rotation.as_matrix()
        np.testing.assert_allclose(rotation_from_quaternion(tuple(rotation.as_quat())), matrix, atol=1e-12)
        again = Rotation.from_quat(quaternion_from_rotation(matrix)).as_matrix()
        np.testing.assert_allclose(again, matrix, atol=1e-9)


def test_transform_between_sensors_moves_a_point_through_the_reference():
    rig = SensorRig(
        {s: PinholeCamera.from_focal(8, 6, 5.0) for s in ("spikes", "rgb", "thermal")},
        {"rgb": pose((0.3, 0, 0), (0, 0.1, 0, 1)), "thermal": pose((0, -0.2, 0.1))},
    )
    point = np.array([1.0, 2.0, 10.0, 1.0])
    in_reference = rig.reference_from("rgb") @ point
    np.testing.assert_allclose(in_reference[:3], rig.transform("thermal", "rgb")[:3] @ point + [0, -0.2, 0.1])


def test_yaml_round_trip_keeps_every_number(tmp_path):
    rig = SensorRig(
        {
            "spikes": PinholeCamera(400, 250, 331.5, 330.25, 199.5, 124.0),
            "rgb": PinholeCamera(400, 250, 331.5, 330.25, 199.5, 124.0, (0.1, -0.2, 0.001, 0.002, 0.05)),
        },
        {"rgb": pose((0.1, 0.2, 0.3), (0.1, 0.2, 0.3, 0.9))},
        height=1.43,
    )
    rig.save(tmp_path / "rig.yaml")
    again = SensorRig.load(tmp_path / "rig.yaml")
    assert again.cameras == rig.cameras
    assert again.height == rig.height
    np.testing.assert_allclose(again.poses["rgb"], rig.poses["rgb"], atol=1e-12)


def test_a_sensor_on_the_roof_is_higher_over_the_road_than_the_reference():
    cameras = {s: PinholeCamera.from_focal(8, 6, 5.0) for s in ("spikes", "thermal")}
    rig = SensorRig(cameras, {"thermal": pose((0.0, -0.3, 0.1))}, height=1.4)  # y points down
    assert (rig.height_of("spikes"), rig.height_of("thermal")) == (1.4, pytest.approx(1.7))
    assert SensorRig(cameras).height is None
    with pytest.raises(ValueError, match="over the road"):
        SensorRig(cameras, height=-1.0)


def test_resizing_keeps_the_ray_of_an_image_corner():
    camera = PinholeCamera(640, 480, 500.0, 510.0, 300.0, 250.0)
    small = camera.resized(160, 240)
    # the outer corner of the image is at -0.5 in both
    assert (-0.5 - camera.cx) / camera.fx == pytest.approx((-0.5 - small.cx) / small.fx)
    assert (479.5 - camera.cy) / camera.fy == pytest.approx((239.5 - small.cy) / small.fy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fx": 0.0}, "focal"),
        ({"fy": float("nan")}, "focal"),
        ({"width": 0}, "size"),
        ({"cx": float("inf")}, "principal"),
        ({"distortion": (1.0,)}, "coefficients"),
    ],
)
def test_a_wrong_camera_is_named(change, message):
    values = {"width": 4, "height": 3, "fx": 2.0, "fy": 2.0, "cx": 1.0, "cy": 1.0} | change
    with pytest.raises(ValueError, match=message):
        PinholeCamera(**values)


@pytest.mark.parametrize(
    "text",
    ["[]", "sensors: 3", "sensors: {spikes: {width: 4}}", "sensors: {spikes: {wdith: 4}}", "reference: x"],
)
def test_a_broken_rig_file_names_itself(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"broken\.yaml"):
        SensorRig.load(path)


CAMERA = {"width": 8, "height": 6, "fx": 5.0, "fy": 5.0, "cx": 3.5, "cy": 2.5}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fx": "abc"}, "'rgb': fx: a number was expected, found 'abc'"),
        ({"cy": None}, "'rgb': cy: a number was expected, found nothing"),
        ({"cx": [1]}, "'rgb': cx: a number was expected, found [1]"),
        ({"fy": True}, "'rgb': fy: a number was expected, found True"),
        ({"fy": -2.0}, "'rgb': focal lengths must be positive and finite, found fx=5.0, fy=-2.0"),
        ({"width": 8.5}, "'rgb': width: a whole number was expected, found 8.5"),
        ({"height": float("inf")}, "'rgb': height: a whole number was expected, found inf"),
        ({"translation": [0, 0]}, "'rgb': translation: a list of 3 numbers was expected, found [0, 0]"),
        ({"translation": [0, 0, "up"]}, "'rgb': translation: a number was expected, found 'up'"),
        ({"translation": [0, 0, float("nan")]}, "'rgb': translation: a number was expected, found nan"),
        ({"rotation": None}, "'rgb': rotation: a list of 4 numbers was expected, found nothing"),
        ({"rotation": [0, 0, 0, 0]}, "'rgb': a rotation is a quaternion"),
        ({"distortion": 0.1}, "'rgb': distortion: a list of numbers was expected, found 0.1"),
        ({"cx": 960.0}, "'rgb': principal point cx=960 is far outside a picture of 8x6 pixels"),
        ({"cy": -7.0}, "'rgb': principal point cy=-7 is far outside a picture of 8x6 pixels"),
        ({"fx": 0.04}, "'rgb': focal length fx=0.04 is too short for a picture of 8x6 pixels: pixels were expected"),
        ({"wdith": 8, 3: 4}, "'rgb': missing [], unknown ['3', 'wdith']"),
        (
            {"translation": [0, 2.0, 0]},
            "'rgb' is not above the road: it is 2 m below the reference (y points down), which is 1.65 m over the road "
            "where no height is given",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_file_and_sensor(tmp_path, change, message):
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({"reference": "spikes", "sensors": {"spikes": CAMERA, "rgb": CAMERA | change}}))
    with pytest.raises(ValueError, match="not a valid sensor rig") as found:
        SensorRig.load(path)
    assert str(found.value).startswith(f"{path} is not a valid sensor rig: sensor {message}")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"sensors:\n  spikes: {width: 4\n  rgb: {", "line 3, column 6: YAML was expected, but"),
        (
            b"sensors:\n  spikes:\n",
            "sensor 'spikes': a mapping with width, height, fx, fy, cx, cy was expected, found n",
        ),
        (b"sensors: {}\n", "expected a mapping with keys 'reference' and 'sensors', of one sensor at least"),
        (
            b"sensors:\n  spikes: {width: 8, height: 6, fx: 5, fy: 5, cx: 3, cy: 2}\n  termal: {}\n",
            "unknown sensor ['termal']; sensors are ['nir', 'nir_right', 'rgb', 'rgb_right', 'spikes', ",
        ),
        (
            b"height: high\nsensors: {rgb: {width: 8, height: 6, fx: 5, fy: 5, cx: 3, cy: 2}}",
            "height: a number was expe",
        ),
        (
            b"sensors: {}\nheight: 1.6\nsensors: {}",
            "line 3, column 1: YAML was expected, but 'sensors' stands",
        ),
        (b"[" * 4000, "YAML text was expected, but it is nested too deep"),
        (b"reference: [rgb]\nsensors: {rgb: {width: 8, height: 6, fx: 5, fy: 5, cx: 3, cy: 2}}", "reference: the name"),
        (b"\x89PNG\r\n", "YAML text was expected, found byte 0x89 at 0"),
        (b"\x00\x01", "YAML text was expected, but unacceptable character"),
    ],
)
def test_a_file_that_holds_no_rig_says_where_it_is_wrong(tmp_path, content, message):
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a valid sensor rig") as found:
        SensorRig.load(path)
    assert str(found.value).startswith(f"{path} is not a valid sensor rig: {message}")
    assert "\n" not in str(found.value)


def test_a_rig_of_repetitions_is_refused_in_few_words(tmp_path):
    value = "1"
    for level in range(7):
        value = f"&n{level} [{value}{f', *n{level - 1}' * 9 if level else ''}]"  # ten times the one before
    path = tmp_path / "r.yaml"
    path.write_text(f"sensors:\n  rgb: {{width: {value}, height: 6, fx: 5, fy: 5, cx: 3, cy: 2}}")
    with pytest.raises(ValueError, match="width: a whole number was expected, found ") as found:
        SensorRig.load(path)
    assert len(str(found.value)) < 1000


def test_a_rig_that_is_not_there_is_no_file(tmp_path):
    with pytest.raises(ValueError, match=f"there is no file {tmp_path / 'r.yaml'}"):
        SensorRig.load(tmp_path / "r.yaml")
    with pytest.raises(ValueError, match=f"{tmp_path} cannot be read: Is a directory"):
        SensorRig.load(tmp_path)


def test_numbers_that_yaml_takes_for_strings_are_numbers(tmp_path):
    (tmp_path / "r.yaml").write_text(
        "sensors: {rgb: {width: 800, height: 600, fx: 1e3, fy: 1e3, cx: 399.5, cy: 299.5}}"
    )
    assert SensorRig.load(tmp_path / "r.yaml").cameras["rgb"].fx == 1000.0


def test_a_file_whose_reference_has_a_pose_of_its_own_is_refused(tmp_path):
    """Places from the base link would be taken for places from the reference, and its height for another."""
    camera = PinholeCamera.from_focal(40, 30, 30)
    SensorRig({"rgb": camera}, {"rgb": pose((0.0, 1.0, 0.0))}, "rgb", 1.65).save(tmp_path / "rig.yaml")
    said = r"rig\.yaml .*'rgb', which has no pose of its own; found a translation of \[0.0, 1.0, 0.0\] m"
    with pytest.raises(ValueError, match=said):
        SensorRig.load(tmp_path / "rig.yaml")
    SensorRig({"rgb": camera}, {"rgb": pose()}, "rgb", 1.65).save(tmp_path / "rig.yaml")
    assert SensorRig.load(tmp_path / "rig.yaml").height_of("rgb") == 1.65
