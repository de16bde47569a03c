"""`BagReader`: a rosbag2 bag, or one file of it, read message by message without ROS.

A bag that was not written to its end is read as far as it goes: without `metadata.yaml` the files are taken as they lie
there, and what of a file is cut short or damaged is passed over and told in `damage`.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import yaml

from spike_depth_core.bags.mcap_file import McapFile
from spike_depth_core.bags.messages import MessageError, decode
from spike_depth_core.bags.sqlite_file import SqliteFile, journal_of
from spike_depth_core.bags.storage import (
    EARLIEST_NS,
    LATEST_NS,
    MOST_BYTES,
    SUFFIXES,
    ZSTD_MAGIC,
    BagError,
    Damage,
    StorageFile,
    StoredTopic,
    custom_data,
    storage_suffix,
)
from spike_depth_core.bags.types import objection, type_store

_METADATA = "metadata.yaml"
_MOST_METADATA = 1 << 26  # bytes
_LATE_NS = 10_000_000_000  # rosbag2 holds messages back: what came when a file ended may lie in the next


@dataclass(frozen=True)
class Topic:
    """One topic of a bag.

    Attributes:
        name: of the topic.
        kind: name of its type, such as `sensor_msgs/msg/Image`.
        objection: why its messages cannot be read, or None.
        count: how many messages, or None where the bag does not say.
        digest: hash of its type, `RIHS01_...`; empty where the bag has none.
        latched: whether late subscribers got the last message too.
    """

    name: str
    kind: str
    objection: str | None
    count: int | None
    digest: str = ""
    latched: bool = False


class BagMessage(NamedTuple):
    """One message, not yet decoded.

    Attributes:
        time_ns: when it was received.
        topic: its name.
        kind: name of its type.
        data: CDR.
    """

    time_ns: int
    topic: str
    kind: str
    data: memoryview

    def decode(self) -> Any:
        """The message, its arrays views into the bag's data. Raises MessageError for damaged data."""
        return decode(self.kind, self.cdr())

    def cdr(self) -> memoryview:
        """The data as it was published. Raises MessageError where it is compressed and damaged."""
        return _decompressed(self.data)


