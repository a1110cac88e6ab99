"""Ports for servers that tests start."""

from __future__ import annotations

import random
import socket

# Below those that the kernel gives to outgoing connections: none of them takes one in between.
_RANGE = range(10_000, 32_000)
_given: set[int] = set()


def free_port() -> int:
    """A TCP port on which nothing listens, given once by this process."""
    while True:
        port = random.choice(_RANGE)
        if port in _given:
            continue
        try:
            with socket.create_server(("127.0.0.1", port)):
                _given.add(port)
                return port
        except OSError:
            continue
