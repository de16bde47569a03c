"""The stereo network: matches are looked for where f b / z says, and nothing else differs from the monocular one."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from spike_depth_core.inference import DepthEstimator
from spike_depth_core.networks.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.networks.folding import folded
from spike_depth_core.networks.preprocess import prepare
from spike_depth_core.networks.stereo import (
    RowMatching,
    StereoNetwork,
    build_network,
    look_up,
    road_disparity,
    row_correlation,
    share_weights,
)
from spike_depth_core.samples.batch import collate
from test.core.factories import stereo_sample, wall_pair

SMALL = Architecture(widths=(8, 8, 16, 16, 16), trunk_blocks=1, pixels=64 * 96)
STEREO = dataclasses.replace(SMALL, stereo=True)
PAIRS = ("spikes", "rgb", "spikes_right", "rgb_right")


def stereo_input(names=PAIRS, samples=2):
    batch = collate([stereo_sample(i) for i in range(samples)])
    return prepare(batch, "spikes", names, batch.cameras["spikes"], (64, 96))


def matching(channels):
    """One whose projection leaves features as they are, and that trusts the best match."""
    torch.manual_seed(0)
    module = RowMatching(channels, ("rgb",)).eval()
    torch.nn.init.dirac_(module.project.weight)
    torch.nn.init.zeros_(module.project.bias)
    torch.nn.init.constant_(module.sharpness, 6.0)
    return module


def test_correlation_is_the_cosine_of_every_pair_in_a_row():
    torch.manual_seed(0)
    left, right = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    found = row_correlation(left, right)
    for b, v, u, w in ((0, 0, 0, 0), (1, 3, 4, 2), (0, 2, 1, 4)):
        one, other = left[b, :, v, u].numpy(), right[b, :, v, w].numpy()
        expected = np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other)
        assert float(found[b, v, u, w]) == pytest.approx(float(expected), abs=1e-6)


def test_look_up_is_linear_interpolation_and_nothing_beyond_the_ends():
    torch.manual_seed(0)
    rows = torch.randn(2, 3, 4, 7, dtype=torch.float64, requires_grad=True)
    positions = 12 * torch.rand(2, 3, 4, 9, dtype=torch.float64) - 3
    found = look_up(rows, positions)
    known = np.arange(-1, 8)  # a zero beyond either end
    for index in np.ndindex(2, 3, 4):
        padded = np.pad(rows.detach().numpy()[index], 1)
        expected = np.interp(positions[index], known, padded)
        np.testing.assert_allclose(found.detach().numpy()[index], expected, atol=1e-12)
    assert torch.autograd.gradcheck(lambda r: look_up(r, positions), rows)


@pytest.mark.parametrize("side", [1, -1])
@pytest.mark.parametrize("entry", [12, 24, 28])
def test_a_shifted_picture_matches_at_its_departure_from_the_road(entry, side):
    """Features moved by 3 positions, where the road's disparity times e^-r is 3: entry r of the volume is the best."""
    torch.manual_seed(1)
    module, shift = matching(16), 3
    left = torch.randn(1, 16, 4, 30)
    right = torch.roll(left, -side * shift, dims=-1)  # right(u - d) = left(u)
    departure = float(module.departures[entry])
    reach = torch.full((1, 4), side * shift * math.exp(departure))
    volume, expected = module.match(left, right, reach)
    inner = slice(shift, -shift)
    assert (volume[0, :, :, inner].argmax(0) == entry).all()
    torch.testing.assert_close(volume[0, entry, :, inner], torch.ones(4, 24))
    assert (expected[0, :, inner] - departure).abs().max() < 0.06  # half the distance between two entries


@pytest.mark.parametrize("mirror", [False, True])
def test_matches_are_metric_whatever_the_baseline_and_the_zoom(mirror):
    """Patches of a wall's two pictures match at the wall's depth: where it says so, they are f b / z apart."""
    zooms, z, stride = (1.0, 1.3, 1.6), 5.0, 4
    # Baselines that bring the wall's pictures 1, 2 and 3 whole positions apart: untaught patches match no better.
    baselines = [(1 + i) * stride * z / (77.0 * zoom) for i, zoom in enumerate(zooms)]
    batch = collate([wall_pair(z, seed=4, baseline_m=b) for b in baselines])
    camera = batch.cameras["rgb"].clone()
    camera[:, :2] *= torch.tensor(zooms)[:, None]
    inputs = prepare(batch, "rgb", ("rgb", "rgb_right"), camera, (64, 96))
    left, right = (inputs.images[name][:, :3] for name in ("rgb", "rgb_right"))
    if mirror:
        left, right = left.flip(-1), right.flip(-1)
        inputs.centres["rgb_right"] = -inputs.centres["rgb_right"]
    patches = [F.pixel_unshuffle(F.avg_pool2d(F.pad(x, (2, 2, 2, 2)), 5, 1), stride) for x in (left, right)]
    patches = [x - x.mean(dim=1, keepdim=True) for x in patches]
    module = matching(patches[0].shape[1])
    reach = road_disparity(inputs, "rgb", stride)
    _, expected = module.match(*patches, reach)
    for i, (zoom, b) in enumerate(zip(zooms, baselines, strict=True)):
        focal = 77.0 * zoom
        slope = (torch.arange(16) * stride + (stride - 1) / 2 - 31.5) / focal
        far = 50.0 * focal / 210.0
        road = torch.where(slope > 1.65 / far, 1.65 / slope.clamp(min=1e-6), torch.tensor(far))
        torch.testing.assert_close(reach[i], (-1 if mirror else 1) * focal * b / road / stride)
        reachable = ((z / road).log() > -2.8) & ((z / road).log() < 0.8)
        assert reachable.sum() >= 8
        found = reach[i].abs()[:, None] * torch.exp(-expected[i])
        assert (found[reachable, 6:-6] - (1 + i)).abs().median() < 0.15


