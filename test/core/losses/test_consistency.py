"""Depth consistency of planes seen from two places."""

import pytest
import torch

from spike_depth_core.losses.consistency import depth_consistency

CAMERA = torch.tensor([[50.0, 50.0, 31.5, 23.5]])
SIZE = (48, 64)
CENTRE = torch.tensor([[0.3, 0.2, 0.25]])


def plane(distance, normal=(0.0, 0.4, 1.0)):
    """Depth [1, H, W] of n.X = d."""
    u, v = torch.meshgrid(torch.arange(SIZE[1]).float(), torch.arange(SIZE[0]).float(), indexing="xy")
    fx, fy, cx, cy = CAMERA[0]
    return (distance / (normal[0] * (u - cx) / fx + normal[1] * (v - cy) / fy + normal[2]))[None]


def beside(distance, normal=(0.0, 0.4, 1.0)):
    """The same plane, seen from CENTRE."""
    return plane(distance - float(CENTRE[0] @ torch.tensor(normal)), normal)


def test_two_looks_at_one_plane_agree():
    assert float(depth_consistency(plane(8.0), beside(8.0), CAMERA, CENTRE)) < 1e-3
    assert float(depth_consistency(plane(8.0), plane(8.0), CAMERA, CENTRE)) > 0.015  # as if from one place


@pytest.mark.parametrize("factor", [1.1, 1.5])
def test_a_constant_factor_costs_its_share(factor):
    """|f z - z| / (f z + z) = (f - 1) / (f + 1)."""
    found = depth_consistency(plane(8.0), factor * beside(8.0), CAMERA, CENTRE)
    assert float(found) == pytest.approx((factor - 1) / (factor + 1), rel=0.02)


def test_what_hides_a_point_is_not_pulled_to_it_and_what_is_too_far_is():
    """A board at 2 m before a wall at 10 m, which the teacher beside it does not see; no gradient reaches it."""
    wall = torch.full((1, *SIZE), 10.0)
    depth = wall.clone()
    depth[..., 30:40] = 2.0
    depth[..., 50:] = 20.0
    depth.requires_grad_()
    teacher = wall.clone().requires_grad_()
    loss = depth_consistency(teacher, depth, CAMERA, torch.tensor([[0.1, 0.0, 0.0]]))
    loss.backward()
    assert teacher.grad is None
    assert (depth.grad[..., 31:39] == 0).all()
    assert (depth.grad[..., 51:63] > 0).all()


def test_gradient():
    drawn = torch.Generator().manual_seed(0)
    teacher = 5 + torch.rand(1, 6, 8, dtype=torch.float64, generator=drawn)
    depth = (5.3 + torch.rand(1, 6, 8, dtype=torch.float64, generator=drawn)).requires_grad_()
    camera = torch.tensor([[6.0, 6.0, 3.5, 2.5]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda d: depth_consistency(teacher, d, camera, CENTRE.double()), depth)
