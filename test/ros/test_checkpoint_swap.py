"""Other weights while depth goes on: taken over between two images, or refused while the old ones stay."""

from __future__ import annotations

import hashlib
import json
import os
import threading

import numpy as np
import pytest
import torch

from spike_depth_core.networks.checkpoint import CheckpointInfo, read_info, save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_ros.checkpoint_swap import CheckpointSwap
from spike_depth_ros.depth_node import load_estimator
from spike_depth_ros.diagnostics import OK, WARN
from spike_depth_ros.messages import image_from_message
from spike_depth_ros.time import from_stamp
from test.ros.harness import MS, Observer, Vehicle
from test.ros.test_lifecycle import CLEANUP, CONFIGURE, DEACTIVATE, Manager
from test.ros.test_runtime_parameters import Setter

SMALL = Architecture(widths=(8, 8, 8, 8, 8), trunk_blocks=1, pixels=32 * 32)
FACTOR = 1.5
PIXELS = 2048  # other than what the checkpoints were trained on


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Two networks that say the level road, the second everything `FACTOR` times as far; and one of another kind."""
    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    network = DepthNetwork(SMALL).eval()
    for name, factor in (("near", 1.0), ("far", FACTOR)):
        with torch.no_grad():
            network.decoder.head.bias[0] = np.log(factor)
        save_checkpoint(folder / f"{name}.safetensors", network, CheckpointInfo(SMALL, depth_range=(0.1, 1000.0)))
    other = Architecture(widths=(8, 8, 8, 8, 8), trunk_blocks=2, pixels=32 * 32)
    save_checkpoint(folder / "other.safetensors", DepthNetwork(other), CheckpointInfo(other))
    return folder


class Loader:
    """Loads like the node; what is loaded second waits for `go_on`."""

    def __init__(self):
        self.go_on, self.count = threading.Event(), 0

    def __call__(self, values):
        self.count += 1
        if self.count > 1:
            assert self.go_on.wait(120)
        return load_estimator(values)


@pytest.fixture
def scene(graph, checkpoints):
    loader = Loader()
    path = str(checkpoints / "near.safetensors")
    node = graph.add_depth_node(
        loader, checkpoint=path, backend="torch", pixels=PIXELS, reference="spikes", debug=False
    )
    vehicle, observer = graph.add(Vehicle), graph.add(Observer)
    vehicle.connect(observer.wait)

    def heard():
        """Whether depth is of all sensors: from now on nothing that is sent is overtaken by its camera_info."""
        before = len(observer.received["image_rect"])
        send(vehicle)
        observer.wait_a_little(lambda: len(observer.received["image_rect"]) > before, 2.0)  # or they pile up
        last = node._pipeline.tally.last
        return last is not None and len(last.sensors) == 4

    observer.wait(heard, "depth of all sensors")
    yield loader, node, vehicle, observer, Setter(observer)
    loader.go_on.set()


def send(vehicle):
    """Send a moment: spikes, and a frame of every camera. Returns its stamp."""
    vehicle.announce()
    vehicle.send_spikes(10)
    stamp = vehicle.time_ns
    for sensor in vehicle.images:
        vehicle.send_frame(sensor, stamp)
    vehicle.send_spikes(1)  # planes beyond the stamp complete it
    vehicle.time_ns += 5 * MS
    return stamp


def drive(vehicle, observer, moments):
    """Send moments, each when the one before has its depth; returns the stamps and the depth of each."""
    depths = {}
    for _ in range(moments):
        stamp = send(vehicle)

        def depth(stamp=stamp):
            return [m for m in observer.received["image_rect"] if from_stamp(m.header.stamp) == stamp]

        depths[stamp] = image_from_message(observer.wait(depth, f"depth of {stamp}")[0])
    return depths


def model(observer):
    return observer.status("depth_node: model")


def test_weights_change_between_two_images_and_no_image_is_missing(scene, checkpoints):
    loader, node, vehicle, observer, set_parameters = scene
    near, far = (read_info(checkpoints / f"{name}.safetensors").sha256 for name in ("near", "far"))
    before = drive(vehicle, observer, 2)
    skipped = node._pipeline.tally.skipped.total()
    observer.wait(lambda: model(observer).get("sha256") == near, "the hash of what runs")
    path = str(checkpoints / "far.safetensors")
    assert set_parameters(checkpoint=path)[0].successful
    observer.wait(lambda: model(observer)["loading"] == path, "the load")
    during = drive(vehicle, observer, 4)  # it is held up, and depth goes on
    assert (model(observer)["sha256"], model(observer)["changes"]) == (near, "0")
    loader.go_on.set()
    changing = drive(vehicle, observer, 4)
    observer.wait(lambda: model(observer)["sha256"] == far, "the other hash")
    after = drive(vehicle, observer, 2)
    status = model(observer)
    assert (status["checkpoint"], status["changes"], status["loading"], status["level"]) == (path, "1", "", OK)
    assert status["pixels"] == str(PIXELS)
    assert (node._pipeline.tally.failures, node._pipeline.tally.skipped.total()) == (0, skipped)
    road = before[min(before)]
    factors = [float(np.nanmedian(d / road)) for part in (before, during, changing, after) for d in part.values()]
    factors = [round(factor, 2) for factor in factors]
    assert set(factors) == {1.0, FACTOR}
    assert factors == sorted(factors)
    assert (factors[5], factors[-2]) == (1.0, FACTOR)


def damaged(path, folder):
    """A copy of a checkpoint with a wrong bit."""
    copy = folder / "damaged.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    copy.with_suffix(".json").write_text(path.with_suffix(".json").read_text())
    return copy


def unfit(path, folder):
    """A checkpoint whose hash is right, but which lacks a tensor: found only when the network is built."""
    from safetensors.torch import load_file, save_file

    copy = folder / "unfit.safetensors"
    tensors = load_file(path)
    tensors.pop("rays.bias")
    save_file(tensors, copy)
    about = json.loads(path.with_suffix(".json").read_text())
    about["sha256"] = hashlib.sha256(copy.read_bytes()).hexdigest()
    copy.with_suffix(".json").write_text(json.dumps(about))
    return copy


def test_what_is_wrong_is_refused_with_the_reason_and_the_old_weights_stay(scene, checkpoints, tmp_path):
    _, node, vehicle, observer, set_parameters = scene
    near = read_info(checkpoints / "near.safetensors").sha256
    for path, said in (
        (checkpoints / "nowhere.safetensors", "there is no checkpoint"),
        (damaged(checkpoints / "far.safetensors", tmp_path), "sha256"),
        (checkpoints / "other.safetensors", "trunk_blocks 1 expected, found 2"),
    ):
        (result,) = set_parameters(checkpoint=str(path))
        assert not result.successful
        assert said in result.reason
    assert node.parameters.values["checkpoint"] == str(checkpoints / "near.safetensors")
    drive(vehicle, observer, 1)
    observer.wait(lambda: model(observer).get("sha256") == near, "the hash of what runs")


def test_what_proves_unfit_when_it_is_loaded_is_taken_back(scene, checkpoints, tmp_path):
    loader, node, vehicle, observer, set_parameters = scene
    loader.go_on.set()
    assert set_parameters(checkpoint=str(unfit(checkpoints / "far.safetensors", tmp_path)))[0].successful
    status = observer.wait(lambda: (s := model(observer)).get("level") == WARN and s, "the refusal")
    assert "unfit.safetensors is refused" in status["message"]
    assert "first rays.bias" in status["message"]
    assert (status["sha256"], status["loading"]) == (read_info(checkpoints / "near.safetensors").sha256, "")
    assert node.parameters.values["checkpoint"] == str(checkpoints / "near.safetensors")
    drive(vehicle, observer, 1)
    assert set_parameters(checkpoint=str(checkpoints / "far.safetensors"))[0].successful
    far = read_info(checkpoints / "far.safetensors").sha256
    observer.wait(lambda: model(observer).get("sha256") == far and model(observer)["level"] == OK, "better ones")


def test_the_last_one_asked_for_wins_and_what_runs_can_be_asked_back(graph, scene, checkpoints):
    loader, node, _, observer, set_parameters = scene
    near, far = (str(checkpoints / f"{name}.safetensors") for name in ("near", "far"))
    assert set_parameters(checkpoint=far)[0].successful
    assert set_parameters(checkpoint=near)[0].successful  # what runs: the other one is not wanted any more
    loader.go_on.set()
    node._swap.close()
    assert node._swap.take() is None
    assert set_parameters(checkpoint=far)[0].successful
    observer.wait(lambda: model(observer).get("changes") == "1", "the change")
    # Configured anew it begins with what the parameter says by now.
    assert Manager(graph, observer)(DEACTIVATE, CLEANUP, CONFIGURE) == [True] * 3
    observer.wait(lambda: model(observer).get("state") == "inactive", "the configuration")
    assert (model(observer)["checkpoint"], model(observer)["changes"]) == (far, "0")


@pytest.mark.parametrize("threads", [1, 4])
def test_only_what_starts_no_threads_to_compute_with_is_loaded_at_low_priority(threads):
    """They would have it for good."""
    found, done = [], threading.Event()

    def load(_):
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    swap = CheckpointSwap(load, done.set)
    swap.begin({"checkpoint": "", "threads": threads})
    assert done.wait(60)
    swap.close()
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    assert found == [max(10, usual) if threads == 1 else usual]
