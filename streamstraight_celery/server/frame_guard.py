"""Limits for the frames of a WebSocket, in front of the library that reads them.

Libraries bound the size of a message, but neither how many frames come, nor the answers that a peer
does not read, nor how long one connection keeps the event loop. Frames are counted here by their
headers, without reading what they hold. No I/O but through the transport.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

# The name under which a connection's `Allowance` stands in its scope's state.
ALLOWANCE = "streamstraight.allowance"

HANDSHAKE_SECONDS = 10.0
# Bytes handed on at a time, and seconds that all connections together may take of the event loop
# before others have their turn.
SLICE = 4096
TURN_SECONDS = 0.005
# Of a peer that is not trusted, and of anybody's pings, pongs and closes.
FRAMES, FRAMES_A_SECOND = 60, 5
BYTES, BYTES_A_SECOND = 128 * 1024, 8 * 1024
MAX_FRAME = 64 * 1024
# Frames of which one message may consist.
MAX_FRAGMENTS = 1024


class Bucket:
    """Lets `burst` pass, and then `rate` a second."""

    __slots__ = ("_burst", "_left", "_rate", "_since")

    def __init__(self, burst: float, rate: float, now: float) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._since = now

    def take(self, amount: float, now: float) -> bool:
        """Whether so much may pass now."""
        self._left = min(self._burst, self._left + (now - self._since) * self._rate) - amount
        self._since = now
        return self._left >= 0


class Allowance:
    """What a connection may send; the application sets `trusted` once it knows its peer."""

    __slots__ = ("trusted",)

    def __init__(self) -> None:
        self.trusted = False


class FrameWalk:
    """Counts the frames in a connection's bytes.

    Args:
        allowance: of the connection.
        now: seconds.
    """

    def __init__(self, allowance: Allowance, now: float) -> None:
        self._allowance = allowance
        self._header = b""
        self._payload = 0  # bytes of the current frame that are still to come
        self._fragments = 0
        self._frames = Bucket(FRAMES, FRAMES_A_SECOND, now)
        self._bytes = Bucket(BYTES, BYTES_A_SECOND, now)

    def allows(self, data: bytes, now: float) -> bool:
        """Whether these bytes are within all limits."""
        if not self._allowance.trusted and not self._bytes.take(len(data), now):
            return False
        at = 0
        while at < len(data):
            if self._payload:
                step = min(self._payload, len(data) - at)
                self._payload -= step
                at += step
                continue
            missing = _header_size(self._header) - len(self._header)
            self._header += data[at : at + missing]
            at += missing
            if len(self._header) == _header_size(self._header):
                if not self._allows_frame(self._header, now):
                    return False
                self._header = b""
        return True

    def _allows_frame(self, header: bytes, now: float) -> bool:
        is_control = bool(header[0] & 0x08)
        length = header[1] & 0x7F
        if length == 126:
            length = int.from_bytes(header[2:4], "big")
        elif length == 127:
            length = int.from_bytes(header[2:10], "big")
        self._payload = length
        if not is_control:
            is_last = bool(header[0] & 0x80)
            self._fragments = 0 if is_last else self._fragments + 1
            if self._fragments > MAX_FRAGMENTS:
                return False
            if self._allowance.trusted:
                return True
        return length <= MAX_FRAME and self._frames.take(1, now)


def _header_size(begun: bytes) -> int:
    """How long the header of a frame is, as far as its begin tells (RFC 6455, 5.2)."""
    if len(begun) < 2:
        return 2
    extended = {126: 2, 127: 8}.get(begun[1] & 0x7F, 0)
    return 2 + extended + (4 if begun[1] & 0x80 else 0)


class Turns:
    """Whose slice is next, of all connections of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[FrameGuard] = deque()
        self._is_running = False

    def add(self, guard: FrameGuard) -> None:
        self._waiting.append(guard)
        if not self._is_running:
            self._is_running = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        until = self._loop.time() + TURN_SECONDS
        while self._waiting and self._loop.time() < until:
            self._waiting.popleft().take_turn()
        self._is_running = bool(self._waiting)
        if self._is_running:
            self._loop.call_soon(self._run)


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, Turns] = WeakKeyDictionary()


class FrameGuard(asyncio.Protocol):
    """Stands between a transport and a server's WebSocket protocol.

    It hands on what the peer sends in slices, in turn with other connections, and only while the
    peer takes its answers. A connection that exceeds a limit is dropped.

    Args:
        transport: the connection.
        make_inner: makes the server's protocol; it is given the connection's allowance.
        loop: the event loop.
    """

    def __init__(
        self,
        transport: Any,
        make_inner: Callable[[Allowance], Any],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        allowance = Allowance()
        self._transport = transport
        self._inner = make_inner(allowance)
        self._loop = loop
        self._turns = _turns.setdefault(loop, Turns(loop))
        self._walk = FrameWalk(allowance, loop.time())
        self._pending = b""
        self._is_queued = False
        self._is_paused = False
        self._reads = True  # the server's protocol takes more
        self._writes = True  # the peer takes more
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, head: bytes, rest: bytes) -> None:
        """Take the connection over with a handshake's head and what came after it."""
        self._timer = self._loop.call_later(HANDSHAKE_SECONDS, self._transport.abort)
        self._transport.set_protocol(self)
        self._inner.connection_made(_GuardedTransport(self._transport, self))
        self._inner.data_received(head)
        if rest:
            self.data_received(rest)

    def answered(self) -> None:
        """The handshake has been answered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- the transport's calls

    def data_received(self, data: bytes) -> None:
        self._pending += data
        self._go_on()

    def eof_received(self) -> bool | None:
        return bool(self._inner.eof_received())

    def pause_writing(self) -> None:
        self._writes = False
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._writes = True
        self._inner.resume_writing()
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self.answered()
        self._reads = self._writes = True
        while self._pending:  # the peer sent it before it left
            self._hand_on()
        self._inner.connection_lost(exc)

    # -- the protocol's calls

    def set_reading(self, reads: bool) -> None:
        self._reads = reads
        self._go_on()

    # -- turns

    def _go_on(self) -> None:
        if self._pending and self._reads and self._writes and not self._is_queued:
            self._is_queued = True
            self._turns.add(self)
        # Not for each message: a system call each way costs more than most messages.
        pauses = len(self._pending) > SLICE
        if pauses != self._is_paused and not self._transport.is_closing():
            self._is_paused = pauses
            (self._transport.pause_reading if pauses else self._transport.resume_reading)()

    def take_turn(self) -> None:
        """Hand on a slice, if there still is one to hand on."""
        self._is_queued = False
        if self._pending and self._reads and self._writes:
            self._hand_on()
            self._go_on()

    def _hand_on(self) -> None:
        data, self._pending = self._pending[:SLICE], self._pending[SLICE:]
        if self._walk.allows(data, self._loop.time()):
            self._inner.data_received(data)
        else:
            self._pending = b""
            self._transport.abort()


class _GuardedTransport:
    """The transport as the server's protocol sees it: the guard decides when it reads."""

    def __init__(self, transport: Any, guard: FrameGuard) -> None:
        self._transport = transport
        self._guard = guard

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._guard.answered()
        if not self._transport.is_closing():
            self._transport.write(data)

    def pause_reading(self) -> None:
        self._guard.set_reading(False)

    def resume_reading(self) -> None:
        self._guard.set_reading(True)