def test_its_features_have_the_shapes_of_the_monocular_networks():
    mono, stereo = DepthNetwork(SMALL).eval(), StereoNetwork(STEREO).eval()
    inputs = stereo_input()
    prediction = stereo(inputs)
    alone = mono(dataclasses.replace(inputs, images={s: inputs.images[s] for s in ("spikes", "rgb")}))
    assert [f.shape for f in prediction.features] == [f.shape for f in alone.features]
    assert prediction.log_depth.shape == (2, 64, 96)
    extra = set(stereo.state_dict()) - set(mono.state_dict())
    assert extra
    assert all(name.startswith("matchings.") for name in extra)
    share_weights(mono, stereo)
    for name, value in mono.state_dict().items():
        assert torch.equal(value, stereo.state_dict()[name]), name
    with pytest.raises(ValueError, match="differ in more than the second picture"):
        share_weights(DepthNetwork(dataclasses.replace(SMALL, trunk_blocks=2)), stereo)


def test_the_right_hand_picture_matters_and_each_sensor_matches_its_own():
    torch.manual_seed(3)
    network = StereoNetwork(STEREO).eval()
    inputs = stereo_input()
    before = network.encode(inputs)
    blank = {**inputs.images, "rgb_right": torch.zeros_like(inputs.images["rgb_right"])}
    after = network.encode(dataclasses.replace(inputs, images=blank))
    assert all(torch.equal(a, b) for a, b in zip(before["spikes"], after["spikes"], strict=True))
    changed = [not torch.equal(a, b) for a, b in zip(before["rgb"], after["rgb"], strict=True)]
    assert changed == [False, True, True, True]  # at 1/2 nothing is matched


def test_what_is_no_rectified_pair_is_refused():
    network = StereoNetwork(STEREO)
    inputs = stereo_input()
    with pytest.raises(ValueError, match=r"takes pairs.*\['spikes'\]"):
        network(dataclasses.replace(inputs, images={s: inputs.images[s] for s in ("spikes", "rgb", "rgb_right")}))
    with pytest.raises(ValueError, match=r"where \['rgb_right'\] stand is not known"):
        network(dataclasses.replace(inputs, centres={s: c for s, c in inputs.centres.items() if s != "rgb_right"}))
    raised = inputs.centres["rgb_right"] + torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.03, 0.0]])
    with pytest.raises(ValueError, match=r"rgb and rgb_right are not a rectified pair.*found \[0.5, 0.03, 0.0\]"):
        network(dataclasses.replace(inputs, centres={**inputs.centres, "rgb_right": raised}))
    with pytest.raises(ValueError, match="stereo=True"):
        StereoNetwork(SMALL)


def test_usable_are_the_known_sensors_or_whole_pairs_of_them():
    names = ("spikes", "rgb", "nir", "rgb_right", "thermal_right")
    one = dataclasses.replace(SMALL, sensors=("spikes", "rgb"))
    assert one.usable(names) == ("spikes", "rgb")
    assert dataclasses.replace(one, stereo=True).usable(names) == ("rgb", "rgb_right")


def test_a_checkpoint_of_it_can_be_kept_folded_and_asked(tmp_path):
    torch.manual_seed(5)
    network = build_network(STEREO).eval()
    torch.nn.init.normal_(network.decoder.head.weight, std=0.1)
    inputs = stereo_input()
    torch.testing.assert_close(folded(network)(inputs).log_depth, network(inputs).log_depth, rtol=1e-4, atol=1e-4)
    save_checkpoint(tmp_path / "stereo", network, CheckpointInfo(STEREO))
    again, info = load_checkpoint(tmp_path / "stereo")
    assert info.architecture == STEREO
    torch.testing.assert_close(again(inputs).log_depth, network(inputs).log_depth)
    estimator = DepthEstimator(again, info)
    sample = stereo_sample(0)
    assert estimator.estimate(sample, "rgb").sensors == PAIRS
    pair = ("rgb", "rgb_right")
    assert estimator.estimate(sample, sensors=pair).sensors == pair
    with pytest.raises(ValueError, match="asked for"):
        estimator.estimate(sample, sensors=("rgb",))
