"""Stands in for an LLM at the other end of a socket: says what it is told, when it is told."""

from __future__ import annotations

import socket

from tests.tasks.processes import PATIENCE


class Speaker:
    """Listens for one connection after the other."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self._connections: list[socket.socket] = []
        self.port: int = self._listener.getsockname()[1]

    def answer(self) -> None:
        """Wait for a task to connect, and take the call."""
        connection, _ = self._listener.accept()
        connection.settimeout(PATIENCE)
        self._connections.append(connection)

    def say(self, *lines: str) -> None:
        """Send lines to the latest caller."""
        self._connections[-1].sendall("".join(f"{line}\n" for line in lines).encode())

    def hang_up(self) -> None:
        """End the latest caller's stream."""
        self._connections.pop().close()

    def hears_hang_up(self) -> bool:
        """Wait until the latest caller has closed its side."""
        try:
            return self._connections[-1].recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._listener.close()
