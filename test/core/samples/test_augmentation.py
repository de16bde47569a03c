"""Changes of looks, against colours worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from spike_depth_core.samples.augmentation import change_detail, jitter_rgb, repaint, turn_hues


def test_a_third_of_a_turn_permutes_the_channels_and_a_whole_one_changes_nothing():
    rgb = torch.rand((3, 3, 4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    angle = torch.tensor([2 * math.pi / 3, -2 * math.pi / 3, 2 * math.pi], dtype=torch.float64).reshape(3, 1, 1, 1)
    turned = turn_hues(rgb, angle)
    torch.testing.assert_close(turned[0], rgb[0, [2, 0, 1]])
    torch.testing.assert_close(turned[1], rgb[1, [1, 2, 0]])
    torch.testing.assert_close(turned[2], rgb[2])


@pytest.mark.parametrize("angle", [0.3, 1.0, math.pi])
def test_a_turn_is_the_rotation_about_grey(angle):
    axis = torch.full((3,), 1 / math.sqrt(3), dtype=torch.float64)
    cross = torch.linalg.cross(axis.expand(3, 3), torch.eye(3, dtype=torch.float64)).T  # columns: axis x unit vectors
    rotation = torch.matrix_exp(angle * cross)
    rgb = torch.rand((1, 3, 2, 2), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = torch.einsum("ij,bjhw->bihw", rotation, rgb)
    torch.testing.assert_close(turn_hues(rgb, torch.full((1, 1, 1, 1), angle, dtype=torch.float64)), expected)


def test_jitter_stays_a_picture_and_follows_its_generator():
    rgb = torch.rand((4, 3, 16, 24), generator=torch.Generator().manual_seed(2))
    first, again, other = (jitter_rgb(rgb, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == rgb.shape
    assert 0 <= first.min() <= first.max() <= 1
    torch.testing.assert_close(jitter_rgb(rgb, torch.Generator().manual_seed(5), 0.0), rgb)


def test_patches_are_painted_and_the_rest_is_kept():
    rgb = torch.rand((64, 3, 32, 48), generator=torch.Generator().manual_seed(3)) * 0.5
    painted = repaint(rgb, torch.Generator().manual_seed(4), patches=1)
    changed = (painted != rgb).any(1)
    share = changed.float().mean((1, 2))
    assert 0.05 < share.mean() < 0.4  # a rectangle has half sides of 0.03 to 0.35, less what is beyond the border
    for mask in changed[share > 0]:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        box = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert box.float().mean() > 0.99  # a whole rectangle


def test_paint_of_a_grey_picture_is_grey_and_half_of_it_plain():
    painted = repaint(torch.full((200, 3, 32, 48), 0.4), torch.Generator().manual_seed(5), patches=1)
    torch.testing.assert_close(painted[:, 0], painted[:, 2])
    tones = [len(picture.unique()) for picture in painted[:, 0]]
    assert 0.35 < sum(count > 2 for count in tones) / len(tones) < 0.6  # tiled: more than the old tone and the new


def test_detail_is_raised_or_lowered_and_what_is_coarse_stays():
    ramp = torch.linspace(0.3, 0.6, 96).expand(400, 1, 48, 96)
    checks = 0.02 * (-1.0) ** (torch.arange(48)[:, None] + torch.arange(96))
    changed = change_detail(ramp + checks, torch.Generator().manual_seed(6), 0.5)
    inner = changed[..., 12:-12, 12:-12]  # where `soften` has neighbours on all sides
    # Its own mean is kept wherever an even number of pixels is averaged, and a ramp has no detail but at its ends.
    coarse = torch.nn.functional.avg_pool2d(inner, 12)
    torch.testing.assert_close(coarse, torch.nn.functional.avg_pool2d(ramp[..., 12:-12, 12:-12], 12), atol=4e-3, rtol=0)
    gain = (inner * checks[12:-12, 12:-12]).mean((1, 2, 3)) / 0.02**2
    assert 0.15 < (gain - 1).abs().lt(1e-3).float().mean() < 0.35  # a quarter are kept
    assert math.exp(-0.7) < gain.min() < 0.8
    assert 3.0 < gain.max() < math.exp(1.6)  # both scales together, each by its own upper end
    assert 0.4 < (gain > 1.05).float().mean() < 0.65


def test_without_detail_the_looks_are_drawn_as_ever():
    rgb = torch.rand((4, 3, 16, 24), generator=torch.Generator().manual_seed(7))
    plain, same, other = (jitter_rgb(rgb, torch.Generator().manual_seed(8), 0.5, 3, d) for d in (0.0, 0.0, 0.7))
    assert torch.equal(plain, same)
    roughness = [(x[..., 1:] - x[..., :-1]).abs().mean() for x in (plain, other)]
    assert roughness[1] > 1.1 * roughness[0]
