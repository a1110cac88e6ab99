"""Seals what this process has written, once its end is acknowledged (`relays/sealing.py`).

It is only about room: what is not sealed, because the process ends or the store does not answer,
is left to the first relay server that reads it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Sequence

from ..errors import RelayUnavailableError
from ..relays import Relay
from ..relays.requests import Entry
from ..relays.sealing import seal_requests
from .outbox import Outbox
from .writer import LAST_WORDS_TIMEOUT

log = logging.getLogger(__name__)

# Chunks of streams that wait; beyond that they are let go.
MOST_BYTES = 64 * 1024 * 1024


class Sealer:
    """Seals streams on a thread, in order, while there are some.

    Args:
        relay: where the streams are.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._waiting: deque[tuple[Outbox, Sequence[Entry]]] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._useless = False
        self._told = False

    def seal(self, outbox: Outbox) -> None:
        """Seal a stream that has ended, and is `whole`."""
        with self._lock:
            if self._useless or self._bytes + outbox.size > MOST_BYTES:
                return
            self._bytes += outbox.size
            self._waiting.append((outbox, outbox.whole))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="stream-sealer", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Wait a little until all is sealed."""
        thread = self._thread
        if thread is not None:
            thread.join(LAST_WORDS_TIMEOUT)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    return
                outbox, entries = self._waiting.popleft()
            try:
                self._seal(outbox, entries)
            except RelayUnavailableError as error:
                self._give_up(outbox, str(error))
            except Exception:
                log.exception("stream %s is not sealed", outbox.stream_id, extra=_about(outbox))
            with self._lock:
                self._bytes -= outbox.size

    def _seal(self, outbox: Outbox, entries: Sequence[Entry]) -> None:
        requests = seal_requests(outbox.stream_id, outbox.attempt, outbox.nonce, entries)
        for request in requests:
            (answer,) = self._relay.execute([request])
            if answer.kind == "refused":
                # A relay that keeps streams otherwise.
                self._useless = True
            if answer.kind == "error":
                self._give_up(outbox, answer.message)
            if answer.kind != "ok":
                return

    def _give_up(self, outbox: Outbox, why: str) -> None:
        level = logging.DEBUG if self._told else logging.WARNING
        self._told = True
        log.log(
            level, "stream %s keeps its full size in the store until it is read: %s",
            outbox.stream_id, why, extra=_about(outbox),
        )  # fmt: skip


def _about(outbox: Outbox) -> dict[str, object]:
    return {"stream_id": outbox.stream_id, "attempt": outbox.attempt}
