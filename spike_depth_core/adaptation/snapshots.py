"""Weights on disk: each snapshot whole or not there at all, with its ancestry; the last few are kept."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from spike_depth_core.networks.checkpoint import (
    CheckpointError,
    CheckpointInfo,
    load_checkpoint,
    read_info,
    save_checkpoint,
)
from spike_depth_core.networks.depth_network import DepthNetwork

_NAME = re.compile(r"snapshot_(\d{6})\.safetensors")


class Snapshots:
    """A folder of numbered checkpoints.

    Weights and description are two files, each written to a temporary name, flushed, and renamed. A crash between the
    two leaves weights without a description: not listed, and removed by the next save.

    Args:
        folder: made when the first snapshot is written.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: str | Path, keep: int = 5):
        if keep < 1:
            raise ValueError(f"at least one snapshot is kept, asked for {keep}")
        self.folder, self.keep = Path(folder), keep

    def paths(self) -> list[Path]:
        """Complete snapshots, oldest first."""
        return sorted(path for path in self.folder.glob("snapshot_*.safetensors") if path.with_suffix(".json").exists())

    def save(self, network: DepthNetwork, info: CheckpointInfo, about: dict[str, Any]) -> CheckpointInfo:
        """Write a snapshot; returns its description, whose parent is the hash of `info`.

        Args:
            network: the weights.
            info: what they were learned from.
            about: time range, counts and settings: goes to `training["adaptation"]`.

        Raises:
            OSError: a full disk, say; the snapshots that were there stay as they are.
        """
        numbers = [int(match[1]) for p in self.folder.glob("snapshot_*") if (match := _NAME.fullmatch(p.name))]
        path = self.folder / f"snapshot_{max(numbers, default=0) + 1:06d}.safetensors"
        child = replace(info, parent=info.sha256 or info.parent, training={**info.training, "adaptation": about})
        try:
            saved = save_checkpoint(path, network, child)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        complete = self.paths()
        for old in complete[: -self.keep]:
            old.with_suffix(".json").unlink(missing_ok=True)  # first what makes it a snapshot
            old.unlink(missing_ok=True)
        for orphan in set(self.folder.glob("snapshot_*.safetensors")) - set(complete):
            orphan.unlink(missing_ok=True)
        return saved

    def latest(self) -> tuple[DepthNetwork, CheckpointInfo] | None:
        """The newest snapshot that can be read; None when there is none. Damaged ones are passed over."""
        for path in reversed(self.paths()):
            try:
                return load_checkpoint(path)
            except CheckpointError:
                continue
        return None

    def hashes(self) -> list[str]:
        """Of the snapshots there are, oldest first."""
        return [read_info(path).sha256 for path in self.paths()]
