"""Frames of a standing rig are not drawn where a recipe compares neighbours and poses tell."""

import dataclasses

import pytest

from spike_depth_core.geometry.rig import pose
from spike_depth_core.networks.depth_network import Architecture
from spike_depth_core.recipes.r2sdepth import ViewSynthesis
from spike_depth_core.samples.files import sample_path, save_sample
from spike_depth_core.training.data import Draws, SampleFolder, SampleFolders
from test.core.factories import small_rig, small_sample

SEQUENCES = {"standing": (0.0, 0.0, 0.0), "driving": (0.0, 1.0, 2.0), "starting": (0.0, 0.05, 1.0), "unknown": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    index = 0
    for name, places in SEQUENCES.items():
        for frame in range(3):
            sample = small_sample(index, planes=8, rig=small_rig(32, 24))
            where = None if places is None else pose((0.0, 0.0, places[frame]))
            sample = dataclasses.replace(sample, meta={"sequence": name}, world_from_reference=where)
            save_sample(sample_path(folder, index), sample)
            index += 1
    return folder


def test_the_rig_must_have_moved_to_every_neighbour_as_far_as_is_known(folder):
    samples = SampleFolder(folder)
    assert samples.usable((-1, 1)).tolist() == [1, 4, 7, 10]
    assert samples.usable((-1, 1), moved=0.1).tolist() == [4, 10]
    assert samples.usable((1,), moved=0.1).tolist() == [3, 4, 7, 9, 10]
    assert samples.usable((), moved=0.1).tolist() == list(range(12))
    with pytest.raises(ValueError, match="no frame from which the rig moves 5 m"):
        SampleFolder(folder_without_unknown(folder)).usable((-1, 1), moved=5.0)


def folder_without_unknown(folder):
    other = folder / "known"
    other.mkdir()
    for index in range(9):
        sample_path(other, index).symlink_to(sample_path(folder, index))
    return other


def test_view_synthesis_draws_no_still_frame(folder):
    recipe = ViewSynthesis(Architecture(sensors=("spikes", "rgb")))
    draws = Draws({"source": SampleFolders([folder])}, recipe, 4, 5, seed=0)
    drawn = {int(path.stem) for step in range(5) for path in draws.draw(step)[0].paths}
    assert drawn == {4, 10}
    still = dataclasses.replace(recipe, moved=0.0)
    draws = Draws({"source": SampleFolders([folder])}, still, 4, 5, seed=0)
    assert {int(path.stem) for path in draws.draw(0)[0].paths} == {1, 4, 7, 10}
