"""The any-subset network: shapes, what must not matter, what must, and its size."""

import dataclasses

import pytest
import torch

from spike_depth_core.networks.blocks import convex_upsample
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.networks.encoder import CANONICAL_FOCAL
from spike_depth_core.networks.folding import folded
from spike_depth_core.networks.preprocess import (
    CHANNELS,
    NetworkInput,
    depth_in_camera,
    network_camera,
    prepare,
)
from spike_depth_core.samples.batch import collate
from test.core.factories import small_sample

SMALL = Architecture(widths=(8, 8, 16, 16, 16), trunk_blocks=1)


def random_input(sensors, batch=2, height=64, width=96, focal=80.0, over_road=1.65):
    generator = torch.Generator().manual_seed(0)
    images = {s: torch.randn(batch, CHANNELS[s] + 1, height, width, generator=generator) for s in sensors}
    camera = torch.tensor([[focal, focal, width / 2, height / 2]]).repeat(batch, 1)
    return NetworkInput(images, camera, torch.full((batch,), over_road))


def awake(network: DepthNetwork) -> DepthNetwork:
    """The head starts close to zero weights; give it larger ones, so that outputs depend on inputs."""
    torch.nn.init.normal_(network.decoder.head.weight, std=0.1)
    return network.eval()


@pytest.mark.parametrize("sensors", [("spikes",), ("rgb",), ("thermal", "nir"), ("spikes", "rgb", "nir", "thermal")])
def test_any_set_of_sensors_gives_full_size_maps(sensors):
    prediction = DepthNetwork(SMALL).eval()(random_input(sensors))
    assert prediction.depth.shape == prediction.uncertainty.shape == (2, 64, 96)
    assert torch.isfinite(prediction.depth).all()
    assert (prediction.uncertainty > 0).all()


def test_every_present_sensor_matters_and_absent_ones_do_not():
    torch.manual_seed(0)
    network = awake(DepthNetwork(SMALL))
    inputs = random_input(("spikes", "rgb"))
    before = network(inputs).log_depth
    for sensor in ("spikes", "rgb"):
        changed = NetworkInput({**inputs.images, sensor: inputs.images[sensor] + 1}, inputs.camera, inputs.height)
        assert (network(changed).log_depth - before).abs().max() > 1e-5
    with torch.no_grad():
        for parameter in network.encoder.stems["thermal"].parameters():
            parameter.add_(10)
    torch.testing.assert_close(network(inputs).log_depth, before)


def test_one_sensor_passes_the_fusion_unchanged():
    torch.manual_seed(1)
    selective = awake(DepthNetwork(SMALL))
    plain = DepthNetwork(dataclasses.replace(SMALL, fusion="mean")).eval()
    plain.load_state_dict({k: v for k, v in selective.state_dict().items() if not k.startswith("fusions")})
    inputs = random_input(("thermal",))
    torch.testing.assert_close(plain(inputs).log_depth, selective(inputs).log_depth)


def test_with_nothing_learned_depth_is_the_level_road():
    """The camera's height over the ray's slope; past 50 m and over the horizon it is cut, farther for a longer lens."""
    network = DepthNetwork(SMALL).eval()
    torch.nn.init.zeros_(network.decoder.head.weight)
    for focal, over_road in ((105.0, 1.65), (210.0, 1.65), (210.0, 2.4)):
        depth = network(random_input(("rgb",), focal=focal, over_road=over_road)).depth.detach()
        slope = (torch.arange(64) - 32.0) / focal
        far = 50.0 * focal / CANONICAL_FOCAL
        expected = torch.where(slope > over_road / far, over_road / slope.clamp(min=1e-6), torch.tensor(far))
        torch.testing.assert_close(depth[0, :, 5], expected)
        assert (depth[0] == depth[0, :, :1]).all()


def test_size_is_within_the_budget():
    parameters = sum(p.numel() for p in DepthNetwork().parameters())
    assert 1e6 <= parameters <= 3e6


def test_unknown_or_no_sensor_is_refused():
    network = DepthNetwork(dataclasses.replace(SMALL, sensors=("rgb",)))
    with pytest.raises(ValueError, match="thermal"):
        network(random_input(("thermal",)))
    with pytest.raises(ValueError, match="at least one"):
        network(NetworkInput({}, torch.ones(1, 4), torch.ones(1)))


def test_convex_upsampling_keeps_constants_and_stays_within_the_neighbours():
    mask = torch.randn(1, 36, 5, 6)
    torch.testing.assert_close(convex_upsample(torch.full((1, 2, 5, 6), 3.0), mask), torch.full((1, 2, 10, 12), 3.0))
    x = torch.rand(1, 1, 5, 6)
    up = convex_upsample(x, mask)
    low = -torch.nn.functional.max_pool2d(-torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    high = torch.nn.functional.max_pool2d(torch.nn.functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    assert (up >= low.repeat_interleave(2, 2).repeat_interleave(2, 3) - 1e-6).all()
    assert (up <= high.repeat_interleave(2, 2).repeat_interleave(2, 3) + 1e-6).all()


def test_inputs_and_truth_are_brought_to_the_same_camera():
    """A zoomed and shifted network camera sees the plane's depth where its own rays meet it."""
    batch = collate([small_sample(0), small_sample(1)])
    camera = torch.tensor([[90.0, 90.0, 40.0, 20.0], [60.0, 60.0, 50.0, 40.0]])
    size = (64, 96)
    inputs = prepare(batch, "spikes", ("spikes", "thermal"), camera, size)
    assert inputs.images["spikes"].shape == (2, CHANNELS["spikes"] + 1, *size)
    truth = depth_in_camera(batch, "spikes", camera, size)
    slope = (torch.arange(64)[None] - camera[:, 3:4]) / camera[:, 1:2]
    expected = 1.65 / slope.clamp(min=1e-6)
    for b in range(2):
        rows = truth[b].nan_to_num(posinf=0).amax(1)
        known = (rows > 1) & (rows < 8)
        assert known.sum() > 5
        # the nearest row of the sensor is at most half a row away: 1 / slope changes by so much
        torch.testing.assert_close(rows[known], expected[b][known], rtol=0.08, atol=0)
    seen = inputs.images["spikes"][:, -1]
    assert torch.equal(seen > 0.5, ~truth.isnan())


def test_default_network_camera_contains_the_image_unscaled():
    camera, size = network_camera(torch.tensor([[330.0, 330.0, 199.5, 124.5]]), 250, 400, 256 * 416)
    assert size == (256, 416)
    assert camera[0].tolist() == [330.0, 330.0, 207.5, 127.5]
    camera, size = network_camera(torch.tensor([[721.5, 721.5, 609.5, 172.8]]), 375, 1242, 256 * 416)
    assert size[0] * size[1] < 1.15 * 256 * 416
    assert float(camera[0, 0]) == pytest.approx(721.5 * (256 * 416 / (375 * 1242)) ** 0.5, rel=1e-6)


def test_folding_the_normalisation_changes_no_number():
    torch.manual_seed(2)
    network = awake(DepthNetwork(SMALL)).train()
    for _ in range(3):  # statistics that differ by sensor
        network(random_input(("spikes", "rgb", "thermal")))
    network.eval()
    fast = folded(network)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in fast.modules())
    for sensors in (("rgb",), ("spikes", "thermal")):
        inputs = random_input(sensors)
        torch.testing.assert_close(fast(inputs).log_depth, network(inputs).log_depth, rtol=1e-4, atol=1e-4)
