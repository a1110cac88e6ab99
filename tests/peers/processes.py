"""What these tests run beside Redis: a worker, a relay, and a proxy that drops connections."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

from streamstraight_celery import StreamHandle
from tests.peers.app import CONF_VARIABLE, dictated, dictated_run
from tests.support.processes import start_celery


def start_peers(conf: dict[str, Any], log: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start `celery -A tests.peers.app ...`."""
    return start_celery("tests.peers.app", log, *words, env={CONF_VARIABLE: json.dumps(conf)})


class Proxy:
    """Passes TCP connections on to a port, until they are cut."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._open: set[socket.socket] = set()
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Drop all connections there are, in the middle of whatever they carry."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                incoming, _ = self._server.accept()
                outgoing = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            self.connections += 1
            for pair in ((incoming, outgoing), (outgoing, incoming)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        self._open.add(source)
        with contextlib.suppress(OSError), source:
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)
        self._open.discard(source)


class Dictation:
    """A stream of the worker's that goes on when it is told to."""

    def __init__(self, broker_url: str) -> None:
        self._redis = redis.Redis.from_url(broker_url)
        self._channel = f"dictation:{uuid4().hex}"
        self.handle: StreamHandle | None = None

    def begin(self) -> StreamHandle:
        """Enqueue the task."""
        return self._begin(dictated)

    def begin_run(self) -> StreamHandle:
        """Enqueue the task whose chunks are the events of an AG-UI run, or join it."""
        return self._begin(dictated_run.conversation(self._channel, if_active="join"))  # type: ignore[attr-defined]

    def say(self, *chunks: Any) -> None:
        self._tell(*(("chunk", chunk) for chunk in chunks))

    def end(self) -> None:
        self._tell(("end", None))

    def fail(self, message: str) -> None:
        self._tell(("fail", message))

    def retry(self) -> None:
        """Have the task's next attempt begin."""
        self._tell(("retry", None))

    def close(self) -> None:
        """Let the worker go, whatever is left to say."""
        self._redis.delete(self._channel)
        self.end()
        if self.handle is not None:
            self.handle.result.get(timeout=60, propagate=False)
        self._redis.delete(self._channel)
        self._redis.close()

    def _begin(self, task: Any) -> StreamHandle:
        self.handle = task.stream(self._channel)
        return self.handle

    def _tell(self, *words: tuple[str, Any]) -> None:
        self._redis.rpush(self._channel, *(json.dumps(word) for word in words))
