"""MCAP files (https://mcap.dev/spec), whole or not: without an index, or cut short where a recording ended.

An MCAP file is a row of records. Messages lie in chunks, compressed or not, or bare; at the end there should be an
index of the chunks. Where it is missing it is made by hopping from record to record, which reads none of the messages.
What is held of a file is four numbers a chunk; what is read at a time is one chunk, or those that overlap in time.
"""

from __future__ import annotations

import contextlib
import heapq
import io
import math
import os
import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from spike_depth_core.bags.storage import (
    EARLIEST_NS,
    LATEST_NS,
    MOST_BYTES,
    BagError,
    Damage,
    StoredMessage,
    StoredTopic,
    custom_data,
)

_MAGIC = b"\x89MCAP0\r\n"
_HEAD = struct.Struct("<BQ")  # of a record: opcode, length of what follows
_CHUNK = struct.Struct("<QQQII")  # start, end, uncompressed size, CRC, length of the compression's name
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_FOOTER_BYTES = 9 + 20 + len(_MAGIC)
_LEAST_CHUNK = _HEAD.size + _CHUNK.size + 8  # bytes of a chunk record with nothing in it
_RUN_BYTES = 4 << 20  # bare messages that are read at a time
_LONGEST_RECORD = 1 << 26  # bytes of a record that is no chunk and no message
_LET_GO = 16 << 20  # bytes of a file that are let go of at a time
_KEPT_SHARE = 1 / 8  # of this machine's memory: what of a larger file has been read is not kept cached


