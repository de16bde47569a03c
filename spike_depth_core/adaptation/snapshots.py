"""Weights on disk: each snapshot whole or not there at all, with its ancestry; the last few are kept.

Which of them is in service stands in a file of its own, so that what was taken back stays so after a restart.
"""

from __future__ import annotations

import json
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
from spike_depth_core.whole_files import PARTIAL_SUFFIX, write_json

SERVICE = "in_service.json"
_NAME = re.compile(r"snapshot_(\d{6})\.safetensors")


class Snapshots:
    """A folder of numbered checkpoints.

    Weights and description are two files, each written to a temporary name, flushed, and renamed. A crash between the
    two leaves weights without a description: not listed, and removed by the next save.

    Args:
        folder: made when the first snapshot is written.
        keep: how many of the newest stay; the one in service stays besides.
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
        for stale in self.folder.glob(f".*{PARTIAL_SUFFIX}"):  # of a process that was killed
            stale.unlink(missing_ok=True)
        numbers = [int(match[1]) for p in self.folder.glob("snapshot_*") if (match := _NAME.fullmatch(p.name))]
        path = self.folder / f"snapshot_{max(numbers, default=0) + 1:06d}.safetensors"
        child = replace(info, parent=info.sha256 or info.parent, training={**info.training, "adaptation": about})
        try:
            saved = save_checkpoint(path, network, child)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        complete = self.paths()
        serving = self.find(sha256) if (sha256 := self.serving()) else None
        for old in complete[: -self.keep]:
            if old == serving:
                continue
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

    def find(self, sha256: str) -> Path | None:
        """The snapshot with this hash, the newest where there are several."""
        return next((path for path in reversed(self.paths()) if _hash_of(path) == sha256), None)

    def serving(self) -> str:
        """The hash of what is in service; empty for the weights that the adaptation began with, or when not known."""
        try:
            found = json.loads((self.folder / SERVICE).read_text())["sha256"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return ""
        return found if isinstance(found, str) else ""

    def serve(self, sha256: str) -> None:
        """Note what is in service; empty for the weights that the adaptation began with.

        Raises:
            OSError: what was noted before stays.
        """
        write_json(self.folder / SERVICE, {"sha256": sha256})

    def clear(self) -> None:
        """Remove all of them, and what is noted."""
        (self.folder / SERVICE).unlink(missing_ok=True)
        for path in self.paths():
            path.with_suffix(".json").unlink()
            path.unlink()

    def hashes(self) -> list[str]:
        """Of the snapshots whose description can be read, oldest first."""
        return [found for path in self.paths() if (found := _hash_of(path))]


def _hash_of(path: Path) -> str:
    """The hash that a snapshot's description names; empty where it cannot be read."""
    try:
        return read_info(path).sha256
    except CheckpointError:
        return ""
