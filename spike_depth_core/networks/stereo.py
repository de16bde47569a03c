"""The stereo network: the monocular one, whose features at 1/4, 1/8 and 1/16 are matched with the right-hand picture.

It teaches and is not driven with: a teacher that sees what one picture cannot show. Encoder, fusion, trunk and decoder
are those of `DepthNetwork`, so its features have the shapes of a monocular student's.

Metric depth comes from where matches are looked for. Depth is a departure r from the level road, z = road(row) e^r,
the very number that the decoder predicts; each of a fixed set of departures is looked up at its own disparity
f b / z, b the baseline and f the focal length of the network camera. So entry k of a cost volume means departure r_k
whatever the baseline and the zoom.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spike_depth_core.geometry.resample import sample_at
from spike_depth_core.networks.blocks import SensorConv, SensorResidual
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork
from spike_depth_core.networks.encoder import level_road
from spike_depth_core.networks.preprocess import NetworkInput
from spike_depth_core.samples import RIGHT

DEPARTURES = (-3.0, 1.0, 33)
"""Least, largest and number of the departures r that are looked up: a twentieth of the road's depth to e times it."""
RECTIFIED = 0.02
"""Largest part of a baseline that may lie across the rows: two pixels of disparity in a hundred."""


def row_correlation(left: Tensor, right: Tensor) -> Tensor:
    """Cosine of every left feature with every right one of its row: [B, C, H, W] twice to [B, H, W, W].

    The all-pairs volume of RAFT-Stereo (Lipson et al., 3DV 2021), equation 1, of features brought to unit length.
    """
    left, right = F.normalize(left, dim=1), F.normalize(right, dim=1)
    return torch.einsum("bchu,bchw->bhuw", left, right)


def look_up(rows: Tensor, positions: Tensor) -> Tensor:
    """Values [..., W, K] between the entries of rows [..., W, W'] at positions [..., W, K]: linear, 0 beyond the ends.

    RAFT-Stereo's look-up (section 3.2), at positions of the caller's choice.
    """
    width = rows.shape[-1]
    low = positions.floor()

    def at(index: Tensor) -> Tensor:
        there = (index >= 0) & (index < width)
        return rows.gather(-1, index.clamp(0, width - 1).long()) * there

    share = positions - low
    return (1 - share) * at(low) + share * at(low + 1)


