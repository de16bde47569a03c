"""Reading and writing spike recordings: round trips, bit order, the picture of a real file, and files at fault."""

import io
import re
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spike_depth_core.spikes import PackedSpikes, formats, read_spikes, spike_counts, write_spikes
from spike_depth_core.spikes.formats import read_dat, write_dat

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "spikes"
RECORDING = DATA / "reds_301x250x400.dat"
needs_data = pytest.mark.skipif(not RECORDING.exists(), reason=f"no sample recordings at {DATA}")


@pytest.fixture
def planes() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (7, 6, 32), dtype=np.uint8)


def test_dat_is_least_significant_bit_first_and_upside_down(tmp_path):
    path = tmp_path / "a.dat"
    path.write_bytes(bytes([0b0000_0001, 0, 0, 0b1000_0010]))  # two rows of 16 pixels, the bottom one first
    (plane,) = read_dat(path, 2, 16).planes()
    expected = np.zeros((2, 16), np.uint8)
    expected[1, 0] = expected[0, 9] = expected[0, 15] = 1
    np.testing.assert_array_equal(plane, expected)
    np.testing.assert_array_equal(read_dat(path, 2, 16, "upright").planes()[0], expected[::-1])


@needs_data
def test_firing_rate_of_a_recording_is_its_picture():
    spikes = read_spikes(RECORDING).slice(130, 171)
    picture = np.asarray(Image.open(DATA / "reds_301x250x400_middle.png").convert("L"), float)
    correlation = np.corrcoef(spike_counts(spikes, [41])[0].ravel(), picture.ravel())[0, 1]
    assert correlation >= 0.985  # 0.952 with the bits of each byte reversed


@needs_data
def test_the_recording_is_written_as_it_was_read(tmp_path):
    write_spikes(tmp_path / "again.dat", read_spikes(RECORDING))
    assert (tmp_path / "again.dat").read_bytes() == RECORDING.read_bytes()


@needs_data
def test_a_real_recording_of_another_size_is_read():
    path = DATA / "uhsr_real_200x250x250.npz"
    spikes = read_spikes(path)
    assert (len(spikes), spikes.height, spikes.width) == (200, 250, 250)
    np.testing.assert_array_equal(spikes.planes(), np.load(path)["spk"])


@pytest.mark.parametrize("suffix", [".dat", ".npy", ".npz"])
def test_round_trip(tmp_path, planes, suffix):
    spikes = PackedSpikes.from_planes(planes, period_ns=25_000, start_ns=123)
    path = tmp_path / f"spikes{suffix}"
    write_spikes(path, spikes)
    again = read_spikes(path, 6, 32)
    np.testing.assert_array_equal(again.planes(), planes)
    assert (again.period_ns, again.start_ns) == ((25_000, 123) if suffix == ".npz" else (50_000, 0))
    assert read_spikes(path, 6, 32, period_ns=10).period_ns == 10


def test_planes_of_any_width_and_of_bools(tmp_path):
    planes = np.random.default_rng(1).random((4, 3, 13)) < 0.5
    np.save(tmp_path / "a.npy", planes)
    np.testing.assert_array_equal(read_spikes(tmp_path / "a.npy").planes(), planes)


def test_with_head_drops_sixteen_columns(tmp_path, planes):
    path = tmp_path / "a.dat"
    headed = np.concatenate([planes, np.ones((7, 6, 16), np.uint8)], axis=2)
    path.write_bytes(np.packbits(headed[:, ::-1], axis=2, bitorder="little").tobytes())
    np.testing.assert_array_equal(read_dat(path, 6, 32, "with_head").planes(), planes)
    write_spikes(tmp_path / "b.dat", PackedSpikes.from_planes(planes), "with_head")
    np.testing.assert_array_equal(read_dat(tmp_path / "b.dat", 6, 32, "with_head").planes(), planes)
    assert (tmp_path / "b.dat").stat().st_size == path.stat().st_size


def test_sps100_drops_columns_in_both_halves(tmp_path):
    planes = np.random.default_rng(2).integers(0, 2, (2, 1000, 1000), dtype=np.uint8)
    filler = np.ones((2, 1000, 12), np.uint8)
    rows = np.concatenate([planes[..., :500], filler, planes[..., 500:], filler], axis=2)
    (tmp_path / "a.dat").write_bytes(np.packbits(rows, axis=2, bitorder="little").tobytes())
    spikes = read_dat(tmp_path / "a.dat", layout="sps100")
    np.testing.assert_array_equal(spikes.planes(), planes)
    write_spikes(tmp_path / "b.dat", spikes, "sps100")
    np.testing.assert_array_equal(read_dat(tmp_path / "b.dat", layout="sps100").planes(), planes)


