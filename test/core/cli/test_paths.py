"""Paths are refused before the work, and by looking alone."""

import os

import pytest

from spike_depth_core.cli.paths import check_file, check_out, remove_earlier


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


def test_only_files_of_an_earlier_run_are_removed(tmp_path):
    remove_earlier(tmp_path / "not there", "a.*")
    (tmp_path / "1.npz.d").mkdir()
    (tmp_path / "2.npz").mkdir()
    for name in ("1.npz", "x1.npz", "1.npz.txt", "notes.md"):
        (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=f"{tmp_path / '1.npz'} is read, .* choose another --out"):
        remove_earlier(tmp_path, r"\d+\.npz", [tmp_path / "1.npz.d" / ".." / "1.npz"])
    with pytest.raises(ValueError, match="choose another --out"):  # as of a bag that is a folder
        remove_earlier(tmp_path, r"\d+\.npz", [tmp_path])
    assert (tmp_path / "1.npz").exists()
    remove_earlier(tmp_path, r"\d+\.npz", [tmp_path / "x1.npz"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.npz.d", "1.npz.txt", "2.npz", "notes.md", "x1.npz"]
