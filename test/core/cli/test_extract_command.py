"""`spike-depth extract`: a data set, a table, and the same command again after a part has gone missing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from spike_depth_core.cli.extract import parse_assigned
from spike_depth_core.cli.main import app
from test.core.training.drives import write_drive


def run(*arguments: str):
    return CliRunner().invoke(app, ["extract", *map(str, arguments)])


def test_bags_become_a_data_set(tmp_path):
    bags = [write_drive(tmp_path / f"{name}.mcap", 0.3) for name in ("day", "night")]
    options = ["--out", tmp_path / "set", "--shares", "1,0,0", "--assign", "test=night", "--planes", 64, "--rate", 0]
    done = run(*bags, *options, "--sensors", "spikes,rgb")
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.stdout.splitlines() if line.strip().startswith(("train", "test"))]
    # Of eight frames the first has too few planes before it.
    assert [row[:6] for row in rows] == [["train", "8", "8", "8", "1", "1"], ["test", "8", "8", "8", "1", "1"]]
    shard = next((tmp_path / "set" / "test").rglob("*.tar"))
    content = shard.read_bytes()
    shard.unlink()
    (tmp_path / "set" / "units" / "001-0000.json").unlink()
    done = run(*bags, *options, "--sensors", "rgb, spikes")
    assert done.exit_code == 0, done.output
    assert shard.read_bytes() == content


def test_errors_are_told_in_one_line(tmp_path):
    bag = write_drive(tmp_path / "day.mcap", 0.3)
    done = run(bag, "--out", tmp_path / "set", "--min-change", 100, "--shares", "1,0,0", "--sensors", "rgb,lidar")
    assert done.exit_code == 2
    assert "--sensors takes some of spikes,rgb,nir,thermal, found 'rgb,lidar'" in done.output
    done = run(bag, "--out", tmp_path / "set")
    assert done.exit_code == 2
    assert "--split block" in done.output
    assert "--assign train=NAME" in done.output
    nothing = [bag, "--out", tmp_path / "none", "--max-sync-error", 1e-7, "--shares", "1,0,0"]
    done = run(*nothing)
    assert done.exit_code == 2
    assert "nothing was kept of 1 bags" in done.output
    with pytest.raises(ValueError, match="SPLIT=NAME, found 'night'"):
        parse_assigned(["night"])


def test_a_bag_that_cannot_be_read_does_not_keep_the_others(tmp_path):
    bag = write_drive(tmp_path / "day.mcap", 0.3)
    (tmp_path / "bad.mcap").write_bytes(b"")
    done = run(bag, tmp_path / "bad.mcap", "--out", tmp_path / "set", "--planes", 64, "--shares", "1,0,0")
    assert done.exit_code == 2
    assert "1 of 2 bags cannot be read" in done.output
    assert "bad.mcap" in done.output
    assert list((tmp_path / "set" / "train").rglob("*.tar"))


def test_info_looks_inside(tmp_path):
    bags = [write_drive(tmp_path / f"{name}.mcap", 0.3, condition=name) for name in ("day", "night")]
    options = ["--out", tmp_path / "set", "--shares", "1,0,0", "--assign", "test=night", "--planes", 64, "--rate", 0]
    assert run(*bags, *options, "--min-speed", 1).exit_code == 0
    done = CliRunner().invoke(app, ["info", str(tmp_path / "set"), "--verify"])
    assert done.exit_code == 0, done.output
    for text in ("2 of 2 parts", "night", "spikes32x24 rgb64x40", "left out: standing", "right, of 2 shards"):
        assert text in done.output
    with Image.open(tmp_path / "set" / "contact_sheet.png") as sheet:
        # Four cells a row: both sensors, and the depth of both.
        assert sheet.width == 4 * 300 + 5 * 8
        assert np.asarray(sheet).std() > 30
    shard = next((tmp_path / "set").rglob("*.tar"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = CliRunner().invoke(app, ["info", str(tmp_path / "set"), "--verify"])
    assert done.exit_code == 2
    assert "1 of 2 shards are damaged" in done.output
