"""MS2, the multi-spectral stereo data set: pairs of RGB, near infrared and thermal pictures on a car, day, night, rain.

```
sync_data/_2021-08-06-10-59-33/{rgb,nir,thr}/{img_left,img_right}/000000.png
sync_data/_2021-08-06-10-59-33/calib.npy                                   a dictionary, see below
proj_depth/_2021-08-06-10-59-33/{rgb,nir,thr}/depth_filtered/000000.png    metres times 256, in the left image
odom/_2021-08-06-10-59-33/{rgb,nir,thr}/000000.txt                         4x4 pose of the left camera
```

Pictures are rectified: RGB 1224x384, near infrared 1280x352, thermal 640x256 in 16 bits of raw counts. `calib.npy` has
`K_rgbL`, `K_nirL`, `K_thrL` (and `...R`) [3, 3]; `R_rgbR`, `T_rgbR` and the like take points from a left camera to its
right one, `R_nir2rgb`, `T_nir2rgb`, `R_nir2thr`, `T_nir2thr` from the near infrared camera to the others; T in
millimetres.

Sources: Shin, Park and Kweon, "Deep depth estimation from thermal image" (CVPR 2023); loaders, lists of sequences and
readme of github.com/UkcheolShin/MS2-MultiSpectralStereoDataset; how many frames of a list are taken, of
github.com/UkcheolShin/BridgeMultiSpectralDepth, whose slices leave out the very last frame; it is read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.samples.images import read_grey, read_rgb
from spike_depth_core.samples.readers.dataset import Dataset, Frame, files_by_number, present
from spike_depth_core.samples.readers.depth_maps import read_depth_png
from spike_depth_core.samples.readers.kitti import rigid
from spike_depth_core.samples.readers.object_arrays import read_array_dict
from spike_depth_core.samples.sample import DepthSample

FOLDERS = {"rgb": "rgb", "nir": "nir", "thermal": "thr"}
"""What MS2 calls the sensors."""

FRAME_PERIOD_NS = 100_000_000  # nominal: the synchronised set has no times

_LISTS = {
    "train": """
        _2021-08-06-10-59-33 _2021-08-06-11-37-46 _2021-08-06-17-21-04 _2021-08-06-17-44-55
        _2021-08-13-16-50-57 _2021-08-13-17-06-04 _2021-08-13-21-36-10 _2021-08-13-22-36-41""",
    "val": "_2021-08-13-16-08-46 _2021-08-13-16-14-48 _2021-08-13-21-58-13",
    "test_day": "_2021-08-06-11-23-45 _2021-08-13-15-46-56 _2021-08-13-16-31-10",
    "test_night": "_2021-08-13-21-18-04 _2021-08-13-22-03-03 _2021-08-13-22-16-02",
    "test_rain": "_2021-08-06-16-19-00 _2021-08-06-16-45-28 _2021-08-06-16-59-13",
}
SEQUENCES = {split: tuple(names.split()) for split, names in _LISTS.items()}
SEQUENCES["test"] = tuple(name for split in ("test_day", "test_night", "test_rain") for name in SEQUENCES[split])

_STEPS = {"train": 1, "val": 3}
_TEST_STEP = 10


def _matrix(calibration: Mapping[str, np.ndarray], key: str, shape: tuple[int, ...], path: Path) -> np.ndarray:
    if key not in calibration:
        raise ValueError(f"{path}: the calibration lacks {key}; it has {', '.join(sorted(calibration))}")
    if calibration[key].size != np.prod(shape):
        raise ValueError(f"{path}: {key} is {shape}, found {calibration[key].shape}")
    return calibration[key].astype(np.float64).reshape(shape)


def _transform(calibration: Mapping[str, np.ndarray], which: str, path: Path) -> np.ndarray:
    """4x4 transform of `R_<which>` and `T_<which>`, in metres."""
    translation = _matrix(calibration, f"T_{which}", (3,), path) / 1000
    return rigid(_matrix(calibration, f"R_{which}", (3, 3), path), translation)


@dataclass(frozen=True)
class Ms2(Dataset):
    """`rgb`, `nir` and `thermal`, right-hand images of each, depth in each left image, and the pose.

    Attributes:
        sensors: which are read; the first is the rig's reference.
        stereo: whether right-hand images are read.
        step: every how many frames of the split's sequences, taken together; as published when None: 1 for training,
            3 for validation, 10 for the tests.
        partial: make do with the sequences that are there.
    """

    sensors: tuple[str, ...] = ("rgb", "nir", "thermal")
    stereo: bool = True
    step: int | None = None
    partial: bool = False
    name: ClassVar[str] = "ms2"
    splits: ClassVar[tuple[str, ...]] = (*SEQUENCES, "all")
    _calibrations: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sensors", tuple(self.sensors))
        if not self.sensors or set(self.sensors) - set(FOLDERS):
            raise ValueError(f"sensors of {self.name} are some of {', '.join(FOLDERS)}; found {self.sensors}")
        super().__post_init__()

    def list_frames(self) -> Iterator[Frame]:
        folder = self.root / "sync_data"
        if self.split == "all":
            names = sorted(path.name for path in folder.glob("*") if path.is_dir())
        else:
            names = present(SEQUENCES[self.split], folder, self.partial, f"split {self.split}")
        frames = [Frame(name, number) for name in names for number in self.numbers(name)]
        yield from frames[:: self.step or _STEPS.get(self.split, 1 if self.split == "all" else _TEST_STEP)]

    def _pictures(self, sequence: str, sensor: str, side: str = "left") -> Path:
        return self.root / "sync_data" / sequence / FOLDERS[sensor] / f"img_{side}"

    def numbers(self, sequence: str) -> Sequence[int]:
        return tuple(files_by_number(self._pictures(sequence, self.sensors[0]), "*.png"))

    def _calibration(self, sequence: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Intrinsics [3, 3] by image, and 4x4 transforms `nir_from_image`."""
        if sequence not in self._calibrations:
            path = self.root / "sync_data" / sequence / "calib.npy"
            found = read_array_dict(path)
            intrinsics, poses = {}, {}
            for sensor in self.sensors:
                key = FOLDERS[sensor]
                poses[sensor] = np.eye(4) if sensor == "nir" else np.linalg.inv(_transform(found, f"nir2{key}", path))
                intrinsics[sensor] = _matrix(found, f"K_{key}L", (3, 3), path)
                if self.stereo:
                    right = f"{sensor}_right"
                    poses[right] = poses[sensor] @ np.linalg.inv(_transform(found, f"{key}R", path))
                    intrinsics[right] = _matrix(found, f"K_{key}R", (3, 3), path)
            self._calibrations[sequence] = intrinsics, poses
        return self._calibrations[sequence]

    def _rig(self, sequence: str, images: Mapping[str, np.ndarray]) -> SensorRig:
        intrinsics, nir_from = self._calibration(sequence)
        cameras = {}
        for name, image in images.items():
            k = intrinsics[name]
            cameras[name] = PinholeCamera(image.shape[1], image.shape[0], k[0, 0], k[1, 1], k[0, 2], k[1, 2])
        reference = self.sensors[0]
        reference_from_nir = np.linalg.inv(nir_from[reference])
        poses = {name: reference_from_nir @ nir_from[name] for name in images if name != reference}
        return SensorRig(cameras, poses, reference)

    def _depth(self, sequence: str, sensor: str, number: int) -> np.ndarray | None:
        folder = self.root / "proj_depth" / sequence / FOLDERS[sensor] / "depth_filtered"
        return read_depth_png(folder / f"{number:06d}.png", 256) if folder.is_dir() else None

    def _pose(self, frame: Frame) -> np.ndarray | None:
        folder = self.root / "odom" / frame.sequence / FOLDERS[self.sensors[0]]
        if not folder.is_dir():
            return None
        path = folder / f"{frame.number:06d}.txt"
        try:
            values = np.array(path.read_text().split(), np.float64)
        except ValueError as error:
            raise ValueError(f"{path}: a pose is made of numbers: {error}") from error
        if values.size != 16:
            raise ValueError(f"{path}: a pose is 4x4 numbers, found {values.size}")
        return values.reshape(4, 4)

    def read(self, frame: Frame) -> DepthSample:
        images: dict[str, Any] = {}
        depth = {}
        for sensor in self.sensors:
            read = read_rgb if sensor == "rgb" else read_grey
            for side in ("left", "right") if self.stereo else ("left",):
                name = sensor if side == "left" else f"{sensor}_right"
                images[name] = read(self._pictures(frame.sequence, sensor, side) / f"{frame.number:06d}.png")
            found = self._depth(frame.sequence, sensor, frame.number)
            if found is not None:
                if found.shape != images[sensor].shape[:2]:
                    raise ValueError(
                        f"depth of {sensor} in frame {frame.number} of {frame.sequence} is {found.shape[1]}x"
                        f"{found.shape[0]} pixels, its picture {images[sensor].shape[1]}x{images[sensor].shape[0]}"
                    )
                depth[sensor] = found
        return DepthSample(
            rig=self._rig(frame.sequence, images),
            time_ns=frame.number * FRAME_PERIOD_NS,
            **images,
            depth=depth,
            world_from_reference=self._pose(frame),
            meta={"dataset": "MS2", "sequence": frame.sequence, "frame": frame.number},
        )
