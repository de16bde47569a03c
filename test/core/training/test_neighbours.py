"""Neighbours in time are told by the frames' numbers, where samples have them."""

import dataclasses

import pytest

from spike_depth_core.samples.files import sample_path, save_sample
from spike_depth_core.training.data import SampleFolder
from test.core.factories import small_rig, small_sample


def folder_of(path, frames) -> SampleFolder:
    path.mkdir(exist_ok=True)
    for index, frame in enumerate(frames):
        sample = small_sample(index, planes=8, rig=small_rig(32, 24))
        meta = {"sequence": "a"} if frame is None else {"sequence": "a", "frame": frame}
        save_sample(sample_path(path, index), dataclasses.replace(sample, meta=meta))
    return SampleFolder(path)


def test_frames_that_lie_beside_one_another_in_a_folder_need_not_be_neighbours(tmp_path):
    # As a split has them that was drawn from a drive.
    samples = folder_of(tmp_path, [100, 2310, 57, 58, 59, 61, 62])
    assert samples.usable((-1, 1)).tolist() == [3]
    assert samples.usable((1,)).tolist() == [2, 3, 5]
    with pytest.raises(ValueError, match="no sequence with frames at offsets"):
        folder_of(tmp_path / "drawn", [100, 2310, 57]).usable((1,))


def test_without_numbers_the_order_tells(tmp_path):
    assert folder_of(tmp_path, [None, None, None]).usable((-1, 1)).tolist() == [1]
    assert folder_of(tmp_path / "some", [7, None, 8]).usable((-1, 1)).tolist() == [1]
