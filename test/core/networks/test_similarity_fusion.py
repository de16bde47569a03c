"""Fusion by similarity: its formula, what a missing or blind sensor does to it, and that it removes parallax first."""

import dataclasses

import pytest
import torch

from spike_depth_core.networks.depth_network import Architecture, DepthNetwork, with_fusion
from spike_depth_core.networks.fusion import SimilarityFusion, halves
from spike_depth_core.networks.preprocess import CHANNELS, NetworkInput
from spike_depth_core.networks.window_attention import WindowBlock

SENSORS = ("spikes", "rgb", "thermal")
SMALL = Architecture(sensors=SENSORS, widths=(8, 8, 16, 16, 16), trunk_blocks=1, fusion="similarity")
SIZE = (64, 96)
HEIGHT = 1.65


def random_features(sensors=SENSORS, channels=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {s: torch.rand(2, channels, 5, 9, generator=generator) for s in sensors}


def everywhere(features):
    return {s: torch.ones_like(f[:, 0], dtype=torch.bool) for s, f in features.items()}


def random_input(sensors=SENSORS, reference="spikes", centres=None):
    generator = torch.Generator().manual_seed(0)
    images = {s: torch.randn(2, CHANNELS[s] + 1, *SIZE, generator=generator) for s in sensors}
    for image in images.values():
        image[:, -1] = 1.0
    camera = torch.tensor([[80.0, 80.0, 47.5, 31.5]]).repeat(2, 1)
    places = {"spikes": (0.0, 0.0, 0.0), "rgb": (0.4, 0.0, 0.0), "thermal": (0.0, -0.3, -0.1)}
    if centres is None:
        centres = {s: torch.tensor([places[s]]).repeat(2, 1) for s in sensors}
    return NetworkInput(images, camera, torch.full((2,), HEIGHT), centres=centres, reference=reference)


def test_window_attention_is_attention_in_each_window():
    """Against a loop over windows and positions; 5 x 9 is no multiple of 4, so some windows are smaller."""
    torch.manual_seed(0)
    block = WindowBlock(8, window=4, heads=2)
    torch.nn.init.normal_(block.bias)
    x = torch.randn(2, 8, 5, 9)
    expected = torch.empty_like(x)
    for top in range(0, 5, 4):
        for left in range(0, 9, 4):
            part = x[:, :, top : top + 4, left : left + 4]
            places = [(i, j) for i in range(part.shape[2]) for j in range(part.shape[3])]
            tokens = part.flatten(2).transpose(1, 2)
            q, k, v = block.qkv(block.norm_in(tokens)).chunk(3, dim=-1)
            heads = []
            for head, dims in enumerate((slice(0, 4), slice(4, 8))):
                logits = q[..., dims] @ k[..., dims].transpose(1, 2) / 4**0.5
                for a, (i, j) in enumerate(places):
                    for b, (m, n) in enumerate(places):
                        logits[:, a, b] += block.bias[(i - m + 3) * 7 + (j - n + 3), head]
                heads.append(torch.softmax(logits, dim=-1) @ v[..., dims])
            tokens = tokens + block.out(torch.cat(heads, dim=-1))
            tokens = tokens + block.mlp(block.norm_mlp(tokens))
            expected[:, :, top : top + 4, left : left + 4] = tokens.transpose(1, 2).reshape(part.shape)
    torch.testing.assert_close(block(x), expected)


def test_the_published_selection_written_out():
    """Thermal counts one, the others by their cosine to it; the module behind it adds nothing before it is trained."""
    features = random_features()
    fusion = SimilarityFusion(8, SENSORS, trusted="thermal")
    fused = fusion(features, everywhere(features))
    b, i, j = 1, 3, 7
    at = {s: f[b, :, i, j] for s, f in features.items()}
    reliable = at["thermal"][:4]
    s = {name: float(torch.dot(reliable, f[:4]) / reliable.norm() / f[:4].norm()) for name, f in at.items()}
    assert s["thermal"] == pytest.approx(1.0)
    expected = sum(s[name] * f for name, f in at.items()) / sum(s.values())
    torch.testing.assert_close(fused[b, :, i, j], expected, atol=2e-3, rtol=0)


def test_a_sensor_that_disagrees_with_the_trusted_one_is_left_out_and_opposites_do_no_harm():
    features = random_features()
    features["rgb"][:, :4] = -features["thermal"][:, :4]
    fusion = SimilarityFusion(8, SENSORS, trusted="thermal")
    fused = fusion(features, everywhere(features))
    without = fusion({s: features[s] for s in ("spikes", "thermal")}, everywhere(features))
    torch.testing.assert_close(fused, without, atol=5e-3, rtol=0)


def test_the_exponent_sharpens_the_choice():
    features = random_features()
    fusion = SimilarityFusion(8, SENSORS, trusted="thermal")
    before = (fusion(features, everywhere(features)) - features["thermal"]).abs().mean()
    torch.nn.init.constant_(fusion.log_exponent, 3.0)
    after = (fusion(features, everywhere(features)) - features["thermal"]).abs().mean()
    assert after < 0.5 * before


@pytest.mark.parametrize("trusted", [None, "thermal"])
def test_one_sensor_passes_and_equal_ones_change_nothing(trusted):
    features = random_features()
    fusion = SimilarityFusion(8, SENSORS, trusted)
    alone = {"rgb": features["rgb"]}
    assert fusion(alone, everywhere(alone)) is features["rgb"]
    equal = dict.fromkeys(SENSORS, features["rgb"])
    torch.testing.assert_close(fusion(equal, everywhere(equal)), features["rgb"])


@pytest.mark.parametrize("trusted", [None, "thermal"])
def test_a_blind_sensor_counts_as_a_missing_one(trusted):
    """Also the trusted one; and where nobody sees anything the result is finite all the same."""
    torch.manual_seed(0)
    features = random_features()
    fusion = SimilarityFusion(8, SENSORS, trusted)
    torch.nn.init.normal_(fusion.linear.weight)
    for blind in ("rgb", "thermal"):
        seen = everywhere(features)
        seen[blind][:] = False
        others = {s: f for s, f in features.items() if s != blind}
        torch.testing.assert_close(fusion(features, seen), fusion(others, everywhere(others)), atol=0.02, rtol=0.02)
    nobody = {s: torch.zeros_like(mask) for s, mask in everywhere(features).items()}
    torch.nn.init.zeros_(fusion.linear.weight)
    torch.testing.assert_close(fusion(features, nobody), torch.stack(list(features.values())).mean(dim=0))


def test_every_weight_learns_and_dead_features_give_finite_gradients():
    torch.manual_seed(0)
    features = {s: f.requires_grad_() for s, f in random_features().items()}
    features["rgb"].data[:, :, :2] = 0.0  # as after a ReLU
    fusion = SimilarityFusion(8, SENSORS)
    torch.nn.init.normal_(fusion.linear.weight)
    fusion(features, everywhere(features)).square().sum().backward()
    for name, parameter in fusion.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name
    assert all(torch.isfinite(f.grad).all() and (f.grad != 0).any() for f in features.values())


def test_halves_are_the_first_and_the_last_channels():
    shared, specific = halves(torch.arange(6.0).reshape(1, 6, 1, 1))
    assert shared.flatten().tolist() == [0, 1, 2]
    assert specific.flatten().tolist() == [3, 4, 5]


def road_features(network, inputs, sensor):
    """Features that are a function of the point on the road which each position of each level shows, seen from the
    sensor's place; 0.5 above the horizon."""
    fx, fy, cx, cy = inputs.camera[0]
    centre = inputs.centres[sensor][0]
    levels = []
    for level, width in enumerate(network.architecture.widths[:4]):
        stride = 2 ** (level + 1)
        u, v = torch.meshgrid(
            torch.arange(SIZE[1] // stride) * stride + (stride - 1) / 2,
            torch.arange(SIZE[0] // stride) * stride + (stride - 1) / 2,
            indexing="xy",
        )
        slope = (v - cy) / fy
        z = torch.where(slope > 0.02, (HEIGHT - centre[1]) / slope.clamp(min=0.02), torch.inf)
        x = (u - cx) / fx * z + centre[0]
        value = torch.where(torch.isfinite(z), 1 + 0.5 * torch.sin(1.3 * x) * torch.cos(0.5 * (z + centre[2])), 0.5)
        levels.append(value.expand(2, width, *value.shape).contiguous())
    return levels


def road_error(network, inputs, features):
    """Mean difference of the fused features at 1/2 from the spike camera's own, on the road before the car."""
    fused = network.decode(features, inputs.camera, inputs.height, inputs).features[0]
    return float((fused - features["spikes"][0])[:, :, 20:30, 6:-6].abs().mean())


def test_features_of_the_same_road_agree_after_the_warp():
    """Before training depth is the level road, which is where these features lie: what all sensors say of a point of
    it is the same once parallax is gone. With all sensors taken to be in one place it is not."""
    network = DepthNetwork(SMALL).eval()
    torch.nn.init.zeros_(network.decoder.head.weight)
    inputs = random_input()
    features = {s: road_features(network, inputs, s) for s in SENSORS}
    here = dataclasses.replace(inputs, centres={s: torch.zeros(2, 3) for s in SENSORS})
    with torch.no_grad():
        warped, left = road_error(network, inputs, features), road_error(network, here, features)
    assert left > 0.04
    assert warped < 0.15 * left


def test_a_sensor_beside_the_view_is_brought_to_it_even_alone():
    """The reference itself is missing: rgb's features, 0.4 m to the right, are fused as the spike camera's would be."""
    network = DepthNetwork(SMALL).eval()
    torch.nn.init.zeros_(network.decoder.head.weight)
    inputs = random_input()
    features = {s: road_features(network, inputs, s) for s in SENSORS}
    with torch.no_grad():
        fused = network.decode({"rgb": features["rgb"]}, inputs.camera, inputs.height, inputs).features[0]
    near = (slice(None), slice(None), slice(20, 30), slice(6, -6))
    error = (fused - features["spikes"][0])[near].abs().mean()
    assert error < 0.2 * (features["rgb"][0] - features["spikes"][0])[near].abs().mean()


def test_without_the_reference_the_first_look_is_anothers_brought_to_its_place():
    """Before training each sensor sees the level road by its own height; from the reference's place it is the
    reference's, 15 % nearer than from thermal's 0.3 m above it."""
    network = DepthNetwork(SMALL).eval()
    torch.nn.init.zeros_(network.decoder.head.weight)
    inputs = random_input()
    slope = (torch.arange(SIZE[0]) - 31.5) / 80.0
    near = slice(42, 56)  # 13 m to 5 m; farther rows leave the linear range of the sampling between pixels
    expected = (HEIGHT / slope)[near, None].expand(-1, SIZE[1])
    for sensor in SENSORS:
        depth = network._first_look({sensor: network.encode(inputs)[sensor]}, inputs)
        torch.testing.assert_close(depth[0, near], expected, rtol=0.02, atol=0)


def test_any_set_of_sensors_in_any_view_and_every_one_of_them_matters():
    torch.manual_seed(0)
    network = DepthNetwork(SMALL).eval()
    torch.nn.init.normal_(network.decoder.head.weight, std=0.1)
    for sensors in (("rgb",), ("spikes", "thermal"), ("rgb", "thermal"), SENSORS):
        inputs = random_input()
        inputs.images = {s: inputs.images[s] for s in sensors}
        before = network(inputs).log_depth
        assert before.shape == (2, *SIZE)
        assert torch.isfinite(before).all()
        for sensor in sensors:
            image = inputs.images[sensor].clone()
            image[:, :-1] += 1.0
            changed = dataclasses.replace(inputs, images={**inputs.images, sensor: image})
            assert (network(changed).log_depth - before).abs().max() > 1e-5


def test_the_same_network_wherever_it_is_seen_from():
    """A sensor's features do not depend on where the view stands: it is told its own height either way."""
    network = DepthNetwork(SMALL).eval()
    inputs = random_input()
    torch.testing.assert_close(network.encode(inputs), network.encode(inputs.seen_from("thermal")))
    alone = network.encode(inputs.alone("thermal"))["thermal"]
    torch.testing.assert_close(network.encode(inputs)["thermal"], alone)


def test_attaching_another_fusion_leaves_each_sensor_alone_as_it_was():
    torch.manual_seed(3)
    plain = DepthNetwork(dataclasses.replace(SMALL, fusion="selective")).eval()
    torch.nn.init.normal_(plain.decoder.head.weight, std=0.1)
    attached = with_fusion(plain, "similarity:thermal").eval()
    assert attached.architecture.fusion == "similarity:thermal"
    for sensor in SENSORS:
        inputs = random_input().alone(sensor)
        torch.testing.assert_close(attached(inputs).log_depth, plain(inputs).log_depth)
    assert (attached(random_input()).log_depth - plain(random_input()).log_depth).abs().max() > 1e-5


def test_several_sensors_in_unknown_places_are_refused():
    network = DepthNetwork(SMALL).eval()
    inputs = random_input(centres={})
    with pytest.raises(ValueError, match="centres"):
        network(inputs)
    inputs.images = {"spikes": inputs.images["spikes"]}
    assert torch.isfinite(network(inputs).log_depth).all()


@pytest.mark.parametrize("fusion", ["similarity:nir", "similar", "similarity:", "mean:rgb"])
def test_an_unknown_fusion_is_refused(fusion):
    with pytest.raises(ValueError, match="fusion is"):
        Architecture(sensors=SENSORS, fusion=fusion)
    with pytest.raises(ValueError, match="even widths"):
        Architecture(widths=(8, 8, 15, 16, 16), fusion="similarity")
