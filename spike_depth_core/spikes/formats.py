"""Spike recordings as files: the camera's own `.dat`, and `.npy` / `.npz` of planes.

| suffix | holds | time |
| --- | --- | --- |
| `.dat` | bits, no header at all: size and layout must be known | not kept |
| `.npy` | planes [T, H, W] of zeros and ones, of any type of number, rows top down | not kept |
| `.npz` | the same as member `planes`, compressed, with `period_ns` and `start_ns` | kept |

A `.dat` plane is read row by row, eight pixels a byte, the least significant bit leftmost. Its layouts:

| layout | row | rows of a plane |
| --- | --- | --- |
| `camera` | W bits | bottom to top: the sensor image is upside down |
| `upright` | W bits | top to bottom, as simulators write them |
| `with_head` | W + 16 bits, the last 16 are not pixels (416 for 400; USB cameras) | bottom to top |
| `sps100` | 1024 bits: twice 500 pixels and 12 to drop (1000x1000; PCIe cameras) | top to bottom |

Of `sps100`, planes that follow one another without gaps, from the first row of one on, are read. A raw capture,
in which rows have to be found by the counters between the pixels (SpikeCV, `sps_parser.py`), is not: cut it to
whole planes first. A file that is no whole number of planes is refused.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, get_args

import numpy as np

from spike_depth_core.spikes.packed import DEFAULT_PERIOD_NS, PackedSpikes

DatLayout = Literal["camera", "upright", "with_head", "sps100"]

DEFAULT_SIZE = (250, 400)  # height, width
SUFFIXES = (".dat", ".npy", ".npz")

_SPS100_SIZE = (1000, 1000)
_CHUNK_BYTES = 1 << 25  # unpacked planes held at a time


def read_spikes(
    path: str | Path,
    height: int | None = None,
    width: int | None = None,
    layout: DatLayout = "camera",
    period_ns: int | None = None,
) -> PackedSpikes:
    """Read a recording; the suffix says which format it is.

    Args:
        path: `.dat`, `.npy` or `.npz`.
        height, width: size in pixels. A `.dat` needs them (250x400 if not given; 1000x1000 for `sps100`);
            for the others they are checked if given.
        layout: of a `.dat`.
        period_ns: time from plane to plane; by default what the file says, or 50,000.

    Returns:
        The planes. Those of a `.dat` are mapped from the file, not read: what is not looked at costs nothing. Only
        `sps100`, whose columns have to be put together, is read whole.

    Raises:
        ValueError: the file is not what it should be; says what was expected and found.
        OSError: the file cannot be read.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".dat":
        return read_dat(path, height, width, layout, period_ns or DEFAULT_PERIOD_NS)
    if suffix == ".npy":
        spikes = _read_npy(path, period_ns or DEFAULT_PERIOD_NS)
    elif suffix == ".npz":
        spikes = _read_npz(path, period_ns)
    else:
        raise ValueError(f"{path}: spikes are read from {', '.join(SUFFIXES)}, found {suffix or 'no suffix'}")
    height, width = _given(height, spikes.height), _given(width, spikes.width)
    if (height, width) != (spikes.height, spikes.width):
        raise ValueError(f"{path}: expected planes of {width}x{height} pixels, found {spikes.width}x{spikes.height}")
    return spikes


