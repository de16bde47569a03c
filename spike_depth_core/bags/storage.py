"""What the files of a bag have in common, whether MCAP or SQLite."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import yaml

SUFFIXES = (".mcap", ".db3")
EARLIEST_NS, LATEST_NS = 0, 2**63 - 1
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MOST_BYTES = 1 << 30  # of what is decompressed at once: what claims to be larger is damaged


def storage_suffix(path: Path) -> str:
    """`.mcap` of `a.mcap`, `a.mcap.zstd` and `A.MCAP`."""
    return (Path(path.stem) if path.suffix == ".zstd" else path).suffix.lower()


def is_bag(path: Path) -> bool:
    """Whether something is a file of a bag, by its name, or a folder with such files."""
    if path.is_dir():
        return any(storage_suffix(file) in SUFFIXES for file in path.iterdir())
    return storage_suffix(path) in SUFFIXES


def name_of_bag(path: Path) -> str:
    """`a` of `a.mcap`, `a.mcap.zstd` and the folder `a`."""
    plain = path.name.removesuffix(".zstd")
    return Path(plain).stem if storage_suffix(path) in SUFFIXES else plain


class BagError(ValueError):
    """A bag or a file of one that cannot be read at all; the message names it and says what is wrong."""


@dataclass(frozen=True)
class StoredTopic:
    """One topic as a file has it.

    Attributes:
        name: of the topic.
        kind: name of its type, such as `sensor_msgs/msg/Image`.
        definition: text of the type; empty where the file has none.
        encoding: of that text, `ros2msg` or `ros2idl`.
        digest: `RIHS01_...`; empty where the file has none.
        serialization: of its messages; `cdr` is read.
        count: how many messages; None where the file does not say.
        qos: profiles that its publishers offered, as rosbag2 keeps them (YAML); empty where the file has none.
    """

    name: str
    kind: str
    definition: str = ""
    encoding: str = ""
    digest: str = ""
    serialization: str = "cdr"
    count: int | None = None
    qos: str = ""

    @property
    def latched(self) -> bool:
        """Whether late subscribers got the last message too (durability transient local)."""
        return re.search(r"durability:\s*(1|transient_local)\b", self.qos) is not None


@dataclass(frozen=True)
class Damage:
    """Where a file could not be read.

    Attributes:
        path: of the file.
        what: in words, with how far it was read.
    """

    path: Path
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


class StoredMessage(NamedTuple):
    """One message, not yet decoded.

    Attributes:
        time_ns: when it was received.
        topic: number of its topic in the file.
        data: CDR, valid for as long as it is held.
    """

    time_ns: int
    topic: int
    data: memoryview


class StorageFile(Protocol):
    """A file of a bag, open.

    Attributes:
        path: where it lies.
        topics: by the number that the file gives them.
        start_ns, end_ns: times of its first and its last message, as far as is known; None without any.
        damage: what of it could not be read, so far.
        custom: texts by name that its recorder put in.
    """

    path: Path
    topics: dict[int, StoredTopic]
    start_ns: int | None
    end_ns: int | None
    damage: list[Damage]
    custom: dict[str, str]

    def messages(
        self, topics: Collection[int], start_ns: int = EARLIEST_NS, stop_ns: int = LATEST_NS
    ) -> Iterator[StoredMessage]:
        """Messages of some topics received in [start_ns, stop_ns), in the order of time; memory does not grow with
        the file."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def custom_data(metadata: str) -> dict[str, str]:
    """What its recorder put into the metadata of a bag (YAML), texts by name; empty where there is nothing."""
    try:
        about = yaml.safe_load(metadata)
    except (yaml.YAMLError, ValueError, RecursionError):  # a date that there is not, lists in lists without end
        return {}
    about = about.get("rosbag2_bagfile_information", about) if isinstance(about, dict) else {}
    custom = about.get("custom_data") if isinstance(about, dict) else None
    return {str(key): str(value) for key, value in custom.items()} if isinstance(custom, dict) else {}
