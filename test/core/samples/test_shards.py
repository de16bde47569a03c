"""Shards: read by tarfile and as samples, the same bytes for the same samples, whole or not there."""

import dataclasses
import hashlib
import io
import json
import tarfile

import numpy as np
import pytest
import webdataset

from spike_depth_core.samples.files import (
    SampleSummary,
    encode_sample,
    list_samples,
    load_sample,
    sample_path,
    save_sample,
    summary_of,
)
from spike_depth_core.samples.shards import ShardWriter, list_members
from spike_depth_core.whole_files import partial_files
from test.core.factories import small_sample


def samples():
    for seed in range(3):
        sample = small_sample(seed, planes=8)
        yield dataclasses.replace(sample, meta={**sample.meta, "sequence": "a", "frame": seed})


def write(folder, name="a.tar"):
    with ShardWriter(folder, name) as shard:
        for frame, sample in enumerate(samples()):
            shard.add(f"000-{frame:06d}", encode_sample(sample), SampleSummary.of(sample).to_dict())
    return shard.written


def test_a_shard_is_a_tar_in_the_layout_of_webdataset(tmp_path):
    written = write(tmp_path, "train/a.tar")
    path = tmp_path / "train" / "a.tar"
    assert (written.path, written.samples, written.size) == ("train/a.tar", 3, path.stat().st_size)
    assert written.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with tarfile.open(path) as tar:
        names = tar.getnames()
        assert names == [f"000-{k:06d}.{kind}" for k in range(3) for kind in ("json", "npz")]
        about = json.loads(tar.extractfile(names[2]).read())
        arrays = np.load(io.BytesIO(tar.extractfile(names[3]).read()), allow_pickle=False)
        assert about["meta"]["frame"] == 1
        np.testing.assert_array_equal(arrays["spikes"], next(s for s in samples() if s.meta["seed"] == 1).spikes.data)


def test_webdataset_reads_it(tmp_path):
    write(tmp_path)
    found = list(webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False).decode())
    assert [sample["__key__"] for sample in found] == [f"000-{k:06d}" for k in range(3)]
    for sample, expected in zip(found, samples(), strict=True):
        assert sample["json"]["meta"]["seed"] == expected.meta["seed"]
        np.testing.assert_array_equal(sample["npz"]["rgb"], expected.rgb)
        np.testing.assert_array_equal(sample["npz"]["spikes"], expected.spikes.data)


def test_members_are_samples_like_files(tmp_path):
    write(tmp_path / "shards")
    (tmp_path / "files").mkdir()
    for frame, sample in enumerate(samples()):
        save_sample(sample_path(tmp_path / "files", frame), sample)
    members, files = list_samples(tmp_path / "shards"), list_samples(tmp_path / "files")
    assert len(members) == len(files) == 3
    for member, file in zip(members, files, strict=True):
        one, other = load_sample(member), load_sample(file)
        for name in other.images:
            if name != "spikes":
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        np.testing.assert_array_equal(one.spikes.data, other.spikes.data)
        assert one.meta == other.meta
        assert summary_of(member) == summary_of(file)
    part = load_sample(members[1], {"thermal"}, {"rgb"})
    assert (part.sensors, set(part.depth)) == (("thermal",), {"rgb"})


def test_the_same_samples_give_the_same_bytes(tmp_path):
    assert write(tmp_path, "a.tar").sha256 == write(tmp_path, "b.tar").sha256


def test_a_shard_that_an_error_ends_is_not_there(tmp_path):
    def fail():
        with ShardWriter(tmp_path, "a.tar") as shard:
            shard.add("1", b"x", {})
            assert len(list(partial_files(tmp_path))) == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with ShardWriter(tmp_path, "empty.tar") as shard:
        pass
    assert shard.written is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_shard_that_is_cut_names_itself(tmp_path, share):
    size = write(tmp_path).size
    path = tmp_path / "a.tar"
    path.write_bytes(path.read_bytes()[: int(share * size)])
    with pytest.raises(ValueError, match=r"a\.tar is not a readable shard"):
        list_members(path)


@pytest.mark.parametrize("damage", ["a bit of a header", "an empty header", "cut before a header"])
def test_a_shard_whose_list_breaks_off_names_itself_and_the_place(tmp_path, damage):
    write(tmp_path)
    path = tmp_path / "a.tar"
    content = bytearray(path.read_bytes())
    at = content.index(b"000-000001.json")
    if damage == "a bit of a header":
        content[at + 110] ^= 1
    elif damage == "an empty header":
        content[at : at + tarfile.BLOCKSIZE] = bytes(tarfile.BLOCKSIZE)
    else:
        del content[at:]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.tar is not a readable shard: at byte {at:,} there is neither another"):
        list_members(path)


def test_a_sample_that_is_damaged_in_its_shard_names_itself(tmp_path):
    write(tmp_path)
    content = bytearray((tmp_path / "a.tar").read_bytes())
    member = list_members(tmp_path / "a.tar")[1]
    content[member.offset + member.size // 2] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(content)
    load_sample(list_members(tmp_path / "a.tar")[0])
    with pytest.raises(ValueError, match=r"a\.tar:000-000001\.npz is not a readable sample"):
        load_sample(list_members(tmp_path / "a.tar")[1])


def test_keys_are_those_that_webdataset_can_tell_apart(tmp_path):
    with ShardWriter(tmp_path, "a.tar") as shard, pytest.raises(ValueError, match=r"no dot and no slash, found 'a\.b'"):
        shard.add("a.b", b"", {})
