"""Paths that a command is given, looked at before it begins to work."""

from __future__ import annotations

import os
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