class BagReader:
    """A bag, open for reading. Usable in a `with` statement.

    Args:
        path: folder of a bag, or one `.mcap` or `.db3` file; each may be compressed (`.zstd`), which takes room for one
            file of it where temporary files go.
        verify: whether to check checksums where the bag has them.

    Attributes:
        path: of the bag.
        topics: by name.
        start_ns, end_ns: times of the first and the last message; None without any, and `end_ns` where it is not known:
            of compressed files after the first, and of a database that is cut short, it is what `metadata.yaml` says.
        damage: what could not be read, so far: read to the end to know all.
        custom: texts by name that its recorder put in.

    Raises:
        BagError: for what is not a bag at all, saying what was expected and found.
    """

    def __init__(self, path: str | Path, verify: bool = False):
        type_store()  # says what to install, before anything is read
        self.path = Path(path)
        self.topics: dict[str, Topic] = {}
        self.damage: list[Damage] = []
        self.custom: dict[str, str] = {}
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        self._verify = verify
        self._told: dict[str, StoredTopic] = {}  # topics by metadata.yaml
        self._spans: dict[str, tuple[int, int]] = {}  # of its files, by metadata.yaml
        self._paths = self._find_files()
        self._look_around()

    def __enter__(self) -> BagReader:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open between reads."""

    @property
    def duration_s(self) -> float:
        """From the first message to the last; 0 where that is not known."""
        return 0.0 if self.start_ns is None or self.end_ns is None else (self.end_ns - self.start_ns) / 1e9

    def of_type(self, kind: str) -> list[str]:
        """Names of the topics of a type that can be read."""
        return sorted(t.name for t in self.topics.values() if t.kind == kind and t.objection is None)

    def skipped(self) -> dict[str, str]:
        """Topics that cannot be read, and why."""
        return {t.name: t.objection for t in self.topics.values() if t.objection is not None}

    def messages(
        self,
        topics: Collection[str] | None = None,
        start_ns: int = EARLIEST_NS,
        stop_ns: int = LATEST_NS,
        raw: bool = False,
    ) -> Iterator[BagMessage]:
        """Messages received in [start_ns, stop_ns), in the order of time within each file of the bag.

        Args:
            topics: names; all that can be read when None.
            start_ns, stop_ns: the range.
            raw: also of topics that cannot be read: for whoever does not decode.

        Raises:
            ValueError: for a topic that the bag does not have, or whose messages cannot be read.
        """
        for name in () if topics is None else topics:
            if name not in self.topics:
                raise ValueError(f"{self.path} has no topic {name}; it has {', '.join(sorted(self.topics)) or 'none'}")
            if self.topics[name].objection and not raw:
                raise ValueError(f"{self.path}: {name} cannot be read: {self.topics[name].objection}")
        wanted = {n for n, t in self.topics.items() if (raw or not t.objection) and (topics is None or n in topics)}
        for path in self._paths:
            if path.suffix == ".zstd" and not self._may_hold(path, start_ns, stop_ns):
                continue
            with self._opened(path) as file:
                if file is None or (file.start_ns is not None and file.start_ns >= stop_ns):
                    continue
                numbers = {
                    number: topic
                    for number, topic in file.topics.items()
                    if topic.name in wanted and topic.kind == self.topics[topic.name].kind
                }
                for message in file.messages(numbers, start_ns, stop_ns):
                    topic = numbers[message.topic]
                    yield BagMessage(message.time_ns, topic.name, topic.kind, message.data)

    # What there is

    def _find_files(self) -> list[Path]:
        if not self.path.exists():
            raise BagError(f"there is no bag {self.path}")
        if not self.path.is_dir():
            if storage_suffix(self.path) not in SUFFIXES:
                raise BagError(
                    f"{self.path}: a bag is a folder, a .mcap or a .db3, found {self.path.suffix or 'neither'}"
                )
            return [self.path]
        called = sorted((p for p in self.path.iterdir() if storage_suffix(p) in SUFFIXES), key=_by_number)
        there = [p for p in called if p.is_file()]
        self.damage += [Damage(p, "it is called as a bag's file, but is none") for p in called if p not in there]
        named = self._read_metadata()
        missing = [name for name in named if name not in {p.name for p in there}]
        if missing and there:
            self.damage += [Damage(self.path / name, "it is named in metadata.yaml, but missing") for name in missing]
        if not there:
            raise BagError(f"{self.path} is not a bag: it has no .mcap or .db3 files")
        paths = [self.path / name for name in named if name not in missing]
        # A file that a killed recorder was writing may not be named yet.
        return paths + [p for p in there if p not in paths]

    def _read_metadata(self) -> list[str]:
        """Names of the files by `metadata.yaml`; what else it says is taken in. Empty where it is of no use."""
        path = self.path / _METADATA
        if not path.exists():
            self.damage.append(Damage(self.path, "there is no metadata.yaml: the recording did not end as it should"))
            return []
        try:
            if path.stat().st_size > _MOST_METADATA:
                raise ValueError("it is too large")
            text = path.read_text()
            about = yaml.safe_load(text)["rosbag2_bagfile_information"]
            names = list(dict.fromkeys(PurePath(str(name)).name for name in about["relative_file_paths"]))
            for entry in about["topics_with_message_count"]:
                topic = _told(entry["topic_metadata"], int(entry["message_count"]))
                self._told[topic.name] = topic
            by_file = {PurePath(str(entry["path"])).name: entry for entry in about.get("files") or ()}
            for name in names:
                # Files that were compressed after they had been listed are listed without their suffix.
                span = _span(by_file.get(name) or by_file.get(name.removesuffix(".zstd")) or about)
                if span is not None:
                    self._spans[name] = span
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
            self.damage.append(Damage(path, f"it cannot be understood: {error}"))
            return []
        self.custom = custom_data(text)
        return names

    def _look_around(self) -> None:
        """Take in topics and times of the files. Compressed ones after the first take long to open: they have what
        `metadata.yaml` says."""
        found: dict[str, list[StoredTopic]] = {}
        starts: list[int] = []
        ends: list[int | None] = []
        readable = 0
        for place, path in enumerate(self._paths):
            told = self._spans.get(path.name)
            if place and path.suffix == ".zstd":
                ends.append(None if told is None else told[1])
                continue
            with self._opened(path) as file:
                if file is None:
                    continue
                readable += 1
                self.custom = {**file.custom, **self.custom}
                if file.start_ns is not None:
                    starts.append(file.start_ns)
                    ends.append(told[1] if file.end_ns is None and told is not None else file.end_ns)
                for topic in file.topics.values():
                    found.setdefault(topic.name, []).append(topic)
        if not readable:
            raise BagError(f"{self.path} cannot be read: {self.damage[-1].what}")
        if any(path.suffix == ".zstd" for path in self._paths[1:]):
            found |= {name: [topic] for name, topic in self._told.items() if name not in found}
        counts = {name: topic.count for name, topic in self._told.items()}
        self.topics = {name: _merged(name, topics, counts.get(name)) for name, topics in sorted(found.items())}
        self.start_ns = min(starts, default=None)
        known = [end_ns for end_ns in ends if end_ns is not None]
        if starts and len(known) == len(ends):
            self.end_ns = max(known)

    def _may_hold(self, path: Path, start_ns: int, stop_ns: int) -> bool:
        """Whether a file may have messages received in [start_ns, stop_ns), by `metadata.yaml`."""
        first_ns, last_ns = self._spans.get(path.name, (EARLIEST_NS, LATEST_NS))
        return first_ns - _LATE_NS < stop_ns and last_ns + _LATE_NS >= start_ns

    @contextlib.contextmanager
    def _opened(self, path: Path) -> Iterator[StorageFile | None]:
        """A file of the bag, decompressed where it is compressed; None where it cannot be read at all."""
        with contextlib.ExitStack() as stack:
            try:
                plain = path
                if path.suffix == ".zstd":
                    plain = (
                        Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spike_depth_bag_"))) / path.stem
                    )
                    self._decompress(path, plain)
                file: StorageFile = (
                    SqliteFile(plain) if storage_suffix(path) == ".db3" else McapFile(plain, self._verify)
                )
            except BagError as error:
                if len(self._paths) == 1:
                    raise
                self._note(Damage(path, str(error)))
                yield None
                return
            stack.callback(file.close)
            try:
                yield file
            finally:
                for damage in file.damage:
                    self._note(Damage(path, damage.what))

    def _decompress(self, path: Path, plain: Path) -> None:
        import zstandard

        with open(path, "rb") as source, open(plain, "wb") as target:
            reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
            try:
                shutil.copyfileobj(reader, target, 1 << 20)
            except zstandard.ZstdError as error:
                self._note(Damage(path, f"it cannot be decompressed further than to byte {target.tell():,}: {error}"))

    def _note(self, damage: Damage) -> None:
        if damage not in self.damage:
            self.damage.append(damage)


def files_of_bag(path: Path) -> list[Path]:
    """What a bag is read from, by name: its files, journals that killed recorders have left, and `metadata.yaml`. What
    else lies there is not of it: SQLite changes the `-shm` beside a journal whenever it reads."""
    if not path.is_dir():
        return [p for p in (path, journal_of(path)) if p == path or p.exists()]
    bag = {p for p in path.iterdir() if storage_suffix(p) in SUFFIXES}
    beside = {path / _METADATA, *map(journal_of, bag)}
    return sorted(p for p in path.iterdir() if p in bag | beside and p.is_file())


class DamagedMessages:
    """Counts messages that could not be used, by topic and reason, and keeps the first of each in words."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.first: dict[tuple[str, str], str] = {}

    def add(self, topic: str, error: MessageError) -> None:
        """Count one."""
        key = (topic, error.reason)
        self.counts[key] += 1
        self.first.setdefault(key, str(error))

    def lines(self) -> list[str]:
        """One line for each topic and reason."""
        return [
            f"{topic}: {count} dropped ({reason}): {self.first[topic, reason]}"
            for (topic, reason), count in sorted(self.counts.items())
        ]


