"""A network, examples and a stream so small that a drive takes a second."""

from __future__ import annotations

import dataclasses

import torch

from spike_depth_core.adaptation import AdaptationOptions, GateOptions, GuardOptions
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.samples import DepthSample
from test.core.factories import small_rig, small_sample

SMALL = Architecture(widths=(8, 8, 16, 16, 16), trunk_blocks=1, pixels=64 * 96)
SECOND = 1_000_000_000
BOLD = AdaptationOptions(
    students=(("spikes",),),
    learning_rate=2e-3,
    review_every=10,
    held_out=3,
    gate=GateOptions(max_uncertainty=2.0, alignment=-2.0),  # random pictures have no edges in common
    guard=GuardOptions(original_bound=0.05, least_held_out=2, known_bound=2.0),
)


def toy_network() -> DepthNetwork:
    """Without anything learned it says the level road. Its spikes see it too near: their stem shifts the head."""
    torch.manual_seed(0)
    network = DepthNetwork(SMALL).eval()
    torch.nn.init.normal_(network.decoder.head.weight, std=0.1)
    return network


def toy_originals() -> list[DepthSample]:
    return [small_sample(100 + i, planes=16, rig=dataclasses.replace(small_rig(), height=1.65)) for i in range(3)]


def toy_stream(count: int, start: int = 0) -> list[DepthSample]:
    """A moment a second, all different."""
    return [dataclasses.replace(small_sample(start + i, planes=16), time_ns=(1 + i) * SECOND) for i in range(count)]


def same_weights(a: DepthNetwork, b: DepthNetwork) -> bool:
    other = b.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.state_dict().items())
