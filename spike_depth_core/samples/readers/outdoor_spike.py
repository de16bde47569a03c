"""Outdoor-Spike: 33 drives seen by a real spike camera, 20,000 planes of 250x400 pixels each; no depth.

One `.dat` a drive in one folder, in the camera's own format (see `spikes/formats.py`). Source: Zhang et al., "Spike
Transformer: Monocular depth estimation for spiking camera" (ECCV 2022), whose readme describes it
(github.com/Leozhangjiyuan/MDE-SpikingCamera). Neither calibration nor the time between planes is published: planes are
taken to be 50 microseconds apart, the focal length as in `uncalibrated`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from spike_depth_core.geometry import SensorRig
from spike_depth_core.samples.readers.dataset import Dataset, Frame
from spike_depth_core.samples.readers.uncalibrated import assumed_camera, calibration_note
from spike_depth_core.samples.sample import DepthSample
from spike_depth_core.spikes import PackedSpikes, read_spikes


@dataclass(frozen=True)
class OutdoorSpike(Dataset):
    """Windows of `spikes`, one after another; they are mapped from the file, not read.

    Attributes:
        planes: in a window.
        step: planes from the end of one window to that of the next; `planes` when None.
        focal: of the camera, pixels.
    """

    split: str = "all"
    planes: int = 256
    step: int | None = None
    focal: float | None = None
    name: ClassVar[str] = "outdoor_spike"
    splits: ClassVar[tuple[str, ...]] = ("all",)

    def __post_init__(self) -> None:
        if self.planes < 1 or (self.step is not None and self.step < 1):
            raise ValueError(f"planes and step must be positive, found {self.planes} and {self.step}")
        super().__post_init__()

    def _recording(self, sequence: str) -> PackedSpikes:
        return read_spikes(self.root / f"{sequence}.dat")

    def list_frames(self) -> Iterator[Frame]:
        paths: list[Path] = sorted(self.root.glob("*.dat"))
        for path in paths:
            yield from (Frame(path.stem, number) for number in self.numbers(path.stem))

    def numbers(self, sequence: str) -> Sequence[int]:
        step = self.step or self.planes
        return range(max(0, (len(self._recording(sequence)) - self.planes) // step + 1))

    def read(self, frame: Frame) -> DepthSample:
        recording = self._recording(frame.sequence)
        first = frame.number * (self.step or self.planes)
        if not 0 <= first <= len(recording) - self.planes:
            path = self.root / f"{frame.sequence}.dat"
            raise ValueError(f"{path} has {len(recording)} planes, no window {frame.number} of {self.planes}")
        spikes = recording.slice(first, first + self.planes)
        return DepthSample(
            rig=SensorRig.single("spikes", assumed_camera(spikes.width, spikes.height, self.focal)),
            time_ns=spikes.end_ns,
            spikes=spikes,
            meta={"dataset": "Outdoor-Spike", "sequence": frame.sequence, "frame": frame.number}
            | calibration_note(self.focal),
        )
