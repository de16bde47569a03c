"""Results for people: tables in Markdown, and what they were measured on."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path


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
