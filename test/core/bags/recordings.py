"""Small recordings for tests: random spikes, frames of a level road and its true depth, as a vehicle sends them."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
import zstandard

from spike_depth_core.bags import BagWriter, messages, types
from spike_depth_core.bags.types import type_store
from spike_depth_core.geometry import SensorRig
from spike_depth_core.geometry.rig import pose
from spike_depth_core.spikes import PackedSpikes
from test.core.factories import ground_depth, small_rig

START_NS = 1_700_000_000_000_000_000
PLANES = 64
PERIOD_NS = 50_000
PACKET_NS = PLANES * PERIOD_NS
FRAME_NS = 33_333_333

Written = tuple[str, str, Any, int]  # topic, type, message, time of reception


def small_recording(seconds: float = 0.2, seed: int = 0, rig: SensorRig | None = None) -> list[Written]:
    """Messages in the order of reception, each received when it was complete."""
    rig = rig or small_rig()
    return sorted(_spikes(rig, seconds, seed), key=_received) + sorted(_frames(rig, seconds, seed), key=_received)


def _received(written: Written) -> int:
    return written[3]


def _spikes(rig: SensorRig, seconds: float, seed: int) -> Iterator[Written]:
    rng = np.random.default_rng(seed)
    camera = rig.cameras["spikes"]
    rate = rng.uniform(0.05, 0.4, (camera.height, camera.width))
    frame = "spikes_optical_frame"
    for seq in range(int(seconds * 1e9) // PACKET_NS):
        start_ns = START_NS + seq * PACKET_NS
        planes = (rng.random((PLANES, camera.height, camera.width)) < rate).astype(np.uint8)
        spikes = PackedSpikes.from_planes(planes, PERIOD_NS, start_ns)
        end_ns = spikes.end_ns
        if seq % 10 == 0:
            info = messages.camera_to_message(camera, start_ns, frame)
            yield "/spikes/camera_info", types.CAMERA_INFO, info, start_ns
        yield "/spikes/packets", types.SPIKE_PACKET, messages.spikes_to_message(spikes, seq, frame), end_ns


def _frames(rig: SensorRig, seconds: float, seed: int) -> Iterator[Written]:
    rng = np.random.default_rng([seed, 1])
    camera = rig.cameras["rgb"]
    truth = ground_depth(rig.cameras["spikes"])
    for frame in range(1, int(seconds * 1e9) // FRAME_NS):
        time_ns = START_NS + frame * FRAME_NS
        image = rng.integers(0, 256, (camera.height, camera.width, 3), dtype=np.uint8)
        message = messages.image_to_message(image, "rgb8", time_ns, "rgb_optical_frame")
        yield (
            "/rgb/camera_info",
            types.CAMERA_INFO,
            messages.camera_to_message(camera, time_ns, "rgb_optical_frame"),
            time_ns,
        )
        yield "/rgb/image_raw", types.IMAGE, message, time_ns + 2_000_000
        depth = messages.image_to_message(truth, "32FC1", time_ns, "spikes_optical_frame")
        yield "/truth/depth/image_rect", types.IMAGE, depth, time_ns + 1_000_000


def write_recording(path: Path, recording: list[Written] | None = None, **options: Any) -> Path:
    """Write messages as a bag, in the order of reception."""
    with BagWriter(path, **options) as bag:
        for topic, kind, message, time_ns in sorted(recording or small_recording(), key=_received):
            bag.write(topic, kind, message, time_ns)
    return path


def write_compressed_files(path: Path, recording: list[Written], count: int, **options: Any) -> Path:
    """Write messages as `ros2 bag record` does that begins a file every so often and compresses those it has ended."""
    ordered = sorted(recording, key=_received)
    edges = [len(ordered) * k // count for k in range(count + 1)]
    spans, names = [], []
    path.mkdir()
    for number, (begin, end) in enumerate(pairwise(edges)):
        file = write_recording(path / f"{path.name}_{number}.mcap", ordered[begin:end], **options)
        names.append(f"{file.name}.zstd")
        (path / names[-1]).write_bytes(zstandard.compress(file.read_bytes()))
        file.unlink()
        spans.append((_received(ordered[begin]), _received(ordered[end - 1])))

    def span(start_ns: int, end_ns: int) -> dict[str, Any]:
        return {
            "starting_time": {"nanoseconds_since_epoch": start_ns},
            "duration": {"nanoseconds": end_ns - start_ns},
        }

    about = {
        **span(spans[0][0], spans[-1][1]),
        "relative_file_paths": names,
        "topics_with_message_count": [],
        # Without the suffix, as rosbag2 leaves it there.
        "files": [{"path": n.removesuffix(".zstd"), **span(*s)} for n, s in zip(names, spans, strict=True)],
    }
    (path / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": about}))
    return path


def write_killed_recording(path: Path, recording: list[Written]) -> Path:
    """A bag of rosbag2 whose recorder was killed: its last messages are in SQLite's journal alone."""
    whole = write_recording(path.with_suffix(".db3"), recording)
    path.mkdir()
    with contextlib.closing(sqlite3.connect(whole)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("UPDATE messages SET timestamp = timestamp + 1 WHERE id = (SELECT max(id) FROM messages)")
        database.commit()
        for name in (whole.name, f"{whole.name}-wal"):
            shutil.copy(whole.with_name(name), path / name)
    return path


SPIKES_FROM_LIDAR = pose((0.2, -0.5, 0.3), (0.5, -0.5, 0.5, -0.5))
TRUTH = "/truth/depth/image_rect"
LIDAR = "/lidar/points"
WALL_M = 12.0


def with_lidar(recording: list[Written], placed: bool = True) -> list[Written]:
    """The recording with points instead of true depth: a wall ahead of the spike camera, seen from a LiDAR that is
    elsewhere and looks elsewhere; `placed` says where, on `/tf_static`."""
    wall = np.array([(x, y, WALL_M) for x in np.linspace(-4, 4, 40) for y in np.linspace(-3, 3, 30)])
    lidar_from_spikes = np.linalg.inv(SPIKES_FROM_LIDAR)
    points = (wall @ lidar_from_spikes[:3, :3].T + lidar_from_spikes[:3, 3]).astype(np.float32)
    store = type_store().types
    fields = [store["sensor_msgs/msg/PointField"](name, 4 * k, 7, 1) for k, name in enumerate("xyz")]
    data = np.ascontiguousarray(points).reshape(-1).view(np.uint8)
    found = []
    for topic, kind, message, time_ns in recording:
        if topic == TRUTH:
            stamp_ns = messages.stamp_ns(message)
            header = messages.image_to_message(np.zeros((1, 1), np.uint8), "mono8", stamp_ns, "lidar").header
            row = 12 * len(points)
            cloud = store[types.POINT_CLOUD](header, 1, len(points), fields, False, 12, row, data, True)
            topic, kind, message = LIDAR, types.POINT_CLOUD, cloud
        found.append((topic, kind, message, time_ns))
    steps = [("spikes_optical_frame", "lidar", SPIKES_FROM_LIDAR)]
    static = ("/tf_static", types.TRANSFORMS, messages.transforms_to_message(steps, START_NS), START_NS)
    return [static, *found] if placed else found


ODOMETRY = "/odometry"


def with_odometry(recording: list[Written], metres: float = 0.3) -> list[Written]:
    """The recording with poses of the spike camera, so far ahead from frame to frame."""
    times_ns = [time_ns - 1_000_000 for topic, _, _, time_ns in recording if topic == TRUTH]
    poses = [
        messages.odometry_to_message(pose((0.0, 0.0, metres * k)), time_ns, "odom", "spikes_optical_frame")
        for k, time_ns in enumerate(times_ns)
    ]
    return [
        *recording,
        *((ODOMETRY, types.ODOMETRY, place, time_ns) for place, time_ns in zip(poses, times_ns, strict=True)),
    ]
