"""Folding batch normalisation into the convolutions before it: the same numbers in less time, for inference only."""

from __future__ import annotations

import copy

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spike_depth_core.networks.blocks import ConvNormAct, Residual, SensorConv
from spike_depth_core.networks.depth_network import DepthNetwork


def _fused(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(conv, norm)


class _FoldedSensorConv(nn.Module):
    """A `SensorConv` with a convolution of its own for each sensor."""

    def __init__(self, source: SensorConv):
        super().__init__()
        self.convs = nn.ModuleDict({sensor: _fused(source.conv, norm) for sensor, norm in source.norm.norms.items()})
        self.linear = source.linear

    def forward(self, x: Tensor, sensor: str) -> Tensor:
        x = self.convs[sensor](x)
        return x if self.linear else F.relu(x, inplace=True)


def folded(network: DepthNetwork) -> DepthNetwork:
    """A copy in evaluation mode whose normalisation layers are gone. It cannot be trained or saved as a checkpoint."""
    network = copy.deepcopy(network).eval()
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, SensorConv):
                setattr(module, name, _FoldedSensorConv(child))
        if isinstance(module, ConvNormAct):
            module[0], module[1] = _fused(module[0], module[1]), nn.Identity()
        elif isinstance(module, Residual):
            module.conv, module.norm = _fused(module.conv, module.norm), nn.Identity()
    return network.requires_grad_(False)