class McapFile:
    """An MCAP file, see `StorageFile`.

    Args:
        path: of the file.
        verify: whether to check the checksums of chunks that have one: slower by what a CRC of everything costs.

    Raises:
        BagError: for a file that is no MCAP file.
    """

    def __init__(self, path: Path, verify: bool = False):
        self.path = path
        self.topics: dict[int, StoredTopic] = {}
        self.damage: list[Damage] = []
        self.custom: dict[str, str] = {}
        self._verify = verify
        self._schemas: dict[int, Any] = {}
        self._counts: Counter[int] | None = None
        self._told: Counter[int] | None = None  # messages by channel, as the summary has them
        self._segments = _Segments()
        self._file = open(path, "rb")  # noqa: SIM115 (held open for as long as this object)
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            self._behind = 0
            self._passes = self._size > _KEPT_SHARE * _memory_bytes()
            if self._file.read(len(_MAGIC)) != _MAGIC:
                raise BagError(f"{path} is not an MCAP file: it does not begin as one")
            if not self._read_summary():
                self._hop()
        except BaseException:
            self.close()
            raise
        if self._counts is not None:
            self.topics = {
                number: replace(topic, count=self._counts.get(number, 0)) for number, topic in self.topics.items()
            }
        self.start_ns, self.end_ns = self._segments.span()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def messages(
        self, topics: Collection[int], start_ns: int = EARLIEST_NS, stop_ns: int = LATEST_NS
    ) -> Iterator[StoredMessage]:
        """See `StorageFile`. Messages of the same time are in the order of the file."""
        wanted = frozenset(topics)
        count = 0
        waiting: list[tuple[int, int, int, StoredMessage]] = []
        for segment in self._segments.in_order(wanted, start_ns, stop_ns):
            begins_ns = self._segments.starts[segment]
            while waiting and waiting[0][0] < begins_ns:
                yield heapq.heappop(waiting)[3]
            for place, message in enumerate(self._load(segment)):
                if message.topic in wanted and start_ns <= message.time_ns < stop_ns:
                    count += 1
                    heapq.heappush(waiting, (message.time_ns, self._segments.offsets[segment], place, message))
        while waiting:
            yield heapq.heappop(waiting)[3]
        if self._told is not None and not self.damage and start_ns <= EARLIEST_NS and stop_ns >= LATEST_NS:
            told = sum(self._told[channel] for channel in wanted)
            if count != told:
                self._broken(self._size, f"its summary tells of {told:,} messages, {count:,} were read")

    # What there is in the file

    def _read_summary(self) -> bool:
        """Take topics and chunks from the summary at the end. False where there is none that is of use."""
        from mcap.records import ChunkIndex, Footer, MetadataIndex, Statistics

        if self._size < len(_MAGIC) + _FOOTER_BYTES:
            return False
        self._file.seek(-_FOOTER_BYTES, os.SEEK_END)
        tail = self._file.read(_FOOTER_BYTES)
        if tail[-len(_MAGIC) :] != _MAGIC or tail[:9] != _HEAD.pack(0x02, 20):
            return False
        footer = Footer.read(_stream(tail[9:]))
        if not len(_MAGIC) <= footer.summary_start <= self._size - _FOOTER_BYTES:
            return False
        if footer.summary_crc and self._crc_of(footer.summary_start) != footer.summary_crc:
            self._broken(footer.summary_start, "the checksum of its summary is wrong: it is read without it")
            return False
        found = _Segments()
        known: set[int] = set()
        total = None
        try:
            for record in self._records(footer.summary_start, self._size - _FOOTER_BYTES):
                if isinstance(record, ChunkIndex):
                    end = record.chunk_start_offset + record.chunk_length
                    # Where a checksum has not shown the index to be right, each chunk is asked.
                    if (
                        record.chunk_length < _LEAST_CHUNK
                        or end > footer.summary_start
                        or (not footer.summary_crc and not self._is_chunk(record))
                    ):
                        self._broken(footer.summary_start, "its index and its chunks disagree: it is read without one")
                        return False
                    channels = frozenset(record.message_index_offsets)
                    known |= channels
                    found.add(
                        record.chunk_start_offset,
                        record.chunk_length,
                        record.message_start_time,
                        record.message_end_time,
                        channels or None,
                    )
                elif isinstance(record, Statistics):
                    self._counts = Counter(record.channel_message_counts)
                    total = record.message_count
                    known |= {channel for channel, count in self._counts.items() if count}
                elif isinstance(record, MetadataIndex):
                    self._read_custom(record.offset, record.length)
        except (ValueError, struct.error):
            self._schemas.clear()
            self.topics.clear()
            return False
        if not known <= set(self.topics) or (not len(found) and total != 0):
            return False  # without the channels repeated, or without chunks
        self._segments = found
        if self._counts is not None and self._counts.total() == total:
            self._told = self._counts
        return True

    def _crc_of(self, begin: int) -> int:
        """The checksum of the summary, which ends before its own place in the footer."""
        self._file.seek(begin)
        left, crc = self._size - len(_MAGIC) - 4 - begin, 0
        while left > 0 and (part := self._file.read(min(left, _RUN_BYTES))):
            left, crc = left - len(part), zlib.crc32(part, crc)
        return crc

    def _is_chunk(self, index: Any) -> bool:
        """Whether what an entry of the index points at says the same of itself."""
        self._file.seek(index.chunk_start_offset)
        head = self._file.read(_HEAD.size + _CHUNK.size)
        opcode, length = _HEAD.unpack_from(head)
        return (opcode, _HEAD.size + length, *_CHUNK.unpack_from(head, _HEAD.size)[:3]) == (
            0x06,
            index.chunk_length,
            index.message_start_time,
            index.message_end_time,
            index.uncompressed_size,
        )

    def _records(self, begin: int, end: int) -> Iterator[Any]:
        """Records of the summary, channels and schemas taken in by the way."""
        from mcap import records
        from mcap.exceptions import McapError

        readers = {
            0x08: records.ChunkIndex.read,
            0x0B: records.Statistics.read,
            0x0D: records.MetadataIndex.read,
        }
        while begin < end:
            self._file.seek(begin)
            opcode, length = _HEAD.unpack(self._file.read(_HEAD.size))
            if length > min(_LONGEST_RECORD, end - begin):
                raise ValueError("a record of the summary goes beyond it")
            body = self._file.read(length)
            try:
                if opcode in (0x03, 0x04):
                    self._learn(opcode, body)
                elif opcode in readers:
                    yield readers[opcode](_stream(body))
            except (McapError, UnicodeDecodeError) as error:
                raise ValueError(str(error)) from error
            begin += _HEAD.size + length

    def _hop(self) -> None:
        """Find topics and messages by going from record to record, as far as the file goes."""
        self._counts = Counter()
        at = len(_MAGIC)
        run: _Run | None = None
        chunk: tuple[int, int, int, int] | None = None  # the last, until it is known which channels it has
        channels: set[int] = set()

        def close_chunk() -> None:
            nonlocal chunk
            if chunk is not None:
                if not channels or not channels <= set(self.topics):
                    self._learn_from(*chunk[:2])
                self._segments.add(*chunk, frozenset(channels) or None)
            chunk = None
            channels.clear()

        def close_run() -> None:
            nonlocal run
            if run is not None:
                self._segments.add(run.begin, run.end - run.begin, run.start_ns, run.end_ns, None)
            run = None

        while at < self._size:
            self._file.seek(at)
            head = self._file.read(_HEAD.size + _CHUNK.size)
            if len(head) < _HEAD.size:
                self._cut(at, _HEAD.size, "a record")
                break
            opcode, length = _HEAD.unpack_from(head)
            end = at + _HEAD.size + length
            if opcode == 0x00 or (opcode not in (0x05, 0x06) and length > _LONGEST_RECORD):
                self._broken(at, f"there is no record at byte {at:,}: it is damaged there")
                break
            if opcode != 0x07:
                close_chunk()
            if end > self._size:
                if opcode == 0x06 and len(head) == _HEAD.size + _CHUNK.size:
                    start_ns, end_ns = _CHUNK.unpack_from(head, _HEAD.size)[:2]
                    chunk = (at, self._size - at, start_ns, end_ns)
                self._cut(at, end - at, {0x05: "a message", 0x06: "a chunk"}.get(opcode, "a record"))
                break
            if opcode == 0x05 and length >= _MESSAGE.size:
                channel, _, time_ns, _ = _MESSAGE.unpack_from(head, _HEAD.size)
                self._counts[channel] += 1
                if run is None:
                    run = _Run(at, time_ns)
                run.extend(end, time_ns)
                if run.end - run.begin >= _RUN_BYTES:
                    close_run()
            elif opcode == 0x06 and length >= _CHUNK.size:
                close_run()
                start_ns, end_ns = _CHUNK.unpack_from(head, _HEAD.size)[:2]
                chunk = (at, end - at, start_ns, end_ns)
            elif opcode == 0x07 and length >= 6:
                channel, size = struct.unpack_from("<HI", head, _HEAD.size)
                channels.add(channel)
                self._counts[channel] += size // 16
            elif opcode in (0x03, 0x04):
                self._file.seek(at + _HEAD.size)
                self._learn_safely(opcode, self._file.read(length))
            elif opcode in (0x02, 0x0F):
                break
            at = end
        close_chunk()
        close_run()
        if not self.damage and not self._ends_well():
            self._broken(self._size, "it is cut short behind its messages")
        if not any(self._counts.values()):
            self._counts = None  # chunks without an index: nobody has counted

    def _ends_well(self) -> bool:
        self._file.seek(-len(_MAGIC), os.SEEK_END)
        return self._size > len(_MAGIC) and self._file.read(len(_MAGIC)) == _MAGIC

    def _learn_from(self, offset: int, length: int) -> None:
        """Take in the channels and schemas within a chunk."""
        with contextlib.suppress(_DamagedChunk):  # said when it is read
            for _ in self._contents(offset, length):
                pass

    def _learn_safely(self, opcode: int, body: bytes) -> None:
        from mcap.exceptions import McapError

        with contextlib.suppress(McapError, UnicodeDecodeError, struct.error):
            self._learn(opcode, body)  # the messages of a channel that is not known are passed over

    def _learn(self, opcode: int, body: bytes) -> None:
        """Take in a schema or a channel."""
        from mcap.records import Channel, Schema

        if opcode == 0x03:
            schema = Schema.read(_stream(body))
            self._schemas[schema.id] = schema
            return
        channel = Channel.read(_stream(body))
        schema = self._schemas.get(channel.schema_id)
        self.topics.setdefault(
            channel.id,
            StoredTopic(
                channel.topic,
                schema.name if schema else "",
                schema.data.decode(errors="replace") if schema else "",
                schema.encoding if schema else "",
                channel.metadata.get("topic_type_hash", ""),
                channel.message_encoding,
                qos=channel.metadata.get("offered_qos_profiles", ""),
            ),
        )

    def _read_custom(self, offset: int, length: int) -> None:
        """What rosbag2 keeps in its metadata, where this is that."""
        from mcap.exceptions import McapError
        from mcap.records import Metadata

        if length > _LONGEST_RECORD or offset > self._size:
            return
        self._file.seek(offset + _HEAD.size)
        try:
            record = Metadata.read(_stream(self._file.read(length)))
        except (McapError, UnicodeDecodeError, struct.error):
            return
        if record.name == "rosbag2":
            self.custom = custom_data(record.metadata.get("serialized_metadata", ""))

    # What is in a chunk

    def _load(self, segment: int) -> list[StoredMessage]:
        """The messages of a chunk, or of a run of bare ones, in the order of time."""
        offset, length = self._segments.offsets[segment], self._segments.lengths[segment]
        found: list[StoredMessage] = []
        try:
            found.extend(self._contents(offset, length))
        except _DamagedChunk as error:
            if not self._segments.is_last(segment) or not self.damage:  # a file that is cut short has said so
                self._broken(offset, f"{error}; {len(found)} of its messages were read")
        found.sort(key=lambda message: message.time_ns)
        return found

    def _contents(self, offset: int, length: int) -> Iterator[StoredMessage]:
        """The messages of a segment, in the order of the file; schemas and channels are taken in by the way.

        Raises:
            _DamagedChunk: after those that could be read.
        """
        self._file.seek(offset)
        content = memoryview(self._file.read(length))
        if self._passes:
            self._let_go(offset)
        whole = True
        if content[0] == 0x06:
            content, whole = self._uncompressed(content, offset)
        at = 0
        while at + _HEAD.size <= len(content):
            opcode, size = _HEAD.unpack_from(content, at)
            body, end = at + _HEAD.size, at + _HEAD.size + size
            if end > len(content):
                whole = False
                break
            if opcode == 0x05 and size >= _MESSAGE.size:
                channel, _, time_ns, _ = _MESSAGE.unpack_from(content, body)
                yield StoredMessage(time_ns, channel, content[body + _MESSAGE.size : end])
            elif opcode in (0x03, 0x04):
                self._learn_safely(opcode, bytes(content[body:end]))
            at = end
        if not whole:
            raise _DamagedChunk(f"the chunk at byte {offset:,} is cut short")

    def _let_go(self, offset: int) -> None:
        """Have what lies behind a place no longer cached.

        It would push out all that others have cached before it came round again; and filling fresh memory costs the
        kernel several times what reading into pages that have just been let go does.
        """
        if offset < self._behind:
            self._behind = offset
        aligned = offset // _LET_GO * _LET_GO  # in one piece: the kernel keeps what it is told of by halves
        if aligned > self._behind:
            os.posix_fadvise(self._file.fileno(), self._behind, aligned - self._behind, os.POSIX_FADV_DONTNEED)
            self._behind = aligned

    def _uncompressed(self, record: memoryview, offset: int) -> tuple[memoryview, bool]:
        """What a chunk record holds, and whether that is all of it."""
        _, _, size, crc, name_length = _CHUNK.unpack_from(record, _HEAD.size)
        at = _HEAD.size + _CHUNK.size
        compression = bytes(record[at : at + name_length])
        at += name_length
        if at + 8 > len(record):
            return memoryview(b""), False
        (length,) = struct.unpack_from("<Q", record, at)
        data = record[at + 8 : at + 8 + length]
        whole = len(data) == length
        if size > MOST_BYTES:
            raise _DamagedChunk(f"the chunk at byte {offset:,} claims to hold {size:,} bytes")
        try:
            content = _decompressed(compression, data, size, whole)
        except ValueError as error:
            raise _DamagedChunk(f"the chunk at byte {offset:,} cannot be decompressed: {error}") from error
        if whole and len(content) != size:
            raise _DamagedChunk(f"the chunk at byte {offset:,} holds {len(content):,} bytes instead of {size:,}")
        if self._verify and whole and crc and zlib.crc32(content) != crc:
            raise _DamagedChunk(f"the checksum of the chunk at byte {offset:,} is wrong")
        return content, whole

    def _cut(self, at: int, length: int, what: str) -> None:
        self._broken(
            at, f"it is cut short: at byte {at:,} begins {what} of {length:,} bytes, the file has {self._size:,}"
        )

    def _broken(self, at: int, what: str) -> None:
        damage = Damage(self.path, f"{what} ({at / max(self._size, 1):.1%} of the file)")
        if damage not in self.damage:  # it may be read more than once
            self.damage.append(damage)


