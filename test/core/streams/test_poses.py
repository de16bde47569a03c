"""Waiting for the pose that a moment lacks."""

import threading

import numpy as np

from spike_depth_core.streams import Poses

MS = 1_000_000
LONG_S = 600.0


def test_who_waits_is_woken_by_the_pose_that_passes_the_moment():
    poses = Poses()
    poses.add(0, np.eye(4))
    found, waiting = [], threading.Event()

    def wait():
        waiting.set()
        found.append(poses.wait(100 * MS, LONG_S))

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    waiting.wait()
    poses.add(50 * MS, np.eye(4))  # not yet
    poses.add(120 * MS, np.eye(4))
    thread.join(20.0)
    assert found == [True]
    assert poses.wait(110 * MS, LONG_S)  # it is there already


def test_there_is_no_wait_for_poses_that_have_ended_or_never_began(monkeypatch):
    poses, waits = Poses(most_apart_ns=250 * MS), []
    monkeypatch.setattr(poses._lock, "wait_for", lambda until, timeout_s: waits.append(timeout_s))
    assert not poses.wait(0, LONG_S)
    poses.add(0, np.eye(4))
    assert not poses.wait(251 * MS, LONG_S)
    assert waits == []
    assert not poses.wait(249 * MS, LONG_S)
    assert waits == [LONG_S]
