"""Adapters begin as the identity; attention is its formula, at any size of map."""

import math

import pytest
import torch
import torch.nn.functional as F

from spike_depth_core.networks.attention import ADAPTERS, AttentionAdapter, make_adapter


def test_the_formula_written_out():
    """One position at a time: F + W_o sum_j softmax_j(q_i k_j / sqrt d) v_j, head by head."""
    torch.manual_seed(0)
    adapter = AttentionAdapter(8, heads=2).eval()
    torch.nn.init.normal_(adapter.out.weight)
    torch.nn.init.normal_(adapter.out.bias)
    features = torch.randn(1, 8, 6, 10)  # the size of the encoding itself, which is then taken as it is
    found = adapter(features)
    tokens = F.layer_norm((features + adapter.places)[0].reshape(8, 60).T, (8,), adapter.norm.weight, adapter.norm.bias)
    q, k, v = (tokens @ adapter.qkv.weight.T + adapter.qkv.bias).split(8, dim=1)
    for position in (0, 17, 59):
        heads = []
        for part in (slice(0, 4), slice(4, 8)):
            weights = torch.softmax(torch.stack([q[position, part] @ k[j, part] for j in range(60)]) / math.sqrt(4), 0)
            heads.append(sum(weights[j] * v[j, part] for j in range(60)))
        expected = features.reshape(8, 60)[:, position] + adapter.out(torch.cat(heads))
        torch.testing.assert_close(found.reshape(8, 60)[:, position], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_adapters_begin_as_the_identity_and_learn(kind):
    torch.manual_seed(0)
    adapter = make_adapter(kind, 16)
    for size in ((4, 6), (1, 2), (13, 7)):
        features = torch.randn(2, 16, *size)
        torch.testing.assert_close(adapter(features), features, atol=1e-6, rtol=1e-6)
    optimizer = torch.optim.SGD(adapter.parameters(), 0.1) if list(adapter.parameters()) else None
    for _ in range(2):
        loss = (adapter(features) - 1).square().mean()
        loss.backward() if optimizer else None
        optimizer.step() if optimizer else None
    learned = {name for name, p in adapter.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert learned == {name for name, _ in adapter.named_parameters()}


def test_positions_far_apart_reach_one_another():
    torch.manual_seed(0)
    adapter = AttentionAdapter(16)
    torch.nn.init.normal_(adapter.out.weight)
    features = torch.randn(1, 16, 8, 12)
    changed = features.clone()
    changed[:, 0, 0, 0] += 3
    assert (adapter(changed) - adapter(features))[0, :, -1, -1].abs().max() > 1e-4


def test_what_is_wrong_is_named():
    with pytest.raises(ValueError, match="'banana'"):
        make_adapter("banana", 16)
    with pytest.raises(ValueError, match="18 channels"):
        AttentionAdapter(18)
