"""Results as files: `metrics.json`, and tables in Markdown."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spike_depth_core.whole_files import write_whole


def _plain(value: Any) -> Any:
    """The value in types that JSON has."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write JSON that every reader accepts, whole or not at all: NaN and infinities, which JSON does not have, become
    null."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(_plain(data), indent=2, allow_nan=False) + "\n").encode())


def machine() -> str:
    """What this was measured on: cores, and the processor's name where the system tells it."""
    name = platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = ", ".join([name, *names[:1]])
    return f"{os.cpu_count()} cores, {name}"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table: the first column to the left, the figures to the right. Ends with a newline."""
    lines = [columns, [":---", *["---:"] * (len(columns) - 1)], *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
