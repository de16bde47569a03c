"""Bags as they are found: of several writers, compressed, without an index, cut short, damaged.

What the reader gives is compared with what was written, and by `rosbags` where that reads the file too.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import sqlite3
import struct
import weakref
from pathlib import Path

import mcap.writer
import numpy as np
import pytest
import rosbags.rosbag2
import yaml
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin

from spike_depth_core.bags import BagError, BagReader, MessageError, mcap_file, messages, types
from spike_depth_core.bags.storage import custom_data, is_bag, name_of_bag
from spike_depth_core.bags.types import type_store
from test.core.bags.recordings import START_NS, Written, small_recording, write_compressed_files, write_recording
from test.core.factories import small_rig

LATE, LATCHED = "/map/image", "- history: keep_last\n  depth: 1\n  durability: transient_local\n"


@pytest.fixture(scope="module")
def recording() -> list[Written]:
    return sorted(small_recording(rig=small_rig(32, 24)), key=lambda written: written[3])


@pytest.fixture(scope="module")
def contents(recording) -> list[tuple[int, str, bytes]]:
    """What a reader should give: time, topic and data of each message."""
    return [(time_ns, topic, bytes(messages.encode(kind, message))) for topic, kind, message, time_ns in recording]


def read(path: Path, **options) -> tuple[list[tuple[int, str, bytes]], BagReader]:
    reader = BagReader(path, **options)
    return [(m.time_ns, m.topic, bytes(m.data)) for m in reader.messages()], reader


def by_mcap(path: Path, recording: list[Written], **options) -> Path:
    """A bag written by the reference library of MCAP instead."""
    with open(path, "wb") as file:
        writer = mcap.writer.Writer(file, **({"chunk_size": 20_000} | options))
        writer.start("ros2")
        channels: dict[str, int] = {}
        for topic, kind, message, time_ns in recording:
            if topic not in channels:
                definition = type_store().generate_msgdef(kind, ros_version=2)[0].encode()
                channels[topic] = writer.register_channel(
                    topic, "cdr", writer.register_schema(kind, "ros2msg", definition)
                )
            data = bytes(messages.encode(kind, message))
            writer.add_message(channels[topic], time_ns, data, time_ns)
        writer.finish()
    return path


@pytest.mark.parametrize(
    ("name", "options"), [("a.mcap", {}), ("b.mcap", {"compress": True}), ("c.db3", {}), ("folder", {})]
)
def test_what_was_written_is_read(tmp_path, recording, contents, name, options):
    path = write_recording(tmp_path / name, recording, custom={"street": "seed: 7"}, **options)
    found, reader = read(path)
    assert found == contents
    assert reader.damage == []
    assert reader.custom == {"street": "seed: 7"}
    assert (reader.start_ns, reader.end_ns) == (contents[0][0], contents[-1][0])
    if name != "c.db3":
        assert reader.topics["/rgb/image_raw"].count == sum(topic == "/rgb/image_raw" for _, topic, _ in contents)
    with rosbags.rosbag2.Reader(path) as other:
        assert [(time_ns, c.topic, bytes(data)) for c, time_ns, data in other.messages()] == contents


@pytest.mark.parametrize("name", ["A.MCAP", "A.DB3"])
def test_capitals_make_no_difference(tmp_path, recording, contents, name):
    path = write_recording(tmp_path / name, recording)
    assert path.is_file()
    assert is_bag(path)
    assert read(path)[0] == contents


def test_what_a_bag_is_called():
    names = ("drive.mcap", "drive.db3", "drive.mcap.zstd", "drive", "drive.DB3")
    assert {name_of_bag(Path("bags") / name) for name in names} == {"drive"}
    assert name_of_bag(Path("2024.05.01")) == "2024.05.01"


def test_messages_are_decoded(tmp_path, recording):
    reader = BagReader(write_recording(tmp_path / "a.mcap", recording))
    sent = [messages.spikes_from_message(message) for _, kind, message, _ in recording if kind == types.SPIKE_PACKET]
    packets = [messages.spikes_from_message(m.decode()) for m in reader.messages(["/spikes/packets"])]
    assert [p.start_ns for p in packets] == [s.start_ns for s in sent]
    assert all(np.array_equal(p.data, s.data) for p, s in zip(packets, sent, strict=True))


@pytest.mark.parametrize("name", ["a.mcap", "b.db3"])
def test_topics_and_times_are_chosen(tmp_path, recording, contents, name):
    reader = BagReader(write_recording(tmp_path / name, recording))
    start_ns, stop_ns = START_NS + 50_000_000, START_NS + 120_000_000
    found = [(m.time_ns, m.topic) for m in reader.messages(["/rgb/image_raw", "/spikes/packets"], start_ns, stop_ns)]
    expected = [
        (time_ns, topic)
        for time_ns, topic, _ in contents
        if start_ns <= time_ns < stop_ns and topic in ("/rgb/image_raw", "/spikes/packets")
    ]
    assert found == expected
    with pytest.raises(ValueError, match="has no topic /lidar; it has /rgb/camera_info"):
        list(reader.messages(["/lidar"]))


@pytest.mark.parametrize("name", ["a.mcap", "b.db3"])
def test_messages_come_in_the_order_of_time(tmp_path, recording, contents, name):
    """However they lie in the file: here all frames behind all spikes."""
    path = tmp_path / name
    with_frames_last = sorted(recording, key=lambda written: "rgb" in written[0])
    from spike_depth_core.bags import BagWriter

    with BagWriter(path) as bag:
        for topic, kind, message, time_ns in with_frames_last:
            bag.write(topic, kind, message, time_ns)
    found, _ = read(path)
    assert [time_ns for time_ns, _, _ in found] == sorted(time_ns for time_ns, _, _ in contents)
    assert sorted(found) == sorted(contents)


@pytest.mark.parametrize(
    "options",
    [
        {"compression": mcap.writer.CompressionType.ZSTD},
        {"compression": mcap.writer.CompressionType.LZ4},
        {"index_types": mcap.writer.IndexType.NONE},
        {"use_statistics": False, "repeat_channels": False, "repeat_schemas": False},
        {"use_chunking": False},
        {"use_chunking": False, "use_statistics": False, "repeat_channels": False},
        {
            "index_types": mcap.writer.IndexType.NONE,
            "use_statistics": False,
            "repeat_channels": False,
            "repeat_schemas": False,
            "use_summary_offsets": False,
        },
    ],
)
def test_files_of_other_writers_with_an_index_and_without(tmp_path, recording, contents, options):
    found, reader = read(by_mcap(tmp_path / "a.mcap", recording, **options), verify=True)
    assert found == contents
    assert reader.damage == []
    assert (reader.start_ns, reader.end_ns) == (contents[0][0], contents[-1][0])


@pytest.mark.parametrize("index", [mcap.writer.IndexType.ALL, mcap.writer.IndexType.NONE])
def test_a_chunk_of_channels_alone_has_no_time(tmp_path, recording, contents, index, monkeypatch):
    """As a writer leaves it that begins a chunk with what it will record: "zero if the chunk has no messages"."""
    register = mcap.writer.Writer.register_channel

    def register_in_a_chunk_of_its_own(self, *args, **options):
        channel = register(self, *args, **options)
        if self._Writer__chunk_builder.num_messages == 0:
            self._Writer__chunk_builder.num_messages = 1  # else it is not written
            self._Writer__finalize_chunk()
        return channel

    monkeypatch.setattr(mcap.writer.Writer, "register_channel", register_in_a_chunk_of_its_own)
    found, reader = read(by_mcap(tmp_path / "a.mcap", recording, index_types=index))
    assert found == contents
    assert (reader.start_ns, reader.end_ns) == (contents[0][0], contents[-1][0])


def test_a_wrong_checksum_costs_its_chunk_and_is_told(tmp_path, recording, contents):
    path = by_mcap(tmp_path / "a.mcap", recording, compression=mcap.writer.CompressionType.NONE)
    data = bytearray(path.read_bytes())
    spikes = next(data for time_ns, topic, data in contents[40:] if topic == "/spikes/packets")
    data[data.index(spikes) + 100] ^= 1
    path.write_bytes(data)
    found, reader = read(path)
    assert len(found) == len(contents)
    assert reader.damage == []
    found, reader = read(path, verify=True)
    assert 0 < len(contents) - len(found) < 10
    assert [m for m in contents if m in found] == found
    (damage,) = reader.damage
    assert "checksum of the chunk at byte" in damage.what


def index_of(data: bytes, opcode: int) -> int:
    """Where the content of the first record of a kind begins in the summary of an MCAP file."""
    at = struct.unpack_from("<Q", data, len(data) - 28)[0]
    while data[at] != opcode:
        at += 9 + struct.unpack_from("<Q", data, at + 1)[0]
    return at + 9


@pytest.mark.parametrize(
    ("opcode", "field", "value"),
    [(0x08, 0, 2**62), (0x08, 16, 8), (0x08, 24, 0), (0x08, 24, 20), (0x0D, 0, 2**60), (0x0D, 0, 2**63 + 5)],
    ids=["begins late", "lies elsewhere", "empty", "short", "metadata far away", "metadata farther away"],
)
def test_an_index_that_is_wrong_costs_nothing(tmp_path, recording, contents, opcode, field, value):
    path = write_recording(tmp_path / "a.mcap", recording, custom={"street": "seed: 7"})
    data = bytearray(path.read_bytes())
    struct.pack_into("<Q", data, index_of(data, opcode) + field, value)
    path.write_bytes(data)
    found, reader = read(path)
    assert found == contents
    if opcode == 0x08:
        assert "its index and its chunks disagree" in reader.damage[0].what


def test_a_summary_is_not_trusted_against_its_checksum(tmp_path, recording, contents):
    path = by_mcap(tmp_path / "a.mcap", recording)
    data = bytearray(path.read_bytes())
    data[index_of(data, 0x08) + 8] ^= 1  # when the chunk ends
    path.write_bytes(data)
    found, reader = read(path)
    assert found == contents
    assert "the checksum of its summary is wrong" in reader.damage[0].what


def test_messages_that_the_summary_counts_and_the_file_does_not_have_are_told(tmp_path, recording, contents):
    path = write_recording(tmp_path / "a.mcap", recording)
    data = bytearray(path.read_bytes())
    at = index_of(data, 0x0B)
    first = at + 8 + 2 + 4 * 4 + 2 * 8 + 4 + 2  # the count of its first channel
    for place in (at, first):
        struct.pack_into("<Q", data, place, struct.unpack_from("<Q", data, place)[0] + 3)
    path.write_bytes(data)
    found, reader = read(path)
    assert found == contents
    assert f"tells of {len(contents) + 3} messages, {len(contents)} were read" in reader.damage[0].what


def test_no_more_is_allocated_than_a_chunk_says_it_holds():
    frame = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 2**40) + b"\x01\x00\x00"
    with pytest.raises(ValueError, match="claims to hold 1,099,511,627,776 bytes instead of 1,000"):
        mcap_file._decompressed(b"zstd", memoryview(frame), 1000, True)


def by_rosbags(path: Path, recording: list[Written], mode: CompressionMode, storage: StoragePlugin) -> Path:
    writer = rosbags.rosbag2.Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for topic, kind, message, time_ns in recording:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=type_store())
            writer.write(connections[topic], time_ns, messages.encode(kind, message))
    return path


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_bags_compressed_by_rosbag2(tmp_path, recording, contents, mode, storage):
    path = by_rosbags(tmp_path / "bag", recording, mode, storage)
    reader = BagReader(path)
    found = list(reader.messages())
    assert [(m.time_ns, m.topic) for m in found] == [(time_ns, topic) for time_ns, topic, _ in contents]
    for message, (_, _, data) in zip(found, contents, strict=True):
        assert bytes(messages.encode(message.kind, message.decode())) == data


def test_a_compressed_file_that_is_cut_short(tmp_path, recording, contents):
    path = by_rosbags(tmp_path / "bag", recording, CompressionMode.FILE, StoragePlugin.MCAP)
    compressed = next(path.glob("*.zstd"))
    compressed.write_bytes(compressed.read_bytes()[: compressed.stat().st_size // 2])
    found, reader = read(path)
    assert 10 < len(found) < len(contents)
    assert found == contents[: len(found)]
    assert any("cut short" in damage.what for damage in reader.damage)


def test_times_of_compressed_files_are_those_of_the_metadata(tmp_path, recording, contents):
    path = write_compressed_files(tmp_path / "drive", recording, 5)
    reader = BagReader(path)
    assert (reader.start_ns, reader.end_ns) == (contents[0][0], contents[-1][0])
    metadata = yaml.safe_load((path / "metadata.yaml").read_text())
    del metadata["rosbag2_bagfile_information"]["files"]  # before Humble
    (path / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    assert BagReader(path).end_ns == contents[-1][0]
    (path / "metadata.yaml").unlink()
    reader = BagReader(path)
    assert (reader.start_ns, reader.end_ns) == (contents[0][0], None)
    assert read(path)[0] == contents


@pytest.mark.parametrize("times", [{}, {"starting_time": {"nanoseconds_since_epoch": 2**63 - 1}}, {"duration": "long"}])
def test_metadata_without_times_says_no_end(tmp_path, recording, contents, times):
    path = write_compressed_files(tmp_path / "drive", recording, 5)
    metadata = yaml.safe_load((path / "metadata.yaml").read_text())
    about = metadata["rosbag2_bagfile_information"]
    for entry in (about, *about["files"]):
        del entry["starting_time"]
        entry.update(times)
    (path / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    found, reader = read(path)
    assert found == contents
    assert (reader.start_ns, reader.end_ns) == (contents[0][0], None)


@pytest.mark.parametrize("qos", [LATCHED, yaml.safe_load(LATCHED)], ids=["text", "list"])
def test_a_topic_that_appears_in_a_later_compressed_file_is_known_by_the_metadata(tmp_path, recording, qos):
    late = (LATE, types.IMAGE, next(w[2] for w in recording if w[1] == types.IMAGE), recording[-1][3] + 10_000_000_000)
    path = write_compressed_files(tmp_path / "drive", [*recording, late], 5)
    assert LATE not in BagReader(path).topics
    metadata = yaml.safe_load((path / "metadata.yaml").read_text())
    described = {"name": LATE, "type": types.IMAGE, "serialization_format": "cdr", "offered_qos_profiles": qos}
    metadata["rosbag2_bagfile_information"]["topics_with_message_count"] = [
        {"topic_metadata": described, "message_count": 1}
    ]
    (path / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    reader = BagReader(path)
    assert (reader.topics[LATE].kind, reader.topics[LATE].count) == (types.IMAGE, 1)
    assert reader.topics[LATE].latched
    assert [message.time_ns for message in reader.messages([LATE])] == [late[3]]


def test_compressed_files_of_other_times_are_left_alone(tmp_path, recording):
    """Decompressing takes long, and each part of an extraction would do it."""
    step_ns = 100_000_000_000
    packets = [written for written in recording if written[1] == types.SPIKE_PACKET]
    apart = [(topic, kind, message, START_NS + i * step_ns) for i, (topic, kind, message, _) in enumerate(packets[:5])]
    path = write_compressed_files(tmp_path / "drive", apart, 5)
    for number in (1, 4):
        (path / f"drive_{number}.mcap.zstd").write_text("nothing that can be decompressed")
    reader = BagReader(path)
    found = [m.time_ns for m in reader.messages(None, START_NS + 2 * step_ns, START_NS + 3 * step_ns + 1)]
    assert found == [START_NS + 2 * step_ns, START_NS + 3 * step_ns]
    assert reader.damage == []
    assert len(list(reader.messages())) == 3
    assert {damage.path.name for damage in reader.damage} == {"drive_1.mcap.zstd", "drive_4.mcap.zstd"}


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_database_whose_description_is_cut_off_is_read_as_far_as_it_goes(tmp_path, recording, contents, share):
    """What a recorder puts in is written last, and may take several pages."""
    path = write_recording(tmp_path / "a.db3", recording, custom={"about": "x" * 50_000})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    found, reader = read(path)
    assert found == contents[: len(found)]
    assert len(found) > 0
    assert any("cut short" in damage.what for damage in reader.damage)
    assert any("what its recorder put in cannot be read" in damage.what for damage in reader.damage)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", ["a.mcap", "b.db3", "bare.mcap", "zstd.mcap"])
def test_a_recording_that_was_killed_is_read_as_far_as_it_goes(tmp_path, recording, contents, name, share):
    path = tmp_path / name
    if name == "b.db3":
        write_recording(path, recording)
    else:
        kind = mcap.writer.CompressionType
        by_mcap(
            path,
            recording,
            use_chunking=name != "bare.mcap",
            compression=kind.ZSTD if name == "zstd.mcap" else kind.NONE,
        )
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    found, reader = read(path)
    assert found == contents[: len(found)]
    assert len(found) >= (share - 0.1) * len(contents)
    assert reader.damage
    assert all(str(path) in str(damage) for damage in reader.damage)
    assert any("cut short" in damage.what for damage in reader.damage)
    assert reader.start_ns == contents[0][0]
    if name == "b.db3":
        assert reader.end_ns is None  # it lies in what is missing
    else:
        assert reader.end_ns >= found[-1][0]
    list(reader.messages())  # reading again tells nothing twice
    assert len(set(reader.damage)) == len(reader.damage)


def test_a_folder_without_metadata_is_read_in_the_order_of_its_numbers(tmp_path, recording, contents):
    folder = tmp_path / "drive"
    folder.mkdir()
    for number in range(12):
        part = recording[number * 7 : (number + 1) * 7]
        write_recording(folder / f"drive_{number}.mcap", part)
    found, reader = read(folder)
    assert found == contents
    assert ["there is no metadata.yaml" in damage.what for damage in reader.damage] == [True]


def test_a_file_that_metadata_names_may_be_missing_or_broken(tmp_path, recording, contents):
    folder = write_recording(tmp_path / "drive", recording)
    metadata = (folder / "metadata.yaml").read_text()
    metadata = metadata.replace("- drive.mcap", "- drive.mcap\n  - gone_1.mcap\n  - ../../broken_2.mcap")
    (folder / "metadata.yaml").write_text(metadata)
    (folder / "broken_2.mcap").write_text("not a bag")
    found, reader = read(folder)
    assert found == contents
    said = [str(damage) for damage in reader.damage]
    assert any("gone_1.mcap" in line and "missing" in line for line in said)
    assert any("broken_2.mcap is not an MCAP file" in line for line in said)


@pytest.mark.parametrize(
    "text",
    [
        "rosbag2_bagfile_information: 2020-13-45",
        "a: " + "[" * 3000,
        "rosbag2_bagfile_information: {relative_file_paths: [drive.mcap], topics_with_message_count: "
        "[{topic_metadata: abc, message_count: 1}]}",
    ],
    ids=["date", "deep", "topic"],
)
def test_metadata_that_cannot_be_understood_is_told(tmp_path, recording, contents, text):
    folder = write_recording(tmp_path / "drive", recording)
    (folder / "metadata.yaml").write_text(text)
    found, reader = read(folder)
    assert found == contents
    assert "it cannot be understood" in reader.damage[0].what
    assert custom_data(text) == custom_data("rosbag2_bagfile_information: null") == {}


def test_a_file_is_read_once_and_a_folder_is_none(tmp_path, recording, contents):
    folder = write_recording(tmp_path / "drive", recording)
    metadata = (folder / "metadata.yaml").read_text()
    (folder / "metadata.yaml").write_text(metadata.replace("- drive.mcap", "- drive.mcap\n  - drive.mcap"))
    (folder / "drive_1.mcap").mkdir()
    found, reader = read(folder)
    assert found == contents
    assert [damage.path.name for damage in reader.damage] == ["drive_1.mcap"]


def test_a_topic_without_a_name_costs_itself(tmp_path, recording, contents):
    path = write_recording(tmp_path / "a.db3", recording)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        (name,) = database.execute("SELECT name FROM topics WHERE id = 1").fetchone()
        database.execute("UPDATE topics SET name = x'ff' WHERE id = 1")
        database.execute("UPDATE topics SET type_description_hash = 5")
    found, reader = read(path)
    assert found == [m for m in contents if m[1] != name]
    assert "topic 1 is called b'" in reader.damage[0].what


def test_old_databases_have_no_definitions(tmp_path, recording, contents):
    """The schema of Dashing to Humble: topics by name and type, and that is all."""
    path = tmp_path / "old.db3"
    database = sqlite3.connect(path)
    database.executescript(
        """CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
           serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL);
           CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
           data BLOB NOT NULL); CREATE INDEX timestamp_idx ON messages (timestamp ASC);"""
    )
    numbers: dict[str, int] = {}
    for topic, kind, message, time_ns in recording:
        if topic not in numbers:
            numbers[topic] = len(numbers) + 1
            database.execute("INSERT INTO topics VALUES (?, ?, ?, 'cdr', '')", (numbers[topic], topic, kind))
        row = (numbers[topic], time_ns, bytes(messages.encode(kind, message)))
        database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)", row)
    database.commit()
    database.close()
    found, reader = read(path)
    assert found == contents
    assert reader.skipped() == {}


def test_topics_that_cannot_be_read_are_skipped_by_name(tmp_path, recording, contents):
    path = tmp_path / "a.mcap"
    with open(path, "wb") as file:
        writer = mcap.writer.Writer(file)
        writer.start("ros2")
        strange = writer.register_schema("acme_msgs/msg/Radar", "ros2msg", b"float32 range\n")
        other = type_store().generate_msgdef(types.SPIKE_PACKET, ros_version=2)[0].replace("uint64 seq", "uint32 seq")
        old = writer.register_schema(types.SPIKE_PACKET, "ros2msg", other.encode())
        image = type_store().generate_msgdef(types.IMAGE, ros_version=2)[0].encode()
        good = writer.register_schema(types.IMAGE, "ros2msg", image)
        channels = [
            writer.register_channel("/radar", "cdr", strange),
            writer.register_channel("/old/packets", "cdr", old),
            writer.register_channel("/json", "json", good),
            writer.register_channel("/image", "cdr", good),
        ]
        data = next(data for _, topic, data in contents if topic == "/rgb/image_raw")
        for channel in channels:
            writer.add_message(channel, 5, data, 5)
        writer.finish()
    found, reader = read(path)
    assert found == [(5, "/image", data)]
    skipped = reader.skipped()
    assert skipped.keys() == {"/radar", "/old/packets", "/json"}
    assert "acme_msgs/msg/Radar is not a type that is read" in skipped["/radar"]
    assert "another version: seq is of another type" in skipped["/old/packets"]
    assert "'json'" in skipped["/json"]
    with pytest.raises(ValueError, match=r"/old/packets cannot be read: .* another version"):
        list(reader.messages(["/old/packets"]))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.mcap", b"", "does not begin as one"),
        ("a.db3", b"SQLite format 3\x00", "does not begin as one"),
        ("a.db3", b"SQLite format 3\x00" + bytes(200), "cannot be read as a rosbag2 database"),
        ("a.bag", b"#ROSBAG V2.0\n", "a bag is a folder, a .mcap or a .db3, found .bag"),
    ],
)
def test_what_is_no_bag_is_refused_by_name(tmp_path, name, content, said):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BagError, match=f"{re.escape(str(path))}.* {said}"):
        BagReader(path)


def test_a_recording_that_was_killed_at_once_is_empty(tmp_path):
    (tmp_path / "a.mcap").write_bytes(b"\x89MCAP0\r\n")
    found, reader = read(tmp_path / "a.mcap")
    assert found == []
    assert "cut short" in reader.damage[0].what


def test_an_empty_folder_and_a_missing_path_are_refused(tmp_path):
    with pytest.raises(BagError, match=r"has no \.mcap or \.db3 files"):
        BagReader(tmp_path)
    with pytest.raises(BagError, match="there is no bag"):
        BagReader(tmp_path / "gone")


@pytest.mark.parametrize("seed", range(40))
def test_no_damage_makes_it_fail(tmp_path, recording, seed):
    """Bytes at random places overwritten: whatever is still given decodes or says that it is damaged."""
    random_ = random.Random(seed)
    path = tmp_path / ("a.db3" if seed % 4 == 3 else "a.mcap")
    if seed % 4 == 3:
        write_recording(path, recording[:30])
    else:
        by_mcap(path, recording[:30], use_chunking=seed % 4 > 0)
    data = bytearray(path.read_bytes())
    where = [random_.randrange(len(data)) for _ in range(20)] + [random_.randrange(200) + 8 for _ in range(seed % 3)]
    where += [len(data) - 1 - random_.randrange(600) for _ in range(seed % 2)]
    for at in where:
        data[at] = random_.randrange(256)
    path.write_bytes(data)
    with contextlib.suppress(BagError):
        reader = BagReader(path, verify=seed % 2 == 0)
        for message in reader.messages():
            with contextlib.suppress(MessageError):
                message.decode()


def test_memory_does_not_grow_with_the_bag(tmp_path, recording, monkeypatch):
    """Of all chunks, which are dropped as their messages are, few are held at a time."""
    from spike_depth_core.bags import mcap_file

    held = weakref.WeakSet()
    most = 0

    class Counted(bytearray):
        pass

    original = mcap_file.McapFile._uncompressed

    def counted(self, record, offset):
        nonlocal most
        content, whole = original(self, record, offset)
        buffer = Counted(content)
        held.add(buffer)
        most = max(most, len(held))
        return memoryview(buffer), whole

    Counted.__hash__ = object.__hash__
    monkeypatch.setattr(mcap_file.McapFile, "_uncompressed", counted)
    by_mcap(tmp_path / "a.mcap", recording, chunk_size=1000)
    reader = BagReader(tmp_path / "a.mcap")
    total = sum(1 for _ in reader.messages())
    assert total == len(recording)
    assert 1 <= most <= 4


def test_an_interrupted_writer_leaves_nothing(tmp_path, recording):
    with pytest.raises(KeyboardInterrupt):
        _write_and_stop(tmp_path / "a.mcap", recording)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".a.partial").mkdir()  # what a kill leaves is cleared by the next run
    write_recording(tmp_path / "a.mcap", recording[:3])
    assert [p.name for p in tmp_path.iterdir()] == ["a.mcap"]
    with pytest.raises(ValueError, match="exists already"):
        write_recording(tmp_path / "a.mcap", recording[:3])


@pytest.mark.parametrize("name", ["a.mcap", "b.db3", "folder"])
def test_a_bag_that_finds_no_room_is_named_and_leaves_nothing(tmp_path, recording, name):
    """Little enough to be held back until the bag is closed, or, of a database, when it is begun."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 11, hard))
    try:
        with pytest.raises(OSError, match=f"{re.escape(str(tmp_path / name))} cannot be written: "):
            write_recording(tmp_path / name, recording[:3])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def _write_and_stop(path: Path, recording: list[Written]) -> None:
    from spike_depth_core.bags import BagWriter

    with BagWriter(path) as bag:
        bag.write(*recording[0])
        raise KeyboardInterrupt


