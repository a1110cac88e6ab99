"""The feed that is pulled: one blocked XREAD over all keys, spoken straight over a socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import hiredis

from benchmarks.reader.sinks import Sink

BLOCK_MS = 1000
ENTRIES = 1000


def command(*parts: bytes) -> bytes:
    head = b"*%d\r\n" % len(parts)
    return head + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class StreamReader:
    """Reads Redis streams from their start; each entry's first field is a chunk."""

    def __init__(self, feeds: list[dict[str, Any]], sinks: list[Sink]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", feeds[0]["port"]))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = hiredis.Reader()
        keys = [str(feed["key"]).encode() for feed in feeds]
        self.last = dict.fromkeys(keys, b"0")
        self.sinks = dict(zip(keys, sinks, strict=True))
        self.ask(b"SELECT", str(feeds[0]["db"]).encode())
        self.opened_ns = time.monotonic_ns()

    def ask(self, *parts: bytes) -> Any:
        self.socket.sendall(command(*parts))
        while (reply := self.replies.gets()) is False:
            data = self.socket.recv(262144)
            if not data:
                raise ConnectionError("Redis closed the connection")
            self.replies.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def run(self, done: Callable[[], bool], deadline: float) -> None:
        options = (b"BLOCK", b"%d" % BLOCK_MS, b"COUNT", b"%d" % ENTRIES, b"STREAMS")
        while not done() and time.monotonic() < deadline:
            reply = self.ask(b"XREAD", *options, *self.last, *self.last.values())
            for key, entries in reply or ():
                sink = self.sinks[key]
                for _, fields in entries:
                    sink.take(fields[1])
                self.last[key] = entries[-1][0]
