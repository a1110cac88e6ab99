"""What a producer of `stream-v1` may be connected to: processes to be frozen, killed, restarted."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from streamstraight_celery.errors import RelayUnavailableError, StreamNotFoundError
from streamstraight_celery.relays import open_relay
from streamstraight_celery.relays.requests import Read
from streamstraight_celery.settings import StreamSettings
from tests.conftest import ROOT, eventually, free_port

KEY = "the key of a Streamstraight account"


class Server(ABC):
    """A server process on a port of its own that it keeps over restarts.

    Args:
        folder: where its log goes.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / f"{type(self).__name__}-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """What follows `python -m`."""

    def environment(self) -> dict[str, str]:
        return {}

    @abstractmethod
    def log(self, stream_id: str) -> tuple[list[str], str]:
        """Every chunk's data that the server has of a stream, and its end reason."""

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *self.command()], cwd=ROOT, stdout=log, stderr=log,
                env={**os.environ, **self.environment()}, start_new_session=True,
            )  # fmt: skip
        eventually(self._listens, timeout=60)

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self._process = None

    def close(self) -> None:
        if self._process is not None:
            self.kill()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Bare(Server):
    """`tests.streamstraight.bare`."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self._options = options

    def command(self) -> list[str]:
        return ["tests.streamstraight.bare", str(self.port), *self._options]

    def stream(self, stream_id: str) -> dict[str, Any] | None:
        with urllib.request.urlopen(f"{self.url}/log/{stream_id}", timeout=10) as answer:
            found: dict[str, Any] | None = json.load(answer)
            return found

    def log(self, stream_id: str) -> tuple[list[str], str]:
        stream = self.stream(stream_id)
        if stream is None:
            return [], ""
        return stream["chunks"], stream["end"]["reason"] if stream["end"] else ""


class Ours(Server):
    """Our own relay server, on Redis."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        super().__init__(folder)
        self._redis_url = redis_url
        self.relay = open_relay(StreamSettings(relay_url=redis_url))

    def command(self) -> list[str]:
        words = ["celery", "-A", "tests.streamstraight.relay_app", "streams", "relay"]
        return [*words, "--port", str(self.port)]

    def environment(self) -> dict[str, str]:
        return {"TEST_RELAY_URL": self._redis_url, "TEST_API_KEY": KEY}

    def log(self, stream_id: str) -> tuple[list[str], str]:
        from streamstraight_celery.server.socketio.protocol import from_line

        try:
            page = self.relay.read(Read(stream_id, 1, 0, 100_000))
        except (RelayUnavailableError, StreamNotFoundError):
            return [], ""
        if page is None:
            return [], ""
        texts: list[str] = []
        for entry in page.entries:
            assert entry.first == len(texts) + 1
            texts += [from_line(line, page.state.kind) for line in entry.data.split(b"\n")]
        return texts, page.state.end

    def close(self) -> None:
        super().close()
        self.relay.close()
