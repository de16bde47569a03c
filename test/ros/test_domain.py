import socket

import pytest

from spike_depth_ros import domain
from spike_depth_ros.domain import private_domain


def test_graphs_side_by_side_have_different_domains_and_give_them_back():
    one, other = {}, {}
    with private_domain(one) as first:
        with private_domain(other) as second:
            assert first != second
        with private_domain({}) as third:
            assert third == second
    assert one == {"ROS_DOMAIN_ID": str(first), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    assert other["ROS_DOMAIN_ID"] == str(second)


def test_it_is_said_when_none_is_free(monkeypatch):
    monkeypatch.setattr(domain, "DOMAINS", range(40, 41))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 27_040))
        with pytest.raises(RuntimeError, match="from 40 to 40 are taken"), private_domain({}):
            pass
