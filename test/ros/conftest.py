"""Real nodes over real DDS, in a domain that nobody else is in."""

from __future__ import annotations

import pytest

rclpy = pytest.importorskip("rclpy", reason="these tests need ROS 2: `make test` installs it")

from spike_depth_ros.domain import private_domain  # noqa: E402
from spike_depth_ros.middleware import load_profile  # noqa: E402
from test.ros.harness import Graph  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def isolated_domain():
    """A domain of its own on this machine alone."""
    with private_domain() as domain:
        load_profile()
        yield domain


@pytest.fixture
def graph():
    """An empty ROS graph to put nodes in."""
    with Graph() as graph:
        yield graph
