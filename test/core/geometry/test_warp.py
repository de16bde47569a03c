"""Warping by depth against planes whose homography is known, and against occluders."""

import torch

from spike_depth_core.geometry.warp import back_project, project, scaled_camera, scaled_depth, transform, warp

CAMERA = torch.tensor([[40.0, 42.0, 31.0, 23.0]])
SIZE = (48, 64)


def shifted(x=0.0, y=0.0, z=0.0):
    """source_from_target of a source camera that stands at (x, y, z) of the target's frame."""
    matrix = torch.eye(4)[None]
    matrix[:, :3, 3] = -torch.tensor([x, y, z])
    return matrix


def test_back_projection_and_projection_undo_each_other():
    depth = 1 + 20 * torch.rand(1, *SIZE, generator=torch.Generator().manual_seed(0))
    pixels, z = project(back_project(depth, CAMERA), CAMERA)
    torch.testing.assert_close(z, depth)
    u, v = torch.meshgrid(torch.arange(64.0), torch.arange(48.0), indexing="xy")
    torch.testing.assert_close(pixels[0], torch.stack([u, v], -1), atol=1e-4, rtol=0)


def test_a_frontal_plane_moves_by_focal_length_times_baseline_over_depth():
    """Disparity f b / z: 40 * 0.5 / 10 = 2 pixels."""
    source = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    seen, mask = warp(source, torch.full((1, *SIZE), 10.0), CAMERA, CAMERA, shifted(x=0.5))
    torch.testing.assert_close(seen[..., 2:], source[..., :-2], atol=1e-4, rtol=0)
    assert mask[..., 2:].all()
    assert not mask[..., :2].any()


def test_another_size_is_the_same_camera_scaled():
    source = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(2))
    half = torch.nn.functional.avg_pool2d(source, 2)
    camera = scaled_camera(CAMERA, SIZE, (24, 32))
    seen, mask = warp(half, torch.full((1, 24, 32), 10.0), camera, camera, shifted(x=0.5))
    assert mask[..., 1:].all()
    torch.testing.assert_close(seen[..., 1:], half[..., :-1], atol=1e-4, rtol=0)


def test_what_is_hidden_in_the_source_is_not_seen():
    """A wall at 20 m, before its right half in the source's view a board at 5 m."""
    depth = torch.full((1, *SIZE), 20.0)
    source_depth = depth.clone()
    source_depth[..., 40:] = 5.0
    source = torch.ones(1, 1, *SIZE)
    _, mask = warp(source, depth, CAMERA, CAMERA, shifted(), source_depth)
    assert mask[..., :40].all()
    assert not mask[..., 40:].any()
    _, untested = warp(source, depth, CAMERA, CAMERA, shifted())
    assert untested.all()


def test_the_occlusion_test_may_look_finer_than_the_features():
    """Cells of 8 pixels, displaced by 1.25: the board covers pixel 18, where the centre of cell 2, 19.5, is found."""
    depth = torch.full((1, 6, 8), 40.0)
    source = torch.ones(1, 1, 6, 8)
    camera = scaled_camera(CAMERA, SIZE, (6, 8))
    fine = torch.full((1, *SIZE), 40.0)
    fine[..., 18:19] = 5.0
    _, mask = warp(source, depth, camera, camera, shifted(x=1.25), fine)
    assert mask[0, 0].tolist() == [True, True, False, True, True, True, True, True]


def test_scaled_depth_is_that_of_the_cells_centre():
    rows = torch.arange(48.0)[None, :, None].expand(1, *SIZE)
    centres = torch.arange(6) * 8 + 4.0  # the lower of the two pixels beside the centre 3.5, 11.5...
    torch.testing.assert_close(scaled_depth(rows, (6, 8))[0, :, 0], centres)


def test_points_behind_the_source_or_without_a_depth_are_not_seen_and_give_no_nan():
    depth = torch.full((1, *SIZE), 3.0)
    depth[..., :10] = torch.nan
    depth[..., 10:20] = torch.inf
    source = torch.rand(1, 1, *SIZE, requires_grad=True)
    warped, mask = warp(source, depth, CAMERA, CAMERA, shifted(z=5.0))
    assert not mask.any()
    assert torch.isfinite(warped).all()
    warped, mask = warp(source, depth, CAMERA, CAMERA, shifted())
    assert not mask[..., :20].any()
    assert mask[..., 20:].all()
    warped.sum().backward()
    assert torch.isfinite(source.grad).all()


def test_gradient_of_the_warp_by_depth():
    torch.manual_seed(0)
    source = torch.rand(1, 2, 6, 7, dtype=torch.float64)
    camera = torch.tensor([[6.0, 6.0, 3.0, 2.5]], dtype=torch.float64)
    depth = (3 + torch.rand(1, 6, 7, dtype=torch.float64)).requires_grad_()
    matrix = shifted(x=0.137, z=0.05).double()
    assert torch.autograd.gradcheck(lambda d: warp(source, d, camera, camera, matrix)[0], depth)


def test_transforms_compose():
    points = torch.rand(1, 4, 5, 3)
    once = transform(transform(points, shifted(x=1.0)), shifted(y=2.0))
    torch.testing.assert_close(once, transform(points, shifted(x=1.0, y=2.0)))
