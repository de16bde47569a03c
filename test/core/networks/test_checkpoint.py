"""Checkpoints: exact, and refused with their name when anything is wrong."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from spike_depth_core.networks.checkpoint import (
    CheckpointError,
    CheckpointInfo,
    load_checkpoint,
    save_checkpoint,
    verify_checkpoint,
)
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork

SMALL = Architecture(sensors=("spikes", "rgb"), widths=(8, 8, 16, 16, 16), trunk_blocks=1)


@pytest.fixture
def saved(tmp_path):
    network = DepthNetwork(SMALL)
    info = CheckpointInfo(SMALL, row_prior={"a": [1.0]}, training={"seed": 3}, parent="abc")
    return network, save_checkpoint(tmp_path / "net.safetensors", network, info), tmp_path / "net.safetensors"


def test_round_trip_is_exact(saved):
    network, info, path = saved
    again, read = load_checkpoint(path)
    assert read == info
    for key, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
    assert not again.training


def test_compact_is_half_the_size_and_within_half_precision(saved, tmp_path):
    network, info, path = saved
    save_checkpoint(tmp_path / "half.safetensors", network, info, compact=True)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.7 * path.stat().st_size
    again, _ = load_checkpoint(tmp_path / "half.safetensors")
    for key, value in network.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, rtol=1e-3, atol=1e-6)


def rewrite(path, change):
    """Change the tensors and make the hash fit again, so that the later checks are reached."""
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    import hashlib

    about = json.loads(path.with_suffix(".json").read_text())
    about["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(about))


def test_one_changed_bit_is_found(saved):
    path = saved[2]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"net\.safetensors: sha256"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("rays.bias"), "rays.bias"),
        (lambda t: t.update({"rays.bias": torch.zeros(3)}), "rays.bias"),
        (lambda t: t["rays.bias"].fill_(float("nan")), "not finite"),
    ],
)
def test_wrong_tensors_are_named(saved, change, message):
    rewrite(saved[2], change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved[2])


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b'{"schema": 99}', b'{"schema": 1}', b'{"sch\xe4ma": 1}', pytest.param(b"[" * 100_000, id="deep")],
)
def test_a_wrong_description_is_named(saved, content):
    saved[2].with_suffix(".json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"net\.json"):
        load_checkpoint(saved[2])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*nowhere\.safetensors"):  # as it was typed
        load_checkpoint(tmp_path / "nowhere.safetensors")
    (tmp_path / "alone.safetensors").touch()
    with pytest.raises(CheckpointError, match=r"cannot read the checkpoint's description .*alone\.json"):
        load_checkpoint(tmp_path / "alone.safetensors")


def test_a_file_that_is_no_checkpoint_is_named_as_it_was_typed(tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(b"weights of something else")
    for read in (load_checkpoint, verify_checkpoint):
        with pytest.raises(CheckpointError, match=r"x\.pt: a checkpoint is a \.safetensors with its \.json beside it"):
            read(path)


def test_a_name_that_is_too_long_is_said():
    for read in (load_checkpoint, verify_checkpoint):
        with pytest.raises(CheckpointError, match=r"cannot read the checkpoint's description .*: File name too long"):
            read("x" * 300)


def test_verification_needs_no_network_and_names_what_differs(saved):
    _, info, path = saved
    assert verify_checkpoint(path) == info
    assert verify_checkpoint(path, SMALL) == info
    assert verify_checkpoint(path, dataclasses.replace(SMALL, pixels=2 * SMALL.pixels)) == info
    other = dataclasses.replace(SMALL, trunk_blocks=2, widths=(8, 8, 8, 8, 8))
    with pytest.raises(CheckpointError, match=r"net\.safetensors is of another architecture: widths .* trunk_blocks 2"):
        verify_checkpoint(path, other)
    rewrite(path, lambda t: t["rays.bias"].fill_(float("nan")))
    with pytest.raises(CheckpointError, match=r"not finite, first in rays\.bias"):
        verify_checkpoint(path, SMALL)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architecture", []),
        ("architecture", {"sensors": ["rgb"], "fusion": 3}),
        ("architecture", {"sensors": ["rgb"], "widths": ["a", 8, 16, 16, 16]}),
        ("architecture", {"sensors": ["rgb"], "trunk_blocks": "2"}),
        ("architecture", {"trunk_blocks": 10**7}),
        ("architecture", {"trunk_blocks": -1}),
        ("architecture", {"spiking_steps": 1.5}),
        ("architecture", {"widths": [10**9] * 5}),
        ("architecture", {"widths": [8.0, 8, 16, 16, 16]}),
        ("architecture", {"pixels": 10**12}),
        ("architecture", {"pixels": 0}),
        ("architecture", {"pixels": 6144.5}),
        ("depth_range", [100.0, 1.0]),
        ("depth_range", [0.5, float("nan")]),
        ("depth_range", [0.0, 100.0]),
        ("row_prior", []),
        ("training", []),
    ],
)
def test_a_description_of_no_network_is_refused_by_name(saved, field, value):
    path = saved[2].with_suffix(".json")
    about = json.loads(path.read_text())
    changed = {**about[field], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps({**about, field: changed}))
    with pytest.raises(CheckpointError, match=r"net\.json"):
        load_checkpoint(saved[2])


def test_widths_that_the_heads_cannot_share_are_refused():
    with pytest.raises(ValueError, match="multiples of 4"):
        Architecture(widths=(8, 8, 8, 6, 8))
