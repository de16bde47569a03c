"""Parallax on a common canvas, against the homographies of planes and against pictures taken by two real cameras."""

import math

import pytest
import torch

from spike_depth_core.geometry.parallax import depth_from_beside, parallax_warp
from spike_depth_core.geometry.resample import infinity_grid, sample_at
from spike_depth_core.geometry.warp import scaled_camera

CAMERA = torch.tensor([[60.0, 62.0, 47.0, 30.0]])
SIZE = (64, 96)


def rays(camera, size=SIZE):
    """(x, y, 1) [H, W, 3] of every pixel."""
    u, v = torch.meshgrid(torch.arange(size[1]).float(), torch.arange(size[0]).float(), indexing="xy")
    fx, fy, cx, cy = camera[0]
    return torch.stack([(u - cx) / fx, (v - cy) / fy, torch.ones_like(u)], dim=-1)


def plane_depth(normal, distance, camera=CAMERA, size=SIZE):
    """Depth of the plane n.X = d along the optical axis, [1, H, W]."""
    return (distance / (rays(camera, size) @ normal))[None]


def looking(pitch, yaw):
    """Rotation target_from_source of a camera that is turned by these angles."""
    (cp, sp), (cy, sy) = ((math.cos(a), math.sin(a)) for a in (pitch, yaw))
    return torch.tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]) @ torch.tensor([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])


@pytest.mark.parametrize("stride", [1, 4])
def test_a_plane_moves_by_its_homography(stride):
    """Where each pixel of a tilted plane is looked up: a map that holds its own coordinates tells."""
    normal, distance = torch.tensor([0.1, 0.3, 1.0]), 9.0
    centre = torch.tensor([[0.6, -0.2, 0.3]])
    small = (SIZE[0] // stride, SIZE[1] // stride)
    camera = scaled_camera(CAMERA, SIZE, small)
    u, v = torch.meshgrid(torch.arange(small[1]).float(), torch.arange(small[0]).float(), indexing="xy")
    # A full-size map that is constant over each cell, so that its nearest pixel is the cell's own depth.
    depth = plane_depth(normal, distance, camera, small)
    depth = depth.repeat_interleave(stride, 1).repeat_interleave(stride, 2)
    found, mask = parallax_warp(torch.stack([u, v])[None], depth, CAMERA, centre)
    fx, fy, cx, cy = camera[0]
    k = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    homography = k @ (torch.eye(3) - torch.outer(centre[0], normal) / distance) @ torch.linalg.inv(k)
    expected = torch.stack([u, v, torch.ones_like(u)], dim=-1) @ homography.T
    expected = (expected[..., :2] / expected[..., 2:]).permute(2, 0, 1)
    inner = mask[0] & (expected >= 0).all(0) & (expected[0] <= small[1] - 1) & (expected[1] <= small[0] - 1)
    assert inner.float().mean() > 0.7
    torch.testing.assert_close(found[0][:, inner], expected[:, inner], atol=2e-3, rtol=0)
    assert (expected - torch.stack([u, v]))[:, inner].abs().mean() > 1.0 / stride  # there is something to warp


def test_a_picture_brought_to_the_canvas_and_warped_is_the_pictures_of_the_canvas_own_camera():
    """A smooth texture on a tilted plane, taken by a camera of another place, direction and lens. The homography at
    infinity alone leaves the parallax; with it removed the picture is the canvas camera's own."""
    normal, distance = torch.tensor([0.0, 0.5, 1.0]), 6.0
    place, turned = torch.tensor([0.3, -0.12, -0.05]), looking(0.03, -0.05)
    lens, lens_size = torch.tensor([[90.0, 85.0, 70.0, 45.0]]), (96, 144)

    def picture(points):
        return (torch.sin(2.1 * points[..., 0]) * torch.cos(1.7 * points[..., 1]))[None, None]

    seen = rays(lens, lens_size) @ turned.T  # directions, in the canvas camera's frame
    scale = (distance - place @ normal) / (seen @ normal)
    taken = picture(place + seen * scale[..., None])
    own_depth = plane_depth(normal, distance)
    own = picture(rays(CAMERA) * own_depth[0, ..., None])
    pixels, front = infinity_grid(lens, CAMERA, SIZE, turned.T[None])
    canvas = sample_at(taken, pixels)
    warped, mask = parallax_warp(canvas, own_depth, CAMERA, place[None])
    mask = mask & front
    mask[:, :4], mask[:, -4:], mask[:, :, :4], mask[:, :, -4:] = False, False, False, False
    left = (canvas - own)[:, 0][mask].abs().mean()
    error = (warped - own)[:, 0][mask].abs()
    assert mask.float().mean() > 0.7
    assert error.mean() < 0.05 * left
    assert error.max() < 0.05


def test_depth_from_beside_is_the_planes_depth_from_here():
    """n.(X - c) = d - n.c: seen from c the plane is nearer by n.c."""
    normal, distance = torch.tensor([0.0, 0.6, 1.0]), 8.0
    centre = torch.tensor([[0.3, 0.2, 0.2]])
    beside = plane_depth(normal, distance - centre[0] @ normal)
    found = depth_from_beside(beside, CAMERA, centre)
    expected = plane_depth(normal, distance)
    inner = (slice(None), slice(8, -8), slice(8, -8))
    assert ((beside - expected) / expected)[inner].abs().max() > 0.03
    torch.testing.assert_close(found[inner], expected[inner], rtol=2e-3, atol=0)


def test_occluders_are_seen_by_their_own_depth():
    """A wall at 20 m, before it in the source's view a board at 4 m."""
    depth = torch.full((1, *SIZE), 20.0)
    source_depth = depth.clone()
    source_depth[..., 40:50] = 4.0
    source = torch.zeros(1, 1, *SIZE)
    _, mask = parallax_warp(source, depth, CAMERA, torch.tensor([[0.5, 0.0, 0.0]]), source_depth)
    hidden = ~mask[0, 10]
    # The wall at 20 m moves by 1.5 pixels: its pixels 42 to 51 are looked up at 40.5 to 49.5.
    assert hidden[42:51].all()
    assert not hidden[2:41].any()
    assert not hidden[53:].any()
