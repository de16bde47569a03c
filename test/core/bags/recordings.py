"""Small recordings for tests: random spikes, frames of a level road and its true depth, as a vehicle sends them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from spike_depth_core.bags import BagWriter, messages, types
from spike_depth_core.geometry import SensorRig
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
