"""A relay server over a fixed log that fails in a random way, request after request, from a seed.

Each fault is one that a network or a server really brings. After `faults` of them it behaves. It
also runs alone, for readers in other languages, and prints where the stream is:

    python -m tests.support.faulty_relay --seed 7 --faults 25
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

FAULTS = (
    "status", "drop", "none", "redirect", "cut", "cut", "reset", "gzip", "recycle", "token",
)  # fmt: skip
STATUSES = (408, 425, 429, 500, 502, 503, 504)
LINE_ENDS = ("\n", "\r\n", "\r")


def offset_of(seq: int) -> str:
    return f"000001_{seq:010d}_aaaaaaaa"


def log_of(count: int, rng: random.Random) -> list[Any]:
    """Chunks of every kind and size, some with what line splitting and decoding stumble over."""
    odd = ["", "grüße \u2028 🙂", "a\r\nb", {"x": [1, None, True]}, "\x00", "data: {}", "x" * 4000]
    return [rng.choice(odd) if rng.random() < 0.3 else number for number in range(count)]


class FaultyRelay:
    """The server.

    Args:
        seed: everything random comes from it.
        faults: how many requests fail.
        log: the chunks; default: sixty of every kind.
        kinds: the faults to choose from.

    Attributes:
        seen: the fault that each request met, `""` for none.
        offsets: where each request that got a stream began.
        token: the one that is good at the moment.
    """

    def __init__(
        self,
        seed: int,
        faults: int = 25,
        log: list[Any] | None = None,
        kinds: tuple[str, ...] = FAULTS,
    ) -> None:
        self.rng = random.Random(seed)
        self.log = log_of(60, self.rng) if log is None else log
        self.kinds = kinds
        self.seen: list[str] = []
        self.offsets: list[str] = []
        self.token = 1
        self._left = faults
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                relay.answer(self)

            def log_message(self, *_: object) -> None:
                """Be quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Readers hang up whenever they like."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/stream/abc"

    def __enter__(self) -> FaultyRelay:
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def get_token(self) -> str:
        return f"t{self.token}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request; a reader asks one after the other."""
        request.close_connection = True
        fault = self._next_fault()
        self.seen.append(fault)
        if fault == "token":
            self.token += 1
        if request.headers["authorization"] != f"Bearer {self.get_token()}":
            return _reply(request, 401, {})
        parts = urlsplit(request.path)
        if fault == "status":
            asked = {"retry-after": "0"} if self.rng.random() < 0.3 else {}
            return _reply(request, self.rng.choice(STATUSES), asked, b"<h1>Try later</h1>")
        if fault == "none":
            return _reply(request, 204, {})
        if fault == "drop":
            return _abort(request.connection)
        if fault == "redirect" and not parts.path.startswith("/moved" * 3):
            moved = {"location": f"/moved{parts.path}?{parts.query}"}
            return _reply(request, self.rng.choice((301, 302, 303, 307, 308)), moved)
        return self._stream(request, parse_qs(parts.query)["offset"][0], fault)

    def _next_fault(self) -> str:
        if self._left <= 0:
            return ""
        self._left -= 1
        # A token that is refused twice in a row ends the reading, as it should.
        met = [fault for fault in self.seen if fault != "redirect"]
        kinds = [kind for kind in self.kinds if kind != "token" or met[-1:] != ["token"]]
        return self.rng.choice(kinds)

    def _stream(self, request: BaseHTTPRequestHandler, offset: str, fault: str) -> None:
        self.offsets.append(offset)
        start = 0 if offset == "-1" else int(offset.split("_")[1])
        body = "".join(self._frames(start, fault in ("recycle", "gzip")))
        data = body.replace("\n", self.rng.choice(LINE_ENDS)).encode()
        head = {"content-type": "text/event-stream"}
        if fault == "gzip":
            data, head = gzip.compress(data), {**head, "content-encoding": "gzip"}
        # Anywhere: in a character, in a line, between two frames.
        whole = fault not in ("cut", "reset")
        data = data if whole else data[: self.rng.randrange(len(data))]
        _head(request, 200, {**head, "transfer-encoding": "chunked"})
        while data:
            size = self.rng.randint(1, 900)
            piece, data = data[:size], data[size:]
            request.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if whole:
            request.wfile.write(b"0\r\n\r\n")
        elif fault == "reset":
            _abort(request.connection)

    def _frames(self, start: int, recycled: bool) -> Iterator[str]:
        """What is left of the log, in frames of any size."""
        end = len(self.log)
        if recycled:  # a response that ends in order before the stream does
            end = min(end, start + self.rng.randint(1, 9))
        yield ": hello\n\n"
        while start < end:
            following = min(end, start + self.rng.randint(1, 6))
            text = json.dumps(self.log[start:following], ensure_ascii=self.rng.random() < 0.5)
            name = offset_of(following)
            # With an id, or, as servers of the standard alone, only in the control frame.
            with_id = f"id: {name}\n" if self.rng.random() < 0.7 else ""
            yield f"event: data\n{with_id}data:{text}\n\n"
            yield f'event: control\ndata:{{"streamNextOffset":"{name}"}}\n\n'
            if self.rng.random() < 0.2:
                yield ": ping\n\n"
            start = following
        if not recycled:
            control = {"streamNextOffset": offset_of(end), "streamClosed": True}
            yield f"event: control\ndata:{json.dumps(control)}\n\n"


def _head(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    request.send_response_only(status)
    for name, value in {**headers, "connection": "close"}.items():
        request.send_header(name, value)
    request.end_headers()


def _reply(
    request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes = b""
) -> None:
    _head(
        request, status, headers if status == 204 else {**headers, "content-length": str(len(body))}
    )
    request.wfile.write(body)


def _abort(connection: socket.socket) -> None:
    """Reset the connection: what was sent last may be lost on the way, too."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=25)
    options = parser.parse_args()
    relay = FaultyRelay(options.seed, options.faults)
    print(json.dumps({"url": relay.url, "chunks": relay.log}), flush=True)
    relay.server.serve_forever()


if __name__ == "__main__":
    main()
