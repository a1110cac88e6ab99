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
        self._handed_over: list[socket.socket] = []
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

    def hand_over(self) -> socket.socket:
        """The latest caller's connection, which is the latest no more."""
        self._handed_over.append(self._connections.pop())
        return self._handed_over[-1]

    def hears_hang_up(self, connection: socket.socket | None = None) -> bool:
        """Wait until the latest caller, or the one of that connection, has closed its side."""
        try:
            return (connection or self._connections[-1]).recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        for connection in (*self._connections, *self._handed_over):
            connection.close()
        self._listener.close()
