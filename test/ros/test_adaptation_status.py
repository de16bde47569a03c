"""What the adaptation node says of its inputs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from spike_depth_ros.adaptation_status import SILENT_NS, AdaptationReport
from spike_depth_ros.diagnostics import OK, WARN


def reception(ages_ns, trouble="", listened_ns=SILENT_NS + 1):
    """What `Reception` has, of two sensors."""
    counts = {"received": 9, "used": 4, "lost": 1, "dropped": {"no_camera_info": 5}}
    watch = SimpleNamespace(
        topic=lambda sensor: f"/{sensor}", trouble=lambda name, _: trouble if f"/{name}" in trouble else None
    )
    inputs = SimpleNamespace(
        sensors=tuple(ages_ns),
        age_ns=ages_ns.get,
        watch=watch,
        rates={sensor: SimpleNamespace(rate_hz=lambda: 30.0) for sensor in ages_ns},
    )
    odometry = SimpleNamespace(topic="/odom", child_frame="", unrelated=3)
    sync = SimpleNamespace(counts=lambda: dict.fromkeys(ages_ns, counts))
    return SimpleNamespace(inputs=inputs, odometry=odometry, sync=sync, listened_ns=listened_ns)


@pytest.mark.parametrize(
    ("ages_ns", "trouble", "level", "message"),
    [
        ({"spikes": 0, "rgb": None}, "", OK, "receiving"),
        ({"spikes": SILENT_NS + 1, "rgb": None}, "", WARN, "no sensor delivers"),
        ({"spikes": 0, "rgb": 0}, "/odometry cannot be received", WARN, "/odometry cannot be received"),
        ({"spikes": 0, "rgb": None}, "/rgb cannot be received", WARN, "/rgb cannot be received"),
    ],
)
def test_inputs_of_which_nothing_can_be_used_are_a_warning(ages_ns, trouble, level, message):
    found = AdaptationReport("/adaptation_node").inputs(reception(ages_ns, trouble))
    assert (found.level, found.message) == (level, message)
    values = {pair.key: pair.value for pair in found.values}
    assert values["rgb/dropped/no_camera_info"] == "5"
    assert values["odometry/unrelated"] == "3"


def test_nothing_is_amiss_while_nobody_listens():
    ages_ns = {"spikes": 9 * SILENT_NS, "rgb": None}
    found = AdaptationReport("/adaptation_node").inputs(reception(ages_ns, "/rgb has been silent", listened_ns=0))
    assert (found.level, found.message) == (OK, "receiving")
