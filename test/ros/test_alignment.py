"""A rig that is in error by a degree or 5 cm is named in the diagnostics; one that is right is not."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from spike_depth_core.geometry import SensorRig
from spike_depth_core.inference import DepthEstimate
from spike_depth_ros import qos
from spike_depth_ros.diagnostics import OK, WARN
from spike_depth_ros.messages import camera_to_message, image_to_message
from test.core.inference.test_alignment import CAMERA, ERRORS, FRAME, RIG, believed, corridor
from test.ros.harness import MS, CountingEstimator, Observer
from test.ros.test_runtime_parameters import Setter

CAMERAS = {"rgb": CAMERA, "nir": FRAME}
ENCODINGS = {"rgb": "rgb8", "nir": "mono8"}


@pytest.fixture(scope="module")
def pictures():
    """A corridor as both cameras see it, each through its own lens and the second as a negative; and its depth."""
    colour, depth = corridor(CAMERA, np.eye(4), 1.0)
    grey, _ = corridor(FRAME, RIG.reference_from("nir"), -1.0)
    return {"rgb": np.repeat(colour[..., None], 3, axis=2), "nir": grey}, depth


class TrueDepth(CountingEstimator):
    """Knows the depth of the corridor."""

    def __init__(self, depth: np.ndarray):
        self._depth = depth

    def estimate(self, sample, reference, sensors, before=()):
        uncertainty = np.full_like(self._depth, 0.1)
        return DepthEstimate(self._depth, uncertainty, CAMERA, reference, sensors, sample.time_ns)


class Scene:
    """A node with a rig file, and its two cameras."""

    def __init__(self, graph, tmp_path, pictures, rig: SensorRig, **parameters):
        self.images, depth = pictures
        rig.save(tmp_path / "rig.yaml")
        graph.add_depth_node(
            lambda _: TrueDepth(depth),
            rig=str(tmp_path / "rig.yaml"),
            sensors=["rgb", "nir"],
            reference="rgb",
            alignment_period=1e-3,
            debug=False,
            **parameters,
        )
        vehicle, self.observer = graph.add(Node, "vehicle"), graph.add(Observer)
        topics = {sensor: f"/depth_node/input/{sensor}" for sensor in CAMERAS}
        self.senders = {s: vehicle.create_publisher(Image, topics[s], qos.image_publisher()) for s in CAMERAS}
        self.infos = {
            s: vehicle.create_publisher(CameraInfo, f"{topics[s]}/camera_info", qos.image_publisher()) for s in CAMERAS
        }
        self.time_ns = vehicle.get_clock().now().nanoseconds

    def status(self, condition, what: str, sensors=tuple(CAMERAS)) -> dict[str, str]:
        """The status for which a condition holds, while these sensors send."""

        def holds():
            self.time_ns += 40 * MS
            for sensor in sensors:
                frame = f"{sensor}_optical_frame"
                self.infos[sensor].publish(camera_to_message(CAMERAS[sensor], self.time_ns, frame))
                message = image_to_message(self.images[sensor], ENCODINGS[sensor], self.time_ns, frame)
                self.senders[sensor].publish(message)
            status = self.observer.status("depth_node: alignment")
            return status if status and condition(status) else None

        return self.observer.wait(holds, what)

    def checked(self) -> dict[str, str]:
        return self.status(lambda status: "nir/blocks" in status, "a check of the places of the sensors")


def test_a_rig_that_is_right_is_left_alone(graph, tmp_path, pictures):
    status = Scene(graph, tmp_path, pictures, RIG).checked()
    assert (status["level"], status["message"]) == (OK, "as seen by the sensors")
    assert abs(float(status["nir/yaw_deg"])) < 0.1


def test_what_is_wrong_about_a_sensor_is_said_only_while_it_is_there_and_looked_for(graph, tmp_path, pictures):
    scene = Scene(graph, tmp_path, pictures, believed(RIG, ERRORS["yaw"], "nir"), silence=60.0)
    set_parameters = Setter(scene.observer)

    def is_over(status):
        return "nir/blocks" not in status and status["level"] == OK

    assert scene.checked()["level"] == WARN
    scene.status(is_over, "the end of it, after nir has gone", sensors=("rgb",))

    assert scene.checked()["level"] == WARN
    assert set_parameters(alignment_period=0.0)[0].successful
    status = scene.status(is_over, "the end of it, where nothing is checked")
    assert status["message"] == "not checked"

    assert set_parameters(alignment_period=1e-3)[0].successful
    assert scene.checked()["level"] == WARN
    assert set_parameters(sensors=["rgb"])[0].successful
    scene.status(is_over, "the end of it, where nir is no input any more", sensors=())


@pytest.mark.parametrize(
    ("name", "key", "expected", "tolerance"), [("yaw", "nir/yaw_deg", 1.0, 0.1), ("right", "nir/x_m", 0.05, 0.02)]
)
def test_a_degree_or_five_centimetres_are_in_the_diagnostics(graph, tmp_path, pictures, name, key, expected, tolerance):
    status = Scene(graph, tmp_path, pictures, believed(RIG, ERRORS[name], "nir")).checked()
    assert status["level"] == WARN
    assert f"nir is not where the rig has it: {name} +" in status["message"]
    assert float(status[key]) == pytest.approx(expected, abs=tolerance)
