"""PKU-Spike-Stereo: pairs of real spike cameras with the depth of a ZED camera, indoors and outdoors.

```
{indoor,outdoor}/left/0000/0000/0000.dat       planes of 250x400 pixels, the camera's own format
{indoor,outdoor}/left/0000/0000/0000_gt.npy    metres [250, 400], in the left image
{indoor,outdoor}/right/0000/0000/0000.dat
```

The first folder is a scene (43 of each kind), the second a short recording. The first four fifths of the scenes are for
training. Sources: Wang et al., "Learning stereo depth estimation with bio-inspired spike cameras" (ICME 2022);
`spkData/spike_stero.py` and `docs/data_processing.md` of github.com/Zyj061/SpikeCV (its data set `Spike-Stero`). No
calibration is published: the right-hand recordings are read only if the baseline is told (see `uncalibrated`). Nor is
the moment of a recording that its depth is of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from spike_depth_core.geometry import SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.samples.readers.dataset import Dataset, Frame
from spike_depth_core.samples.readers.depth_maps import read_depth_npy
from spike_depth_core.samples.readers.uncalibrated import assumed_camera, calibration_note
from spike_depth_core.samples.sample import DepthSample
from spike_depth_core.spikes import PackedSpikes, read_spikes

_TRAIN_SHARE = 0.8
_PLACES = ("indoor", "outdoor")


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise ValueError(f"expected one {pattern} in {folder}, found {len(found)}")
    return found[0]


@dataclass(frozen=True)
class PkuSpikeStereo(Dataset):
    """`spikes` of the left camera with their depth, and `spikes_right` if the baseline is told.

    Attributes:
        planes: how many are taken, from the middle of a recording; all when None.
        focal: of both cameras, pixels.
        baseline: metres from the left camera to the right one.
    """

    planes: int | None = None
    focal: float | None = None
    baseline: float | None = None
    name: ClassVar[str] = "pku_spike_stereo"
    splits: ClassVar[tuple[str, ...]] = (
        "train",
        "val",
        "indoor_train",
        "indoor_val",
        "outdoor_train",
        "outdoor_val",
    )

    def __post_init__(self) -> None:
        if self.baseline is not None and not self.baseline > 0:
            raise ValueError(f"a baseline is positive metres to the right, found {self.baseline}")
        super().__post_init__()

    def list_frames(self) -> Iterator[Frame]:
        *place, part = self.split.split("_")
        for kind in place or _PLACES:
            scenes = sorted(path for path in (self.root / kind / "left").glob("*") if path.is_dir())
            border = int(_TRAIN_SHARE * len(scenes))
            for scene in scenes[:border] if part == "train" else scenes[border:]:
                sequence = f"{kind}/{scene.name}"
                yield from (Frame(sequence, number) for number in self.numbers(sequence))

    def _folders(self, sequence: str) -> list[Path]:
        kind, scene = sequence.split("/")
        return sorted(path for path in (self.root / kind / "left" / scene).glob("*") if path.is_dir())

    def numbers(self, sequence: str) -> Sequence[int]:
        return range(len(self._folders(sequence)))

    def _spikes(self, folder: Path) -> PackedSpikes:
        path = _only(folder, "*.dat")
        spikes = read_spikes(path)
        if self.planes is None:
            return spikes
        if len(spikes) < self.planes:
            raise ValueError(f"{path}: at least {self.planes} planes were expected, found {len(spikes)}")
        first = (len(spikes) - self.planes) // 2
        return spikes.slice(first, first + self.planes)

    def read(self, frame: Frame) -> DepthSample:
        folder = self._folders(frame.sequence)[frame.number]
        spikes = self._spikes(folder)
        depth_path = _only(folder, "*_gt.npy")
        depth = read_depth_npy(depth_path)
        if depth.shape != (spikes.height, spikes.width):
            raise ValueError(
                f"{depth_path} is {depth.shape[1]}x{depth.shape[0]} pixels, its spikes {spikes.width}x{spikes.height}"
            )
        kind, scene = frame.sequence.split("/")
        camera = assumed_camera(spikes.width, spikes.height, self.focal)
        rig, right = SensorRig.single("spikes", camera), None
        if self.baseline is not None:
            poses = {"spikes_right": pose((self.baseline, 0.0, 0.0))}
            rig = SensorRig({"spikes": camera, "spikes_right": camera}, poses, "spikes")
            right = self._spikes(self.root / kind / "right" / scene / folder.name)
        return DepthSample(
            rig=rig,
            time_ns=spikes.end_ns,
            spikes=spikes,
            spikes_right=right,
            depth={"spikes": depth},
            meta={
                "dataset": "PKU-Spike-Stereo",
                "sequence": frame.sequence,
                "frame": frame.number,
                "recording": folder.name,
            }
            | calibration_note(self.focal),
        )
