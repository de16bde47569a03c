"""DENSE-Spike: simulated spikes of a drive through CARLA, with dense depth.

```
{train,validation,test}/train_sequence_00_town01/
    spike/r128/spike_0000000001.npy    planes [128, 260, 346]: from frame 0 to frame 1
    spike/r128/timestamps.txt          `index seconds` a line, of the frames
    depth/data/depth_0000000001.npy    metres along the optical axis [260, 346], up to CARLA's far plane at 1000
    rgb/frames/frame_0000000001.png
```

Sources: Zhang et al., "Spike Transformer: Monocular depth estimation for spiking camera" (ECCV 2022) and its loaders,
github.com/Leozhangjiyuan/MDE-SpikingCamera. The street and its depth are those of DENSE: Hidalgo-Carrio et al.,
"Learning monocular dense depth from events" (3DV 2020). The camera (83 degrees wide, 1.7 m over the road, all sensors
in one place) and the far plane are those of the script that made it, `carla/carla_e2depth_synchronous_client.py` of
github.com/uzh-rpg/rpg_e2depth.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.samples.images import read_rgb
from spike_depth_core.samples.readers.dataset import Dataset, Frame, files_by_number
from spike_depth_core.samples.readers.depth_maps import read_depth_npy
from spike_depth_core.samples.sample import DepthSample
from spike_depth_core.spikes import read_spikes

FIELD_OF_VIEW = math.radians(83.0)
CAMERA_HEIGHT = 1.7
FAR_PLANE = 1000.0


def read_stamps(path: Path) -> np.ndarray:
    """Seconds of each frame of a `timestamps.txt`, float64 [N], strictly later each."""
    try:
        rows = np.loadtxt(path, dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path}: expected `index seconds` a line: {error}") from error
    if rows.shape[1] != 2 or not len(rows):
        raise ValueError(f"{path}: expected `index seconds` a line, found {rows.shape[1]} numbers")
    if not (np.diff(rows[:, 1]) > 0).all():
        raise ValueError(f"{path}: each frame must be later than the one before it")
    return rows[:, 1]


@dataclass(frozen=True)
class DenseSpike(Dataset):
    """`spikes` that end at a frame, its depth, and `rgb` where there is a folder of it; all behind one lens.

    Attributes:
        planes: how many a frame has: the folder `spike/r128`.
    """

    planes: int = 128
    name: ClassVar[str] = "dense_spike"
    splits: ClassVar[tuple[str, ...]] = ("train", "validation", "test")
    _stamps: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def _spikes_folder(self, sequence: str) -> Path:
        return self.root / sequence / "spike" / f"r{self.planes}"

    def list_frames(self) -> Iterator[Frame]:
        for folder in sorted((self.root / self.split).glob(f"*/spike/r{self.planes}")):
            sequence = str(folder.parent.parent.relative_to(self.root))
            yield from (Frame(sequence, number) for number in self.numbers(sequence))

    def numbers(self, sequence: str) -> Sequence[int]:
        found = files_by_number(self._spikes_folder(sequence), "spike_*.npy", "spike_")
        return tuple(number for number in found if number > 0)  # nothing comes before the first frame

    def stamps(self, sequence: str) -> np.ndarray:
        """Seconds of each frame of a sequence."""
        if sequence not in self._stamps:
            self._stamps[sequence] = read_stamps(self._spikes_folder(sequence) / "timestamps.txt")
        return self._stamps[sequence]

    def read(self, frame: Frame) -> DepthSample:
        folder, number = self.root / frame.sequence, frame.number
        stamps = self.stamps(frame.sequence)
        if not 0 < number < len(stamps):
            path = self._spikes_folder(frame.sequence) / "timestamps.txt"
            raise ValueError(f"{path} has {len(stamps)} frames, none before and at number {number}")
        spikes = read_spikes(self._spikes_folder(frame.sequence) / f"spike_{number:010d}.npy")
        if len(spikes) != self.planes:
            path = self._spikes_folder(frame.sequence) / f"spike_{number:010d}.npy"
            raise ValueError(f"{path}: {self.planes} planes were expected, found {len(spikes)}")
        end = round(stamps[number] * 1e9)
        period = max(1, round((stamps[number] - stamps[number - 1]) * 1e9 / len(spikes)))
        spikes = dataclasses.replace(spikes, period_ns=period, start_ns=end - len(spikes) * period)
        depth_path = folder / "depth" / "data" / f"depth_{number:010d}.npy"
        depth = read_depth_npy(depth_path, sky=FAR_PLANE)
        if depth.shape != (spikes.height, spikes.width):
            raise ValueError(
                f"{depth_path} is {depth.shape[1]}x{depth.shape[0]} pixels, its spikes {spikes.width}x{spikes.height}"
            )
        pictures = folder / "rgb" / "frames"
        rgb = read_rgb(pictures / f"frame_{number:010d}.png") if pictures.is_dir() else None
        focal = spikes.width / 2 / math.tan(FIELD_OF_VIEW / 2)
        camera = PinholeCamera.from_focal(spikes.width, spikes.height, focal)
        images = ("spikes",) if rgb is None else ("spikes", "rgb")
        return DepthSample(
            rig=SensorRig(dict.fromkeys(images, camera), {}, "spikes", CAMERA_HEIGHT),
            time_ns=end,
            spikes=spikes,
            rgb=rgb,
            depth=dict.fromkeys(images, depth),
            meta={"dataset": "DENSE-Spike", "sequence": frame.sequence, "frame": number},
        )
