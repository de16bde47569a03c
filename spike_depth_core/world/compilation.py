"""How the world's kernels are compiled, and a cache that does not outlive their sources."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

# Contraction to fused multiply-add is the only liberty taken: reassociation or no-infinity assumptions would make the
# accelerated and the exhaustive caster differ in the last bit.
JIT: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}


def drop_stale_kernels(folder: Path = Path(__file__).parent) -> None:
    """Remove compiled kernels older than any source of this folder.

    Numba looks only at the file of the compiled function itself: a change in a function it calls, in another file,
    would go unnoticed.
    """
    newest = max(source.stat().st_mtime for source in folder.glob("*.py"))
    for index in (folder / "__pycache__").glob("*.nbi"):
        # Another process may do the same at the same time; an installed package may be read-only (and unchanged).
        with contextlib.suppress(OSError):
            if index.stat().st_mtime < newest:
                index.unlink()


drop_stale_kernels()
