"""The Spike-KITTI set out of KITTI raw: spikes that a camera in place of each colour camera would have fired.

For each colour frame but the first of a drive, the planes since the frame before: light goes linearly from one picture
to the next and falls on an integrate-and-fire camera that carries its charge from frame to frame (`spikes/video.py`).
The layout is that of `readers/spike_kitti.py`. Pictures, LiDAR, poses and calibration are linked to, not copied.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from spike_depth_core.samples.files import note_origin
from spike_depth_core.samples.readers.dataset import Frame
from spike_depth_core.samples.readers.kitti_raw import FRAME_PERIOD_NS, KittiRaw
from spike_depth_core.samples.readers.spike_kitti import HEIGHT, PLANES, SPIKE_CAMERAS, WIDTH, spikes_path
from spike_depth_core.samples.resize import resize_picture
from spike_depth_core.spikes import SpikeCameraParameters, write_spikes
from spike_depth_core.spikes.video import spikes_from_frames

_LINKED = (*SPIKE_CAMERAS, "oxts", "velodyne_points", "proj_depth")


@dataclass(frozen=True)
class SpikeKittiMaker:
    """What is simulated, and where it goes. The same arguments give the same files, to the bit.

    Attributes:
        kitti: the drives.
        out: root of the set. It may be that of `kitti` itself.
        planes: from frame to frame.
        width, height: of the planes; pictures are resized to it.
        frames: of each drive, how many pictures to use from its beginning; all when None.
        parameters: of the camera; one without noise when None.
        seed: of the cameras' first charges, fixed patterns and noise, which are each camera's own.
    """

    kitti: KittiRaw
    out: Path
    planes: int = PLANES
    width: int = WIDTH
    height: int = HEIGHT
    frames: int | None = None
    parameters: SpikeCameraParameters | None = None
    seed: int = 0

    @property
    def drives(self) -> tuple[str, ...]:
        """The drives that frames of the split come from."""
        return tuple(dict.fromkeys(frame.sequence for frame in self.kitti.frames))

    def _runs(self, drive: str) -> list[list[int]]:
        """Numbers of a drive's frames, cut where one is missing: no light is known in between."""
        runs: list[list[int]] = []
        for number in self.kitti.numbers(drive)[: self.frames]:
            if runs and number == runs[-1][-1] + 1:
                runs[-1].append(number)
            else:
                runs.append([number])
        return [run for run in runs if len(run) > 1]

    def jobs(self) -> list[tuple[str, str, list[int]]]:
        """(drive, colour camera, consecutive frames) of what is to be simulated."""
        return [
            (drive, camera, run)
            for drive in self.drives
            for camera in SPIKE_CAMERAS
            if (self.kitti.root / drive / camera / "data").is_dir()
            for run in self._runs(drive)
        ]

    def _paths(self, drive: str, camera: str, run: list[int]) -> list[Path]:
        return [spikes_path(self.out, drive, SPIKE_CAMERAS[camera], number, self.planes) for number in run[1:]]

    def __len__(self) -> int:
        """How many files of planes the set has."""
        return sum(len(run) - 1 for _, _, run in self.jobs())

    def __call__(self) -> Iterator[Path]:
        """Make the set; files that are there already are kept. `spikes_rPLANES.json` says of what it is made.

        Yields:
            The path of each file of planes, when it is there.

        Raises:
            ValueError: for a set that is made otherwise, or of what is not known.
        """
        about = {
            "planes": self.planes,
            "width": self.width,
            "height": self.height,
            "camera": None if self.parameters is None else asdict(self.parameters),
            "seed": self.seed,
        }
        present = any(path.is_file() for job in self.jobs() for path in self._paths(*job))
        note_origin(self.out / f"spikes_r{self.planes}.json", about, present)
        self._link()
        for drive, camera, run in self.jobs():
            paths = self._paths(drive, camera, run)
            if all(path.is_file() for path in paths):
                yield from paths
                continue
            pictures = (
                resize_picture(self.kitti.image(Frame(drive, number), camera), self.width, self.height)
                for number in run
            )
            # Cameras in step would match at no disparity wherever both see the same light.
            seed = len(SPIKE_CAMERAS) * self.seed + list(SPIKE_CAMERAS).index(camera)
            parts = spikes_from_frames(pictures, 1e9 / FRAME_PERIOD_NS, self.planes, self.parameters, seed)
            for path, spikes in zip(paths, parts, strict=True):
                # Those before it had to be simulated anyway: the charge they leave is where it begins.
                if not path.is_file():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_spikes(path, spikes)
                yield path

    def _link(self) -> None:
        """Let the new root have all that the old one has."""
        root, out = self.kitti.root.resolve(), self.out.resolve()
        if root == out:
            return
        wanted = [root / drive / name for drive in self.drives for name in _LINKED]
        # Improved depth comes in an archive of its own, which may lie elsewhere in the root.
        wanted += [self.kitti.improved_folder(drive).resolve() for drive in self.drives]
        for date in {drive.split("/")[0] for drive in self.drives}:
            wanted += (root / date).glob("calib*.txt")
        for source in wanted:
            target = out / source.relative_to(root)
            if source.exists() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                os.symlink(source, target)
