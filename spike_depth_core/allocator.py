"""What the C library does with memory that is freed.

As glibc comes, a large array is mapped when it is made and unmapped when it goes, so that the kernel has to clear every
page of the next one, of the same size, anew. A stream of packets and a network in training do nothing but make and free
arrays of the same sizes: what that costs is in docs/results/reception.md.
"""

from __future__ import annotations

import ctypes
import os

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # names of parameters in <malloc.h>
_LARGEST_MAPPED, _KEPT = 2**30, 2**31 - 1  # bytes: what a batch of training makes and frees is less
_VARIABLES = {"MALLOC_MMAP_THRESHOLD_": _LARGEST_MAPPED, "MALLOC_TRIM_THRESHOLD_": _KEPT}


def keep_freed_memory() -> bool:
    """Keep memory that is freed for what is made next, in this process and those that it starts from now on.

    The process then holds as much memory as it ever needed at a time. Settings of the user's own (`MALLOC_...` or
    `GLIBC_TUNABLES` in the environment) are left as they are, and a C library other than glibc does as it does.

    Returns:
        Whether it does so from now on.
    """
    ours = {name: str(value) for name, value in _VARIABLES.items()}
    theirs = {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}
    if theirs not in ({}, ours) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    os.environ.update(ours)  # read by glibc where a process begins
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_MAPPED)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
