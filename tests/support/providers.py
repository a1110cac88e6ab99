"""A stand-in for LLM providers: replays recorded streams to the real client libraries.

    with ReplayProvider() as provider:
        client = OpenAI(base_url=provider.base_url, api_key="x", max_retries=0)
        client.responses.create(model="openai-responses-text-short", input="", stream=True)

The model's name is the recording's; a query after it says how this one is replayed:
`model="openai-chat-text?delay=0.01&hold=3"`, with the fields of `Replay`. The anthropic client
takes the same `base_url`. `client.responses.retrieve(id, stream=True, starting_after=N)` replays
the rest of a recorded response. `python -m tests.support.providers` is a process of its own; its
`GET /exchanges` and `POST /release` stand for the attributes of these names.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import socket
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "recordings"
_LINE_END = re.compile(r"\r\n|\n|\r")
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
# openai adds /responses to the base URL, anthropic /v1/messages: one base URL for both.
_ENDPOINT = re.compile(r"POST (?:/v1)*/(?:responses|chat/completions|messages)")
_RETRIEVE = re.compile(r"GET (?:/v1)*/responses/(\w+)\?(.*)")
_STREAM = b"HTTP/1.1 200 -\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def split_events(recording: bytes) -> list[bytes]:
    """The recording's events as they were on the wire, each with its blank line."""
    ends = [0, *(blank.end() for blank in _BLANK_LINE.finditer(recording))]
    events = [recording[start:end] for start, end in pairwise(ends)]
    if rest := recording[ends[-1] :].strip():
        events.append(rest + b"\n\n")  # one fixture lost its last blank line; clients need it
    return events


def recorded_events(path: Path) -> list[str]:
    """The `data:` payloads of a recording, without the `[DONE]` that ends some."""
    payloads = []
    for event in split_events(path.read_bytes()):
        data = [line[5:] for line in _LINE_END.split(event.decode()) if line.startswith("data:")]
        payloads.append("\n".join(line.removeprefix(" ") for line in data))
    return [payload for payload in payloads if payload not in ("", "[DONE]")]


@dataclass(frozen=True)
class Replay:
    """How a recording is replayed.

    Attributes:
        write_bytes: an event is written in pieces of so many bytes; 0: in one piece.
        delay: seconds between two events.
        hold: after this many events keep silent, connection open, until `release()`.
        cut: after this many events close the connection, in the middle of the response.
        fail: answer with this HTTP status instead.
    """

    write_bytes: int = 0
    delay: float = 0.0
    hold: int | None = None
    cut: int | None = None
    fail: int | None = None

    def updated(self, query: str) -> Replay:
        """With the fields that a model name's query gives; ValueError when it is wrong."""
        given: dict[str, Any] = {}
        for name, value in parse_qsl(query, strict_parsing=True) if query else ():
            if name not in asdict(self):
                raise ValueError(f"no option {name!r}; there are {', '.join(asdict(self))}")
            given[name] = float(value) if name == "delay" else int(value)
        return replace(self, **given)


PLAIN = Replay()


@dataclass
class Exchange:
    """One request, and what became of its answer."""

    model: str
    request: dict[str, Any]
    events: int = 0  # sent so far
    state: str = "open"  # or held, complete, client-closed, cut, failed


