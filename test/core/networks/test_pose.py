"""Motions: rotation vectors against quaternions, and a network that says one for each neighbour."""

import math

import pytest
import torch

from spike_depth_core.geometry.rig import pose
from spike_depth_core.networks.encoder import ray_maps
from spike_depth_core.networks.pose import PoseNetwork, rigid_transform


def test_a_rotation_vector_is_its_axis_times_its_angle():
    axis = torch.tensor([[1.0, 2.0, -2.0], [0.0, 1.0, 0.0]], dtype=torch.float64) / torch.tensor([[3.0], [1.0]])
    angle = torch.tensor([0.7, -2.0], dtype=torch.float64)
    shift = torch.tensor([[0.5, -0.1, 2.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    found = rigid_transform(axis * angle[:, None], shift)
    for i in range(2):
        half = float(angle[i]) / 2
        quaternion = (*(math.sin(half) * axis[i]).tolist(), math.cos(half))
        torch.testing.assert_close(found[i], torch.from_numpy(pose(tuple(shift[i].tolist()), quaternion)))


def test_no_motion_is_the_identity_and_has_a_gradient():
    vector, shift = (torch.zeros(2, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    torch.testing.assert_close(rigid_transform(vector, shift).detach(), torch.eye(4).double().expand(2, 4, 4))
    assert torch.autograd.gradcheck(rigid_transform, (vector, shift))


def test_every_neighbour_has_its_own_rigid_motion():
    torch.manual_seed(0)
    network = PoseNetwork(neighbours=2)
    target, before, after = torch.randn(3, 2, 3, 64, 96).unbind(0)
    rays = ray_maps(torch.tensor([[80.0, 80.0, 48.0, 32.0]]).repeat(2, 1), torch.full((2,), 1.65), (64, 96), 1)
    motions = network(target, [before, after], rays)
    assert [m.shape for m in motions] == [(2, 4, 4)] * 2
    for motion in motions:
        rotation = motion[:, :3, :3]
        torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3).expand(2, 3, 3), atol=1e-5, rtol=0)
        # An untrained network says that hardly anything moves: what it learns begins from there.
        assert motion[:, :3, 3].norm(dim=1).max() < 0.5
    assert not torch.allclose(motions[0], motions[1])
    with pytest.raises(ValueError, match="2 neighbours to a picture, found 1"):
        network(target, [before], rays)
