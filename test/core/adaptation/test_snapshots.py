"""Snapshots: ancestry, how many stay, and that a crash at any instant leaves one that loads."""

import dataclasses
import os

import pytest
import torch

from spike_depth_core.adaptation import Snapshots
from spike_depth_core.networks.checkpoint import CheckpointInfo
from spike_depth_core.networks.depth_network import Architecture, DepthNetwork

TINY = Architecture(sensors=("spikes",), widths=(8, 8, 8, 8, 8), trunk_blocks=1)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return DepthNetwork(TINY)


def numbered(network, value):
    with torch.no_grad():
        network.decoder.head.bias.fill_(float(value))
    return network


def number(found):
    return found[0].decoder.head.bias[0].item()


def test_the_last_few_stay_with_their_ancestry(network, tmp_path):
    snapshots = Snapshots(tmp_path / "made", keep=3)
    assert snapshots.latest() is None
    info = CheckpointInfo(TINY, sha256="root", training={"recipe": "supervised"})
    hashes = []
    for value in range(5):
        info = snapshots.save(numbered(network, value), info, {"swap": value})
        hashes.append(info.sha256)
        assert info.parent == (hashes[-2] if value else "root")
    assert snapshots.hashes() == hashes[-3:]
    found = snapshots.latest()
    assert number(found) == 4.0
    assert found[1].training == {"recipe": "supervised", "adaptation": {"swap": 4}}
    assert len(list((tmp_path / "made").iterdir())) == 6
    snapshots.serve(hashes[-1])
    snapshots.clear()
    assert list((tmp_path / "made").iterdir()) == []
    assert snapshots.serving() == ""


@pytest.mark.parametrize(
    ("function", "call"), [*(("fsync", call) for call in range(8)), *(("replace", call) for call in range(4))]
)
@pytest.mark.parametrize(
    "failure", [OSError(28, "No space left on device"), SystemExit("killed")], ids=["full", "kill"]
)
def test_a_crash_or_a_full_disk_at_any_call_leaves_a_snapshot_that_loads(
    network, tmp_path, monkeypatch, failure, function, call
):
    """Each save flushes and renames two files, and flushes their folder: the n-th such call of two saves fails."""
    snapshots = Snapshots(tmp_path, keep=2)
    info = snapshots.save(numbered(network, 1), CheckpointInfo(TINY), {})
    real, calls = getattr(os, function), []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) == call + 1:
            raise failure
        return real(*arguments)

    monkeypatch.setattr(os, function, failing)
    last = 1
    for value in (2, 3):
        try:
            info = snapshots.save(numbered(network, value), info, {})
            last = value
        except (OSError, SystemExit):
            if (function, call % 4) == ("fsync", 3):  # both files have their names by then
                last = value
            assert number(snapshots.latest()) == last
    monkeypatch.undo()
    assert len(calls) >= call + 1
    assert number(snapshots.latest()) == last
    snapshots.save(numbered(network, 9), info, {})
    assert number(snapshots.latest()) == 9.0
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]
    complete = {path.with_suffix("") for path in snapshots.paths()}
    assert {path.with_suffix("") for path in tmp_path.iterdir()} == complete  # nothing half done is left


def test_what_others_are_writing_in_folders_below_is_theirs(network, tmp_path):
    theirs = tmp_path / "left" / ".shard.tar.0123.partial"
    theirs.parent.mkdir()
    theirs.write_bytes(b"half")
    left = tmp_path / ".snapshot_000001.safetensors.0123.partial"
    left.write_bytes(b"half")
    Snapshots(tmp_path).save(numbered(network, 1), CheckpointInfo(TINY), {})
    assert theirs.exists()
    assert not left.exists()


def test_a_damaged_snapshot_is_passed_over(network, tmp_path):
    snapshots = Snapshots(tmp_path)
    info = snapshots.save(numbered(network, 1), CheckpointInfo(TINY), {})
    snapshots.save(numbered(network, 2), dataclasses.replace(info), {})
    newest = snapshots.paths()[-1]
    newest.write_bytes(newest.read_bytes()[:-7])
    assert number(snapshots.latest()) == 1.0
    with pytest.raises(ValueError, match="at least one"):
        Snapshots(tmp_path, keep=0)
