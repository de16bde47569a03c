"""What a depth node says that it runs, and for how long that is believed."""

from __future__ import annotations

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from spike_depth_ros import deployment
from spike_depth_ros.deployment import HEARD_S, Deployment, Running


def model(**values):
    pairs = [KeyValue(key=key, value=value) for key, value in ({"node": "/depth_node"} | values).items()]
    return DiagnosticArray(status=[DiagnosticStatus(name="depth_node: model", values=pairs)])


def test_what_was_said_is_believed_until_it_is_old_or_the_node_runs_nothing(graph, monkeypatch):
    given = Deployment(graph.add(Node, "adaptation"), "/depth_node")
    now_s = 1000.0
    monkeypatch.setattr(deployment.time, "monotonic", lambda: now_s)
    assert given.running is None
    given._on_diagnostics(model(sha256="a" * 64, changes="2"))
    assert given.running == Running("a" * 64, 2)
    now_s += HEARD_S - 1
    assert given.running is not None
    now_s += 2
    assert given.running is None
    given.tick("b" * 64, "b.safetensors", {"a" * 64})
    assert given.note == "/depth_node does not say what it runs"
    given._on_diagnostics(model(sha256="a" * 64))
    assert given.running == Running("a" * 64, 0)
    given._on_diagnostics(model(state="unconfigured"))
    assert given.running is None
