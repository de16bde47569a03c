"""SQLite files of rosbag2 (`.db3`), of all its schemas, whole or cut short."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from pathlib import Path

from spike_depth_core.bags.storage import (
    EARLIEST_NS,
    LATEST_NS,
    BagError,
    Damage,
    StoredMessage,
    StoredTopic,
    custom_data,
)


def journal_of(path: Path) -> Path:
    """Where a database keeps what it has not taken in yet, if there is such."""
    return path.with_name(path.name + "-wal")


class SqliteFile:
    """A `.db3`, see `StorageFile`.

    Args:
        path: of the file.

    Raises:
        BagError: for a file that is no rosbag2 database.
    """

    def __init__(self, path: Path):
        self.path = path
        self.topics: dict[int, StoredTopic] = {}
        self.damage: list[Damage] = []
        self.custom: dict[str, str] = {}
        self.start_ns: int | None = None
        self.end_ns: int | None = None
        # A recorder that was killed may have left its last messages in a journal beside the file: then SQLite has to
        # look there. Otherwise the file is taken as it is, and may lie where nothing can be written.
        mode = "mode=ro" if journal_of(path).exists() else "immutable=1"
        missing = self._missing_bytes()
        try:
            self._database = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)
        except sqlite3.Error as error:
            raise BagError(f"{path} cannot be opened as a SQLite database: {error}") from error
        try:
            if missing:
                # SQLite refuses a file that is shorter than its header says; so told, it reads the pages there are.
                self._database.execute("PRAGMA writable_schema=ON")
                self._break(f"it is cut short: {missing:,} bytes are missing at its end")
            self._tables = {
                table: {row[1] for row in self._database.execute(f"PRAGMA table_info({table})")}
                for table in ("topics", "messages", "message_definitions", "metadata")
            }
            if not {"id", "topic_id", "timestamp", "data"} <= self._tables["messages"]:
                raise BagError(f"{path} is not a rosbag2 database: it has no messages")
            self._read_topics()
            self._read_custom()
            self._sorted = not missing and self._is_indexed()
            if self._sorted:
                (self.start_ns, self.end_ns) = self._database.execute(
                    "SELECT min(timestamp), max(timestamp) FROM messages"
                ).fetchone()
            else:
                first = self._database.execute("SELECT timestamp FROM messages NOT INDEXED ORDER BY id LIMIT 1")
                self.start_ns = next((row[0] for row in first), None)
        except sqlite3.Error as error:
            self.close()
            raise BagError(f"{path} cannot be read as a rosbag2 database: {error}") from error
        except BagError:
            self.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def messages(
        self, topics: Collection[int], start_ns: int = EARLIEST_NS, stop_ns: int = LATEST_NS
    ) -> Iterator[StoredMessage]:
        """See `StorageFile`. Messages of the same time, and all of a file that is cut short or has no index, are in
        the order of recording."""
        numbers = ",".join(str(int(number)) for number in topics)
        order = "timestamp, id" if self._sorted else "id"
        # The index of a file that is cut short is not to be trusted.
        table = "messages" if self._sorted else "messages NOT INDEXED"
        query = (
            f"SELECT timestamp, topic_id, data FROM {table} "
            f"WHERE topic_id IN ({numbers}) AND timestamp >= ? AND timestamp < ? ORDER BY {order}"
        )
        last_ns: int | None = None
        count = 0
        try:
            for time_ns, topic, data in self._database.execute(query, (start_ns, min(stop_ns, LATEST_NS))):
                if isinstance(data, bytes) and isinstance(time_ns, int):
                    yield StoredMessage(time_ns, topic, memoryview(data))
                    last_ns = time_ns
                    count += 1
        except sqlite3.Error as error:
            until = (
                "before the first message" if last_ns is None else f"after {count} messages, at {last_ns / 1e9:.3f} s"
            )
            self._break(f"it could be read no further {until}: {error}")

    def _missing_bytes(self) -> int:
        """By how much the file is shorter than its header says (https://www.sqlite.org/fileformat.html, 1.3)."""
        with open(self.path, "rb") as file:
            head = file.read(100)
            size = file.seek(0, 2)
        if len(head) < 100 or not head.startswith(b"SQLite format 3\x00"):
            raise BagError(f"{self.path} is not a SQLite database: it does not begin as one")
        page = int.from_bytes(head[16:18], "big")
        page = 65_536 if page == 1 else page
        if head[24:28] != head[92:96]:  # written by a SQLite that did not keep the size
            return 0
        return max(0, int.from_bytes(head[28:32], "big") * page - size)

    def _is_indexed(self) -> bool:
        """Whether messages can be had in the order of time without sorting all of them, data and all."""
        indices = [row[1] for row in self._database.execute("PRAGMA index_list(messages)")]
        return any(
            [row[2] for row in self._database.execute(f'PRAGMA index_info("{name}")')][:1] == ["timestamp"]
            for name in indices
        )

    def _read_topics(self) -> None:
        definitions = {}
        if {"topic_type", "encoding", "encoded_message_definition"} <= self._tables["message_definitions"]:
            for kind, encoding, text in self._database.execute(
                "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
            ):
                definitions[kind] = (text, encoding)
        digest = "type_description_hash" if "type_description_hash" in self._tables["topics"] else "''"
        qos = "offered_qos_profiles" if "offered_qos_profiles" in self._tables["topics"] else "''"
        for number, name, kind, serialization, found, offered in self._database.execute(
            f"SELECT id, name, type, serialization_format, {digest}, {qos} FROM topics"
        ):
            if not isinstance(name, str) or not isinstance(kind, str):
                self._break(f"topic {number} is called {name!r}, of type {kind!r}: two texts were expected")
                continue
            texts = (*definitions.get(kind, ("", "")), found)
            definition, encoding, hashed = (text if isinstance(text, str) else "" for text in texts)
            self.topics[number] = StoredTopic(
                name, kind, definition, encoding, hashed, serialization, qos=str(offered or "")
            )

    def _read_custom(self) -> None:
        if "metadata" in self._tables["metadata"]:
            try:
                row = self._database.execute("SELECT metadata FROM metadata ORDER BY id DESC LIMIT 1").fetchone()
            except sqlite3.DatabaseError as error:  # a text of several pages, of which the last are cut off
                self._break(f"what its recorder put in cannot be read: {error}")
                return
            if row is not None:
                self.custom = custom_data(str(row[0]))

    def _break(self, what: str) -> None:
        damage = Damage(self.path, what)
        if damage not in self.damage:
            self.damage.append(damage)
