"""What a relay server counts while it works: plain numbers, made into metrics when asked for."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

from ..offsets import Offset, Verdict
from .http import Reply, Request
from .live.position import Asked
from .reads.durable import STREAM_PATH

CATCH_UP = "catch-up"
LONG_POLL = "long-poll"
SHARED = "shared"  # many streams in one response
SOCKET_IO = "socket.io"
# Shown from the beginning, because Prometheus cannot see a counter grow that was not there.
LIVE_DOORS = ("sse", "plain", LONG_POLL, SHARED, SOCKET_IO)
RESUMED_DOORS = ("sse", "plain", LONG_POLL, SHARED, CATCH_UP)
ALL_DOORS = (*LIVE_DOORS, CATCH_UP)
WRITES = frozenset({"PUT", "POST", "DELETE"})


class Tally:
    """Counts since the server began; touched by its event loops only.

    Attributes:
        chunks, bytes: delivered, by door: its name, or the class of an SSE response's door.
        resumes: reads that went on from an offset, by door.
        refused: answers of status 400 and above, by status and code.
        writes: requests that write, by method and status.
        resets: readers told that a newer attempt replaced what they had.
        gone: readers told that chunks were lost.
        reaped: streams of lost producers that this server ended.
        closed: streams written over HTTP that were closed or stopped over HTTP, by end reason.
        dropped: readers closed because they took nothing.
    """

    def __init__(self) -> None:
        self.chunks: defaultdict[Any, int] = defaultdict(int)
        self.bytes: defaultdict[Any, int] = defaultdict(int)
        self.resumes: Counter[str] = Counter()
        self.refused: Counter[tuple[int, str]] = Counter()
        self.writes: Counter[tuple[str, int]] = Counter()
        self.closed: Counter[str] = Counter()
        self.resets = 0
        self.gone = 0
        self.reaped = 0
        self.dropped = 0

    def began(self, door: str, asked: Asked) -> None:
        """A read has begun."""
        if isinstance(asked, Offset) and asked.seq:
            self.resumes[door] += 1

    def delivered(self, door: Any, chunks: int, size: int) -> None:
        """A door has handed out chunks, in `size` bytes of response."""
        self.chunks[door] += chunks
        self.bytes[door] += size

    def answered(self, request: Request, reply: Reply) -> None:
        """A request has got a whole response at once."""
        if request.method in WRITES and request.path.startswith(STREAM_PATH):
            self.writes[request.method, reply.status] += 1
        if reply.status >= 400:
            code = _code_of(reply)
            self.refused[reply.status, code] += 1
            self.resets += code == Verdict.SUPERSEDED.value
            self.gone += code == Verdict.GONE.value


def door_name(door: Any) -> str:
    """A door's name for its class; a name stands for itself."""
    return door if isinstance(door, str) else str(getattr(door, "name", door.__name__))


def _code_of(reply: Reply) -> str:
    """The code in an error's body; `""` for answers of the protocol that have none."""
    try:
        return str(json.loads(reply.body)["error"]["code"])
    except (ValueError, LookupError, TypeError):
        return ""
