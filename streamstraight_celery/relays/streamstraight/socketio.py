"""Engine.IO 4 and Socket.IO 5 over one WebSocket, as far as a producer needs them.

Straight over websocket-client, because a Socket.IO library of one's own accord queues what it is
given and forgets it when the connection is lost: here each send has reached the kernel, and each
lost connection is known.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import websocket

# How long a send may wait for the network, and how often a receiver looks at the clock.
IO_TIMEOUT = 5.0
DEFAULT_SILENCE = 45.0  # Engine.IO's own defaults: 25 s between pings, and 20 s more
FINAL_STATUSES = frozenset({401, 403, 404})

PacketKind = Literal["connected", "refused", "event", "ack", "lost", "other"]


class ConnectionLost(Exception):
    """The connection cannot be used any more; the message says why."""


class ConnectionRefused(Exception):
    """The server does not let us in, and would not later; the message says why."""


class Packet(NamedTuple):
    """What the server sent: an event's name and payload, or an acknowledgement's id and payload."""

    kind: PacketKind
    name: str = ""
    id: int = 0
    payload: Any = None


def encode_event(name: str, payload: Mapping[str, object], id: int | None = None) -> str:
    """An event as a text frame; with an `id` the server acknowledges it."""
    body = json.dumps([name, payload], separators=(",", ":"), ensure_ascii=False)
    try:
        body.encode()
    except UnicodeEncodeError:  # half of a split emoji
        body = json.dumps([name, payload], separators=(",", ":"))
    return f"42{'' if id is None else id}{body}"


def decode(text: str) -> Packet:
    """One text frame of Engine.IO type 4 (message).

    Raises:
        ValueError: it is malformed.
    """
    kind, rest = text[1:2], text[2:]
    if kind == "0":
        return Packet("connected")
    if kind == "1":
        return Packet("lost", "the server ended the connection")
    if kind == "4":
        error = json.loads(rest) if rest else {}
        return Packet("refused", payload=error if isinstance(error, dict) else {"message": error})
    if kind not in ("2", "3"):
        return Packet("other")
    digits = len(rest) - len(rest.lstrip("0123456789"))
    values = json.loads(rest[digits:])
    number = int(rest[:digits] or 0)
    if kind == "3":
        return Packet("ack", id=number, payload=values[0] if values else None)
    return Packet("event", str(values[0]), payload=values[1] if len(values) > 1 else None)


class EngineSocket:
    """One connection. `send` and `receive` may be used by one thread each.

    Args:
        url: the service, `http(s)://host`.
        key: the API key.
        auth: the payload of the CONNECT packet.
        timeout: seconds to connect in.

    Raises:
        ConnectionLost: the server was not reached, or speaks something else.
        ConnectionRefused: it answered that we have no access.
    """

    def __init__(self, url: str, key: str, auth: Mapping[str, object], timeout: float) -> None:
        self._url = url
        self._silence = DEFAULT_SILENCE
        self._pid = os.getpid()
        try:
            self._socket = websocket.create_connection(
                f"ws{url.removeprefix('http')}/socket.io/?EIO=4&transport=websocket",
                timeout=timeout,
                header=[f"Authorization: Bearer {key}"],
                suppress_origin=True,
                enable_multithread=True,
                skip_utf8_validation=True,
                redirect_limit=0,
            )
        except websocket.WebSocketBadStatusException as error:
            final = error.status_code in FINAL_STATUSES
            raise (ConnectionRefused if final else ConnectionLost)(
                f"{url} answered HTTP {error.status_code}"
            ) from None
        except (websocket.WebSocketException, OSError, ValueError) as error:
            raise ConnectionLost(f"{url} was not reached ({error})") from error
        self._heard_at = time.monotonic()
        try:
            self._open(timeout)
            self._socket.settimeout(IO_TIMEOUT)
            self.send("40" + json.dumps(auth))
        except BaseException:
            self.close()
            raise

    def _open(self, timeout: float) -> None:
        """Take the OPEN packet: how often the server will ping."""
        text = self._text()
        if text is None or not text.startswith("0"):
            raise ConnectionLost(f"{self._url} does not speak Socket.IO (within {timeout:g} s)")
        try:
            opened = json.loads(text[1:])
            self._silence = (opened["pingInterval"] + opened["pingTimeout"]) / 1000
        except (ValueError, KeyError, TypeError):
            raise ConnectionLost(f"{self._url} opened with {text[:80]!r}") from None

    def send(self, *texts: str) -> None:
        """Send text frames, in one write.

        Raises:
            ConnectionLost: they may have arrived or not.
        """
        text = websocket.ABNF.OPCODE_TEXT
        frames = [websocket.ABNF.create_frame(each, text).format() for each in texts]
        try:
            with self._socket.lock:
                if self._socket.sock is None:
                    raise ConnectionLost(f"{self._url}: the connection is closed")
                self._socket.sock.sendall(b"".join(frames))
        except (websocket.WebSocketException, OSError) as error:
            raise ConnectionLost(f"{self._url}: sending failed ({error})") from error

    def receive(self, seconds: float) -> Packet:
        """Wait for a packet, so many seconds at most; pings are answered here.

        Raises:
            ConnectionLost: closed, or silent for longer than the server promised to be.
        """
        seconds = max(seconds, 0.001)
        if self._socket.gettimeout() != seconds:
            self._socket.settimeout(seconds)
        text = self._text()
        if text is None:
            if time.monotonic() - self._heard_at > self._silence:
                raise ConnectionLost(f"{self._url} has been silent for {self._silence:g} s")
        elif text == "2":
            self.send("3")
        elif text == "1":
            raise ConnectionLost(f"{self._url} closed the connection")
        elif text.startswith("4"):
            try:
                return decode(text)
            except (ValueError, LookupError, RecursionError):
                raise ConnectionLost(f"{self._url} sent {text[:80]!r}") from None
        return Packet("other")

    def close(self) -> None:
        """Send a close packet if that doesn't block, and close; a waiting `receive` is told."""
        if self._pid != os.getpid():
            # Inherited by a fork: the connection is the parent's, only the descriptor is ours.
            if self._socket.sock is not None:
                self._socket.sock.close()
            return
        with contextlib.suppress(websocket.WebSocketException, OSError):
            self._socket.settimeout(0.5)
            self._socket.send("41")
            self._socket.send_close()
        if (sock := self._socket.sock) is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """Give the descriptor up; by the thread that receives, when it does so no more."""
        self._socket.shutdown()  # type: ignore[no-untyped-call]

    def _text(self) -> str | None:
        """The next text frame; None when nothing came in time."""
        try:
            text = self._socket.recv()
        except websocket.WebSocketTimeoutException:
            return None
        except (websocket.WebSocketException, OSError, ValueError, AttributeError) as error:
            raise ConnectionLost(f"{self._url}: the connection was lost ({error})") from error
        if isinstance(text, bytes) or not text:
            # An empty text is how websocket-client shows a close frame.
            raise ConnectionLost(f"{self._url} closed the connection")
        self._heard_at = time.monotonic()
        return text
