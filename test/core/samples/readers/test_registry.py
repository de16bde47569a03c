"""Data sets by name."""

import pytest

from spike_depth_core.samples.readers import READERS, open_dataset
from spike_depth_core.samples.readers.kitti_raw import KittiRaw
from test.core.samples.readers.kitti_raw_layout import write_drive


def test_every_reader_has_a_name_and_splits():
    assert len(READERS) == 10
    for name, reader in READERS.items():
        assert reader.name == name
        assert reader.splits
        assert len(set(reader.splits)) == len(reader.splits)


def test_a_data_set_is_opened_by_name(tmp_path):
    write_drive(tmp_path)
    data = open_dataset("kitti_raw", str(tmp_path), "all", depth="none")
    assert isinstance(data, KittiRaw)
    assert len(data) == len(list(data)) == 3
    assert data.crop == "garg"
    with pytest.raises(ValueError, match=r"kitti_raw has the splits eigen_train, .*: say which"):
        open_dataset("kitti_raw", tmp_path)
    with pytest.raises(ValueError, match="kitti_raw has the options depth, partial; found planes"):
        open_dataset("kitti_raw", tmp_path, "all", planes=3)
    with pytest.raises(ValueError, match=r"data sets are kitti_raw, .*; found 'kitty'"):
        open_dataset("kitty", tmp_path)
    with pytest.raises(ValueError, match="no KITTI frames in"):
        open_dataset("kitti_object", tmp_path)
