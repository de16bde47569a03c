"""Heads on pooled features: what they look at, and what they need."""

import pytest
import torch

from spike_depth_core.networks.heads import PooledHead


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_only_the_mean_over_positions_counts(norm):
    torch.manual_seed(0)
    head = PooledHead(4, 8, 3, norm)
    features = torch.randn(5, 4, 3, 6)
    shuffled = features.flatten(2)[..., torch.randperm(18)].reshape(5, 4, 6, 3)
    assert head(features).shape == (5, 3)
    torch.testing.assert_close(head(shuffled), head(features))


def test_a_normalised_head_needs_two_pictures_and_only_in_training():
    head = PooledHead(4, 8, 3, norm="batch")
    with pytest.raises(ValueError, match="at least 2 pictures in it, found 1"):
        head(torch.randn(1, 4, 2, 2))
    assert head.eval()(torch.randn(1, 4, 2, 2)).shape == (1, 3)
    assert PooledHead(4, 8, 3, norm="layer")(torch.randn(1, 4, 2, 2)).shape == (1, 3)


def test_the_scale_of_features_hardly_matters():
    torch.manual_seed(0)
    features = torch.randn(5, 4, 3, 6)
    for norm in ("batch", "layer"):
        head = PooledHead(4, 8, 3, norm)
        torch.nn.init.zeros_(head.layers[0].bias)
        torch.testing.assert_close(head(50 * features), head(5 * features), atol=0.02, rtol=0.02)
    with pytest.raises(ValueError, match="'group'"):
        PooledHead(4, 8, 3, "group")
