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
import math
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, Literal, get_args
from zipfile import ZIP_DEFLATED, ZipFile

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
        return read_dat(path, height, width, layout, _given(period_ns, DEFAULT_PERIOD_NS))
    if suffix == ".npy":
        spikes = _read_npy(path, _given(period_ns, DEFAULT_PERIOD_NS))
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
        ValueError: for another suffix, no planes, or a size that the layout does not have.
        OSError: naming the path, when it cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz") and not len(spikes):
        raise ValueError(f"{path}: there are no planes to write")
    if suffix == ".dat":
        write_dat(path, [spikes], layout)
    elif suffix == ".npy":
        with _whole(path) as file:
            _write_planes(file, spikes)
    elif suffix == ".npz":
        with _whole(path) as file, ZipFile(file, "w", ZIP_DEFLATED) as archive:
            with archive.open("planes.npy", "w", force_zip64=True) as member:
                _write_planes(member, spikes)
            for name in ("period_ns", "start_ns"):
                if not -(2**63) <= getattr(spikes, name) < 2**63:
                    raise ValueError(f"{path}: {name} must be a number of 64 bits, found {getattr(spikes, name)}")
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, np.asarray(getattr(spikes, name), np.int64))
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
        if not planes:
            raise ValueError(f"{path}: there are no planes to write")
    return planes


def _write_planes(file: IO[bytes], spikes: PackedSpikes) -> None:
    """Planes as an `.npy` has them, a byte a spike, without ever holding them all."""
    shape = (len(spikes), spikes.height, spikes.width)
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    for first, last in _chunks(spikes):
        file.write(spikes.slice(first, last).planes().data)


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
    step = _planes_at_once((len(spikes), spikes.height, spikes.width))
    return [(first, min(first + step, len(spikes))) for first in range(0, len(spikes), step)]


def _read_npy(path: Path, period_ns: int) -> PackedSpikes:
    with _told_as_one(f"{path}: not a readable .npy of spike planes"):
        planes = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(planes, np.ndarray):
        raise ValueError(f"{path}: named .npy, but it is an archive of arrays (.npz)")
    size, expected = path.stat().st_size, getattr(planes, "offset", 0) + planes.nbytes
    if size > expected:
        raise ValueError(f"{path}: planes {list(planes.shape)} take {expected:,} bytes, found {size:,}")
    _check_planes(path, planes.shape, planes.dtype)
    step = _planes_at_once(planes.shape)
    parts = (planes[first : first + step] for first in range(0, len(planes), step))
    return _pack(path, planes.shape, parts, period_ns)


def _read_npz(path: Path, period_ns: int | None) -> PackedSpikes:
    unreadable = f"{path}: not a readable .npz of spike planes"
    with contextlib.ExitStack() as stack:
        with _told_as_one(unreadable):
            archive = stack.enter_context(ZipFile(path))
            heads = {name.removesuffix(".npy"): _head(archive, name) for name in archive.namelist()}
        stacks = [name for name, head in heads.items() if len(head.shape) == 3]
        if "planes" in stacks:
            stacks = ["planes"]
        if len(stacks) != 1:
            found = ", ".join(f"{name} {head.dtype} {head.shape}" for name, head in heads.items())
            raise ValueError(f"{path}: expected one array of planes [T, H, W], found {found or 'nothing'}")
        times = {"period_ns": DEFAULT_PERIOD_NS, "start_ns": 0}
        for name in times.keys() & heads.keys():
            head = heads[name]
            if head.shape != () or not np.issubdtype(head.dtype, np.integer):
                raise ValueError(f"{path}: {name} must be one whole number, found {head.dtype} {head.shape}")
            with _told_as_one(unreadable), archive.open(head.member) as file:
                times[name] = int(np.lib.format.read_array(file))
                _check_end(file, head)
        if times["period_ns"] < 1:
            raise ValueError(f"{path}: period_ns must be positive, found {times['period_ns']}")
        head = heads[stacks[0]]
        _check_planes(path, head.shape, head.dtype)
        parts = _told_parts(unreadable, _stored(archive, head))
        return _pack(path, head.shape, parts, _given(period_ns, times["period_ns"]), times["start_ns"])


@contextlib.contextmanager
def _told_as_one(what: str) -> Iterator[None]:
    """Errors of zip, decompression and arrays, of which a damaged file makes many types, as one; not the system's."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{what}: {error}") from error


def _told_parts(what: str, parts: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    with _told_as_one(what):
        yield from parts


@dataclass(frozen=True)
class _Head:
    """What an archive's member says of its array before its values."""

    member: str
    shape: tuple[int, ...]
    in_fortran_order: bool
    dtype: np.dtype
    size: int


def _head(archive: ZipFile, member: str) -> _Head:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{member} is an array of version {version}, which those with named fields have")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return _Head(member, *read(file), file.tell())


def _stored(archive: ZipFile, head: _Head) -> Iterator[np.ndarray]:
    """The planes of a member, some at a time."""
    step = _planes_at_once(head.shape)
    with archive.open(head.member) as file:
        if head.in_fortran_order:
            planes = np.lib.format.read_array(file)
            _check_end(file, head)
            yield from (planes[first : first + step] for first in range(0, len(planes), step))
            return
        file.read(head.size)
        for first in range(0, head.shape[0], step):
            shape = (min(step, head.shape[0] - first), *head.shape[1:])
            size = math.prod(shape) * head.dtype.itemsize
            content = file.read(size)
            if len(content) != size:
                raise ValueError(f"{head.member} ends before plane {first + shape[0]} of {head.shape[0]}")
            yield np.frombuffer(content, head.dtype).reshape(shape)
        _check_end(file, head)


def _check_end(file: IO[bytes], head: _Head) -> None:
    """Raise an error where a member goes on, or its checksum, which is looked at when its end is reached, is wrong."""
    if file.read(1):
        raise ValueError(f"{head.member} goes on behind its array {list(head.shape)}")


def _planes_at_once(shape: tuple[int, ...]) -> int:
    return max(1, _CHUNK_BYTES // max(1, shape[1] * shape[2]))


def _check_planes(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    # Data sets store planes as whatever their simulator computed in: bool, uint8, float64.
    if len(shape) != 3 or dtype.kind not in "buif":
        raise ValueError(f"{path}: expected planes [T, H, W] of numbers, found {dtype} {list(shape)}")
    if 0 in shape:
        raise ValueError(f"{path}: there are no spikes in an array {list(shape)}")


def _pack(
    path: Path, shape: tuple[int, ...], parts: Iterable[np.ndarray], period_ns: int, start_ns: int = 0
) -> PackedSpikes:
    count, height, width = shape
    data = np.empty((count, height, (width + 7) // 8), np.uint8)
    first = 0
    for some in parts:
        bits = some == 1
        if np.count_nonzero(some) != np.count_nonzero(bits):
            raise ValueError(f"{path}: planes hold zeros and ones, found {some[(some != 0) & ~bits][0]}")
        data[first : first + len(some)] = np.packbits(bits, axis=2, bitorder="little")
        first += len(some)
    return PackedSpikes(data, width, period_ns, start_ns)
