"""Shards: many samples in one tar file, as WebDataset lays them out.

A sample is two members with the same key: `KEY.npz`, a sample file, and `KEY.json`, what it is of. Members are not
compressed, so any of them is read where it lies, or the whole file as a stream. The tar needs no index beside it: its
own headers are one. It holds nothing of the moment at which it was written: the same samples give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from spike_depth_core.whole_files import partial_name, put_in_place

SHARD_SUFFIX = ".tar"
_SAMPLE, _ABOUT = ".npz", ".json"
_END = bytes(2 * tarfile.BLOCKSIZE)  # of an archive


@dataclass(frozen=True)
class ShardMember:
    """A sample in a shard.

    Attributes:
        shard: the file.
        key: of the sample, unique in its data set.
        offset, size: of its bytes in the file.
        about: what the shard says of it beside.
    """

    shard: Path
    key: str
    offset: int
    size: int
    about: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        return f"{self.shard}:{self.key}{_SAMPLE}"

    @property
    def stem(self) -> str:
        """As a file of that name would have it."""
        return self.key

    def open(self) -> BinaryIO:
        """The sample's bytes as a file."""
        return io.BufferedReader(_Part(self.shard, self.offset, self.size), 1 << 16)


class _Part(io.RawIOBase):
    """A range of a file, as a file of its own."""

    def __init__(self, path: Path, offset: int, size: int):
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()
        self._offset, self._size, self._at = offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: max(0, self._size - self._at)]
        self._file.seek(self._offset + self._at)
        count = self._file.readinto(view) or 0
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


@dataclass(frozen=True)
class WrittenShard:
    """A shard that is complete.

    Attributes:
        path: relative to its data set.
        samples: how many.
        size: bytes.
        sha256: of the file.
    """

    path: str
    samples: int
    size: int
    sha256: str


class ShardWriter:
    """A shard, open for writing; a `with` statement closes it. There is no file of its name before it is complete.

    Args:
        folder: of the data set.
        path: of the shard in it.

    Attributes:
        samples, size: how many, and bytes, so far.
        written: what came of it, once it is closed; None where no sample was added, and then there is no file.
    """

    def __init__(self, folder: str | Path, path: str):
        self.path, self.written = path, None  # type: tuple[str, WrittenShard | None]
        self._target = Path(folder) / path
        self._target.parent.mkdir(parents=True, exist_ok=True)
        # Two processes may write the same shard, where one was thought dead: each under a name of its own.
        self._partial = partial_name(self._target)
        self._file = open(self._partial, "wb")  # noqa: SIM115 - closed by __exit__
        self._sha256 = hashlib.sha256()
        self.samples = self.size = 0

    def add(self, key: str, sample: memoryview | bytes, about: Mapping[str, Any]) -> None:
        """Append a sample.

        Args:
            key: without a dot, in rising order.
            sample: a sample file, see `samples.files.encode_sample`.
            about: JSON values.
        """
        if "." in key or "/" in key:
            raise ValueError(f"a key of a shard has no dot and no slash, found {key!r}")
        described = json.dumps(about, sort_keys=True).encode()
        for suffix, content in ((_ABOUT, described), (_SAMPLE, sample)):
            info = tarfile.TarInfo(key + suffix)
            info.size = len(content)
            self._write(info.tobuf(tarfile.USTAR_FORMAT))
            self._write(content)
            self._write(bytes(-len(content) % tarfile.BLOCKSIZE))
        self.samples += 1

    def _write(self, content: memoryview | bytes) -> None:
        self._file.write(content)
        self._sha256.update(content)
        self.size += len(content)

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self.samples:
                self._write(_END)
                put_in_place(self._file, self._partial, self._target)
                self.written = WrittenShard(self.path, self.samples, self.size, self._sha256.hexdigest())
        finally:
            self._file.close()
            self._partial.unlink(missing_ok=True)


def list_members(shard: str | Path) -> list[ShardMember]:
    """The samples of a shard, as its headers have them. Raises ValueError naming a file that is no shard or is cut."""
    shard = Path(shard)
    found: list[ShardMember] = []
    about: dict[str, Any] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                key, dot, suffix = member.name.partition(".")
                if dot + suffix == _ABOUT:
                    content = tar.extractfile(member)
                    about = {key: json.loads(content.read())} if content else {}
                elif dot + suffix == _SAMPLE:
                    found.append(ShardMember(shard, key, member.offset_data, member.size, about.get(key, {})))
            end = tar.offset  # where tarfile found no further header, which it takes for the end
        with open(shard, "rb") as file:
            file.seek(end)
            if file.read(len(_END)) != _END:
                raise ValueError(f"at byte {end:,} there is neither another member nor the archive's end")
    except FileNotFoundError:
        raise
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{shard} is not a readable shard: {error}") from error
    return found


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