def _span(about: Any) -> tuple[int, int] | None:
    """Times of the first and the last message of what an entry of `metadata.yaml` is of; None where it says neither."""
    try:
        start_ns = int(about["starting_time"]["nanoseconds_since_epoch"])
        end_ns = start_ns + int(about["duration"]["nanoseconds"])
    except (KeyError, TypeError, ValueError):
        return None
    return (start_ns, end_ns) if EARLIEST_NS <= start_ns <= end_ns < LATEST_NS else None  # at the latest: no messages


def _told(about: Any, count: int) -> StoredTopic:
    """A topic as `metadata.yaml` describes it."""
    qos = about.get("offered_qos_profiles") or ""
    return StoredTopic(
        str(about["name"]),
        str(about["type"]),
        digest=str(about.get("type_description_hash") or ""),
        serialization=str(about["serialization_format"]),
        count=count,
        qos=qos if isinstance(qos, str) else yaml.safe_dump(qos),  # as text until version 8
    )


def _by_number(path: Path) -> tuple[int, str]:
    """rosbag2 numbers the files of a recording: `drive_0.mcap`, ..., `drive_10.mcap`."""
    number = re.search(r"_(\d+)\.(?:mcap|db3)", path.name)
    return (int(number[1]) if number else -1, path.name)


def _merged(name: str, found: list[StoredTopic], count: int | None) -> Topic:
    """One topic of what the files have under its name: of the first type that can be read."""
    objections = [
        objection(t.kind, t.definition, t.encoding, t.digest)
        if t.serialization == "cdr"
        else f"{t.kind} is serialized as {t.serialization!r}, not as CDR"
        for t in found
    ]
    chosen = next((i for i, text in enumerate(objections) if text is None), 0)
    counted = [t.count for t in found if t.kind == found[chosen].kind]
    known = [number for number in counted if number is not None]
    number = sum(known) if len(known) == len(counted) else count
    return Topic(
        name, found[chosen].kind, objections[chosen], number, found[chosen].digest, any(t.latched for t in found)
    )


def _decompressed(data: memoryview) -> memoryview:
    """Data as it was before rosbag2 compressed each message; CDR never begins as zstd does."""
    if data[:4] != ZSTD_MAGIC:
        return data
    import zstandard

    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= MOST_BYTES:
            raise MessageError("compressed", f"the message claims to hold {size:,} bytes")
        return memoryview(zstandard.ZstdDecompressor().decompress(data))
    except zstandard.ZstdError as error:
        raise MessageError("compressed", f"the message cannot be decompressed: {error}") from error
