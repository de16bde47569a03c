"""Paths that a command is given, looked at before it begins to work."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path


def check_file(path: Path) -> None:
    """Raise ValueError, naming the path, where there is no such file."""
    if not path.exists():
        raise ValueError(f"there is no file {path}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, where a file was expected")


def check_out(folder: Path) -> None:
    """Raise ValueError where the folder for the results cannot be made or written to. It is not made yet: what fails
    before there is a result leaves nothing behind."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise ValueError(f"--out {folder}: a folder was expected, but {there} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"--out {folder}: {there} cannot be written to")


def remove_earlier(folder: Path, names: str, inputs: Iterable[Path] = ()) -> None:
    """Remove the files that an earlier run of the same command has left in a folder, and nothing else.

    Args:
        folder: of results, which may not be there yet.
        names: a regular expression of the names that the command gives its files.
        inputs: what this run reads: files, or folders whose files it reads.

    Raises:
        ValueError: one of them is an input; then none is removed.
    """
    if not folder.is_dir():
        return
    earlier = [path for path in folder.iterdir() if re.fullmatch(names, path.name) and path.is_file()]
    kept = {path.resolve() for path in inputs}
    for path in earlier:
        if kept & {path.resolve(), path.parent.resolve()}:
            raise ValueError(f"{path} is read, and would be replaced: choose another --out")
    for path in earlier:
        path.unlink()
