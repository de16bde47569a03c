"""Files that are there whole or not at all, whenever a process is killed or the power is cut."""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

PARTIAL_SUFFIX = ".partial"
"""Of files that are being written, or that a killed process has left."""


def write_whole(path: Path, content: memoryview | bytes) -> None:
    """Write a file, and its folder where there is none: a crash at any instant leaves the old file or the new one, a
    power cut afterwards the new one.

    Raises:
        OSError: the old file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_name(path)
    try:
        with open(partial, "wb") as file:
            file.write(content)
            put_in_place(file, partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, values: Any) -> None:
    """Write JSON as `write_whole` does, see `plain`."""
    write_whole(path, json.dumps(plain(values), indent=2, allow_nan=False).encode() + b"\n")


def plain(value: Any) -> Any:
    """The value in types that JSON has: NaN and infinities, which it does not have, become null."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


def partial_name(path: Path) -> Path:
    """Where to write what shall be `path`: beside it, hidden, and nobody else's."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")


def partial_files(folder: str | Path) -> Iterator[Path]:
    """What killed processes have left in a folder and below it."""
    return Path(folder).rglob(f".*{PARTIAL_SUFFIX}")


def put_in_place(file: BinaryIO, partial: Path, path: Path) -> None:
    """Give an open file, which has been written as `partial`, its name, content and name on the disk."""
    file.flush()
    os.fsync(file.fileno())
    os.replace(partial, path)
    with contextlib.suppress(OSError):  # not every file system flushes folders, and the file is in its place
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
