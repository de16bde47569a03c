"""Spiking neurons against the equations written out, and as a stem of the network."""

import dataclasses
import math

import pytest
import torch

from spike_depth_core.networks.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.networks.folding import folded
from spike_depth_core.networks.preprocess import CHANNELS, NetworkInput
from spike_depth_core.networks.spiking import AdaptiveLIF, SpikingStem, spike

PLAIN = Architecture(sensors=("spikes", "rgb"), widths=(8, 8, 16, 16, 16), trunk_blocks=1)
SPIKING = dataclasses.replace(PLAIN, spiking_steps=3)


def spikes_input(batch=2):
    torch.manual_seed(3)
    images = {"spikes": torch.randn(batch, CHANNELS["spikes"] + 1, 64, 96)}
    camera = torch.tensor([[80.0, 80.0, 48.0, 32.0]]).repeat(batch, 1)
    return NetworkInput(images, camera, torch.full((batch,), 1.65))


def test_a_neuron_follows_its_equations():
    """One neuron, leaks of 0.3 and 0.6, threshold 0.2, adaptation 0.5, and currents that make it fire and rest."""
    cell = AdaptiveLIF(1)
    with torch.no_grad():
        cell.leak.fill_(math.log(0.3 / 0.7))
        cell.trace_leak.fill_(math.log(0.6 / 0.4))
        cell.threshold.fill_(0.2)
        cell.adaptation.fill_(0.5)
    v = z = q = 0.0
    state, fired = None, []
    for current in (1.0, 0.1, 0.8, 0.8, -0.5, 1.2, 0.3, 0.9):
        reset = z * (0.2 + 0.5 * q)
        q = 0.6 * q + 0.4 * z
        v = 0.3 * v + 0.7 * current - reset
        z = float(v > 0.2 + 0.5 * q)
        spikes, state = cell(torch.full((1, 1, 1, 1), current), state)
        assert (spikes.item(), state[0].item(), state[2].item()) == pytest.approx((z, v, q), abs=1e-5)
        fired.append(z)
    assert 0 < sum(fired) < len(fired)


def test_a_spike_raises_the_threshold_so_that_stronger_currents_fire_more_often():
    cell = AdaptiveLIF(1)
    rates = []
    for current in (-1.0, 0.5, 4.0):
        state, spikes = None, []
        for _ in range(12):
            z, state = cell(torch.full((1, 1, 1, 1), current), state)
            spikes.append(z.item())
        rates.append(sum(spikes) / 12)
    assert rates[0] == 0
    assert rates[0] < rates[1] < rates[2]


def test_the_step_has_an_arctans_gradient():
    x = torch.tensor([-0.5, 0.0, 0.1, 2.0], requires_grad=True)
    z = spike(x)
    assert z.tolist() == [0, 0, 1, 1]
    z.sum().backward()
    torch.testing.assert_close(x.grad, 1 / (1 + 10 * x.detach() ** 2))


def test_the_stem_gives_rates_at_half_and_gated_features_at_a_quarter_of_the_size():
    torch.manual_seed(0)
    stem = SpikingStem(inputs=9, half=8, quarter=16, steps=4)
    half, quarter = stem(torch.randn(2, 9, 32, 48))
    assert half.shape == (2, 8, 16, 24)
    assert quarter.shape == (2, 16, 8, 12)
    assert set(half.unique().tolist()) <= {0, 0.25, 0.5, 0.75, 1}
    assert len(half.unique()) > 2
    (half.mean() + quarter.square().mean()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in stem.parameters())
    assert (stem.current.weight.grad != 0).any()


def test_only_the_spike_cameras_stem_changes():
    plain, spiking = (DepthNetwork(a).state_dict() for a in (PLAIN, SPIKING))
    changed = {key.rsplit("stems.", 1)[-1].split(".")[0] for key in plain.keys() ^ spiking.keys()}
    assert changed == {"spikes"}
    without = Architecture.from_dict({k: v for k, v in PLAIN.to_dict().items() if k != "spiking_steps"})
    assert without == PLAIN  # what older checkpoints describe


def test_a_spiking_network_is_kept_and_folded_like_any_other(tmp_path):
    torch.manual_seed(1)
    network = DepthNetwork(SPIKING)
    torch.nn.init.normal_(network.decoder.head.weight, std=0.1)
    inputs = spikes_input()
    network.train()(inputs)  # statistics that are not those of the start
    network.eval()
    expected = network(inputs).log_depth
    torch.testing.assert_close(folded(network)(inputs).log_depth, expected, rtol=1e-4, atol=1e-4)
    save_checkpoint(tmp_path / "spiking", network, CheckpointInfo(SPIKING))
    again, info = load_checkpoint(tmp_path / "spiking")
    assert info.architecture.spiking_steps == 3
    torch.testing.assert_close(again(inputs).log_depth, expected)


@pytest.mark.parametrize(("steps", "widths"), [(-1, (8, 8, 16, 16, 16)), (2, (8, 10, 16, 16, 16))])
def test_steps_and_widths_that_cannot_be_are_refused(steps, widths):
    with pytest.raises(ValueError, match="spiking_steps"):
        dataclasses.replace(PLAIN, spiking_steps=steps, widths=widths)