class _DamagedChunk(Exception):
    """A chunk that cannot be read, or not to its end."""


class _Run:
    """Bare messages that follow one another."""

    def __init__(self, begin: int, time_ns: int):
        self.begin = self.end = begin
        self.start_ns = self.end_ns = time_ns

    def extend(self, end: int, time_ns: int) -> None:
        self.end = end
        self.start_ns, self.end_ns = min(self.start_ns, time_ns), max(self.end_ns, time_ns)


class _Segments:
    """Where messages lie, compactly: recordings have hundreds of thousands of chunks."""

    def __init__(self) -> None:
        self.offsets, self.lengths = array("Q"), array("Q")
        self.starts, self._ends = array("Q"), array("Q")
        self._channels: list[frozenset[int] | None] = []  # None where not known
        self._same: dict[frozenset[int], frozenset[int]] = {}

    def __len__(self) -> int:
        return len(self.offsets)

    def add(self, offset: int, length: int, start_ns: int, end_ns: int, channels: frozenset[int] | None) -> None:
        """Take note of a chunk or a run of bare messages."""
        self.offsets.append(offset)
        self.lengths.append(length)
        self.starts.append(start_ns)
        self._ends.append(end_ns)
        self._channels.append(self._same.setdefault(channels, channels) if channels else None)

    def is_last(self, segment: int) -> bool:
        """Whether nothing comes behind it in the file."""
        return self.offsets[segment] == max(self.offsets)

    def span(self) -> tuple[int | None, int | None]:
        """Times of the first and the last message. Chunks without any, which say that they begin and end at 0 and have
        no channels, have none."""
        times = [
            (start_ns, end_ns)
            for start_ns, end_ns, channels in zip(self.starts, self._ends, self._channels, strict=True)
            if start_ns or end_ns or channels
        ]
        return (min(start_ns for start_ns, _ in times), max(end_ns for _, end_ns in times)) if times else (None, None)

    def in_order(self, wanted: frozenset[int], start_ns: int, stop_ns: int) -> list[int]:
        """Those that may hold messages of some channels and times, by the time at which they begin."""
        chosen = [
            i
            for i in range(len(self))
            if self.starts[i] < stop_ns
            and self._ends[i] >= start_ns
            and ((channels := self._channels[i]) is None or not channels.isdisjoint(wanted))
        ]
        chosen.sort(key=lambda i: (self.starts[i], self.offsets[i]))
        return chosen


