"""What the recorder of the demonstration keeps, driven by messages without a graph."""

from __future__ import annotations

import numpy as np
import pytest
import rclpy

from spike_depth_ros.messages import image_to_message
from spike_depth_ros.recorder import Recorder

MS = 1_000_000


@pytest.fixture
def recorder():
    context = rclpy.Context()
    rclpy.init(context=context)
    recorder = Recorder(capacity=8, context=context)
    yield recorder
    recorder.destroy_node()
    rclpy.shutdown(context=context)


def depth(recorder, time_ns, published_ns=None, frame_id="spikes_optical_frame"):
    message = image_to_message(np.full((2, 3), time_ns, np.float32), "32FC1", time_ns, frame_id)
    recorder._on_depth(message, {"source_timestamp": published_ns or time_ns})


def beside(recorder, name, time_ns):
    recorder._keep_beside(name)(image_to_message(np.full((2, 3), 7, np.uint8), "mono8", time_ns, ""))


def test_what_is_beside_a_depth_image_may_come_before_or_after_it(recorder):
    beside(recorder, "truth", 100 * MS)
    beside(recorder, "truth", 133 * MS)
    beside(recorder, "rgb", 110 * MS)
    depth(recorder, 100 * MS)
    beside(recorder, "uncertainty", 100 * MS)
    beside(recorder, "spikes", 133 * MS)
    (record,) = recorder.records()
    assert set(record.images) == {"depth", "truth", "rgb", "uncertainty"}


def test_truth_of_another_time_is_no_truth(recorder):
    beside(recorder, "truth", 100 * MS + 1)
    depth(recorder, 100 * MS)
    assert set(recorder.records()[0].images) == {"depth"}


def test_depth_in_another_frame_than_the_truth_is_not_kept(recorder):
    depth(recorder, 100 * MS, frame_id="rgb_optical_frame")
    assert recorder.records() == []
    assert recorder.times_ns == [100 * MS]


def test_latency_is_from_the_moment_to_the_publication(recorder):
    depth(recorder, 100 * MS, 160 * MS)
    assert recorder.latencies_ms == [60.0]


def test_a_long_drive_is_thinned_evenly_and_its_times_are_all_kept(recorder):
    for index in range(100):
        depth(recorder, index * MS)
    times = [record.time_ns // MS for record in recorder.records()]
    assert len(recorder.times_ns) == 100
    assert len(times) <= 8
    assert len(set(np.diff(times))) <= 2
    assert times[0] < 16
    assert times[-1] > 84
