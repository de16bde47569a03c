"""A rendered domain: consecutive files, whole sequences, taken up where an interruption left them."""

import pytest

from spike_depth_core.samples.files import list_samples, load_sample
from spike_depth_core.training.domain_data import render_domain
from spike_depth_core.world.domains import Domain


def test_rendering_fills_a_folder_and_goes_on_where_it_stopped(tmp_path):
    domain = Domain.load("source", (24, 40), frames=2)
    assert list(render_domain(tmp_path, domain, "validation", 2, workers=1)) == [(0, 4), (2, 4), (4, 4)]
    paths = list_samples(tmp_path)
    assert [path.name for path in paths] == [f"{k:07d}.npz" for k in range(4)]
    samples = [load_sample(path) for path in paths]
    assert [s.meta["sequence"] for s in samples] == [500_000, 500_000, 500_001, 500_001]
    assert [s.meta["frame"] for s in samples] == [0, 1, 0, 1]
    assert all(s.world_from_reference is not None for s in samples)
    lost, kept = paths[3].read_bytes(), paths[2].stat().st_mtime_ns
    paths[3].unlink()
    assert list(render_domain(tmp_path, domain, "validation", 2, workers=1)) == [(3, 4), (4, 4)]
    assert paths[3].read_bytes() == lost
    assert paths[2].stat().st_mtime_ns == kept
    assert list(render_domain(tmp_path, domain, "validation", 2, workers=1)) == [(4, 4)]


def test_there_must_be_as_many_streets(tmp_path):
    domain = Domain.load("target", (24, 40))
    with pytest.raises(ValueError, match="target has 1 to 100000 sequences for test, asked for 100001"):
        next(render_domain(tmp_path, domain, "test", 100_001))
