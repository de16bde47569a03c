"""The estimator: frames, sizes and subsets; that the crop lands on the right pixels."""

import numpy as np
import pytest
import torch

from spike_depth_core.adaptation.originals import scaled_rig
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.inference import DepthEstimator
from spike_depth_core.inference import estimator as estimator_module
from spike_depth_core.inference.estimator import checked_device
from spike_depth_core.metrics import frame_metrics
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.samples import DepthSample
from spike_depth_core.world import World
from test.core.factories import small_sample

SMALL = Architecture(widths=(8, 8, 16, 16, 16), trunk_blocks=1)


@pytest.fixture(scope="module")
def estimator():
    return DepthEstimator.untrained(0, SMALL)


@pytest.mark.parametrize("sensors", [("spikes",), ("rgb",), ("nir", "thermal"), None])
def test_maps_have_the_size_of_the_reference(estimator, sensors):
    sample = small_sample()
    estimate = estimator.estimate(sample, sensors=sensors)
    expected = sensors[0] if sensors else "spikes"
    assert estimate.reference == expected
    assert estimate.depth.shape == estimate.uncertainty.shape == sample.size(expected)
    assert estimate.depth.dtype == np.float32
    assert np.isfinite(estimate.depth).all()
    assert estimate.sensors == (sensors or sample.sensors)
    assert estimate.time_ns == sample.time_ns


def test_another_reference_gives_its_frame_without_using_its_image(estimator):
    sample = small_sample()
    estimate = estimator.estimate(sample, reference="spikes", sensors=("rgb",))
    assert estimate.depth.shape == sample.size("spikes")
    assert estimate.sensors == ("rgb",)


@pytest.mark.parametrize("size", [(64, 96), (50, 90), (375, 1242)])
def test_the_maps_are_those_of_the_image_not_of_the_canvas(size):
    """The network is replaced by one whose depth is its canvas' ray slope: it must come back as the image's."""
    height, width = size
    camera = PinholeCamera(width, height, 0.7 * width, 0.7 * width, 0.45 * width, 0.4 * height)
    estimator = DepthEstimator.untrained(0, SMALL)

    def slopes(inputs):
        fx, fy, cx, cy = inputs.camera[0]
        shape = inputs.images["rgb"].shape[-2:]
        across = ((torch.arange(shape[1]) - cx) / fx).expand(shape)
        down = ((torch.arange(shape[0]) - cy) / fy)[:, None].expand(shape)

        class Stub:
            log_depth, uncertainty = (across + 3)[None], down[None]
            log_scale = torch.full_like(log_depth, -20.0)  # certain: the answer is the median

        return Stub

    estimator.network.forward = slopes
    sample = DepthSample(SensorRig.single("rgb", camera), rgb=np.zeros((height, width, 3), np.uint8))
    estimate = estimator.estimate(sample)
    across, down = camera.slopes()
    inner = (slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(np.log(estimate.depth)[inner], np.broadcast_to(across + 3, size)[inner], atol=2e-5)
    np.testing.assert_allclose(estimate.uncertainty[inner], np.broadcast_to(down[:, None], size)[inner], atol=2e-5)


def test_what_is_not_there_is_named(estimator):
    sample = DepthSample(SensorRig.single("rgb", PinholeCamera.from_focal(64, 32, 50.0)), rgb=small_rgb())
    with pytest.raises(ValueError, match="asked for"):
        estimator.estimate(sample, sensors=("thermal",))
    with pytest.raises(ValueError, match="reference 'spikes'"):
        estimator.estimate(sample, reference="spikes")


def small_rgb():
    return np.zeros((32, 64, 3), np.uint8)


def test_the_same_input_gives_the_same_bits(estimator):
    first, second = (estimator.estimate(small_sample(4)) for _ in range(2))
    assert np.array_equal(first.depth, second.depth)


def test_a_device_that_is_not_there_is_an_error_not_a_fall_back():
    with pytest.raises(ValueError, match="unknown device"):
        checked_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="CUDA"):
            checked_device("cuda")


def test_read_only_images_are_taken_without_a_warning(estimator, recwarn):
    sample = small_sample()
    for image in (sample.rgb, sample.thermal, sample.spikes.data):
        image.flags.writeable = False
    estimator.estimate(sample)
    assert not [w for w in recwarn if "writable" in str(w.message)]


class Counted:
    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *arguments):
        self.calls += 1
        return self.function(*arguments)


def test_moments_before_bring_depth_nearer_to_the_truth(monkeypatch):
    estimator, ratios = DepthEstimator.load(), []
    for seed in (900, 902, 903, 904):
        world = World(seed, rig=scaled_rig(0.5), supersample=1, condition="day", town="second")
        *before, now = (world.sample(time_s) for time_s in (3.75, 3.9, 4.0))
        alone = estimator.estimate(now)
        together = estimator.estimate(now, before=before[::-1])
        assert (alone.measured, together.measured > 0.3) == (0.0, True)
        errors = [frame_metrics(one.depth, now.depth["spikes"])["abs_rel"] for one in (together, alone)]
        ratios.append(errors[0] / errors[1])
        one_by_one = DepthEstimator.load()
        for sample in before:  # what was prepared for these serves again
            one_by_one.estimate(sample)
        monkeypatch.setattr(estimator_module, "prepare", counted := Counted(estimator_module.prepare))
        np.testing.assert_array_equal(one_by_one.estimate(now, before=before[::-1]).depth, together.depth)
        monkeypatch.undo()
        assert counted.calls == 1
        changed = together.depth != alone.depth
        assert together.uncertainty[changed].mean() < alone.uncertainty[changed].mean()
    assert np.mean(ratios) < 0.95


@pytest.mark.parametrize("device", ["mps", "meta", "xpu", "gpu", "", "cuda:-1"])
def test_a_device_that_nothing_here_runs_on_is_refused(device):
    with pytest.raises(ValueError, match=f"unknown device '{device}'; use cpu, cuda, cuda:N or auto"):
        checked_device(device)


def test_a_device_is_one_that_the_machine_has(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for asked, found in {"cpu": "cpu", "auto": "cuda", "cuda": "cuda", "cuda:1": "cuda:1"}.items():
        assert str(checked_device(asked)) == found
    with pytest.raises(ValueError, match="'cuda:2' was asked for, but this machine has 2 CUDA devices"):
        checked_device("cuda:2")
