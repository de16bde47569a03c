"""Real nodes over real DDS, in a domain that nobody else is in."""

from __future__ import annotations

import os
import socket

import pytest

rclpy = pytest.importorskip("rclpy", reason="these tests need ROS 2: `make test` installs it")

from spike_depth_ros.middleware import load_profile  # noqa: E402
from test.ros.harness import Graph  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def isolated_domain():
    """A domain of its own on this machine alone. A bound port marks it as taken, also for a test run beside this."""
    for domain in range(1, 101):
        lock = socket.socket()
        try:
            lock.bind(("127.0.0.1", 27_000 + domain))
        except OSError:
            lock.close()
            continue
        os.environ["ROS_DOMAIN_ID"] = str(domain)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
        load_profile()
        yield domain
        lock.close()
        return
    pytest.fail("no free ROS domain")


@pytest.fixture
def graph():
    """An empty ROS graph to put nodes in."""
    with Graph() as graph:
        yield graph
