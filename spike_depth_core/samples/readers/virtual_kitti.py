"""Virtual KITTI 2: five drives of KITTI rebuilt in a game engine, in ten lights, weathers and viewing directions.

```
Scene01/clone/frames/rgb/Camera_0/rgb_00000.jpg        left; Camera_1 is the right-hand one
Scene01/clone/frames/depth/Camera_0/depth_00000.png    centimetres; 65535 is the sky
Scene01/clone/intrinsic.txt                            `frame cameraID K[0,0] K[1,1] K[0,2] K[1,2]`
Scene01/clone/extrinsic.txt                            `frame cameraID` and the 4x4 transform world to camera, by rows
```

The scenes lie in the root, or in `vkitti_2.0.3_rgb/`, `vkitti_2.0.3_depth/` and `vkitti_2.0.3_textgt/` there, as the
archives are named. Pixel coordinates begin at the centre of the first pixel, as ours do (cx = 620.5 of 1242).

Source: Cabon, Murray and Humenberger, "Virtual KITTI 2" (arXiv 2001.10773) and the format page of its download site.
Training and test scenes are those of BiCross (arXiv 2208.12527, `datasets/vkitti.py` of github.com/Theia-4869/BiCross).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.samples.images import read_rgb
from spike_depth_core.samples.readers.dataset import Dataset, Frame, files_by_number, present
from spike_depth_core.samples.readers.depth_maps import read_depth_png
from spike_depth_core.samples.readers.kitti import CAMERA_HEIGHT
from spike_depth_core.samples.sample import DepthSample

SCENES = {"train": ("Scene01", "Scene02", "Scene06", "Scene20"), "test": ("Scene18",)}
VARIATIONS = (
    "clone",
    "15-deg-left",
    "15-deg-right",
    "30-deg-left",
    "30-deg-right",
    "fog",
    "morning",
    "overcast",
    "rain",
    "sunset",
)
_SKY = 65535
_FRAME_PERIOD_NS = 100_000_000  # that of the drives that were rebuilt


def read_table(path: Path, columns: int) -> dict[tuple[int, int], np.ndarray]:
    """Rows of numbers by (frame, camera), after a line of headings."""
    rows = {}
    for count, line in enumerate(path.read_text(errors="replace").splitlines()[1:], start=2):
        try:
            values = np.array(line.split(), np.float64)
        except ValueError as error:
            raise ValueError(f"{path}, line {count}: expected numbers: {error}") from error
        if not np.isfinite(values).all():
            raise ValueError(f"{path}, line {count}: expected finite numbers, found {line!r}")
        if len(values) != columns:
            raise ValueError(f"{path}, line {count}: expected {columns} numbers, found {len(values)}")
        rows[int(values[0]), int(values[1])] = values[2:]
    return rows


@dataclass(frozen=True)
class VirtualKitti(Dataset):
    """`rgb`, `rgb_right` where there is a `Camera_1`, depth in the left image, and the pose.

    Attributes:
        split: `train` and `test` are the clones of the real drives; `train-fog` and the like another variation.
        partial: make do with the scenes that are there.
    """

    partial: bool = False
    name: ClassVar[str] = "virtual_kitti"
    splits: ClassVar[tuple[str, ...]] = (
        *SCENES,
        *(f"{part}-{variation}" for variation in VARIATIONS[1:] for part in SCENES),
    )
    _tables: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def _tree(self, archive: str) -> Path:
        folder = self.root / f"vkitti_2.0.3_{archive}"
        return folder if folder.is_dir() else self.root

    def list_frames(self) -> Iterator[Frame]:
        part, _, variation = self.split.partition("-")
        names = [f"{scene}/{variation or VARIATIONS[0]}" for scene in SCENES[part]]
        for sequence in present(names, self._tree("rgb"), self.partial, f"split {self.split}"):
            yield from (Frame(sequence, number) for number in self.numbers(sequence))

    def _pictures(self, sequence: str, camera: int) -> Path:
        return self._tree("rgb") / sequence / "frames" / "rgb" / f"Camera_{camera}"

    def numbers(self, sequence: str) -> Sequence[int]:
        if sequence not in self._tables:
            self._tables[sequence] = tuple(files_by_number(self._pictures(sequence, 0), "rgb_*.jpg", "rgb_"))
        return self._tables[sequence]

    def _row(self, sequence: str, kind: str, columns: int, frame: int, camera: int) -> np.ndarray:
        path = self._tree("textgt") / sequence / f"{kind}.txt"
        if path not in self._tables:
            self._tables[path] = read_table(path, columns)
        row = self._tables[path].get((frame, camera))
        if row is None:
            raise ValueError(f"{path} has no line for frame {frame} of camera {camera}")
        return row

    def read(self, frame: Frame) -> DepthSample:
        sequence, number = frame
        stereo = self._pictures(sequence, 1).is_dir()
        names = ("rgb", "rgb_right") if stereo else ("rgb",)
        images: dict[str, Any] = {}
        cameras, world_from = {}, {}
        for camera, name in enumerate(names):
            images[name] = read_rgb(self._pictures(sequence, camera) / f"rgb_{number:05d}.jpg")
            height, width = images[name].shape[:2]
            cameras[name] = PinholeCamera(width, height, *self._row(sequence, "intrinsic", 6, number, camera).tolist())
            camera_from_world = self._row(sequence, "extrinsic", 18, number, camera).reshape(4, 4)
            world_from[name] = np.linalg.inv(camera_from_world)
        depth_path = self._tree("depth") / sequence / "frames" / "depth" / "Camera_0" / f"depth_{number:05d}.png"
        depth = read_depth_png(depth_path, 100, _SKY)
        if depth.shape != images["rgb"].shape[:2]:
            raise ValueError(
                f"{depth_path} is {depth.shape[1]}x{depth.shape[0]} pixels, its picture {cameras['rgb'].width}x"
                f"{cameras['rgb'].height}"
            )
        poses = {"rgb_right": np.linalg.inv(world_from["rgb"]) @ world_from["rgb_right"]} if stereo else {}
        return DepthSample(
            rig=SensorRig(cameras, poses, "rgb", CAMERA_HEIGHT),
            time_ns=number * _FRAME_PERIOD_NS,
            **images,
            depth={"rgb": depth},
            world_from_reference=world_from["rgb"],
            meta={
                "dataset": "Virtual KITTI 2",
                "sequence": sequence,
                "frame": number,
                "condition": sequence.split("/")[1],
            },
        )
