"""DrivingStereo: rectified colour stereo with LiDAR depth, and its sets of 500 frames each of four weathers.

```
train-left-image/2018-07-09-16-11-56/2018-07-09-16-11-56_2018-07-09-16-12-24-000.jpg    SESSION/SESSION_TIME
train-right-image/...  train-depth-map/.../....png         metres times 256, in the left image
test-left-image/left-image-half-size/SESSION_TIME.jpg      likewise test-right-image, test-depth-map
foggy/left-image-full-size/SESSION_TIME.png                likewise right-image-..., depth-map-..., and -half-size;
                                                           cloudy, foggy, rainy, sunny
calib/half-image-calib/SESSION.txt                         `P_rect_101`, `T_103`, ...; full-image-calib for full size
```

Pictures are looked for anywhere below these folders, and the calibration in any folder of that name up to two below the
root: archives are unpacked in many ways. 101 is the left camera, 103 the right one. The baseline is the length of
`T_103`: in the half-size files the last column of `P_rect_103` is still that of the full size, so it gives twice as
much. Times are those of the file names; frames are picked from the recordings at uneven steps.

Sources: Yang et al., "DrivingStereo: A large-scale dataset for stereo matching in autonomous driving scenarios" (CVPR
2019) and its site drivingstereo-dataset.github.io; depth scale and the weathers' first four fifths for training as in
BiCross (arXiv 2208.12527; `datasets/drivingstereo.py`, `stereoweather.py` of github.com/Theia-4869/BiCross), whose
sessions of the scene-change scenario are the `bicross_` splits.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from spike_depth_core.geometry import SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.samples.images import read_rgb
from spike_depth_core.samples.readers import kitti
from spike_depth_core.samples.readers.dataset import Dataset, Frame
from spike_depth_core.samples.readers.depth_maps import read_depth_png
from spike_depth_core.samples.sample import DepthSample

WEATHERS = ("cloudy", "foggy", "rainy", "sunny")
_TRAIN_SHARE = 0.8
_BICROSS = {
    "train": (
        "2018-07-31-11-07-48",
        "2018-07-31-11-22-31",
        "2018-08-17-09-45-58",
        "2018-10-11-17-08-31",
        "2018-10-16-11-13-47",
        "2018-10-17-14-35-33",
        "2018-10-17-15-38-01",
        "2018-10-24-11-01-00",
    ),
    "test": ("2018-08-01-11-13-14",),
}
_HALF_SIZE_BELOW = 1300  # columns: half-size pictures have about 880, full-size ones about 1760
_FOLDERS = {"left": "left-image", "right": "right-image", "depth": "depth-map"}
_STEM = re.compile(r"(\d{4}(?:-\d\d){5})_(\d{4})-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d{3})")
_SHAPES = {"P_rect_101": (3, 4), "P_rect_103": (3, 4), "T_103": (3,)}


def _time_ns(stem: str) -> int:
    """Nanoseconds since 1970 of a name `SESSION_2018-07-09-16-12-24-000`, its time taken as UTC."""
    found = _STEM.fullmatch(stem)
    assert found is not None  # only such names are listed
    *parts, milliseconds = (int(value) for value in found.groups()[1:])
    return calendar.timegm((*parts, 0, 0, 0)) * 10**9 + milliseconds * 10**6


@dataclass(frozen=True)
class DrivingStereo(Dataset):
    """`rgb`, `rgb_right` where there are right-hand pictures, and depth in the left image.

    Attributes:
        split: `train`, `test`, a weather (`foggy`), its parts (`foggy_train`, `foggy_test`), or a session list of
            BiCross.
        size: of the test and weather sets, which come in two: `half` or `full`; by default what there is, `half` first.
        partial: of the session lists, make do with those that are there.
    """

    size: str | None = None
    partial: bool = False
    name: ClassVar[str] = "driving_stereo"
    splits: ClassVar[tuple[str, ...]] = (
        "train",
        "test",
        *WEATHERS,
        *(f"{weather}_{part}" for weather in WEATHERS for part in ("train", "test")),
        "bicross_train",
        "bicross_test",
    )
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.size not in (None, "half", "full"):
            raise ValueError(f"size of {self.name} is half or full, found {self.size!r}")
        super().__post_init__()

    def _files(self, part: str, what: str) -> dict[str, Path]:
        """Pictures by stem of `train`, `test` or a weather; `what` is a key of `_FOLDERS`. In order of time."""
        if (part, what) in self._cache:
            return self._cache[part, what]
        kind = _FOLDERS[what]
        top = self.root / part if part in WEATHERS else self.root / f"{part}-{kind}"
        found: Iterable[Path] = sorted(path for path in top.rglob("*") if path.suffix in (".jpg", ".png"))
        if part in WEATHERS:
            found = [path for path in found if path.parent.name.startswith(kind)]
        sizes = [self.size] if self.size else ["half", "full"]
        by_size = {size: [path for path in found if path.parent.name == f"{kind}-{size}-size"] for size in sizes}
        if self.size and not by_size[self.size] and any(path.parent.name.endswith("-size") for path in found):
            found = []  # there are those of the other size
        found = next((sized for sized in by_size.values() if sized), found)
        files = {path.stem: path for path in found if _STEM.fullmatch(path.stem)}
        self._cache[part, what] = dict(sorted(files.items()))
        return self._cache[part, what]

    def _sessions(self, part: str) -> dict[str, list[str]]:
        """Stems of left pictures by session."""
        if part not in self._cache:
            sessions: dict[str, list[str]] = {}
            for stem in self._files(part, "left"):
                sessions.setdefault(stem.split("_")[0], []).append(stem)
            self._cache[part] = sessions
        return self._cache[part]

    def list_frames(self) -> Iterator[Frame]:
        name, _, share = self.split.partition("_")
        if name == "bicross":
            wanted = _BICROSS[share]
            there = self._sessions(share)
            missing = [session for session in wanted if session not in there]
            if missing and not (self.partial and len(missing) < len(wanted)):
                place = self.root / f"{share}-left-image"
                raise ValueError(
                    f"{place}: split {self.split} takes {len(wanted)} sessions, missing are {', '.join(missing)}"
                )
            chosen = {session: there[session] for session in wanted if session in there}
        else:
            chosen = self._sessions(name)
        part = share if name == "bicross" else name  # its test session is one of those of the official test
        frames = [
            Frame(f"{part}/{session}", number) for session, stems in chosen.items() for number in range(len(stems))
        ]
        if name in WEATHERS and share:
            border = int(_TRAIN_SHARE * len(frames))
            frames = frames[:border] if share == "train" else frames[border:]
        yield from frames

    def numbers(self, sequence: str) -> Sequence[int]:
        part, session = sequence.split("/")
        return range(len(self._sessions(part).get(session, ())))

    def _calibration(self, session: str, width: int) -> dict[str, np.ndarray]:
        folder = f"{'half' if width < _HALF_SIZE_BELOW else 'full'}-image-calib"
        name = f"{folder}/{session}.txt"
        if name not in self._cache:
            places = [path for depth in ("", "*/", "*/*/") for path in sorted(self.root.glob(depth + name))]
            if not places:
                raise ValueError(f"{self.root}: there is no calibration {name}, nor one or two folders below")
            self._cache[name] = kitti.read_matrices(places[0], _SHAPES)
        return self._cache[name]

    def read(self, frame: Frame) -> DepthSample:
        part, session = frame.sequence.split("/")
        stem = self._sessions(part)[session][frame.number]
        rgb = read_rgb(self._files(part, "left")[stem])
        height, width = rgb.shape[:2]
        calibration = self._calibration(session, width)
        cameras = {"rgb": kitti.camera_of(calibration["P_rect_101"], width, height)}
        poses = {}
        right = None
        if self._files(part, "right"):
            right = read_rgb(self._file(part, "right", stem))
            cameras["rgb_right"] = kitti.camera_of(calibration["P_rect_103"], width, height)
            poses["rgb_right"] = pose((float(np.linalg.norm(calibration["T_103"])), 0.0, 0.0))
        depth_path = self._file(part, "depth", stem)
        depth = read_depth_png(depth_path, 256)
        if depth.shape != (height, width):
            raise ValueError(f"{depth_path} is {depth.shape[1]}x{depth.shape[0]} pixels, its picture {width}x{height}")
        return DepthSample(
            rig=SensorRig(cameras, poses, "rgb"),
            time_ns=_time_ns(stem),
            rgb=rgb,
            rgb_right=right,
            depth={"rgb": depth},
            meta={"dataset": "DrivingStereo", "sequence": frame.sequence, "frame": frame.number, "file": stem}
            | ({"condition": part} if part in WEATHERS else {}),
        )

    def _file(self, part: str, what: str, stem: str) -> Path:
        found = self._files(part, what).get(stem)
        if found is None:
            place = self.root / part if part in WEATHERS else self.root / f"{part}-{_FOLDERS[what]}"
            raise ValueError(f"there is no {_FOLDERS[what]} {stem} in {place}")
        return found
