"""The SROS 2 policy allows what the nodes have, and nothing that they do not have."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from rclpy.parameter import Parameter

from spike_depth_ros import simulator_node
from spike_depth_ros.adaptation_node import AdaptationNode
from spike_depth_ros.simulator_node import SimulatorNode
from test.ros.harness import Observer
from test.ros.test_simulator_node import InstantPlayer

POLICY = Path(__file__).resolve().parents[2] / "config" / "security" / "policy.xml"
# Subscribed to where simulated time, tf2_ros, or compressed images are used: not in this test.
SOMETIMES = {"/clock", "/tf", "/tf_static"}


def allowed(node: str) -> dict[str, set[str]]:
    """What the policy allows a node, by kind."""
    found: dict[str, set[str]] = {"publish": set(), "subscribe": set(), "reply": set(), "request": set()}
    for profile in ElementTree.parse(POLICY).getroot().iter("profile"):
        if profile.get("node") != node:
            continue
        for group in profile:
            for kind, verdict in group.attrib.items():
                assert verdict == "ALLOW"
                found[kind] |= {entry.text.replace("~", f"/{node}", 1) for entry in group}
    return found


def real(observer: Observer, node: str) -> dict[str, set[str]]:
    """What a running node has, as another one sees it."""
    return {
        "publish": {name for name, _ in observer.get_publisher_names_and_types_by_node(node, "/")},
        "subscribe": {name for name, _ in observer.get_subscriber_names_and_types_by_node(node, "/")},
        "reply": {name for name, _ in observer.get_service_names_and_types_by_node(node, "/")},
        "request": {name for name, _ in observer.get_client_names_and_types_by_node(node, "/")},
    }


def compare(observer: Observer, node: str) -> None:
    policy = allowed(node)
    assert all(policy[kind] for kind in ("publish", "subscribe", "reply"))

    def same():
        try:
            found = real(observer, node)
        except Exception:  # it has not been discovered yet
            return False
        extra = {kind: names - policy[kind] for kind, names in found.items()}
        missing = {kind: policy[kind] - names - SOMETIMES for kind, names in found.items()}
        missing["subscribe"] = {name for name in missing["subscribe"] if not name.endswith("/compressed")}
        differences.update(extra=extra, missing=missing)
        return not any(extra.values()) and not any(missing.values())

    differences: dict = {}
    observer.wait(same, f"{node} to have what the policy allows; {differences}")


def test_the_depth_node(graph):
    graph.add_depth_node(millimetres=True, disparity=True, parallax=True)
    compare(graph.add(Observer, "/elsewhere"), "depth_node")


def test_the_adaptation_node(graph, tmp_path):
    overrides = [Parameter("enabled", value=True), Parameter("snapshots", value=str(tmp_path))]
    graph.add(AdaptationNode, lambda _: iter(()), parameter_overrides=overrides)
    compare(graph.add(Observer, "/elsewhere"), "adaptation_node")


def test_the_simulator(graph, monkeypatch):
    monkeypatch.setattr(simulator_node, "DrivePlayer", InstantPlayer)
    overrides = [
        Parameter("sensors", value=["rgb", "nir", "thermal"]),
        Parameter("wait_for_subscriber", value=True),
    ]
    graph.add(SimulatorNode, parameter_overrides=overrides)
    compare(graph.add(Observer, "/elsewhere"), "simulator_node")
