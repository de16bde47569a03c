"""Heads on pooled features: what they look at, and what they need."""

import pytest
import torch

from spike_depth_core.networks.heads import PooledHead


@pytest.mark.parametrize("batch_norm", [True, False])
def test_only_the_mean_over_positions_counts(batch_norm):
    torch.manual_seed(0)
    head = PooledHead(4, 8, 3, batch_norm)
    features = torch.randn(5, 4, 3, 6)
    shuffled = features.flatten(2)[..., torch.randperm(18)].reshape(5, 4, 6, 3)
    assert head(features).shape == (5, 3)
    torch.testing.assert_close(head(shuffled), head(features))


def test_a_normalised_head_needs_two_pictures_and_only_in_training():
    head = PooledHead(4, 8, 3, batch_norm=True)
    with pytest.raises(ValueError, match="at least 2 pictures in it, found 1"):
        head(torch.randn(1, 4, 2, 2))
    assert head.eval()(torch.randn(1, 4, 2, 2)).shape == (1, 3)
    assert PooledHead(4, 8, 3, batch_norm=False)(torch.randn(1, 4, 2, 2)).shape == (1, 3)
