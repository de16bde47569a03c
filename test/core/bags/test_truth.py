"""True depth of a bag, held as long as a moment may wait for it."""

from types import SimpleNamespace

import numpy as np
import pytest

from spike_depth_core.bags import messages, types
from spike_depth_core.bags.truth import TruthTopic

SECOND = 1_000_000_000


@pytest.mark.parametrize("rate_hz", [5, 30, 240])
def test_truth_is_held_while_a_moment_waits_for_its_pose_and_no_longer(rate_hz):
    bag = SimpleNamespace(topics={"/truth": SimpleNamespace(kind=types.IMAGE)})
    truths = TruthTopic(bag, "/truth")
    stamps = range(0, 2 * SECOND, SECOND // rate_hz)
    for now_ns in stamps:
        message = messages.image_to_message(np.ones((2, 3), np.float32), "32FC1", now_ns, "spikes")
        truths.take(SimpleNamespace(decode=lambda message=message: message))
        waiting = [s for s in stamps if now_ns - SECOND // 2 <= s <= now_ns]  # a pose is waited for so long
        assert [truths.nearest(s).time_ns for s in waiting] == waiting
        assert not now_ns > SECOND or truths.nearest(now_ns - SECOND) is None
    past = messages.image_to_message(np.ones((2, 3), np.float32), "32FC1", 0, "spikes")
    truths.take(SimpleNamespace(decode=lambda: past))  # the recording starts over
    assert truths.nearest(0).time_ns == 0
    assert truths.nearest(stamps[-1]) is None
