"""From one sensor's image to features: a stem of the sensor's own, then an encoder that all sensors share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from spike_depth_core.networks.blocks import ConvNormAct, SensorConv, SensorResidual
from spike_depth_core.networks.spiking import SpikingStem

CANONICAL_FOCAL = 210.0
"""Focal length in network pixels that "far" is measured by, see `level_road`."""
RAY_CHANNELS = 4
_FAR = 50.0  # metres


def ray_slopes(camera: Tensor, size: tuple[int, int], stride: int) -> tuple[Tensor, Tensor]:
    """Slopes x/z [B, 1, W / stride] and y/z [B, H / stride, 1] of the viewing rays.

    Args:
        camera: (fx, fy, cx, cy) [B, 4] of the full-size network image.
        size: (height, width) of that image.
        stride: every how many pixels.
    """
    height, width = size
    fx, fy, cx, cy = (c.reshape(-1, 1, 1) for c in camera.unbind(-1))
    offset = (stride - 1) / 2
    u = torch.arange(width // stride, device=camera.device, dtype=camera.dtype) * stride + offset
    v = torch.arange(height // stride, device=camera.device, dtype=camera.dtype) * stride + offset
    return (u.reshape(1, 1, -1) - cx) / fx, (v.reshape(1, -1, 1) - cy) / fy


def level_road(camera: Tensor, height: Tensor, size: tuple[int, int], stride: int = 1) -> Tensor:
    """Log-depth [B, H / stride, 1] of a level road under the camera, cut at 50 m: what depth is guessed from.

    The network says how the scene departs from this. The cut scales with the focal length over the canonical one:
    without a road to go by, twice the focal length shows the same picture at twice the distance (Metric3D, Yin et
    al., ICCV 2023).

    Args:
        camera: (fx, fy, cx, cy) [B, 4] of the full-size network image.
        height: of the camera over the road, metres [B].
        size, stride: see `ray_slopes`.
    """
    _, slope = ray_slopes(camera, size, stride)
    far = _FAR / CANONICAL_FOCAL * camera[:, 0].reshape(-1, 1, 1)
    height = height.reshape(-1, 1, 1)
    return torch.log(height / torch.maximum(slope, height / far))


def ray_maps(camera: Tensor, height: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """What the camera and its place tell of each position, [B, RAY_CHANNELS, H / stride, W / stride].

    Channels: ray slopes x/z and y/z, log of the focal length over the canonical one, and `level_road` less log 10 m.
    """
    x, y = ray_slopes(camera, size, stride)
    shape = (len(camera), y.shape[1], x.shape[2])
    focal = torch.log(camera[:, :1] / CANONICAL_FOCAL).reshape(-1, 1, 1)
    road = level_road(camera, height, size, stride) - math.log(10.0)
    return torch.stack([x.expand(shape), y.expand(shape), focal.expand(shape), road.expand(shape)], dim=1)


class Stem(nn.Module):
    """A sensor's own first layers: [B, C, H, W] to features at 1/2 and 1/4 of the size."""

    def __init__(self, inputs: int, half: int, quarter: int):
        super().__init__()
        self.to_half = ConvNormAct(inputs, half, kernel=5, stride=2)
        self.to_quarter = ConvNormAct(half, quarter, stride=2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        half = self.to_half(image)
        return half, self.to_quarter(half)


class SensorEncoder(nn.Module):
    """One sensor to features at 1/2, 1/4, 1/8 and 1/16; convolutions beyond the stem are shared by all sensors.

    Args:
        inputs: image channels by sensor (field-of-view mask included).
        widths: channels at 1/2, 1/4, 1/8, 1/16.
        spiking_steps: steps of the spike camera's `SpikingStem`; 0 gives it a plain one.
    """

    def __init__(self, inputs: Mapping[str, int], widths: Sequence[int], spiking_steps: int = 0):
        super().__init__()
        half, quarter, eighth, sixteenth = widths
        sensors = tuple(inputs)
        self.stems = nn.ModuleDict(
            {
                s: SpikingStem(c, half, quarter, spiking_steps)
                if s == "spikes" and spiking_steps
                else Stem(c, half, quarter)
                for s, c in inputs.items()
            }
        )
        self.rays = nn.Conv2d(RAY_CHANNELS, quarter, 1)
        self.quarter = SensorResidual(quarter, sensors)
        self.to_eighth = SensorConv(quarter, eighth, sensors, stride=2)
        self.eighth = nn.ModuleList([SensorResidual(eighth, sensors) for _ in range(2)])
        self.to_sixteenth = SensorConv(eighth, sixteenth, sensors, stride=2)

    def forward(self, sensor: str, image: Tensor, rays: Tensor) -> list[Tensor]:
        half, x = self.stems[sensor](image)
        quarter = self.quarter(x + self.rays(rays), sensor)
        x = self.to_eighth(quarter, sensor)
        for block in self.eighth:
            x = block(x, sensor)
        return [half, quarter, x, self.to_sixteenth(x, sensor)]
