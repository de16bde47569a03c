"""Online distillation that keeps what it learns: an engine, its snapshots, and which of them is in service.

Weights that the guard accepts are written to disk before anyone is told of them. What is in service is noted beside the
snapshots, so it can be taken up again after a restart, and taken back by hand as far as snapshots are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from spike_depth_core.adaptation.engine import AdaptationEngine, AdaptationOptions
from spike_depth_core.adaptation.gate import ACCEPTED
from spike_depth_core.adaptation.snapshots import Snapshots
from spike_depth_core.networks.checkpoint import CheckpointError, CheckpointInfo, load_checkpoint, read_info
from spike_depth_core.networks.depth_network import DepthNetwork
from spike_depth_core.samples import DepthSample


class AdaptationSession:
    """One vehicle's adaptation of one checkpoint.

    What undoes it, `roll_back` and `reset`, needs no engine: it works before `begin`, and while nothing is learned.

    Args:
        checkpoint: what the adaptation begins with, and what `reset` returns to.
        snapshots: where what is learned is kept.
        options: of the engine.
        device: where it learns.
        resume: whether to go on from the snapshot that was in service, where one descends from this checkpoint.

    Attributes:
        first: the description of the checkpoint.
        service: the description of what is in service.
        path: its file.
        engine: None until `begin`.
        failure: why what was accepted could not be kept, or what is in service not be noted; empty when they were.

    Raises:
        CheckpointError: the checkpoint cannot be used.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        snapshots: Snapshots,
        options: AdaptationOptions | None = None,
        device: str = "cpu",
        resume: bool = True,
    ):
        self.checkpoint, self.snapshots, self.device = Path(checkpoint).with_suffix(".safetensors"), snapshots, device
        self.options = options or AdaptationOptions()
        network, self.first = load_checkpoint(checkpoint)
        self._first_network = network.to(device)
        self.service, self.path = self.first, self.checkpoint
        self._network = self._first_network
        self.engine: AdaptationEngine | None = None
        self.failure = ""
        self._kept: DepthNetwork | None = None  # the engine's network that `service` is the file of
        self._tried_at = 0
        self._span: tuple[int, int] | None = None
        if resume:
            self._resume()

    def _resume(self) -> None:
        path = self.snapshots.find(sha256) if (sha256 := self.snapshots.serving()) else None
        if path is None:
            return
        try:
            network, info = load_checkpoint(path)
        except CheckpointError:
            return  # damaged: the first weights serve
        if info.architecture == self.first.architecture and _about(info).get("first") == self.first.sha256:
            self._network, self.service, self.path = network.to(self.device), info, path

    def begin(self, original: Sequence[DepthSample]) -> None:
        """Make the engine, which from now on learns from what is observed.

        Args:
            original: examples of the original training with true depth, at least one.
        """
        engine = AdaptationEngine(self._first_network, original, self.first.depth_range, self.options)
        if self._network is not self._first_network:
            engine.serve(self._network, float(_about(self.service).get("gain", 0.0)))
        self.engine, self._kept = engine, engine.service

    # Learning

    def remember(self, sample: DepthSample) -> None:
        """Take a moment that later ones may be compared with, and that is not learned from."""
        self._running().remember(sample)

    def has_neighbours(self, sample: DepthSample) -> bool:
        """Whether it has been given moments that this one can be compared with."""
        return self._running().has_neighbours(sample)

    def observe(self, sample: DepthSample) -> str:
        """Take a moment of the stream; returns `accepted` or why it is not learned from."""
        verdict = self._running().observe(sample)
        if verdict == ACCEPTED:
            begin = self._span[0] if self._span else sample.time_ns
            self._span = (min(begin, sample.time_ns), sample.time_ns)
        return verdict

    def step(self) -> bool:
        """Learn once; returns whether there was anything to learn. Weights that were accepted are kept at once."""
        engine = self._running()
        learned = engine.step()
        # After a full disk it is tried again when there has been another review, not at every step.
        if not (self.failure and engine.counts.reviews == self._tried_at):
            self._settle()
        return learned

    def snapshot(self) -> str:
        """Let the guard judge now what has been learned, and keep it if it is accepted.

        Returns:
            The hash of the new snapshot; where nothing has been learned since the last one, of that.

        Raises:
            ValueError: why there is none.
        """
        engine = self._running()
        if engine.waiting:
            raise ValueError("it waits, because the last weights were refused")
        verdict = engine.review()
        if verdict is not None and not verdict.accepted:
            raise ValueError(f"refused: {'; '.join(verdict.reasons)}")
        self._settle()
        if self.failure:
            raise ValueError(self.failure)
        if self.service.sha256 == self.first.sha256:
            raise ValueError("nothing has been learned yet")
        return self.service.sha256

    def _settle(self) -> None:
        """Bring the disk up to what is in service. Where that fails, `failure` says why, and it is tried again."""
        engine = self._running()
        self._tried_at = engine.counts.reviews
        if self.failure:
            self._note()
        if not self.failure and engine.service is not self._kept:
            self._keep()

    def _keep(self) -> None:
        """Write what the engine has put into service; where that fails, what was in service before stays."""
        engine = self._running()
        status = engine.status()
        about = {
            "first": self.first.sha256,
            "begin_ns": self._span[0] if self._span else 0,
            "end_ns": self._span[1] if self._span else 0,
            "gain": engine.gain,
            **{key: value for key, value in status.items() if key.endswith(("_ratio", "_drift"))},
            "counts": {key: status[key] for key in ("steps", "skipped_steps", "reviews", "swaps", "rollbacks")},
            "moments": status["moments"],
            "settings": asdict(self.options),
        }
        try:
            saved = self.snapshots.save(engine.service, self.service, about)
            path = self.snapshots.find(saved.sha256)
            if path is None:
                raise FileNotFoundError(f"the snapshot {saved.sha256} is not in {self.snapshots.folder}")
            self.snapshots.serve(saved.sha256)
        except OSError as error:
            self.failure = f"what is learned cannot be kept: {self.snapshots.folder}: {error.strerror or error}"
            return
        self.service, self.path, self._network = saved, path, engine.service
        self._kept, self.failure, self._span = engine.service, "", None

    # Undoing

    def roll_back(self) -> str:
        """Return to the weights that those in service were learned from.

        Returns:
            Their hash.

        Raises:
            ValueError: there are none, or they are not kept any more.
        """
        if self.service.sha256 == self.first.sha256:
            raise ValueError("the weights that the adaptation began with are in service: there is nothing before them")
        parent = self.service.parent or ""
        if parent == self.first.sha256:
            return self.reset(forget=False)
        path = self.snapshots.find(parent)
        if path is None:
            raise ValueError(f"the snapshot before this one, {parent[:16]}, is not kept any more; there is the reset")
        network, info = load_checkpoint(path)
        self._return_to(network.to(self.device), info, path)
        return info.sha256

    def reset(self, forget: bool = True) -> str:
        """Return to the weights that the adaptation began with.

        Args:
            forget: whether this is a new beginning rather than a roll-back, which is counted.

        Returns:
            Their hash.
        """
        self._return_to(self._first_network, self.first, self.checkpoint, counted=not forget)
        return self.first.sha256

    def _return_to(self, network: DepthNetwork, info: CheckpointInfo, path: Path, counted: bool = True) -> None:
        self._network, self.service, self.path = network, info, path
        self._span = None
        self._note()  # a full disk is no reason to go on with what is to be undone
        if self.engine is not None:
            self.engine.serve(network, float(_about(info).get("gain", 0.0)))
            if counted:
                self.engine.rollback()
            self._kept, self._tried_at = self.engine.service, self.engine.counts.reviews

    def _note(self) -> None:
        try:
            self.snapshots.serve("" if self.service.sha256 == self.first.sha256 else self.service.sha256)
        except OSError as error:
            why = f"{self.snapshots.folder}: {error.strerror or error}"
            self.failure = f"what is in service cannot be noted: {why}"
        else:
            self.failure = ""

    # What is so

    def lineage(self) -> list[str]:
        """Hashes that what is in service descends from, newest first, as far as snapshots are kept."""
        found = [self.service.sha256]
        parent = self.service.parent
        while found[-1] != self.first.sha256 and parent:
            found.append(parent)
            path = self.snapshots.find(parent)
            parent = read_info(path).parent if path is not None else None
        return found

    def status(self) -> dict[str, Any]:
        """Plain values for a message or a report; those of the engine once there is one."""
        values = {} if self.engine is None else self.engine.status()
        return values | {
            "first_sha256": self.first.sha256,
            "service_sha256": self.service.sha256,
            "service": str(self.path),
            "failure": self.failure,
        }

    def _running(self) -> AdaptationEngine:
        if self.engine is None:
            raise ValueError("the adaptation has not begun")
        return self.engine


def _about(info: CheckpointInfo) -> dict[str, Any]:
    found = info.training.get("adaptation", {})
    return found if isinstance(found, dict) else {}
