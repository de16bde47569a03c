"""Rendered training samples: whole, of the streets they say, and taken up where an interruption left them."""

import itertools

import numpy as np
import pytest

from spike_depth_core.samples.files import list_samples, load_sample
from spike_depth_core.training.world_data import (
    FORMATS,
    TEST_SEED,
    TRAIN_SEED,
    VALIDATION_SEED,
    WideFormat,
    counts_of,
    render_samples,
    seeds_of,
)

TINY = (WideFormat("a", 0.5, 1.0, ("rgb",), 64, 32), WideFormat("b", 0.5, 1.0, ("spikes", "thermal"), 64, 32))


def test_rendering_goes_on_where_it_stopped(tmp_path):
    assert list(render_samples(tmp_path, 4, 100, TINY, workers=1))[-1] == (4, 4)
    kept = {path: path.read_bytes() for name in "ab" for path in list_samples(tmp_path / name)}
    assert len(kept) == 4
    assert [load_sample(path).meta["seed"] for path in kept] == [100, 101, 25_100, 25_101]
    assert {load_sample(path).sensors for path in kept} == {("rgb",), ("spikes", "thermal")}
    lost = list_samples(tmp_path / "b")[1]
    lost.unlink()
    assert list(render_samples(tmp_path, 4, 100, TINY, workers=1)) == [(3, 4), (4, 4)]
    first, again = (load_from(content, tmp_path) for content in (kept[lost], lost.read_bytes()))
    np.testing.assert_array_equal(again.spikes.data, first.spikes.data)
    np.testing.assert_array_equal(again.depth["spikes"], first.depth["spikes"])


def load_from(content, folder):
    path = folder / "copy.npz"
    path.write_bytes(content)
    return load_sample(path)


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_rigs_differ_by_draw_and_cover_the_sensors(kind):
    first, same, other = (kind.rig(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert set(kind.sensors) <= set(first.cameras)
    assert first.to_dict() == same.to_dict()
    assert first.to_dict() != other.to_dict()
    sizes = {s: (c.width, c.height) for s, c in first.cameras.items()}
    assert sizes == {s: (c.width, c.height) for s, c in other.cameras.items()}  # or they could not share a batch


def test_only_what_looks_aside_is_turned():
    headings = {kind.name: [kind.heading(np.random.default_rng(seed)) for seed in range(50)] for kind in FORMATS}
    for name in ("wide_aside", "wide_yards"):
        aside = headings.pop(name)
        assert min(aside) < -1.0
        assert max(aside) > 1.0
    assert not any(any(values) for values in headings.values())


def test_only_what_is_tilted_looks_up_or_down():
    for kind in FORMATS:
        tilts = np.degrees([kind.tilt(np.random.default_rng(seed)) for seed in range(200)])
        assert abs(tilts.mean()) < 0.5
        assert 1.7 < tilts.std() < 2.3 if kind.name == "wide_yards" else not tilts.any()


def test_splits_do_not_reach_into_each_other_or_into_the_reserved_seeds():
    for first, beyond in ((TRAIN_SEED, VALIDATION_SEED), (VALIDATION_SEED, TEST_SEED)):
        most = max(count for count in range(1000, 100_000, 500) if fits(count))
        ranges = sorted(seeds_of(most, first).values())
        assert ranges[0][0] == first
        assert all(a[1] < b[0] for a, b in itertools.pairwise(ranges))
        assert ranges[-1][1] < beyond
    with pytest.raises(ValueError, match=r"at most \d+ samples, for which each format has its seeds"):
        next(render_samples("nowhere", 200_001, 0))


def fits(count):
    try:
        return bool(counts_of(count))
    except ValueError:
        return False


@pytest.mark.parametrize("count", [6, 8, 21, 100, 9_999])
def test_every_format_has_its_share_and_one_at_least(count):
    counts = counts_of(count)
    assert sum(counts.values()) == count
    total = sum(kind.share for kind in FORMATS)
    for kind in FORMATS:
        assert counts[kind.name] >= 1
        assert abs(counts[kind.name] - count * kind.share / total) < 3
    with pytest.raises(ValueError, match="at least 6 samples, one of each format, asked for 5"):
        counts_of(5)


def test_more_are_the_same_streets_and_others():
    few, many = seeds_of(100, 0), seeds_of(200, 0)
    for name, (first, last) in few.items():
        assert many[name][0] == first
        assert many[name][1] >= last
