"""What a server says about one stream, and what that means for its producer. No I/O, no threads.

After a reconnect the server reports its position in `stream:info`; a server that acknowledges
chunks by number has at least those. `position` then steps back, and the outbox, which keeps all
chunks, sends the rest again. A server that says neither cannot be gone on with: the stream fails,
it is never silently short.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..requests import Answer
from .socketio import ConnectionLost, Packet

OUR_RELAY = "streamstraight-celery"
ACK_TIMEOUT = 5.0
# Chunks on their way to a server that acknowledges them.
WINDOW = 4096
# Refusals that another try does not change. Any other one is final for a new stream only: a server
# may take a lost connection for alive a little longer, and refuse the one that replaces it.
FINAL = frozenset({"unauthorized", "wrong-version", "bad-request", "forbidden-origin"})
TEMPORARY = frozenset({"unavailable"})


@dataclass(slots=True)
class Service:
    """Where the service is, and the key to it.

    Attributes:
        keep_open: leave a connection open after its stream's end, until the server closes it.
        informs: whether it sends `stream:info`; not waited for again where it does not.
    """

    url: str
    key: str
    keep_open: bool = False
    informs: bool = True


class Progress:
    """How far one stream has come.

    Args:
        service: where it goes.
        stream_id: the stream.
        overwrite: start the stream over if it exists.

    Attributes:
        position: chunks that are sent, or known to have arrived.
        answer: what every further request is answered with, once that is decided.
        begun: a server has taken the stream before.
        informed: the server of the present connection has said what it has.
        told: the server of this or an earlier connection has, so it does, however late.
        ours: the server is a relay of this package, which knows attempts and their nonces.
        attempt: as the relay counts them, 0 when it does not say.
        stop_asked: the relay has said that a stop is asked.
        end_sent, end_lost: end reason sent over the present connection, over an earlier one.
        retry_at: not to connect before, by the monotonic clock.
    """

    def __init__(self, service: Service, stream_id: str, *, overwrite: bool) -> None:
        self.position = 0
        self.answer: Answer | None = None
        self.begun = self.informed = self.told = self.ours = self.stop_asked = False
        self.attempt = 0
        self.relay_nonce = ""
        self.end_sent = self.end_lost = ""
        self.retry_at = 0.0
        self._service = service
        self._stream_id = stream_id
        self._overwrite = overwrite
        self._acknowledges = False
        self._acked = 0
        self._acked_at = 0.0
        # A connection was given up because nothing was acknowledged, nor has been since.
        self._stalled = False

    @property
    def auth(self) -> dict[str, object]:
        """The fields that a new connection sends besides the stream's id."""
        if self.relay_nonce:
            return {"nonce": self.relay_nonce, "attempt": self.attempt}
        if self._overwrite and not self.begun:
            return {"overwriteExistingStream": True}
        return {}

    @property
    def full(self) -> bool:
        """Too many chunks are on their way."""
        return self._acknowledges and self.position - self._acked > WINDOW

    def stalled(self, count: int) -> bool:
        """Whether the first `count` chunks have yet to be acknowledged, and that is in doubt.

        It is once a connection was given up because nothing was acknowledged.
        """
        return self._stalled and self._acked < count

    def sends(self, position: int) -> None:
        """Chunks up to this one, or the end, are about to be sent: from here on they may arrive."""
        if self._acked >= self.position:
            self._acked_at = time.monotonic()
        self.position = position

    def lost(self) -> None:
        """The connection is lost."""
        self.informed = False
        self.end_lost, self.end_sent = self.end_sent or self.end_lost, ""

    def entered(self) -> None:
        """The server has taken us, and has said what it has if it ever does."""
        if not self.informed:
            self._service.informs = False
            self._go_on_uninformed()
        # What comes later is as old as the connection, and chunks will have been sent since.
        self.informed = self.begun = True
        self._acked_at = time.monotonic()

    def check(self) -> None:
        """Notice a server that used to acknowledge and does so no more: it is frozen.

        Raises:
            ConnectionLost: it is.
        """
        if not self.informed or self.answer is not None:
            return  # nothing is on its way over a connection that has just been made
        waits = (self._acknowledges and self._acked < self.position) or self.end_sent
        if waits and time.monotonic() - self._acked_at > ACK_TIMEOUT:
            self._stalled = True
            raise ConnectionLost(f"{self._service.url} acknowledges nothing any more")

    def take(self, packet: Packet) -> None:
        """Take what the server sent.

        Raises:
            ConnectionLost: it will take nothing more over this connection.
        """
        match packet:
            case Packet("refused", payload=payload):
                self._refused(payload)
            case Packet("lost", name=reason):
                raise ConnectionLost(f"{self._service.url}: {reason}")
            case Packet("ack", payload=payload):
                self._ended(payload)
            case Packet("event", "producer:ack", payload={"seq": int(seq)}):
                self._acknowledged(seq + 1)
            case Packet("event", "stream:info", payload=Mapping() as info):
                self._info(info)
            case Packet("event", "stream:error" | "connection:error", payload=payload):
                self._failed(payload)

    def _info(self, info: Mapping[str, Any]) -> None:
        self.ours = info.get("deploymentId") == OUR_RELAY
        if self.ours:
            self.relay_nonce = str(info.get("nonce") or "")
            attempt = info.get("attempt")
            self.attempt = attempt if type(attempt) is int else 1
            self._acknowledges = True
            self.stop_asked = self.stop_asked or info.get("stopAsked") is True
        self._service.informs = self.told = True
        if not self.informed:
            self.informed = True
            last = info.get("lastSeq")
            self._resume(last + 1 if type(last) is int else 0, info.get("ended") is True)

    def _resume(self, count: int, ended: bool) -> None:
        """The server has taken us, and has `count` chunks."""
        if self._overwrite and not self.begun:
            pass  # the server's copy is gone
        elif ended and self.end_lost and count == self.position:
            self.settle(Answer("ok", count))
        elif ended:
            self.settle(Answer("closed", reason="unknown"))
        elif self.begun and count <= self.position:
            self.position = self._acked = count
        elif count:
            self.settle(
                self._no(f"it has {count} chunks of another producer: give each its own id")
            )

    def _go_on_uninformed(self) -> None:
        """The server does not say what it has."""
        if self._acknowledges:
            self.position = self._acked
        elif self.position:
            self.settle(
                self._no(
                    "the connection was lost in mid-stream, and the server does not say what it "
                    "has: only a retry of the task, which overwrites it, is safe"
                )
            )

    def _acknowledged(self, count: int) -> None:
        self._acknowledges = True
        count = min(count, self.position)
        if count > self._acked:
            self._acked, self._stalled = count, False
        self._acked_at = time.monotonic()

    def _ended(self, payload: Any) -> None:
        if isinstance(payload, Mapping) and payload.get("success") is True:
            self.settle(Answer("ok", self.position))
        else:
            error = payload.get("error") if isinstance(payload, Mapping) else payload
            self.settle(self._no(f"the end was refused: {error}"))

    def _refused(self, payload: Mapping[str, Any]) -> None:
        """The server did not take the connection."""
        data = payload.get("data")
        data = data if isinstance(data, Mapping) else {}
        message, code = str(payload.get("message") or "refused"), _code(data)
        if code == "busy" and not self.begun:
            retry = data.get("retryInMs")
            self.settle(Answer("busy", retry if type(retry) is int else 1000))
        elif not self._known(code, data) and (
            code in FINAL or not (self.begun or code in TEMPORARY)
        ):
            self.settle(self._no(message))
        raise ConnectionLost(f"{self._service.url} refused the connection: {message}")

    def _failed(self, payload: Any) -> None:
        """The server takes nothing more on this connection."""
        data: Mapping[str, Any] = payload if isinstance(payload, Mapping) else {"message": payload}
        message, code = str(data.get("message") or "no message"), _code(data)
        retry = data.get("retryInMs")
        if not self._known(code, data):
            if type(retry) is int and retry >= 0:
                self.retry_at = time.monotonic() + retry / 1000
            elif code not in TEMPORARY:
                self.settle(self._no(message))
        raise ConnectionLost(f"{self._service.url}: {message}")

    def _known(self, code: str, data: Mapping[str, Any]) -> bool:
        """Conclude by what our relay says; whether it did."""
        if code == "fenced":
            self.settle(Answer("fenced", self.attempt + 1))
        elif code == "closed":
            reason = str(data.get("reason") or "unknown")
            # Our own end, if its acknowledgement was lost with the connection.
            same = bool(self.end_lost) and reason == self.end_lost
            self.settle(
                Answer("ok", self.position)
                if same
                else Answer("closed", 0, reason == "stopped", reason)
            )
        elif code == "too-large":
            self.settle(Answer("too-large"))
        else:
            return False
        return True

    def _no(self, why: str) -> Answer:
        return Answer("refused", reason=f"{self._service.url}, stream {self._stream_id!r}: {why}")

    def settle(self, answer: Answer) -> None:
        """Answer every further request so."""
        self.answer = self.answer or answer


def _code(data: Mapping[str, Any]) -> str:
    code = data.get("code")
    return code if isinstance(code, str) else ""
