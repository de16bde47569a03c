"""Sequences of samples to evaluate on: the same every time, wherever they are made."""

import os
import signal

import numpy as np
import pytest

from spike_depth_core.evaluation.frames import Frames, StoredFrames, WorldFrames, store
from spike_depth_core.geometry import PinholeCamera, SensorRig
from spike_depth_core.samples import DepthSample


class Numbers(Frames):
    """Frame i is an image full of i. Counts how often one is made."""

    def __init__(self, count):
        self.frame_count, self.made = count, 0

    def __len__(self):
        return self.frame_count

    def __getitem__(self, index):
        self.made += 1
        rig = SensorRig.single("nir", PinholeCamera.from_focal(3, 2, 2))
        image = np.full((2, 3), index, np.uint8)
        return DepthSample(rig, nir=image, depth={"nir": np.full((2, 3), 1 + index, np.float32)})


class Deadly(Numbers):
    """Of each process that makes frame 1 the kernel takes the memory away."""

    def __getitem__(self, index):
        if index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def test_each_frame_of_the_world_is_a_street_of_its_own():
    frames = WorldFrames(1_234, 2, "night", ("thermal",), planes=8)
    first, second = frames
    assert [sample.meta["seed"] for sample in frames] == [1_234, 1_235]
    assert {first.meta["condition"], second.meta["condition"]} == {"night"}
    assert first.time_ns != second.time_ns
    assert first.sensors == ("thermal",)
    again = WorldFrames(1_235, 1, "night", ("thermal",), planes=8)[0]
    assert (again.thermal == second.thermal).all()
    assert (again.depth["thermal"] == second.depth["thermal"]).all()
    assert not (first.depth["thermal"] == second.depth["thermal"]).all()
    with pytest.raises(IndexError):
        frames[2]
    with pytest.raises(ValueError, match="at least one frame, asked for 0"):
        WorldFrames(1, 0)


def test_stored_frames_are_made_once_and_read_often(tmp_path):
    numbers = Numbers(3)
    steps = store(numbers, tmp_path / "a", workers=1)
    next(steps)  # interrupted after the first
    assert list(store(numbers, tmp_path / "a", workers=1)) == [2, 3]
    assert list(store(numbers, tmp_path / "a", workers=1)) == []
    assert numbers.made == 3
    stored = StoredFrames(tmp_path / "a")
    assert [int(sample.nir[0, 0]) for sample in stored] == [0, 1, 2]
    assert [float(sample.depth["nir"][0, 0]) for sample in stored] == [1, 2, 3]
    assert StoredFrames(tmp_path / "a", ("rgb",))[0].sensors == ()


def test_a_folder_of_other_frames_is_refused(tmp_path):
    list(store(Numbers(3), tmp_path / "a", workers=1))
    with pytest.raises(ValueError, match=r"has frames of .*'count': 3.*, asked for those of .*'count': 2"):
        next(store(Numbers(2), tmp_path / "a", workers=1))
    (tmp_path / "a" / "frames.json").unlink()
    with pytest.raises(ValueError, match="has frames of unknown origin"):
        next(store(Numbers(3), tmp_path / "a", workers=1))
    night, dusk = (WorldFrames(1_234, 2, light, ("thermal",)).about() for light in ("night", "dusk"))
    assert night != dusk


def test_several_processes_store_the_same(tmp_path):
    assert list(store(Numbers(4), tmp_path, workers=2)) == [1, 2, 3, 4]
    assert [int(sample.nir[0, 0]) for sample in StoredFrames(tmp_path)] == [0, 1, 2, 3]


def test_a_frame_that_processes_are_killed_over_is_named_and_others_stay(tmp_path):
    with pytest.raises(ValueError, match=r"0000001\.npz: 3 processes died of it, the last with signal 9"):
        list(store(Deadly(3), tmp_path, workers=2))
    assert {path.name for path in tmp_path.glob("*.npz")} <= {"0000000.npz", "0000002.npz"}  # what was done by then
