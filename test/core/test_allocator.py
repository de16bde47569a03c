"""Memory that is freed is used again; seen by the kernel's own count of pages that it had to give."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

COUNT = """
import json, os, resource, subprocess, sys
import numpy as np
from spike_depth_core.allocator import keep_freed_memory

def faults():
    rounds, before = 20, resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        small, large = np.ones(800_000, np.uint8), np.ones(100_000_000, np.uint8)
        del small, large
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / rounds

if sys.argv[2:]:
    faults()
    print(faults())
else:
    before, kept = faults(), keep_freed_memory()
    faults()
    command = [sys.executable, "-c", sys.argv[1], sys.argv[1], "child"]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    print(json.dumps([before, kept, faults(), float(child.stdout), keep_freed_memory()]))
"""


def counted(monkeypatch, **environment):
    """Faults a round before and after, whether it was set, faults in a process started since, and whether again."""
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    ran = subprocess.run([sys.executable, "-c", COUNT, COUNT], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's count is Linux's")
def test_what_is_freed_is_used_again(monkeypatch):
    before, kept, after, child, again = counted(monkeypatch)
    if not kept:
        pytest.skip("the C library is not glibc")
    assert before > 20  # 100 MB by pages of up to 2 MB
    assert max(after, child) < before / 10
    assert again


@pytest.mark.parametrize(
    "environment",
    [
        {"MALLOC_TRIM_THRESHOLD_": "131072"},
        {"MALLOC_ARENA_MAX": "2"},
        {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"},
    ],
)
def test_settings_of_the_user_are_left_alone(monkeypatch, environment):
    before, kept, after, child, _ = counted(monkeypatch, **environment)
    assert not kept
    assert min(after, child) > before / 5
