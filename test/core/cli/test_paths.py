"""Paths are refused before the work, and by looking alone."""

import os

import pytest

from spike_depth_core.cli.paths import check_file, check_out


def test_a_folder_that_can_be_made_is_not_made_yet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_out(tmp_path / "a" / "b")
    check_out(tmp_path)
    check_out(tmp_path.relative_to(tmp_path) / "c")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "taken").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name, blocks in (("taken", "taken"), ("taken/a/b", "taken"), ("dangling", "dangling")):
        with pytest.raises(ValueError, match=f"--out {tmp_path / name}: .* {tmp_path / blocks} is no folder"):
            check_out(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match=f"{tmp_path} cannot be written to"):
        check_out(tmp_path / "a")


def test_a_file_is_there_and_is_one(tmp_path):
    (tmp_path / "a").write_text("mine")
    check_file(tmp_path / "a")
    with pytest.raises(ValueError, match=f"there is no file {tmp_path / 'b'}"):
        check_file(tmp_path / "b")
    with pytest.raises(ValueError, match=f"{tmp_path} is a folder"):
        check_file(tmp_path)
