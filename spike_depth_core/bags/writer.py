"""`BagWriter`: bags that `ros2 bag` plays, written without ROS."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spike_depth_core.bags.messages import encode
from spike_depth_core.bags.storage import SUFFIXES
from spike_depth_core.bags.types import type_hash, type_store

if TYPE_CHECKING:
    from rosbags.interfaces import Connection


class BagWriter:
    """A bag, open for writing; a `with` statement closes it. Nothing is left of one that an exception ends.

    Args:
        path: a `.mcap` or `.db3` file, or the folder of a bag with `metadata.yaml` and an MCAP file in it.
        compress: whether to compress chunks with zstd (MCAP only). Spikes shrink little, and depth by half.
        custom: texts to keep with it, by name.

    Raises:
        ValueError: when there is something at the path already, or SQLite is to be compressed.
        OSError: naming the path, when it cannot be written; so do the methods.
    """

    def __init__(self, path: str | Path, compress: bool = False, custom: Mapping[str, str] | None = None):
        type_store()
        from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

        self.path = Path(path)
        if self.path.exists():
            raise ValueError(f"{self.path} exists already; choose another name, or remove it")
        suffix = self.path.suffix.lower()
        if compress and suffix == ".db3":
            raise ValueError(f"{self.path}: SQLite bags are not compressed, choose .mcap")
        self._single = suffix in SUFFIXES
        # The library writes folders: a single file is taken out of one at the end.
        self._folder = self.path.with_name(f".{self.path.stem}.partial") if self._single else self.path
        if self._single and self._folder.exists():
            shutil.rmtree(self._folder)  # of a run that was killed
        storage = StoragePlugin.SQLITE3 if suffix == ".db3" else StoragePlugin.MCAP
        self._writer = Writer(self._folder, version=9, storage_plugin=storage)
        if compress:
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        for key, value in (custom or {}).items():
            self._writer.set_custom_data(key, value)
        self._connections: dict[str, Connection] = {}
        with self._writing():
            self._writer.open()

    def __enter__(self) -> BagWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def add_topic(self, name: str, kind: str, latched: bool = False) -> None:
        """Announce a topic; one that is not is announced at its first message.

        Args:
            name: of the topic.
            kind: name of its type.
            latched: whether late subscribers shall get the last message, as of `/tf_static`.
        """
        if name not in self._connections:
            with self._writing():
                self._connections[name] = self._writer.add_connection(
                    name,
                    kind,
                    msgdef=type_store().generate_msgdef(kind, ros_version=2)[0],
                    rihs01=type_hash(kind),
                    offered_qos_profiles=[_qos(latched)],
                )

    def write(self, name: str, kind: str, message: Any, time_ns: int) -> None:
        """Write a message of `bags.messages`, as received at a time."""
        self.write_raw(name, kind, encode(kind, message), time_ns)

    def write_raw(self, name: str, kind: str, data: memoryview, time_ns: int) -> None:
        """Write a message that is CDR already."""
        self.add_topic(name, kind)
        with self._writing():
            self._writer.write(self._connections[name], time_ns, data)

    def close(self) -> None:
        """Write the index and the metadata."""
        with self._writing():
            self._writer.close()
            if self._single:
                written = next(p for p in self._folder.iterdir() if p.suffix == self.path.suffix.lower())
                written.replace(self.path)
                shutil.rmtree(self._folder)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            self._discard()
            why = error.strerror if isinstance(error, OSError) else None
            raise OSError(f"{self.path} cannot be written: {why or error}") from error

    def _discard(self) -> None:
        with contextlib.suppress(Exception):  # what made it fail is told, not what comes of that
            self._writer.abort()
        shutil.rmtree(self._folder, ignore_errors=True)


def _qos(latched: bool) -> Any:
    from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime

    for_ever = QosTime(9_223_372_036, 854_775_807)
    return Qos(
        QosHistory.KEEP_LAST,
        1 if latched else 10,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        for_ever,
        for_ever,
        QosLiveliness.AUTOMATIC,
        for_ever,
        False,
    )