class RowMatching(nn.Module):
    """A sensor's left features, matched along the rows with the right ones: the same shape, knowing depth.

    What is merged: both features, the right ones brought to the left by the expected departure; the correlation at
    every departure; and the expected departure itself, the softmax of the correlations times r.

    Args:
        channels: of the level.
        sensors: normalised apart.
    """

    departures: Tensor

    def __init__(self, channels: int, sensors: tuple[str, ...]):
        super().__init__()
        self.register_buffer("departures", torch.linspace(*DEPARTURES), persistent=False)
        self.project = nn.Conv2d(channels, channels, 3, 1, 1)
        self.sharpness = nn.Parameter(torch.tensor(2.0))
        self.merge = SensorConv(2 * channels + DEPARTURES[2] + 1, channels, sensors)
        self.refine = SensorResidual(channels, sensors)

    def forward(self, left: Tensor, right: Tensor, reach: Tensor, sensor: str) -> Tensor:
        """Match one sensor.

        Args:
            left, right: features [B, C, H, W].
            reach: disparity of the level road in positions of this level [B, H]; below zero where the second camera
                stands on the left.
            sensor: whose they are.
        """
        volume, expected = self.match(left, right, reach)
        columns = torch.arange(left.shape[-1], device=left.device)
        u = columns - reach[:, :, None] * torch.exp(-expected)
        v = torch.arange(left.shape[-2], device=left.device)[:, None].expand_as(u)
        # In float32 whatever came before: bfloat16 cannot tell neighbouring positions of a wide picture apart.
        brought = sample_at(right.float(), torch.stack([u, v], dim=-1), padding_mode="zeros")
        known = torch.cat([left, brought, volume, expected[:, None]], dim=1)
        return self.refine(self.merge(known, sensor), sensor)

    def match(self, left: Tensor, right: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
        """Correlation by departure [B, K, H, W] and expected departure [B, H, W]; arguments as above."""
        correlation = row_correlation(self.project(left), self.project(right)).float()
        disparity = reach[:, :, None, None] * torch.exp(-self.departures)
        columns = torch.arange(left.shape[-1], device=left.device)[:, None]
        volume = look_up(correlation, columns - disparity)
        weights = torch.softmax(self.sharpness.exp() * volume, dim=-1)
        return volume.permute(0, 3, 1, 2), (weights * self.departures).sum(-1)


class StereoNetwork(DepthNetwork):
    """A `DepthNetwork` that takes every sensor as a rectified pair: `rgb` with `rgb_right`, and so on.

    Args:
        architecture: with `stereo`; everything else as for the monocular network.
    """

    def __init__(self, architecture: Architecture):
        if not architecture.stereo:
            raise ValueError("a StereoNetwork's architecture has stereo=True; this one has not")
        super().__init__(architecture)
        self.matchings = nn.ModuleList(RowMatching(w, architecture.sensors) for w in architecture.widths[1:4])

    def encode(self, inputs: NetworkInput) -> dict[str, list[Tensor]]:
        """Each sensor's features at 1/2, 1/4, 1/8 and 1/16, matched with those of its right-hand camera.

        Raises:
            ValueError: for an image that lacks the other one of its pair, and for cameras that do not share their rows.
        """
        single = sorted(set(inputs.images) - set(self.architecture.usable(inputs.images)))
        if single or not inputs.images:
            raise ValueError(
                f"a stereo network of {self.architecture.sensors} takes pairs, left and right; found without the "
                f"other, or unknown: {single or 'no image at all'}"
            )
        lefts = [s for s in self.architecture.sensors if s in inputs.images]
        # Both eyes in one pass: the same convolutions and the same statistics.
        both = super().encode(
            NetworkInput(
                {s: torch.cat([inputs.images[s], inputs.images[RIGHT[s]]]) for s in lefts},
                inputs.camera.repeat(2, 1),
                inputs.height.repeat(2),
                {s: inputs.centres[s].repeat(2, 1) for s in lefts if s in inputs.centres},
                inputs.reference,
            )
        )
        found = {}
        for sensor, levels in both.items():
            left, right = zip(*(level.chunk(2) for level in levels), strict=True)
            reaches = [road_disparity(inputs, sensor, stride) for stride in (4, 8, 16)]
            found[sensor] = [left[0]] + [
                matching(left[level], right[level], reach, sensor)
                for level, (matching, reach) in enumerate(zip(self.matchings, reaches, strict=True), 1)
            ]
        return found


def road_disparity(inputs: NetworkInput, sensor: str, stride: int) -> Tensor:
    """How far apart the level road lies in a sensor's two pictures, by row of a map at that stride: f b / (z stride).

    [B, H / stride], in positions of the map; below zero where the second camera stands on the left.
    """
    height, width = inputs.images[sensor].shape[-2:]
    road = level_road(inputs.camera, inputs.height, (height, width), stride)[..., 0]
    return (inputs.camera[:, 0] * rectified_baseline(inputs, sensor) / stride)[:, None] * torch.exp(-road)


def rectified_baseline(inputs: NetworkInput, sensor: str) -> Tensor:
    """Metres [B] along the rows from a sensor to its right-hand camera; below zero where that stands on the left.

    Raises:
        ValueError: when it is not known where they stand, or they do not share their rows.
    """
    right = RIGHT[sensor]
    missing = {sensor, right} - set(inputs.centres)
    if missing:
        raise ValueError(f"where {sorted(missing)} stand is not known: NetworkInput.centres, which prepare() fills")
    apart = inputs.centres[right] - inputs.centres[sensor]
    along, across = apart[:, 0], apart[:, 1:].norm(dim=1)
    if bool(((along == 0) | (across > RECTIFIED * along.abs())).any()):
        worst = int((across - RECTIFIED * along.abs()).argmax())
        raise ValueError(
            f"{sensor} and {right} are not a rectified pair: the baseline lies along the rows, "
            f"found {[round(v, 4) for v in apart[worst].tolist()]} metres"
        )
    return along


def build_network(architecture: Architecture) -> DepthNetwork:
    """The network of an architecture, monocular or stereo, with new weights."""
    return StereoNetwork(architecture) if architecture.stereo else DepthNetwork(architecture)


def share_weights(network: DepthNetwork, other: DepthNetwork) -> None:
    """Copy in place what a stereo and a monocular network have in common: all but the matchings.

    Raises:
        ValueError: when they differ in more than `stereo` and the size of the pictures they work on.
    """
    ours, theirs = network.architecture, other.architecture
    if ours != replace(theirs, stereo=ours.stereo, pixels=ours.pixels):
        raise ValueError(f"the networks differ in more than the second picture: {ours}, {theirs}")
    state = other.state_dict()
    network.load_state_dict({name: state.get(name, value) for name, value in network.state_dict().items()})
