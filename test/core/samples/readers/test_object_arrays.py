"""Saved dictionaries of arrays, read without unpickling: what NumPy writes, and what it must not be made to do."""

import io

import numpy as np
import pytest

from spike_depth_core.samples.readers.object_arrays import read_array_dict

VALUES = {
    "K": np.array([[764.5, 0.0, 579.5], [0.0, 764.5, 153.0], [0.0, 0.0, 1.0]]),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "big": np.arange(4, dtype=">i2").reshape(2, 2),
    "empty": np.zeros((0, 3)),
    "T": np.array([[-299.18], [0.0], [0.0]]),
    "same": None,  # set to one of the others: a pickle then refers back
    "scalar": np.float64(2.5),
    "number": 7,
}
VALUES["same"] = VALUES["K"]


def header(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(array))
    return buffer.getvalue()


@pytest.mark.parametrize("old", [False, True])
def test_what_numpy_saves_is_read(tmp_path, old):
    """By the pickle protocol of today, and by the one of ten years ago (that of `ndarray.dumps`)."""
    path = tmp_path / "calib.npy"
    array = np.array(VALUES)
    if old:
        path.write_bytes(header(array) + array.dumps())
    else:
        np.save(path, array)
    found = read_array_dict(path)
    assert found.keys() == VALUES.keys()
    for key, value in VALUES.items():
        np.testing.assert_array_equal(found[key], value)
        assert found[key].dtype.kind == np.asarray(value).dtype.kind


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "it names os system"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.", "it names posix system"),
        (b"cbuiltins\neval\n(V1\ntR.", "it names builtins eval"),
        (b"cnumpy\nndarray\n)R.", "it calls numpy ndarray"),
        (b"}(V__class__\nI1\nsb.", "expected a dictionary of arrays"),
        (b"", "expected a dictionary of arrays"),
    ],
)
def test_nothing_is_called(tmp_path, pickled, message):
    path = tmp_path / "calib.npy"
    path.write_bytes(header(np.array({}, dtype=object)) + pickled)
    with pytest.raises(ValueError, match=rf"calib.npy: .*{message}"):
        read_array_dict(path)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "calib.npy"
    for content in (np.arange(3), np.array(["a", None], dtype=object), np.array({"a": "text"}), np.array({1: 2})):
        np.save(path, content)
        with pytest.raises(ValueError, match=r"calib.npy: expected a dictionary of arrays"):
            read_array_dict(path)
    np.save(path, np.array(VALUES))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"calib.npy: expected a dictionary of arrays"):
        read_array_dict(path)
    with pytest.raises(FileNotFoundError):
        read_array_dict(tmp_path / "none.npy")
