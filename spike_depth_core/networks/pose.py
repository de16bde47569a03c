"""How the camera moved between pictures, for learning depth by view synthesis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spike_depth_core.geometry.precision import full_precision
from spike_depth_core.networks.encoder import RAY_CHANNELS

TRANSLATION_UNIT = 0.1
"""Metres that an output of 1 stands for: a car moves a metre or so between frames, not the 0.01 of a unit that depth
without metres has."""
ROTATION_UNIT = 0.01
"""Radians that an output of 1 stands for."""


def rigid_transform(axis_angle: Tensor, translation: Tensor) -> Tensor:
    """4x4 transforms [..., 4, 4] of rotation vectors [..., 3] (radians) and translations [..., 3] (metres).

    The rotation is the matrix exponential of the vector's cross product matrix (Rodrigues), smooth at zero too.
    """
    x, y, z = axis_angle.unbind(-1)
    none = torch.zeros_like(x)
    cross = torch.stack([none, -z, y, z, none, -x, -y, x, none], dim=-1).unflatten(-1, (3, 3))
    upper = torch.cat([torch.linalg.matrix_exp(cross), translation[..., None]], dim=-1)
    return F.pad(upper, (0, 0, 0, 1)) + F.pad(upper.new_ones(1, 1), (3, 0, 3, 0))


class PoseNetwork(nn.Module):
    """Stacked pictures to the camera's motion: seven convolutions of stride 2, their mean, six numbers a neighbour.

    Source: the PoseNet of R2SDepth and PackNet-SfM (Guizilini et al., CVPR 2020), after SfMLearner (Zhou et al., CVPR
    2017), with the rotation as a vector. Beside the pictures it sees `encoder.ray_maps`: rays differ from sample to
    sample here, and with the height over the road the road's motion tells metres. It is given what changes from picture
    to picture, not the pictures one beside the other: the first layer could subtract them itself, but would have to
    learn to.

    Args:
        neighbours: how many pictures beside the target.
        widths: channels of the convolutions, multiples of 16.
    """

    def __init__(self, neighbours: int = 2, widths: Sequence[int] = (16, 32, 64, 128, 256, 256, 256)):
        super().__init__()
        self.neighbours = neighbours
        layers: list[nn.Module] = []
        inputs = 3 * (1 + neighbours) + RAY_CHANNELS
        for width, kernel in zip(widths, (7, 5, *(3,) * (len(widths) - 2)), strict=True):
            layers += [nn.Conv2d(inputs, width, kernel, 2, kernel // 2), nn.GroupNorm(16, width), nn.ReLU(inplace=True)]
            inputs = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv2d(inputs, 6 * neighbours, 1)
        # Begin with hardly any motion: a random one of a few decimetres takes longer to unlearn than none to learn.
        nn.init.normal_(self.head.weight, std=1e-3)

    # bfloat16 knows a motion to one part in 250, and its gradients for maps of one pixel are noise on some CPUs.
    @full_precision
    def forward(self, target: Tensor, neighbours: Sequence[Tensor], rays: Tensor) -> list[Tensor]:
        """The transforms `neighbour_from_target` [B, 4, 4], float32, one for each neighbour.

        Args:
            target: [B, 3, H, W], of order one.
            neighbours: pictures like it.
            rays: `encoder.ray_maps` [B, RAY_CHANNELS, H, W] of the camera that all of them are of.
        """
        if len(neighbours) != self.neighbours:
            raise ValueError(
                f"this network compares {self.neighbours} neighbours to a picture, found {len(neighbours)}"
            )
        changes = [2 * (neighbour - target) for neighbour in neighbours]
        out = self.head(self.layers(torch.cat([target, *changes, rays], dim=1))).mean(dim=(2, 3))
        motions = out.unflatten(1, (self.neighbours, 6))
        transforms = rigid_transform(ROTATION_UNIT * motions[..., 3:], TRANSLATION_UNIT * motions[..., :3])
        return list(transforms.unbind(1))
