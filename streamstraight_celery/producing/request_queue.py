"""What a worker's parent process has to tell the relay of tasks that cannot do it themselves.

A killed pool process, a hard time limit, a task that was revoked or had expired before it began:
only the parent sees these. It must not wait for a relay that does not answer, so a thread does.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from celery.signals import worker_shutdown

from ..backoff import Backoff
from ..errors import RelayUnavailableError
from ..relays import Relay
from ..relays.requests import Answer, Request
from .writer import LAST_WORDS_TIMEOUT

log = logging.getLogger(__name__)

FIRST_BACKOFF = 0.05
MAX_BACKOFF = 1.0
# What is not told in time is left to the streams' leases, so nothing hangs without it.
MOST_WAITING = 10_000


class RequestQueue:
    """Carries out requests on a thread, in order, each again until the relay answers.

    Args:
        open_relay: makes the relay of this thread alone: pool processes are forked at any time, and
            must not get one in the middle of a request.
        patience: seconds after which a request that was not answered is given up.
    """

    def __init__(self, open_relay: Callable[[], Relay], patience: float) -> None:
        self._open_relay = open_relay
        self._patience = patience
        self._waiting: deque[tuple[Request, float, Future[Answer]]] = deque()
        # Reentrant: a cold shutdown asks in a signal handler, perhaps in the middle of `ask`.
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._unanswered = False
        worker_shutdown.connect(self._on_shutdown)

    @property
    def unanswered(self) -> bool:
        """The relay did not answer when it was asked last: who waits for it now waits in vain."""
        return self._unanswered

    def ask(self, request: Request) -> Future[Answer]:
        """Have a request carried out; the future may be ignored.

        It gets RelayUnavailableError when the relay did not answer in time, and whatever else the
        relay raised.
        """
        future: Future[Answer] = Future()
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                problem = "too many requests wait for the stream store"
                future.set_exception(RelayUnavailableError(problem))
                log.warning("%r was dropped: %s", request, problem)
                return future
            self._waiting.append((request, time.monotonic() + self._patience, future))
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="stream-requests", daemon=True
                )
                self._thread.start()
        return future

    def flush(self, timeout: float = LAST_WORDS_TIMEOUT) -> None:
        """Wait until everything asked so far is told, for `timeout` seconds at most."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _on_shutdown(self, **_: object) -> None:
        self.flush()

    def _run(self) -> None:
        relay: Relay | None = None
        try:
            while True:
                with self._lock:
                    if not self._waiting:
                        self._thread = None
                        return
                    request, deadline, future = self._waiting.popleft()
                try:
                    relay = relay or self._open_relay()
                    self._tell(relay, request, deadline, future)
                except Exception as error:
                    # Whatever it is: the next request may fare better.
                    log.exception("%r did not reach the stream store", request)
                    future.set_exception(error)
        finally:
            if relay is not None:
                relay.close()

    def _tell(
        self, relay: Relay, request: Request, deadline: float, future: Future[Answer]
    ) -> None:
        backoff = Backoff(FIRST_BACKOFF, MAX_BACKOFF)
        while True:
            delay = backoff.next()
            try:
                answer = relay.call(request)
                self._unanswered = False
                future.set_result(answer)
                return
            except RelayUnavailableError as error:
                self._unanswered = True
                if time.monotonic() + delay > deadline:
                    log.warning("%r did not reach the stream store: %s", request, error)
                    future.set_exception(error)
                    return
            time.sleep(delay)
