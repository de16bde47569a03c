"""Pictures of the real samples and of every damaged kind."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spike_depth_core.samples.images import read_grey, read_rgb

DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.skipif(not DATA.exists(), reason="no ../shared/data beside the checkout")
def test_the_multi_spectral_frame():
    assert read_rgb(DATA / "ms2/000011_left_rgb.png").shape == (384, 1224, 3)
    assert read_grey(DATA / "ms2/000011_left_nir.png").shape == (352, 1280)
    thermal = read_grey(DATA / "ms2/000011_left_thr.png")
    assert thermal.dtype == np.uint16
    assert thermal.max() > 255


def test_sixteen_bits_stay_sixteen(tmp_path):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    Image.fromarray(values).save(tmp_path / "t.png")
    np.testing.assert_array_equal(read_grey(tmp_path / "t.png"), values)


def test_colour_is_not_taken_for_grey(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (4, 4, 3), dtype=np.uint8)).save(tmp_path / "c.png")
    with pytest.raises(ValueError, match=r"c\.png: a picture of one channel"):
        read_grey(tmp_path / "c.png")


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2)], ids=["RGB", "grey and alpha"])
def test_sixteen_bits_of_several_channels_are_not_cut_to_eight(tmp_path, kind, channels):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + struct.pack(">H", 300 * y + 7) * channels * 4 for y in range(3))
    head = struct.pack(">IIBBBBB", 4, 3, 16, kind, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    with pytest.raises(ValueError, match=r"x\.png: a picture of one channel was expected, found mode .*;16B"):
        read_grey(tmp_path / "x.png")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_a_file_that_is_no_picture_names_itself(tmp_path, content):
    (tmp_path / "x.png").write_bytes(content)
    for read in (read_rgb, read_grey):
        with pytest.raises(ValueError, match=r"x\.png is not a readable picture"):
            read(tmp_path / "x.png")
    with pytest.raises(ValueError, match="no file"):
        read_rgb(tmp_path / "missing.png")


def test_a_picture_that_says_it_is_too_large_is_none(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    content = bytearray((tmp_path / "x.png").read_bytes())
    content[16:24] = struct.pack(">II", 30_000, 30_000)  # width and height in its head
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "x.png").write_bytes(content)
    for read in (read_rgb, read_grey):
        with pytest.raises(ValueError, match=r"x\.png is not a readable picture: .*900000000 pixels"):
            read(tmp_path / "x.png")


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, -1), (8, 1)])
def test_a_picture_is_turned_as_its_camera_says_where_that_is_asked_for(tmp_path, orientation, turns):
    exif = Image.Exif()
    exif[0x0112] = orientation
    colour = np.random.default_rng(0).integers(0, 255, (3, 5, 3), dtype=np.uint8)
    for read, stored in ((read_rgb, colour), (read_grey, colour[..., 0].astype(np.uint16) * 257)):
        Image.fromarray(stored).save(tmp_path / "x.png", exif=exif)
        np.testing.assert_array_equal(read(tmp_path / "x.png"), stored)
        turned = read(tmp_path / "x.png", upright=True)
        np.testing.assert_array_equal(turned, np.rot90(stored, turns))
        assert turned.dtype == stored.dtype
