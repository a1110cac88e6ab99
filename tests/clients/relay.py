"""A scripted relay on loopback: one answer after the other, in the pieces that a case asks for."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

CASES = Path(__file__).parent / "cases"


def load_cases() -> list[dict[str, Any]]:
    return [
        case for path in sorted(CASES.glob("*.yaml")) for case in yaml.safe_load(path.read_text())
    ]


def expand(value: Any) -> Any:
    """`{big: n}` and `{count: n}` in full."""
    if isinstance(value, dict):
        if set(value) == {"big"}:
            return "x" * value["big"]
        if set(value) == {"count"}:
            return list(range(value["count"]))
        return {key: expand(item) for key, item in value.items()}
    return [expand(item) for item in value] if isinstance(value, list) else value


def part_bytes(part: Any) -> bytes:
    """One part of a body."""
    if isinstance(part, str):
        return part.encode()
    if "bytes" in part:
        return bytes.fromhex(part["bytes"])
    kind = "data" if "data" in part else "control"
    name = f"id: {part['id']}\n" if "id" in part else ""
    text = json.dumps(expand(part[kind]), ensure_ascii=False, separators=(",", ":"))
    return f"event: {kind}\n{name}data:{text}\n\n".encode()


@dataclass(frozen=True)
class Scripted:
    """One answer."""

    status: int
    headers: dict[str, str]
    pieces: list[bytes]
    then: str = "close"


def answers(case: dict[str, Any], cut_at: int) -> list[Scripted]:
    """The answers of a case; a body with `split: everywhere` is cut at that byte."""
    return [_answer(step, cut_at) for step in case["script"]]


def _answer(step: dict[str, Any], cut_at: int) -> Scripted:
    status = step.get("status", 200)
    pieces = [part_bytes(part) for part in step.get("body", [])]
    if "json" in step:
        pieces = [json.dumps(step["json"]).encode()]
    whole = b"".join(pieces)
    split = step.get("split")
    if split == "everywhere":
        pieces = [whole[:cut_at], whole[cut_at:]]
    elif split:
        pieces = [whole[start : start + split] for start in range(0, len(whole), split)]
    headers = {"content-type": "text/event-stream"} if status == 200 else {}
    headers |= step.get("headers", {})
    return Scripted(
        status, headers, [piece for piece in pieces if piece], step.get("then", "close")
    )


def cuts(case: dict[str, Any]) -> range:
    """The places at which the case's bodies are to be cut."""
    for step in case["script"]:
        if step.get("split") == "everywhere":
            return range(1, sum(len(part_bytes(part)) for part in step["body"]))
    return range(1)


@dataclass
class Seen:
    """What a request looked like."""

    offset: str | None
    token: str | None
    cursor: str | None
    accept: str | None


@dataclass
class ScriptedRelay:
    """Serves one script after the other, a thread a connection.

    Attributes:
        seen: the requests of the script that is played.
    """

    seen: list[Seen] = field(default_factory=list)

    def __enter__(self) -> ScriptedRelay:
        self._script: list[Scripted] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def play(self, script: list[Scripted], described: str | None = None) -> None:
        """What to answer from now on; `described`: the content type that HEAD gets, else 405."""
        self._script = list(script)
        self._described = described
        self.seen = []

    @property
    def left(self) -> int:
        """Answers that nobody has asked for."""
        return len(self._script)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1/stream/abc"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # The reader hangs up whenever it likes.
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as lines:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while line := lines.readline():
                self._reply(connection, line, lines)
                if not self._keep:
                    return

    def _reply(self, connection: socket.socket, line: bytes, lines: Any) -> None:
        headers = {}
        while (text := lines.readline().decode("latin-1").strip()) != "":
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        query = parse_qs(urlsplit(line.decode().split(" ")[1]).query)
        if line.startswith(b"HEAD "):
            self._keep = True
            self._describe(connection)
            return
        bearer = headers.get("authorization")
        self.seen.append(
            Seen(
                query.get("offset", [None])[0],
                bearer.removeprefix("Bearer ") if bearer else None,
                query.get("cursor", [None])[0],
                headers.get("accept"),
            )
        )
        answer = self._script.pop(0) if self._script else Scripted(400, {}, [])
        self._keep = answer.then == "close"
        if answer.then == "refuse":
            return
        if answer.then != "mute":
            self._send(connection, answer)
        if answer.then in ("stay", "mute"):
            connection.recv(1)  # until the reader hangs up
        if answer.then == "cut":
            connection.shutdown(socket.SHUT_WR)

    def _describe(self, connection: socket.socket) -> None:
        head = "HTTP/1.1 405 Scripted\r\n"
        if self._described:
            head = f"HTTP/1.1 200 Scripted\r\ncontent-type: {self._described}\r\n"
        connection.sendall(f"{head}content-length: 0\r\n\r\n".encode())

    def _send(self, connection: socket.socket, answer: Scripted) -> None:
        head = [f"HTTP/1.1 {answer.status} Scripted"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        body = answer.status != 204
        if body:
            head.append("transfer-encoding: chunked")
        connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode("latin-1"))
        for piece in answer.pieces:
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        if body and answer.then == "close":
            connection.sendall(b"0\r\n\r\n")
