"""One stream's producer at the service: a connection that its thread re-establishes when lost."""

from __future__ import annotations

import json
import logging
import os
import threading
import time

from ...backoff import Backoff
from ..end_reasons import end_of
from ..requests import Answer
from .progress import Progress, Service
from .socketio import IO_TIMEOUT, ConnectionLost, ConnectionRefused, EngineSocket, encode_event

logger = logging.getLogger(__name__)

VERSION = "stream-v1"
# The SDK whose protocol this is. After the plus, for our relay server: the kind of the chunks.
SDK_VERSION = "0.2.10+celery"

CONNECT_TIMEOUT = 5.0
# `stream:info` comes right after the connection, from a server that sends it. Where this stream has
# had it before it is waited for as long as for the connection: without it, the stream may fail.
INFO_TIMEOUT = 0.5
HEARTBEAT_INTERVAL = 5.0
SEND_AT_ONCE = 64
FIRST_BACKOFF = 0.05
MAX_BACKOFF = 1.0
# What the service has no word for: who stopped a stream is content with it, the rest are failures.


class Connection:
    """A producer's connection; `close` it, or its thread lives on.

    Args:
        service: where to.
        stream_id: the stream.
        nonce: of the claim that it is made for.
        kind: of the codec: `json`, `text` or `bytes`.
        overwrite: start the stream over if it exists.
    """

    def __init__(
        self, service: Service, stream_id: str, nonce: str, kind: str, *, overwrite: bool
    ) -> None:
        self.stream_id = stream_id
        self.nonce = nonce
        self.pid = os.getpid()
        self._service = service
        self._kind = kind
        self._progress = Progress(service, stream_id, overwrite=overwrite)
        # Held whenever `_progress` and the fields below are looked at or changed.
        self._changed = threading.Condition()
        self._socket: EngineSocket | None = None
        self._ready = self._closing = False
        self._trouble = "not connected yet"
        self._sent_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="stream-socket", daemon=True)
        self._thread.start()

    @property
    def position(self) -> int:
        """Chunks that are sent, or known to have arrived."""
        return self._progress.position

    @property
    def attempt(self) -> int:
        """As the relay counts them, 0 when it does not say."""
        return self._progress.attempt

    @property
    def stop_asked(self) -> bool:
        """Whether the relay has said that a stop is asked."""
        return self._progress.stop_asked

    @property
    def alive(self) -> bool:
        """Whether its thread is: it is connected, or connects."""
        return self._thread.is_alive()

    @property
    def over(self) -> bool:
        """Whether nothing more can be sent."""
        return self._progress.answer is not None

    # -- for the sender

    def wait_ready(self, seconds: float) -> Answer | None:
        """Wait until the server has taken the stream; else the answer that says why not."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._progress.answer, seconds)
            return self._usable()

    def send(self, first: int, lines: list[bytes]) -> Answer | None:
        """Send what is not sent yet of the chunks from number `first` on, as they stand in a log.

        Returns:
            None: all are sent; else why not. `waits`: too many are not acknowledged yet, or these
            are not, by a server that has stopped to acknowledge before.
        """
        with self._changed:
            engine, position = self._socket, self._progress.position
            if (answer := self._usable()) is not None:
                return answer
            if first > position + 1:
                return Answer("gap", position + 1)
            if self._progress.full:
                return Answer("waits")
        texts = [
            encode_event("producer:chunk", {"seq": seq, "data": self._data(line)})
            for seq, line in enumerate(lines[position + 1 - first :], position)
        ]
        for index in range(0, len(texts), SEND_AT_ONCE):
            part = texts[index : index + SEND_AT_ONCE]
            position += len(part)
            if (answer := self._send(engine, position, *part)) is not None:
                return answer
        return Answer("waits") if self._progress.stalled(first - 1 + len(lines)) else None

    def end(self, reason: str, error: str) -> Answer:
        """Send the end, once for each connection; `waits` until it is acknowledged."""
        with self._changed:
            engine, progress = self._socket, self._progress
            if (answer := self._usable()) is not None:
                return answer
            if progress.end_sent:
                return Answer("waits")
            if not progress.ours and (known := end_of(reason)) is not None:
                reason = known.stream_v1
            payload: dict[str, object] = {
                "reason": reason,
                "lastSeq": max(0, progress.position - 1),
            }
            if error and progress.ours:
                payload["error"] = error
            progress.end_sent = reason
        text = encode_event("producer:end", payload, 1)
        return self._send(engine, progress.position, text) or Answer("waits")

    def heartbeat(self) -> Answer | None:
        """Tell the server that the producer lives; None: told, or not due yet."""
        with self._changed:
            engine, position = self._socket, self._progress.position
            if (answer := self._usable()) is not None:
                return answer
        if time.monotonic() - self._sent_at < HEARTBEAT_INTERVAL:
            return None
        return self._send(engine, position, encode_event("producer:heartbeat", {}))

    def close(self, *, wait: bool = True) -> None:
        """End the connection, and its thread; returns, unless told not to wait, when it has."""
        if self.pid != os.getpid():
            # Inherited by a fork: the thread is not here, and the lock may be anybody's.
            if self._socket is not None:
                self._socket.close()
            return
        with self._changed:
            self._closing, self._ready = True, False
            engine = self._socket
            self._changed.notify_all()
        if engine is not None:
            engine.close()
        if wait and self._thread is not threading.current_thread():
            self._thread.join()

    def _usable(self) -> Answer | None:
        if self._progress.answer is not None:
            return self._progress.answer
        return None if self._ready else Answer("error", reason=self._trouble)

    def _data(self, line: bytes) -> str:
        """A chunk as its encoder made it: in the log an encoder's own string is a JSON string."""
        return line.decode() if self._kind == "json" else str(json.loads(line))

    def _send(self, engine: EngineSocket | None, position: int, *texts: str) -> Answer | None:
        assert engine is not None
        with self._changed:
            if self._socket is engine:
                self._progress.sends(position)
        try:
            engine.send(*texts)
        except ConnectionLost as lost:
            engine.close()
            return Answer("error", reason=str(lost))
        with self._changed:
            if self._socket is not engine:
                # Lost since then, and possibly re-established at another position.
                return Answer("error", reason=self._trouble)
            self._sent_at = time.monotonic()
        return None

    # -- the thread

    def _run(self) -> None:
        backoff = Backoff(FIRST_BACKOFF, MAX_BACKOFF)
        while True:
            started = time.monotonic()
            trouble = self._once()
            with self._changed:
                self._ready, self._socket, self._trouble = False, None, trouble
                self._progress.lost()
                self._changed.notify_all()
                if self._closing or self._progress.answer is not None:
                    return
                about = {"stream_id": self.stream_id}
                logger.info("stream %s: %s; connecting again", self.stream_id, trouble, extra=about)
                now = time.monotonic()
                if now - started > MAX_BACKOFF:
                    backoff.reset()
                pause = max(backoff.next(), self._progress.retry_at - now)
                if self._changed.wait_for(lambda: self._closing, pause):
                    return

    def _once(self) -> str:
        """Connect, and receive until the connection is over; returns why."""
        engine: EngineSocket | None = None
        try:
            engine = EngineSocket(
                self._service.url, self._service.key, self._auth(), CONNECT_TIMEOUT
            )
            self._enter(engine)
            while not self._over():
                self._receive(engine, IO_TIMEOUT)
        except ConnectionRefused as refused:
            with self._changed:
                self._progress.settle(Answer("refused", reason=str(refused)))
            return str(refused)
        except ConnectionLost as lost:
            return str(lost)
        except Exception as error:
            # Any error: without its thread, callers would wait for the connection forever.
            about = {"stream_id": self.stream_id}
            logger.exception("stream %s: its connection failed", self.stream_id, extra=about)
            return f"{self._service.url}: {error!r}"
        finally:
            if engine is not None:
                engine.close()
                engine.release()
        return "closed"

    def _auth(self) -> dict[str, object]:
        return {
            "role": "producer",
            "streamId": self.stream_id,
            "version": VERSION,
            "sdkVersion": f"{SDK_VERSION}.{self._kind}",
            **self._progress.auth,
        }

    def _enter(self, engine: EngineSocket) -> None:
        """Connect to the server, and learn its position in the stream."""
        with self._changed:
            self._socket = engine
        deadline = time.monotonic() + CONNECT_TIMEOUT
        while self._receive(engine, _left(deadline)) != "connected":
            if not _left(deadline) or self._over():
                raise ConnectionLost(f"{self._service.url} does not answer")
        patience = INFO_TIMEOUT if self._service.informs else 0.0
        deadline = time.monotonic() + (CONNECT_TIMEOUT if self._progress.told else patience)
        while not self._progress.informed and _left(deadline) and not self._over():
            self._receive(engine, _left(deadline))
        with self._changed:
            self._progress.entered()
            self._ready, self._sent_at = True, time.monotonic()
            self._changed.notify_all()

    def _receive(self, engine: EngineSocket, seconds: float) -> str:
        """Take one packet, if it comes in time; returns its kind."""
        packet = engine.receive(seconds)
        with self._changed:
            try:
                self._progress.take(packet)
                self._progress.check()
            finally:
                self._changed.notify_all()
        return packet.kind

    def _over(self) -> bool:
        """Nothing is to be received any more."""
        settled = self._progress.answer is not None
        return self._closing or (settled and not self._service.keep_open)


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