def write_spikes(path: str | Path, spikes: PackedSpikes, layout: DatLayout = "camera") -> None:
    """Write a recording, whole or not at all; the suffix says which format. `layout` is for `.dat`.

    Raises:
        ValueError: for another suffix, or a size that the layout does not have.
        OSError: naming the path, when it cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".dat":
        write_dat(path, [spikes], layout)
    elif suffix == ".npy":
        shape = (len(spikes), spikes.height, spikes.width)
        with _whole(path) as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            for first, last in _chunks(spikes):
                file.write(spikes.slice(first, last).planes().data)
    elif suffix == ".npz":
        period_ns, start_ns = np.int64(spikes.period_ns), np.int64(spikes.start_ns)
        with _whole(path) as file:
            np.savez_compressed(file, planes=spikes.planes(), period_ns=period_ns, start_ns=start_ns)
    else:
        raise ValueError(f"{path}: spikes are written to {', '.join(SUFFIXES)}, found {suffix or 'no suffix'}")


def read_dat(
    path: str | Path,
    height: int | None = None,
    width: int | None = None,
    layout: DatLayout = "camera",
    period_ns: int = DEFAULT_PERIOD_NS,
) -> PackedSpikes:
    """Read a camera's `.dat`. See `read_spikes`."""
    path = Path(path)
    height, width, row_bytes = _dat_size(height, width, layout)
    size, plane_bytes = path.stat().st_size, height * row_bytes
    if size == 0 or size % plane_bytes:
        raise ValueError(
            f"{path}: expected a whole number of planes of {plane_bytes} bytes "
            f"({width}x{height} pixels, layout {layout}), found {size} bytes, "
            + (f"{size % plane_bytes} too many" if size > plane_bytes else "less than one plane")
            + "; give the recording's height, width and layout, or cut the file"
        )
    rows = np.memmap(path, np.uint8, "r", shape=(size // plane_bytes, height, row_bytes))
    if layout == "sps100":
        data = np.empty((len(rows), height, width // 8), np.uint8)
        step = max(1, _CHUNK_BYTES // (height * 1024))
        for first in range(0, len(rows), step):
            bits = np.unpackbits(rows[first : first + step], axis=2, bitorder="little")
            pixels = np.delete(bits, _sps100_padding(), axis=2)
            data[first : first + step] = np.packbits(pixels, axis=2, bitorder="little")
    else:
        data = rows[:, :, : width // 8]
        data = data if layout == "upright" else data[:, ::-1]
    return PackedSpikes(data, width, period_ns)


def write_dat(path: str | Path, parts: Iterable[PackedSpikes], layout: DatLayout = "camera") -> int:
    """Write a camera's `.dat` of parts that follow one another, whole or not at all. Columns that are not pixels are
    written as zeros. Returns how many planes. Raises as `write_spikes`."""
    path = Path(path)
    planes = 0
    size: tuple[int, int] | None = None
    with _whole(path) as file:
        for spikes in parts:
            size = size or (spikes.height, spikes.width)
            if (spikes.height, spikes.width) != size:
                raise ValueError(
                    f"{path}: parts of one recording must agree, found {spikes.width}x{spikes.height} pixels after "
                    f"{size[1]}x{size[0]}"
                )
            _write_rows(file, spikes, layout)
            planes += len(spikes)
    return planes


def _write_rows(file: BinaryIO, spikes: PackedSpikes, layout: DatLayout) -> None:
    height, width, row_bytes = _dat_size(spikes.height, spikes.width, layout)
    for first, last in _chunks(spikes):
        data = spikes.data[first:last]
        if layout == "sps100":
            bits = np.zeros((last - first, height, 1024), np.uint8)
            bits[..., np.delete(np.arange(1024), _sps100_padding())] = spikes.slice(first, last).planes()
            rows = np.packbits(bits, axis=2, bitorder="little")
        else:
            rows = np.zeros((last - first, height, row_bytes), np.uint8)
            rows[..., : width // 8] = data if layout == "upright" else data[:, ::-1]
        file.write(rows.data)


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes its name when all of it is written; where that fails, what was there stays.

    None of the formats tells a part from a whole.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with open(partial, "wb") as file:
            yield file
        os.replace(partial, path)
    except OSError as error:
        raise OSError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _given(size: int | None, default: int) -> int:
    return default if size is None else size


def _dat_size(height: int | None, width: int | None, layout: str) -> tuple[int, int, int]:
    """Height and width in pixels, and bytes a row."""
    if layout not in get_args(DatLayout):
        raise ValueError(f"a .dat layout is one of {', '.join(get_args(DatLayout))}, found {layout!r}")
    if layout == "sps100":
        found = _given(height, 1000), _given(width, 1000)
        if found != _SPS100_SIZE:
            raise ValueError(f"layout sps100 is of 1000x1000 pixels, found {found[1]}x{found[0]}")
        return 1000, 1000, 128
    height, width = _given(height, DEFAULT_SIZE[0]), _given(width, DEFAULT_SIZE[1])
    if height < 1 or width < 8 or width % 8:
        raise ValueError(f"a .dat needs a width divisible by 8 and rows, found {width}x{height} pixels")
    return height, width, width // 8 + (2 if layout == "with_head" else 0)


def _sps100_padding() -> np.ndarray:
    # Each half row of 512 bits ends in 12 that are no pixels.
    return np.r_[500:512, 1012:1024]


def _chunks(spikes: PackedSpikes) -> list[tuple[int, int]]:
    step = max(1, _CHUNK_BYTES // max(1, spikes.height * spikes.width))
    return [(first, min(first + step, len(spikes))) for first in range(0, len(spikes), step)]


def _read_npy(path: Path, period_ns: int) -> PackedSpikes:
    try:
        planes = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # of a damaged head they are of many types
        raise ValueError(f"{path}: not a readable .npy of spike planes: {error}") from error
    if not isinstance(planes, np.ndarray):
        raise ValueError(f"{path}: named .npy, but it is an archive of arrays (.npz)")
    return _pack(planes, path, period_ns)


def _read_npz(path: Path, period_ns: int | None) -> PackedSpikes:
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("named .npz, but it is a single array (.npy)")
        with archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError:
        raise
    except Exception as error:  # zip, decompression and array errors of a damaged file are of many types
        raise ValueError(f"{path}: not a readable .npz of spike planes: {error}") from error
    stacks = [name for name, array in arrays.items() if array.ndim == 3]
    if "planes" in stacks:
        stacks = ["planes"]
    if len(stacks) != 1:
        found = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"{path}: expected one array of planes [T, H, W], found {found or 'nothing'}")
    times = {}
    for name, default in (("period_ns", DEFAULT_PERIOD_NS), ("start_ns", 0)):
        value = arrays.get(name, np.int64(default))
        if value.shape != () or not np.issubdtype(value.dtype, np.integer):
            raise ValueError(f"{path}: {name} must be one whole number, found {value.dtype} {value.shape}")
        times[name] = int(value)
    return _pack(arrays[stacks[0]], path, period_ns or times["period_ns"], times["start_ns"])


def _pack(planes: np.ndarray, path: Path, period_ns: int, start_ns: int = 0) -> PackedSpikes:
    # Data sets store planes as whatever their simulator computed in: bool, uint8, float64.
    if planes.ndim != 3 or planes.dtype.kind not in "buif":
        raise ValueError(f"{path}: expected planes [T, H, W] of numbers, found {planes.dtype} {list(planes.shape)}")
    count, height, width = planes.shape
    if not planes.size:
        raise ValueError(f"{path}: there are no spikes in an array {list(planes.shape)}")
    data = np.empty((count, height, (width + 7) // 8), np.uint8)
    step = max(1, _CHUNK_BYTES // (height * width))
    for first in range(0, count, step):
        some = planes[first : first + step]
        bits = some == 1
        if np.count_nonzero(some) != np.count_nonzero(bits):
            raise ValueError(f"{path}: planes hold zeros and ones, found {some[(some != 0) & ~bits][0]}")
        data[first : first + step] = np.packbits(bits, axis=2, bitorder="little")
    return PackedSpikes(data, width, period_ns, start_ns)