def test_what_has_been_read_of_a_large_file_is_let_go_of(tmp_path, contents, recording, monkeypatch):
    """In whole pieces, each once, never beyond what has been read; and the messages are the same."""
    path = by_mcap(tmp_path / "a.mcap", recording, chunk_size=4096)
    reads: list[int] = []
    calls: list[tuple[int, int]] = []

    def note(descriptor, offset, length, advice):
        assert advice == os.POSIX_FADV_DONTNEED
        reads.append(os.lseek(descriptor, 0, os.SEEK_CUR))
        calls.append((offset, length))

    monkeypatch.setattr(mcap_file.os, "posix_fadvise", note)
    assert read(path)[0] == contents
    assert calls == []  # it is small
    monkeypatch.setattr(mcap_file, "_KEPT_SHARE", 0)
    monkeypatch.setattr(mcap_file, "_LET_GO", 1 << 14)
    reader = BagReader(path)
    for _ in range(2):  # the second time from its beginning again
        calls.clear()
        assert [(m.time_ns, m.topic, bytes(m.data)) for m in reader.messages()] == contents
        assert len(calls) > 3
        assert calls[0][0] == 0
        assert all(offset % (1 << 14) == length % (1 << 14) == 0 for offset, length in calls)
        assert [offset + length for offset, length in calls[:-1]] == [offset for offset, _ in calls[1:]]
    assert all(offset + length <= at for (offset, length), at in zip(calls, reads[-len(calls) :], strict=True))
