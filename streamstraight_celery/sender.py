"""The sender thread of a process: one for all its streams.

It sends what has gathered in one round trip, and again as soon as that returns: a lone chunk leaves
at once, and batches grow by themselves under load. It also keeps the leases of silent streams.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue

from .errors import RelayUnavailableError, StreamBusyError, StreamClosedError
from .offsets import new_nonce
from .relays.base import Answer, Claim, Relay, Request
from .settings import StreamSettings
from .writer import StreamWriter

log = logging.getLogger(__name__)

# How often a silent stream's lease is renewed, and so how soon a stop is seen without a message.
POLL_INTERVAL = 1.0
FIRST_BACKOFF = 0.02
MAX_BACKOFF = 1.0


class Sender:
    """The sender thread of a process, and the streams it serves.

    Args:
        relay: where to.
        settings: lease, linger, limits and time-outs.
        now: the clock, seconds.
    """

    def __init__(
        self, relay: Relay, settings: StreamSettings, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.now = now
        self._relay = relay
        self._settings = settings
        self._signals: SimpleQueue[StreamWriter | None] = SimpleQueue()
        # While the thread lingers, streams that can wait line up here and do not wake it.
        self._lingering = False
        self._quiet: deque[StreamWriter] = deque()
        self._open: dict[int, StreamWriter] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._poked = False

    def open(
        self,
        stream_id: str,
        *,
        owner: str = "",
        kind: str = "json",
        resume: bool = False,
        on_interrupt: Callable[[], None] | None = None,
    ) -> StreamWriter:
        """Claim the stream and return its writer.

        Args:
            stream_id: the stream.
            owner: the task's id.
            kind: the codec's kind.
            resume: continue the log of the attempt before.
            on_interrupt: called from the sender thread when a stop is asked or writing has become
                impossible, so that a generator that waits can be interrupted.

        Raises:
            StreamBusyError: a living producer holds it.
            StreamClosedError: it has ended.
            RelayUnavailableError: no answer for `stream_relay_timeout`.
        """
        claim = Claim(stream_id, new_nonce(), owner, kind, resume=resume)
        answer = self._claim(claim)
        if answer.kind == "busy":
            raise StreamBusyError(stream_id, answer.number / 1000)
        if answer.kind == "closed":
            raise StreamClosedError(stream_id, answer.reason)
        writer = StreamWriter(
            claim, answer, self._settings,
            signal=self.signal, forget=self.forget, on_interrupt=on_interrupt, now=self.now,
        )  # fmt: skip
        with self._lock:
            self._open[id(writer)] = writer
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="stream-sender", daemon=True)
                self._thread.start()
        return writer

    def signal(self, writer: StreamWriter) -> None:
        """Tell the thread that this stream has something to send."""
        if self._lingering and not writer.urgent:
            self._quiet.append(writer)
            if self._lingering:
                return
        self._signals.put(writer)

    def poke(self) -> None:
        """Ask the relay for stops now. Safe in a signal handler."""
        self._poked = True
        self._signals.put(None)

    def forget(self, writer: StreamWriter) -> None:
        """Renew this stream's lease no longer."""
        with self._lock:
            self._open.pop(id(writer), None)

    def close(self) -> None:
        """End the thread. Streams still open are left to their leases."""
        self._closing = True
        self._signals.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None

    def _claim(self, claim: Claim) -> Answer:
        deadline = self.now() + self._settings.relay_timeout
        backoff = FIRST_BACKOFF
        while True:
            try:
                # The same nonce makes the repetition harmless.
                return self._relay.call(claim)
            except RelayUnavailableError:
                if self.now() + backoff > deadline:
                    raise
            time.sleep(backoff)
            backoff = min(MAX_BACKOFF, backoff * 2)

    def _run(self) -> None:
        ready: dict[int, StreamWriter] = {}
        interval = min(POLL_INTERVAL, self._settings.lease / 3)
        next_poll = self.now() + interval
        backoff = FIRST_BACKOFF
        while not self._closing:
            self._wait(ready, next_poll)
            requests = [
                (writer, request)
                for writer in ready.values()
                if (request := writer.next_request()) is not None
            ]
            now = self.now()
            if self._poked or now >= next_poll:
                requests += self._renewals(ready, now if self._poked else now - interval / 2)
                self._poked = False
                next_poll = now + interval
            if not requests:
                ready.clear()
                continue
            try:
                answers = self._relay.execute([request for _, request in requests])
            except RelayUnavailableError as error:
                for writer, _ in requests:
                    writer.unanswered(error, self.now())
                ready = {id(w): w for w, _ in requests if not w.concluded}
                time.sleep(backoff)
                backoff = min(MAX_BACKOFF, backoff * 2)
                continue
            ready = self._accept(requests, answers)
            if any(answer.kind == "error" for answer in answers):
                time.sleep(backoff)
                backoff = min(MAX_BACKOFF, backoff * 2)
            else:
                backoff = FIRST_BACKOFF

    def _accept(
        self, requests: list[tuple[StreamWriter, Request]], answers: list[Answer]
    ) -> dict[int, StreamWriter]:
        """Hand out the answers; return the streams that have more to send."""
        now = self.now()
        for (writer, request), answer in zip(requests, answers, strict=True):
            try:
                writer.accept(request, answer, now)
            except Exception:
                # One stream's failing callback must not take the others down.
                log.exception("stream %s: interrupting its producer failed", writer.stream_id)
        return {id(writer): writer for writer, _ in requests if not writer.concluded}

    def _wait(self, ready: dict[int, StreamWriter], until: float) -> None:
        """Add the streams that have something to send; return when it is time to send."""
        linger = self._settings.linger
        for writer in [w for w in ready.values() if not w.has_more]:
            del ready[id(writer)]
        if not ready:
            self._take(ready, until - self.now())
        while self._take(ready, None):
            pass
        if linger and ready and not any(writer.urgent for writer in ready.values()):
            self._lingering = True
            self._take(ready, linger)
            # In this order: who lined up after the last look sees that nobody lingers any more.
            self._lingering = False
            while self._take(ready, None):
                pass
        while self._quiet:
            writer = self._quiet.popleft()
            ready[id(writer)] = writer

    def _take(self, ready: dict[int, StreamWriter], timeout: float | None) -> bool:
        """Wait for one signal (None: do not wait); tells whether there was one."""
        try:
            if timeout is None:
                writer = self._signals.get_nowait()
            else:
                writer = self._signals.get(timeout=max(0.0, timeout))
        except Empty:
            return False
        if writer is not None:
            ready[id(writer)] = writer
        return writer is not None

    def _renewals(
        self, ready: dict[int, StreamWriter], before: float
    ) -> list[tuple[StreamWriter, Request]]:
        with self._lock:
            idle = [writer for key, writer in self._open.items() if key not in ready]
        renewals = [(writer, writer.renewal(before)) for writer in idle]
        return [(writer, request) for writer, request in renewals if request is not None]
