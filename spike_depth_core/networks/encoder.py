"""From one sensor's image to features: a stem of the sensor's own, then an encoder that all sensors share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from spike_depth_core.networks.blocks import ConvNormAct, SensorConv, SensorResidual

CANONICAL_FOCAL = 210.0
"""Focal length in network pixels at which depth is predicted; other cameras' depth scales with theirs (Metric3D)."""
RAY_CHANNELS = 4
_NOMINAL_CAMERA_HEIGHT = 1.65  # metres above the road
_GROUND_HORIZON = 80.0  # metres


def ray_maps(camera: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """What the camera itself tells of each position, [B, RAY_CHANNELS, H / stride, W / stride].

    Channels: ray slope x/z; slope y/z; log of the focal length over the canonical one; and log depth of a level road
    1.65 m below the camera over 10 m, cut at 80 m. The last is a hint only: the network learns what slope and bumps
    make of it.

    Args:
        camera: (fx, fy, cx, cy) [B, 4] of the full-size network image.
        size: (height, width) of that image.
    """
    height, width = size
    fx, fy, cx, cy = (c.reshape(-1, 1, 1) for c in camera.unbind(-1))
    offset = (stride - 1) / 2
    u = torch.arange(width // stride, device=camera.device, dtype=camera.dtype) * stride + offset
    v = torch.arange(height // stride, device=camera.device, dtype=camera.dtype) * stride + offset
    shape = (len(camera), height // stride, width // stride)
    x = ((u.reshape(1, 1, -1) - cx) / fx).expand(shape)
    y = ((v.reshape(1, -1, 1) - cy) / fy).expand(shape)
    focal = torch.log(fx / CANONICAL_FOCAL).expand(shape)
    ground = torch.log(_NOMINAL_CAMERA_HEIGHT / y.clamp(min=_NOMINAL_CAMERA_HEIGHT / _GROUND_HORIZON) / 10.0)
    return torch.stack([x, y, focal, ground], dim=1)


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
    """

    def __init__(self, inputs: Mapping[str, int], widths: Sequence[int]):
        super().__init__()
        half, quarter, eighth, sixteenth = widths
        sensors = tuple(inputs)
        self.stems = nn.ModuleDict({s: Stem(c, half, quarter) for s, c in inputs.items()})
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