def _memory_bytes() -> float:
    """Of this machine; infinite where the kernel cannot be told what to keep."""
    if not hasattr(os, "posix_fadvise"):
        return math.inf
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _stream(body: bytes) -> Any:
    """What the records of `mcap` are read from."""
    from mcap.data_stream import ReadDataStream

    return ReadDataStream(io.BytesIO(body))


def _decompressed(compression: bytes, data: memoryview, size: int, whole: bool) -> memoryview:
    """The content of a chunk; of one that is cut short what can be had of it. Raises ValueError."""
    if compression == b"":
        return data
    if compression == b"zstd":
        import zstandard

        try:
            if whole:
                claimed = zstandard.frame_content_size(data)  # which is allocated, whatever the most is said to be
                if claimed not in (-1, size):
                    raise ValueError(f"its frame claims to hold {claimed:,} bytes instead of {size:,}")
                return memoryview(zstandard.ZstdDecompressor().decompress(data, max_output_size=size))
            return memoryview(zstandard.ZstdDecompressor().decompressobj().decompress(data)[:MOST_BYTES])
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error
    if compression == b"lz4" and whole:
        from mcap.records import Chunk
        from mcap.stream_reader import get_chunk_data_stream

        try:
            stream, length = get_chunk_data_stream(Chunk("lz4", bytes(data), 0, 0, 0, size))
        except (RuntimeError, MemoryError) as error:
            raise ValueError(str(error)) from error
        return memoryview(stream.read(length))
    raise ValueError(f"compression {compression.decode(errors='replace')!r} is not supported")
