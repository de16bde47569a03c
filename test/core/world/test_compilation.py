"""The kernel cache."""

from __future__ import annotations

import os

from spike_depth_core.world.compilation import drop_stale_kernels


def test_kernels_older_than_any_source_are_dropped(tmp_path):
    (tmp_path / "__pycache__").mkdir()
    ages = {"caller.py": 100, "callee.py": 200, "__pycache__/caller.a.nbi": 150, "__pycache__/callee.b.nbi": 250}
    for name, age in ages.items():
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (age, age))
    drop_stale_kernels(tmp_path)
    assert not (tmp_path / "__pycache__/caller.a.nbi").exists(), "its callee is newer"
    assert (tmp_path / "__pycache__/callee.b.nbi").exists()
