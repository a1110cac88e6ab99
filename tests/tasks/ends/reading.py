"""A reader over one connection, which never comes back."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.recordings.reader import frames
from tests.tasks.processes import PATIENCE


@dataclass
class Reading:
    """All that a reader was sent, over one connection."""

    chunks: list[Any] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)
    end: dict[str, Any] | None = None
    broken: str = ""


class Reader:
    """Reads a stream by SSE on a thread, without ever coming back."""

    def __init__(self, relay: str, stream: Any) -> None:
        self.got = Reading()
        self._url = f"{relay}/v1/stream/{stream.id}"
        self._headers = {"Authorization": f"Bearer {stream.token()}"}
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def finish(self) -> Reading:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "the stream does not end"
        return self.got

    def _read(self) -> None:
        query = {"live": "sse", "offset": "-1"}
        with (
            httpx.Client(timeout=PATIENCE) as client,
            client.stream("GET", self._url, params=query, headers=self._headers) as response,
        ):
            if response.status_code != 200:
                self.got.broken = str(response.status_code)
                return
            for event, _, data in frames(response.iter_lines()):
                if event == "data":
                    self.got.chunks += json.loads(data)
                    continue
                control = json.loads(data)
                if "status" in control:
                    self.got.statuses.append(control["status"])
                if control.get("streamClosed"):
                    self.got.end = control
                    return
        self.got.broken = "the connection was closed"
