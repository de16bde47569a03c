"""A short run of the fuzz target; `python -m test.ros.fuzz_messages` makes a long one."""

from __future__ import annotations

import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from spike_depth.msg import SpikePacket

from spike_depth_ros.messages import MessageError
from test.ros.fuzz_messages import check, fuzz, mutants, seeds


def test_good_messages_are_read():
    for message, readers in seeds():
        check(message, readers[0](message))


def test_no_mutant_does_worse_than_a_message_error():
    became = fuzz(6000, seed=1)
    assert became["read"] > 500
    reasons = {"encoding", "size", "count", "period", "length", "stamp", "calibration", "distortion"}
    assert reasons <= set(became)


def test_mutants_are_of_every_kind():
    kinds = {type(message) for message, _ in mutants(50, seed=2)}
    assert kinds == {SpikePacket, Image, CompressedImage, CameraInfo}


def test_a_reader_that_lets_nonsense_through_is_found(monkeypatch):
    import spike_depth_core.bags.messages as messages

    monkeypatch.setattr(messages, "_check_size", lambda *_: None)
    with pytest.raises((ValueError, AssertionError, MemoryError)) as caught:
        fuzz(6000, seed=1)
    assert not isinstance(caught.value, MessageError)
