"""Respike: real spike-camera recordings of rooms and streets with depth from a depth camera.

```
{indoor,outdoor}/spike/{train,val}/SCENE/left/NAME.npy             planes [128 or more, 250, 400]
{indoor,outdoor}/reconstruction/{train,val}/SCENE/left/NAME.png    a grey picture made of them
{indoor,outdoor}/depth_trans/{train,val}/SCENE/NAME.pfm            metres [250, 400]
```

The planes were unpacked the wrong way round: the camera delivers its image upside down, with the leftmost of eight
pixels in the least significant bit, and the `.npy` took the most significant first and left the rows as they came. Read
here is what the camera saw. The picture plays the part of RGB in BiCross and is read as `rgb`.

Source: `datasets/respike.py` of github.com/Theia-4869/BiCross, the code of Liu et al., "Unsupervised spike depth
estimation via cross-modality cross-domain knowledge transfer" (arXiv 2208.12527); its test is the folder `val`. No
calibration is published: see `uncalibrated`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from spike_depth_core.geometry import SensorRig
from spike_depth_core.samples.images import read_rgb
from spike_depth_core.samples.readers.dataset import Dataset, Frame
from spike_depth_core.samples.readers.depth_maps import positive, read_pfm
from spike_depth_core.samples.readers.uncalibrated import assumed_camera, calibration_note
from spike_depth_core.samples.sample import DepthSample
from spike_depth_core.spikes import PackedSpikes, read_spikes


def read_misordered(path: Path, planes: int) -> PackedSpikes:
    """The first planes of a Respike `.npy`, the right way round."""
    stored = read_spikes(path)
    if len(stored) < planes:
        raise ValueError(f"{path}: at least {planes} planes were expected, found {len(stored)}")
    if stored.width % 8:
        raise ValueError(f"{path}: eight pixels were a byte, so the width must be a multiple of 8: {stored.width}")
    # Reading wrote pixel i of a byte to bit i, but it had been bit 7 - i of the camera's byte: reverse each byte.
    reversed_bytes = np.packbits(np.unpackbits(stored.data[:planes, ::-1], bitorder="big"), bitorder="little")
    return PackedSpikes(reversed_bytes.reshape(planes, stored.height, -1), stored.width, stored.period_ns)


@dataclass(frozen=True)
class Respike(Dataset):
    """`spikes`, `rgb` (the grey picture) where there is one, and depth.

    Attributes:
        planes: how many are read of a file, from its first; BiCross takes 128.
        focal: of the camera, pixels.
    """

    planes: int = 128
    focal: float | None = None
    name: ClassVar[str] = "respike"
    splits: ClassVar[tuple[str, ...]] = ("indoor_train", "indoor_val", "outdoor_train", "outdoor_val")
    _names: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def _files(self, sequence: str) -> tuple[str, ...]:
        """Names of a sequence's recordings; a frame's number is its place among them."""
        if sequence not in self._names:
            place, part, scene = sequence.split("/")
            folder = self.root / place / "spike" / part / scene / "left"
            depth = self.root / place / "depth_trans" / part / scene
            pictures = self.root / place / "reconstruction" / part / scene / "left"
            # As BiCross has it: a recording without depth, or without a picture where there are some, is left out.
            self._names[sequence] = tuple(
                sorted(
                    path.stem
                    for path in folder.glob("*.npy")
                    if (depth / f"{path.stem}.pfm").is_file()
                    and (not pictures.is_dir() or (pictures / f"{path.stem}.png").is_file())
                )
            )
        return self._names[sequence]

    def list_frames(self) -> Iterator[Frame]:
        place, part = self.split.split("_")
        for folder in sorted((self.root / place / "spike" / part).glob("*/left")):
            sequence = f"{place}/{part}/{folder.parent.name}"
            yield from (Frame(sequence, number) for number in self.numbers(sequence))

    def numbers(self, sequence: str) -> Sequence[int]:
        return range(len(self._files(sequence)))

    def read(self, frame: Frame) -> DepthSample:
        place, part, scene = frame.sequence.split("/")
        name = self._files(frame.sequence)[frame.number]
        spikes = read_misordered(self.root / place / "spike" / part / scene / "left" / f"{name}.npy", self.planes)
        picture_path = self.root / place / "reconstruction" / part / scene / "left" / f"{name}.png"
        rgb = read_rgb(picture_path) if picture_path.parent.is_dir() else None
        depth_path = self.root / place / "depth_trans" / part / scene / f"{name}.pfm"
        depth = positive(read_pfm(depth_path))
        for path, shape in ((picture_path, None if rgb is None else rgb.shape[:2]), (depth_path, depth.shape)):
            if shape is not None and shape != (spikes.height, spikes.width):
                raise ValueError(f"{path} is {shape[1]}x{shape[0]} pixels, its spikes {spikes.width}x{spikes.height}")
        camera = assumed_camera(spikes.width, spikes.height, self.focal)
        images = ("spikes",) if rgb is None else ("spikes", "rgb")
        return DepthSample(
            rig=SensorRig(dict.fromkeys(images, camera), {}, "spikes"),
            time_ns=spikes.end_ns,
            spikes=spikes,
            rgb=rgb,
            depth=dict.fromkeys(images, depth),
            meta={"dataset": "Respike", "sequence": frame.sequence, "frame": frame.number, "file": name}
            | calibration_note(self.focal),
        )