def test_parts_are_one_recording(tmp_path, planes):
    spikes = PackedSpikes.from_planes(planes)
    assert write_dat(tmp_path / "a.dat", (spikes.slice(*ends) for ends in ((0, 3), (3, 7)))) == 7
    np.testing.assert_array_equal(read_dat(tmp_path / "a.dat", 6, 32).planes(), planes)
    turned = PackedSpikes.from_planes(planes.reshape(7, 12, 16))
    with pytest.raises(ValueError, match=r"b.dat: parts of one recording must agree, found 16x12 pixels after 32x6"):
        write_dat(tmp_path / "b.dat", [spikes, turned])
    assert [path.name for path in tmp_path.iterdir()] == ["a.dat"]


def test_a_file_that_cannot_be_written_is_named(tmp_path, planes):
    path = tmp_path / "gone" / "a.npz"
    with pytest.raises(OSError, match=f"{re.escape(str(path))} cannot be written: No such file or directory"):
        write_spikes(path, PackedSpikes.from_planes(planes))


def test_a_file_with_half_a_plane_is_refused(tmp_path):
    (tmp_path / "a.dat").write_bytes(bytes(12_500 + 99))
    with pytest.raises(ValueError, match=r"planes of 12500 bytes .*400x250.* found 12599 bytes, 99 too many"):
        read_spikes(tmp_path / "a.dat")
    (tmp_path / "a.dat").write_bytes(b"")
    with pytest.raises(ValueError, match="found 0 bytes, less than one plane"):
        read_spikes(tmp_path / "a.dat")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"width": 12}, "width divisible by 8"),
        ({"width": 0, "height": 0}, "found 0x0 pixels"),
        ({"layout": "sps100", "height": 0}, "1000x1000 pixels, found 1000x0"),
        ({"layout": "sideways"}, "layout is one of .* found 'sideways'"),
        ({"layout": "sps100", "height": 250, "width": 400}, "1000x1000 pixels, found 400x250"),
    ],
)
def test_impossible_layouts_are_refused(tmp_path, arguments, message):
    (tmp_path / "a.dat").write_bytes(bytes(12_500))
    with pytest.raises(ValueError, match=message):
        read_spikes(tmp_path / "a.dat", **arguments)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 4), np.uint8), r"found .*uint8 [\[(]4, 4[\])]"),
        (np.full((2, 4, 4), 0.5, np.float32), "zeros and ones, found 0.5"),
        (np.full((2, 4, 4), np.nan), "zeros and ones, found nan"),
        (np.full((2, 4, 4), -1, np.int8), "zeros and ones, found -1"),
        (np.full((2, 4, 4), "1"), "found <U1"),
        (np.full((2, 4, 4), 255, np.uint8), "zeros and ones, found 255"),
        (np.zeros((0, 4, 4), np.uint8), "no spikes"),
        (np.array([[[None]]]), "not a readable|numbers, found object"),
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_arrays_that_are_no_planes_are_refused(tmp_path, array, message, suffix):
    path = tmp_path / f"a{suffix}"
    (np.save if suffix == ".npy" else np.savez)(path, array)
    with pytest.raises(ValueError, match=message):
        read_spikes(path)


@pytest.mark.parametrize("dtype", [np.bool_, np.int64, np.float16, np.float64])
def test_planes_of_any_type_of_number_are_read(tmp_path, planes, dtype):
    np.save(tmp_path / "a.npy", planes.astype(dtype))
    np.testing.assert_array_equal(read_spikes(tmp_path / "a.npy").planes(), planes)


def test_files_that_are_not_what_they_are_called_are_refused(tmp_path, planes):
    for suffix in (".npy", ".npz"):
        path = tmp_path / f"text{suffix}"
        path.write_text("this is not an array")
        with pytest.raises(ValueError, match="not a readable"):
            read_spikes(path)
        path.write_bytes(b"")
        with pytest.raises(ValueError, match="not a readable"):
            read_spikes(path)
    with pytest.raises(ValueError, match=r"read from .dat, .npy, .npz, found .txt"):
        read_spikes(tmp_path / "a.txt")
    with pytest.raises(ValueError, match=r"written to .dat, .npy, .npz, found no suffix"):
        write_spikes(tmp_path / "a", PackedSpikes.from_planes(planes))
    np.savez(tmp_path / "two.npz", a=planes, b=planes)
    with pytest.raises(ValueError, match=r"one array of planes .* found a uint8 \(7, 6, 32\), b"):
        read_spikes(tmp_path / "two.npz")
    np.savez(tmp_path / "time.npz", planes=planes, period_ns=np.array("soon"))
    with pytest.raises(ValueError, match="period_ns must be one whole number"):
        read_spikes(tmp_path / "time.npz")
    np.save(tmp_path / "size.npy", planes)
    with pytest.raises(ValueError, match="expected planes of 40x6 pixels, found 32x6"):
        read_spikes(tmp_path / "size.npy", width=40)
    with pytest.raises(ValueError, match="expected planes of 32x0 pixels, found 32x6"):
        read_spikes(tmp_path / "size.npy", height=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_npz_costs_little_more_than_its_planes_packed(tmp_path, monkeypatch, dtype):
    """Counted by what NumPy allocates, of planes that are 6 and 26 MB unpacked."""
    chunk = 1 << 18
    monkeypatch.setattr(formats, "_CHUNK_BYTES", chunk)
    spikes = PackedSpikes(np.random.default_rng(0).integers(0, 256, (64, 250, 50), np.uint8), 400)
    path = tmp_path / "a.npz"
    np.savez(path, planes=spikes.planes().astype(dtype))
    tracemalloc.start()
    try:
        found = read_spikes(path)
        read = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        write_spikes(path, spikes)
        written = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(found.data, spikes.data)
    few = 6 * chunk * np.dtype(dtype).itemsize
    assert read < spikes.data.nbytes + few
    assert written < few + found.data.nbytes
    np.testing.assert_array_equal(read_spikes(path).data, spikes.data)


def test_planes_are_found_among_other_members_and_in_any_order(tmp_path, planes):
    np.savez(tmp_path / "a.npz", planes=np.asfortranarray(planes), label=np.array({"not": "read"}), depth=planes)
    np.testing.assert_array_equal(read_spikes(tmp_path / "a.npz").planes(), planes)


@pytest.mark.parametrize("suffix", [".dat", ".npy", ".npz"])
def test_nothing_is_not_written(tmp_path, suffix):
    with pytest.raises(ValueError, match=rf"a{suffix}: there are no planes to write"):
        write_spikes(tmp_path / f"a{suffix}", PackedSpikes(np.zeros((0, 6, 4), np.uint8), 32))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".dat", ".npy", ".npz"])
