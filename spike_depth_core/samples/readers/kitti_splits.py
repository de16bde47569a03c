"""Which frames of KITTI raw belong to which split.

- Eigen, Puhrsch and Fergus, "Depth map prediction from a single image using a multi-scale deep network" (NIPS 2014):
  28 drives for the test, 697 of their frames; 33 other drives for training, 23,488 frames. The numbers of the frames
  are those of the lists that nianticlabs/monodepth2 distributes (`splits/eigen`, `splits/eigen_full`).
- Of the 697, 652 have improved ground truth (Uhrig et al., "Sparsity invariant CNNs", 3DV 2017), which is accumulated
  over 11 sweeps and so lacks the first and the last five frames of a drive (`splits/eigen_benchmark` there).
- Liu et al., "Unsupervised spike depth estimation via cross-modality cross-domain knowledge transfer" (BiCross, arXiv
  2208.12527): the part of KITTI that is their target domain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from spike_depth_core.samples.readers.dataset import Frame

_TRAIN = """
2011_09_26: 0001 0005 0011 0014 0015 0017 0018 0019 0022 0028 0032 0035 0039 0051 0057 0060 0061 0070 0079 0087 0091
2011_09_26: 0095 0104 0113
2011_09_28: 0001
2011_09_29: 0004 0026
2011_09_30: 0020 0028 0033 0034
2011_10_03: 0034 0042
"""

# Frames by drive: `first-last/step`, or one alone.
_TEST = """
2011_09_26 0002: 0-63/3 69-75/3
2011_09_26 0009: 0-176/16 196-388/16
2011_09_26 0013: 0-10/5 20 30-50/5 60-70/5 80-140/5
2011_09_26 0020: 0-21/3 27 33 36 42-78/3 84
2011_09_26 0023: 18-216/18 252-468/18
2011_09_26 0027: 0-98/7 112-147/7 161-182/7
2011_09_26 0029: 0-196/14 268 296-408/14
2011_09_26 0036: 0-704/32 768 800
2011_09_26 0046: 0-120/5
2011_09_26 0048: 0-21/1
2011_09_26 0052: 0-22/2 26-32/2 36-52/2
2011_09_26 0056: 11-121/11 143-286/11
2011_09_26 0059: 0-154/14 182-238/14 274-372/14
2011_09_26 0064: 0-110/22 154-550/22
2011_09_26 0084: 49-153/13 179-374/13
2011_09_26 0086: 7-520/27 574-682/27
2011_09_26 0093: 0-256/16 305-417/16
2011_09_26 0096: 0-456/19
2011_09_26 0101: 80-216/34 284-930/34
2011_09_26 0106: 15 35-219/8
2011_09_26 0117: 0-494/26 546-650/26
2011_09_28 0002: 0-12/3 18-24/3 30-39/3 45-63/3 72 78-90/3
2011_09_29 0071: 0-612/36 735-807/36 879-951/36 1054
2011_09_30 0016: 0-88/11 110-275/11
2011_09_30 0018: 0-214/107 428-2247/107 2419-2740/107
2011_09_30 0027: 0-656/41 753-958/41 1040 1081
2011_10_03 0027: 0-543/181 734-2001/181 2363-4535/181
2011_10_03 0047: 0-224/32 288-800/32
"""

_ACCUMULATED = 5  # sweeps before and after a frame that its improved ground truth is made of
# The least frame of a test drive whose five followers do not exist, where the test has such frames.
_END = {
    ("2011_09_26", "0002"): 72,
    ("2011_09_26", "0013"): 139,
    ("2011_09_26", "0020"): 81,
    ("2011_09_26", "0036"): 798,
    ("2011_09_26", "0046"): 120,
    ("2011_09_26", "0048"): 17,
    ("2011_09_26", "0059"): 368,
    ("2011_09_29", "0071"): 1054,
    ("2011_09_30", "0016"): 274,
}


def drive_folder(date: str, drive: str) -> str:
    """Where a synchronised drive lies below the root."""
    return f"{date}/{date}_drive_{drive}_sync"


def _train_drives() -> Iterator[str]:
    for line in _TRAIN.split("\n")[1:-1]:
        date, _, drives = line.partition(":")
        yield from (drive_folder(date, drive) for drive in drives.split())


def _test_frames(improved: bool) -> Iterator[Frame]:
    for line in _TEST.split("\n")[1:-1]:
        name, _, runs = line.partition(":")
        date, drive = name.split()
        for run in runs.split():
            ends, _, step = run.partition("/")
            first, _, last = ends.partition("-")
            for number in range(int(first), int(last or first) + 1, int(step or 1)):
                if not improved or _ACCUMULATED <= number < _END.get((date, drive), number + 1):
                    yield Frame(drive_folder(date, drive), number)


EIGEN_TRAIN = tuple(_train_drives())
"""Drives whose every frame is for training."""

EIGEN_TEST = tuple(_test_frames(improved=False))
EIGEN_BENCHMARK = tuple(_test_frames(improved=True))
"""Those of the Eigen test that have improved ground truth."""

BICROSS_TRAIN = tuple(
    drive_folder(date, drive)
    for date, drives in (("2011_09_26", ("0019", "0023", "0035", "0046", "0064")), ("2011_09_30", ("0020",)))
    for drive in drives
)
BICROSS_TEST = (drive_folder("2011_09_26", "0039"),)


def read_split_file(path: str | Path) -> list[Frame]:
    """Frames of a published list: a line a frame, of which the left camera's are taken once each.

    Read are the lines of monodepth2 (`DATE/DRIVE NUMBER l`) and those that begin with the path of an image
    (`DATE/DRIVE/image_02/data/NUMBER.png ...`: SfMLearner, PackNet, BTS and others).

    Raises:
        ValueError: naming the file and the line that is neither.
    """
    frames: dict[Frame, None] = {}
    for count, line in enumerate(Path(path).read_text().splitlines(), start=1):
        if not line.strip():
            continue
        by_path = re.match(r"(\d{4}_\d\d_\d\d/\w+_sync)/image_0[23]/data/(\d+)\.(?:png|jpg)(?:\s|$)", line)
        found = by_path or re.fullmatch(r"(\d{4}_\d\d_\d\d/\w+_sync)\s+(\d+)\s+[lr]\s*", line)
        if found is None:
            raise ValueError(f"{path}, line {count}: expected a frame of KITTI raw, found {line[:80]!r}")
        frames[Frame(found[1], int(found[2]))] = None
    return list(frames)
