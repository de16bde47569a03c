"""ROS domains: a graph that meets nobody else's, for demonstrations and tests."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, MutableMapping

# Domains up to 101 use ports below the range from which Linux hands out its own.
DOMAINS = range(1, 102)
_LOCKS_FROM_PORT = 27_000


@contextlib.contextmanager
def private_domain(environment: MutableMapping[str, str] = os.environ) -> Iterator[int]:
    """Take a free ROS domain, seen on this machine alone, for as long as the context lasts.

    A bound port marks a domain as taken, so that graphs started side by side do not hear one another.

    Raises:
        RuntimeError: when no domain is free.
    """
    for domain in DOMAINS:
        with contextlib.closing(socket.socket()) as lock:
            try:
                lock.bind(("127.0.0.1", _LOCKS_FROM_PORT + domain))
            except OSError:
                continue
            environment["ROS_DOMAIN_ID"] = str(domain)
            environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
            yield domain
            return
    raise RuntimeError(f"all ROS domains from {DOMAINS[0]} to {DOMAINS[-1]} are taken")