def test_a_period_of_nothing_is_refused(tmp_path, planes, suffix):
    path = tmp_path / f"a{suffix}"
    write_spikes(path, PackedSpikes.from_planes(planes))
    with pytest.raises(ValueError, match="period must be positive, found 0"):
        read_spikes(path, 6, 32, period_ns=0)
    np.savez(tmp_path / "b.npz", planes=planes, period_ns=np.int64(0))
    with pytest.raises(ValueError, match=r"b\.npz: period_ns must be positive, found 0"):
        read_spikes(tmp_path / "b.npz")


def test_a_truncated_npy_is_refused(tmp_path, planes):
    path = tmp_path / "a.npy"
    np.save(path, planes)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"not a readable .npy"):
        read_spikes(path)


def test_an_npy_that_is_longer_than_it_says_is_refused(tmp_path, planes):
    path = tmp_path / "a.npy"
    np.save(path, planes)
    path.write_bytes(path.read_bytes() + bytes(6 * 32))
    with pytest.raises(ValueError, match=r"a\.npy: planes \[7, 6, 32\] take 1,472 bytes, found 1,664"):
        read_spikes(path)


@pytest.mark.parametrize("fault", ["checksum", "one plane less in the head", "likewise, in Fortran's order"])
def test_an_npz_is_read_to_its_end(tmp_path, fault):
    path = tmp_path / "a.npz"
    planes = np.random.default_rng(0).integers(0, 2, (70, 60, 32), dtype=np.uint8)
    if fault == "checksum":
        np.savez_compressed(path, planes=planes)
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\x01\x02") + 16] ^= 1
    else:
        np.savez(path, planes=np.asarray(planes, order="F" if "Fortran" in fault else "C"))
        content = path.read_bytes().replace(b"(70, 60", b"(69, 60", 1)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: not a readable \.npz of spike planes: .*(CRC|goes on behind)"):
        read_spikes(path)


def test_times_of_more_than_64_bits_are_refused(tmp_path, planes):
    with pytest.raises(ValueError, match=r"a\.npz: period_ns must be a number of 64 bits, found 36893488147419103232"):
        write_spikes(tmp_path / "a.npz", PackedSpikes.from_planes(planes, period_ns=2**65))
    assert list(tmp_path.iterdir()) == []


DAMAGE = {
    "an .npy with an open bracket in its head": (".npy", lambda b: b.replace(b"(7", b"((", 1)),
    "an .npz packed in an unknown way": (".npz", lambda b: in_directory(b, 10, 97)),
    "an .npz under a password": (".npz", lambda b: in_directory(b, 8, 1)),
    "a damaged .npz packed by LZMA": (".npz", lambda b: b[:60] + bytes(20) + b[80:]),
}


def in_directory(content: bytes, offset: int, value: int) -> bytes:
    """A zip of one member with a byte changed where the directory and the member's own head describe it."""
    changed = bytearray(content)
    changed[content.rindex(b"PK\x01\x02") + offset] = value
    changed[offset - 2] = value
    return bytes(changed)


@pytest.mark.parametrize("what", DAMAGE)
def test_whatever_is_damaged_is_told_as_one_thing(tmp_path, planes, what):
    suffix, damage = DAMAGE[what]
    array = io.BytesIO()
    np.save(array, planes)
    content = array.getvalue()
    if suffix == ".npz":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_LZMA if "LZMA" in what else zipfile.ZIP_DEFLATED) as file:
            file.writestr("planes.npy", content)
        content = packed.getvalue()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    np.testing.assert_array_equal(read_spikes(path).planes(), planes)
    path.write_bytes(damage(content))
    with pytest.raises(ValueError, match=f"not a readable {suffix}"):
        read_spikes(path)
