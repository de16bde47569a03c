"""A sensor started from another answers as the other does."""

import pytest
import torch

from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.networks.preprocess import NetworkInput
from spike_depth_core.networks.transfer import start_sensor_from

SMALL = Architecture(sensors=("spikes", "rgb", "nir", "thermal"), widths=(8, 8, 16, 16, 16), trunk_blocks=1)


def trained_looking(seed=0):
    """A network none of whose normalisations is at its initial values."""
    torch.manual_seed(seed)
    network = DepthNetwork(SMALL).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 1.0, 0.2)
            torch.nn.init.normal_(module.bias, 0.0, 0.2)
            module.running_mean.normal_(0.0, 0.2)
    return network


def test_sensors_of_the_same_channels_then_give_the_same_depth():
    network = trained_looking()
    camera, height = torch.tensor([[70.0, 70.0, 47.5, 31.5]]), torch.tensor([1.6])
    image = torch.randn(1, 2, 64, 96)
    near_infrared = NetworkInput({"nir": image}, camera, height)
    thermal = NetworkInput({"thermal": image}, camera, height)
    with torch.no_grad():
        before, wanted = network(thermal).log_depth, network(near_infrared).log_depth
        assert not torch.allclose(before, wanted, atol=1e-3)
        assert start_sensor_from(network, "thermal", "nir") == ()
        torch.testing.assert_close(network(thermal).log_depth, wanted)
        torch.testing.assert_close(network(near_infrared).log_depth, wanted)


def test_spikes_keep_only_a_first_convolution_of_their_own():
    network = trained_looking()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    assert start_sensor_from(network, "spikes", "rgb") == ("to_half.0.weight",)
    for key, value in network.state_dict().items():
        if "spikes" in key and key != "encoder.stems.spikes.to_half.0.weight":
            assert torch.equal(value, before[key.replace("spikes", "rgb")]), key
        else:
            assert torch.equal(value, before[key]), key


def test_an_unknown_sensor_is_named():
    network = DepthNetwork(Architecture(sensors=("spikes",), widths=(8, 8, 16, 16, 16), trunk_blocks=1))
    with pytest.raises(ValueError, match="not 'rgb'"):
        start_sensor_from(network, "spikes", "rgb")
