"""A TCP proxy that cuts its connections after so many bytes, as bad networks do."""

from __future__ import annotations

import contextlib
import random
import socket
import threading


class CuttingProxy:
    """Passes bytes on to a port of this machine; each connection is cut after some of them.

    Args:
        port: where to.
        rng: how many bytes pass.
        most: more than so many never do.

    Attributes:
        connections: how many there were.
    """

    def __init__(self, port: int, rng: random.Random, most: int) -> None:
        self.connections = 0
        self._target = port
        self._rng = rng
        self._most = most
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> CuttingProxy:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, client, self._rng.randint(1, self._most))

    def _serve(self, client: socket.socket, budget: int) -> None:
        with (
            client,
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self._target)) as server,
        ):
            there = threading.Thread(target=self._pass, args=(client, server), daemon=True)
            there.start()
            while budget > 0 and (data := server.recv(min(budget, 4096))):
                client.sendall(data)
                budget -= len(data)
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            there.join()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
