"""Files that are there whole or not at all."""

import json
import os
import stat

import numpy as np
import pytest

from spike_depth_core.whole_files import partial_files, write_json, write_whole


def test_content_and_name_are_on_the_disk_in_that_order(tmp_path, monkeypatch):
    """A renamed file survives a power cut only once its folder has been flushed, too."""
    done = []
    replace, fsync = os.replace, os.fsync

    def flushed(handle):
        done.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def renamed(source, target):
        done.append("name")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    write_whole(tmp_path / "a", b"1")
    assert done == ["file", "name", "folder"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_what_was_there_stays_where_writing_fails(tmp_path, monkeypatch, function):
    write_whole(tmp_path / "a", b"1")

    def full(*_):
        assert [p.name[:3] for p in partial_files(tmp_path)] == [".a."]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "a", b"2")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"1"


def test_a_file_system_that_flushes_no_folders_will_do(tmp_path, monkeypatch):
    fsync = os.fsync

    def flushed(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(22, "Invalid argument")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", flushed)
    write_whole(tmp_path / "deep" / "a", b"1")
    assert (tmp_path / "deep" / "a").read_bytes() == b"1"


def test_json_that_cannot_be_written_leaves_the_old_one(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_json_has_no_nan(tmp_path):
    write_json(tmp_path / "new" / "m.json", {"a": float("nan"), "b": [1.5, (float("inf"), 2)], "c": {"d": "x"}})
    strict = json.loads((tmp_path / "new" / "m.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert strict == {"a": None, "b": [1.5, [None, 2]], "c": {"d": "x"}}


def test_json_takes_numpy_scalars(tmp_path):
    write_json(tmp_path / "m.json", {"a": np.float64("nan"), "b": np.float32(0.5), "c": np.int64(3)})
    assert json.loads((tmp_path / "m.json").read_text()) == {"a": None, "b": 0.5, "c": 3}
