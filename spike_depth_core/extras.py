"""What to install where a package is missing that only some commands need."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """How to get an extra of `pyproject.toml`, for the end of a message: the package is on no index."""
    return f"install the extra `{extra}` of spike-depth: pip install '.[{extra}]' in its checkout"
