"""Cameras and rigs against scipy's rotations and hand-made projections."""

import numpy as np
import pytest
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
        {"spikes": PinholeCamera(400, 250, 331.5, 330.25, 199.5, 124.0, (0.1, -0.2, 0.001, 0.002, 0.05))},
        {"spikes": pose((0.1, 0.2, 0.3), (0.1, 0.2, 0.3, 0.9))},
        height=1.43,
    )
    rig.save(tmp_path / "rig.yaml")
    again = SensorRig.load(tmp_path / "rig.yaml")
    assert again.cameras == rig.cameras
    assert again.height == rig.height
    np.testing.assert_allclose(again.poses["spikes"], rig.poses["spikes"], atol=1e-12)


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