class ReplayProvider:
    """The server, on an event loop in a thread of this process; port 0 takes a free one."""

    def __init__(self, folder: Path = RECORDINGS, replay: Replay = PLAIN, port: int = 0) -> None:
        paths = folder.glob("*.sse")
        self._recordings = {path.stem: split_events(path.read_bytes()) for path in paths}
        self._replay = replay
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = int(self._socket.getsockname()[1])
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self.exchanges: list[Exchange] = []
        self._connections: set[asyncio.StreamWriter] = set()
        self._changed = threading.Condition()
        self._held: set[_Client] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> ReplayProvider:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def open_connections(self) -> int:
        """How many connections clients have open, idle ones of their pools included."""
        return len(self._connections)

    def release(self) -> None:
        """Let the answers that are held now go on."""
        self._loop.call_soon_threadsafe(self._release)

    def wait_held(self, timeout: float = 10.0, count: int = 1) -> bool:
        """Whether, within the timeout, `count` answers are held."""
        return self._wait_state("held", timeout, count)

    def wait_closed(self, timeout: float = 10.0, count: int = 1) -> bool:
        """Whether, within the timeout, clients have closed `count` connections in mid-answer."""
        return self._wait_state("client-closed", timeout, count)

    def _wait_state(self, state: str, timeout: float, count: int) -> bool:
        def enough() -> bool:
            return sum(exchange.state == state for exchange in self.exchanges) >= count

        with self._changed:
            return self._changed.wait_for(enough, timeout)

    # From here on everything runs on the event loop.

    def _note(self, exchange: Exchange, state: str) -> None:
        with self._changed:
            exchange.state = state
            self._changed.notify_all()

    def _release(self) -> None:
        for client in self._held:
            client.wake.set()
        self._held.clear()

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(
            lambda: asyncio.StreamReaderProtocol(_Client(), self._connected), sock=self._socket
        )

    async def _close(self) -> None:
        self._server.close()
        for writer in self._connections:
            writer.transport.abort()
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert isinstance(reader, _Client)
        reader.writer = writer
        self._connections.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await self._answer(reader)
        self._connections.discard(writer)
        writer.close()

    async def _answer(self, client: _Client) -> None:
        target, body = await client.read_request()
        name, _, query = str(body.get("model")).partition("?")
        if target == "GET /exchanges":
            client.respond(200, [asdict(exchange) for exchange in self.exchanges])
        elif target == "POST /release":
            self.release()
            client.respond(200, {})
        elif retrieve := _RETRIEVE.fullmatch(target):
            await self._retrieve(client, retrieve[1], dict(parse_qsl(retrieve[2])))
        elif not _ENDPOINT.fullmatch(target):
            client.refuse(404, f"nothing at {target}")
        elif name not in self._recordings:
            client.refuse(404, f"no recording {name!r} among {sorted(self._recordings)}")
        elif body.get("stream") is not True:
            client.refuse(400, "recordings are streams: ask with stream=true")
        else:
            await self._replay_to(client, Exchange(name, body), query)

    async def _retrieve(self, client: _Client, response: str, query: dict[str, str]) -> None:
        name = next((n for n, e in self._recordings.items() if response.encode() in e[0]), None)
        if name is None or query.get("stream") != "true":
            return client.refuse(404, f"no stream of a response {response!r}")
        after = int(query.get("starting_after", -1))
        return await self._replay_to(client, Exchange(name, dict(query)), "", after + 1)

    async def _replay_to(
        self, client: _Client, exchange: Exchange, query: str, first: int = 0
    ) -> None:
        try:
            replay = self._replay.updated(query)
        except ValueError as error:
            return client.refuse(400, str(error))
        self.exchanges.append(exchange)
        if replay.fail is not None:
            self._note(exchange, "failed")
            return client.refuse(replay.fail, "this provider was told to fail")
        try:
            client.writer.write(_STREAM)
            await self._send_events(client, exchange, replay, first)
        except ConnectionError:
            self._note(exchange, "client-closed")
            raise
        if replay.cut is not None:
            self._note(exchange, "cut")
            raise ConnectionAbortedError("cut, as told")
        self._note(exchange, "complete")  # first, so that who has read the end finds it so
        return client.writer.write(b"0\r\n\r\n")

    async def _send_events(
        self, client: _Client, exchange: Exchange, replay: Replay, first: int
    ) -> None:
        events = self._recordings[exchange.model][first : replay.cut]
        for number, event in enumerate([b"", *events]):
            size = replay.write_bytes or len(event) or 1
            for start in range(0, len(event), size):
                await client.write_chunk(event[start : start + size])
            exchange.events = number
            if number == replay.hold:
                self._held.add(client)
                self._note(exchange, "held")
                await client.pause()
                self._note(exchange, "open")
            elif replay.delay and 0 < number < len(events):
                await client.pause(replay.delay)


class _Client(asyncio.StreamReader):
    """A client's connection, which notices that the client closes although nobody reads."""

    writer: asyncio.StreamWriter

    def __init__(self) -> None:
        super().__init__()
        self.wake = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.wake.set()

    def set_exception(self, exc: Any) -> None:
        super().set_exception(exc)
        self.wake.set()

    def check(self) -> None:
        if self.at_eof() or self.exception() is not None:
            raise ConnectionResetError("the client closed its connection")

    async def pause(self, timeout: float | None = None) -> None:
        """Wait for `wake` or the timeout; an error when the client closes meanwhile."""
        self.wake.clear()
        self.check()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.wake.wait(), timeout)
        self.check()

    async def read_request(self) -> tuple[str, dict[str, Any]]:
        head = (await self.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"(?im)^content-length: *(\d+)", head)
        body = await self.readexactly(int(length[1]) if length else 0)
        return head.partition(" HTTP/1.1")[0], json.loads(body or b"{}")

    async def write_chunk(self, data: bytes) -> None:
        await asyncio.sleep(0)  # lets the loop see that the client has closed
        self.check()
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self.writer.drain()

    def respond(self, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        head = b"HTTP/1.1 %d -\r\nContent-Length: %d\r\n" % (status, len(body))
        self.writer.write(head + b"Content-Type: application/json\r\n\r\n" + body)

    def refuse(self, status: int, message: str) -> None:
        self.respond(status, {"type": "error", "error": {"type": "error", "message": message}})


def main(argv: Sequence[str] | None = None) -> None:
    """Replay recordings until Ctrl-C; prints the base URL."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--recordings", type=Path, default=RECORDINGS)
    options = parser.parse_args(argv)
    provider = ReplayProvider(options.recordings, port=options.port)
    with provider, contextlib.suppress(KeyboardInterrupt):
        print(provider.base_url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
