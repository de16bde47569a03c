"""Spike-KITTI: KITTI raw with the spikes that a simulated camera in place of each colour camera fired.

It is KITTI raw's layout with two more cameras: `image_04` has the spikes of `image_02`, `image_05` those of
`image_03`.

```
DATE/DRIVE/image_04/data/spike/r128/0000000001.npy    128 planes [128, 192, 640] of zeros and ones, rows top down
DATE/DRIVE/image_04/0000000001.dat                    or, in an older form, the same as bits without a header
```

The planes numbered n fill the time from frame n - 1 to frame n, so frame 0 has none. They share the picture's field of
view, resized to 192x640, and its moment. In the older `.dat` the most significant bit is leftmost: the other way round
than a real camera's.

Source: the loaders of github.com/NorthSummer/R2SDepth (`packnet_sfm/datasets/spike_kitti_dataset.py`), the code of
"Weakly supervised monocular depth estimation for spike camera with adaptive self distillation"; no list of its 156
sequences is published. `spike-depth convert spike-kitti` makes such a set out of KITTI raw.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from spike_depth_core.samples.readers import kitti
from spike_depth_core.samples.readers.dataset import Frame
from spike_depth_core.samples.readers.kitti_raw import KittiRaw
from spike_depth_core.samples.sample import DepthSample
from spike_depth_core.spikes import PackedSpikes, read_spikes

PLANES = 128
HEIGHT, WIDTH = 192, 640
SPIKE_CAMERAS = {"image_02": "image_04", "image_03": "image_05"}
"""The simulated spike camera in place of each colour camera."""


def spikes_path(root: str | Path, sequence: str, camera: str, number: int, planes: int = PLANES) -> Path:
    """Where the planes of a frame lie; `camera` is `image_04` or `image_05`."""
    return Path(root) / sequence / camera / "data" / "spike" / f"r{planes}" / f"{number:010d}.npy"


def read_reversed_dat(path: Path, height: int = HEIGHT, width: int = WIDTH) -> PackedSpikes:
    """A `.dat` whose bytes hold the leftmost of eight pixels in the most significant bit, rows top down."""
    plane = height * width // 8
    data = np.fromfile(path, np.uint8)
    if not data.size or data.size % plane:
        raise ValueError(f"{path}: expected planes of {plane} bytes ({width}x{height} pixels), found {data.size} bytes")
    bits = np.unpackbits(data, bitorder="big")
    return PackedSpikes(np.packbits(bits, bitorder="little").reshape(-1, height, width // 8), width)


@dataclass(frozen=True)
class SpikeKitti(KittiRaw):
    """Frames of KITTI raw, as `KittiRaw` reads them, with `spikes` and `spikes_right`, and depth for the spikes too.

    Attributes:
        planes: how many a frame has: which of the folders `r128`, `r32` is read. By default that of the only such
            folder there is, else 128.
    """

    planes: int = 0
    name: ClassVar[str] = "spike_kitti"

    def __post_init__(self) -> None:
        if not self.planes:
            folders = {path.name for path in Path(self.root).glob("*/*/image_04/data/spike/r*")}
            only = folders.pop() if len(folders) == 1 else ""
            object.__setattr__(self, "planes", int(only[1:]) if only[1:].isdecimal() else PLANES)
        super().__post_init__()

    def list_frames(self) -> Iterator[Frame]:
        for frame in super().list_frames():
            if frame.number > 0:
                if not self._has_spikes(frame):
                    path = self._paths(frame, "image_04")[0]
                    raise ValueError(f"split {self.split} has a frame without spikes: there is no {path}")
                yield frame

    def usable(self, drive: str, number: int) -> bool:
        return super().usable(drive, number) and self._has_spikes(Frame(drive, number))

    def _has_spikes(self, frame: Frame) -> bool:
        return any(path.is_file() for path in self._paths(frame, "image_04"))

    def _paths(self, frame: Frame, camera: str) -> tuple[Path, Path]:
        """Where the planes of a frame may lie: in today's form, and in the older one."""
        return (
            spikes_path(self.root, frame.sequence, camera, frame.number, self.planes),
            self.root / frame.sequence / camera / f"{frame.number:010d}.dat",
        )

    def spikes(self, frame: Frame, camera: str) -> PackedSpikes:
        """The planes from the frame before to a frame, of `image_04` or `image_05`."""
        path, older = self._paths(frame, camera)
        if path.is_file() or not older.is_file():
            spikes = read_spikes(path)
        else:
            path, spikes = older, read_reversed_dat(older)
        if len(spikes) != self.planes:
            raise ValueError(f"{path}: {self.planes} planes were expected, found {len(spikes)}")
        begin = self.time_ns(frame._replace(number=frame.number - 1))
        end = self.time_ns(frame)
        if end <= begin:
            raise ValueError(f"{frame.sequence}: frame {frame.number} is not later than the one before it")
        period = max(1, round((end - begin) / len(spikes)))
        return dataclasses.replace(spikes, period_ns=period, start_ns=end - len(spikes) * period)

    def read(self, frame: Frame) -> DepthSample:
        if frame.number == 0:
            raise ValueError(f"{frame.sequence}: there are no spikes before its first frame")
        sample = super().read(frame)
        rig = sample.rig
        cameras, poses = dict(rig.cameras), dict(rig.poses)
        found: dict[str, Any] = {}
        for name, colour, camera in (("spikes", "rgb", "image_04"), ("spikes_right", "rgb_right", "image_05")):
            if colour in cameras and (self.root / frame.sequence / camera).is_dir():
                found[name] = self.spikes(frame, camera)
                cameras[name] = cameras[colour].resized(found[name].width, found[name].height)
                poses[name] = rig.reference_from(colour)
        depth = dict(sample.depth)
        if depth:
            target, source = cameras["spikes"], cameras["rgb"]
            points = self.depth_points(frame)
            points[:, 0] = (points[:, 0] + 0.5) * (target.width / source.width) - 0.5
            points[:, 1] = (points[:, 1] + 0.5) * (target.height / source.height) - 0.5
            depth["spikes"] = kitti.rasterise(points, target.width, target.height)
        return dataclasses.replace(
            sample,
            rig=dataclasses.replace(rig, cameras=cameras, poses=poses),
            depth=depth,
            meta=sample.meta | {"dataset": "Spike-KITTI"},
            **found,
        )
