"""The sender of a process: one for all its streams.

A lone chunk is sent by the thread that produced it, at once. While several streams are busy, a
thread sends what has gathered in one round trip, and again as soon as that returns: batches grow
by themselves under load. The thread also keeps the leases of silent streams.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from math import exp, inf
from queue import Empty
from typing import NamedTuple, TypeVar

from ..backoff import Backoff
from ..errors import (
    RelayRefusedError,
    RelayUnavailableError,
    StreamBusyError,
    StreamClosedError,
    StreamExistsError,
    StreamWaitingError,
)
from ..offsets import new_nonce
from ..os_threads import Mailbox, green_threads, os_lock
from ..relays.about import NOWHERE, UNKNOWN, About, Workplace
from ..relays.base import Relay
from ..relays.requests import Answer, Append, Claim, Enlist, Request
from ..settings import StreamSettings
from ..signals import stream_flushed
from .outbox import Outbox
from .sealer import Sealer
from .writer import StreamWriter

log = logging.getLogger(__name__)

T = TypeVar("T")

# How often a silent stream's lease is renewed, and so how soon a stop is seen without a message.
RENEW_INTERVAL = 1.0
# The same where no message can tell of one: the solo pool reads none while its task runs. A request
# of 0.1 ms ten times a second costs less than a subscription's connection and thread would.
QUICK_RENEW_INTERVAL = 0.1
FIRST_BACKOFF = 0.02
# How long to leave a relay alone that has not acknowledged something yet.
WAIT = 0.005
MAX_BACKOFF = 1.0
# A producer waits for the round trip of a lone chunk. If that takes longer than this, the thread
# sends what comes in the time after it.
SLOW_TRIP = 0.002
SLOW_FOR = 1.0
# So many chunks in as many times `stream_linger` are a load: to wait for others then pays.
LOAD_CHUNKS = 8


class _Refused(NamedTuple):
    """A stream whose request Redis refused, which alone waits: the others go on meanwhile.

    `due` is infinite once it is being tried again.
    """

    outbox: Outbox
    due: float
    backoff: Backoff


class Sender:
    """The sender thread of a process, and the streams it serves.

    Args:
        relay: where to.
        settings: lease, linger, limits and time-outs.
        now: the clock, seconds.
        sealer: seals what has ended.
    """

    def __init__(
        self,
        relay: Relay,
        settings: StreamSettings,
        now: Callable[[], float] = time.monotonic,
        sealer: Sealer | None = None,
    ) -> None:
        self.now = now
        self._relay = relay
        self._sealer = sealer
        self._settings = settings
        self._signals: Mailbox[Outbox | None] = Mailbox()
        # While the thread lingers, streams that can wait line up here and do not wake it.
        self._lingering = False
        self._quiet: deque[Outbox] = deque()
        self._open: dict[int, Outbox] = {}
        self._lock = threading.Lock()
        # Held by whoever works on outboxes: the thread, or a producer with a lone chunk.
        self._turn = os_lock()
        self._linger = settings.linger if relay.shares else 0.0
        self._alone = relay.quick and not green_threads()
        self._away = False
        self._slow_until = 0.0
        # Chunks of the last `LOAD_CHUNKS * linger` seconds, about, and of when that is.
        self._load = self._load_at = 0.0
        self._thread: threading.Thread | None = None
        self._closing = False
        self._check_now = False
        # Streams that cannot be told of a stop by a message.
        self._untold: set[int] = set()

    def open(
        self,
        stream_id: str,
        *,
        owner: str = "",
        kind: str = "json",
        resume: bool = False,
        nonce: str = "",
        untold: bool = False,
        again: int = 0,
        after_loss: bool = False,
        on_end: str = "",
        about: About = UNKNOWN,
        at: Workplace = NOWHERE,
        wakes: int = 0,
        on_interrupt: Callable[[], None] | None = None,
    ) -> StreamWriter:
        """Claim the stream and return its writer.

        Args:
            stream_id: the stream.
            owner: the task's id.
            kind: the codec's kind.
            resume: continue the log of the attempt before.
            nonce: of this attempt; a new one by default.
            untold: no message can tell of a stop, so the relay is asked for it often.
            again: how often the task ran before, as far as Celery knows.
            after_loss: also when the owner's stream has ended as `producer-disconnected`.
            on_end: name of the task that is told of its end, if none is kept with the stream yet.
            about: what it is found by.
            at: where it runs.
            wakes: the suspended attempt that this one follows.
            on_interrupt: called from the sender thread when a stop is asked or writing has become
                impossible, so that a generator that waits can be interrupted.

        Raises:
            StreamBusyError: a living producer holds it.
            StreamWaitingError: it is suspended, and another message continues it.
            StreamClosedError: it has ended.
            StreamExistsError: it is written over HTTP.
            RelayRefusedError: the relay does not take it.
            RelayUnavailableError: no answer for `stream_relay_timeout`.
        """
        claim = Claim(
            stream_id, nonce or new_nonce(), owner, kind,
            resume=resume, again=again, after_loss=after_loss, on_end=on_end, about=about,
            at=at, wakes=wakes,
        )  # fmt: skip
        if on_end:
            # Before it can end.
            self.patiently(lambda: self._relay.call(Enlist(stream_id)))
        # The same nonce makes the repetition harmless.
        answer = self.patiently(lambda: self._relay.call(claim))
        if answer.kind == "busy":
            raise StreamBusyError(stream_id, answer.retry_in_ms / 1000)
        if answer.kind == "waits":
            raise StreamWaitingError(stream_id)
        if answer.kind == "closed":
            raise StreamClosedError(stream_id, answer.end_reason)
        if answer.kind == "refused":
            raise RelayRefusedError(answer.message)
        if answer.kind == "fenced":
            raise StreamExistsError(
                f"stream {stream_id!r} is written over HTTP by others: give the task's stream "
                "another name"
            )
        writer = StreamWriter(
            claim, answer, self._settings,
            signal=self.signal, send_alone=self.send_alone, forget=self.forget,
            on_interrupt=on_interrupt, now=self.now,
        )  # fmt: skip
        with self._lock:
            self._open[id(writer.outbox)] = writer.outbox
            if untold:
                self._untold.add(id(writer.outbox))
                self._signals.put(None)  # so that the thread takes note
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="stream-sender", daemon=True)
                self._thread.start()
        return writer

    def signal(self, outbox: Outbox) -> None:
        """Tell the thread that this stream has something to send."""
        if self._closing:
            self._abandon(outbox)
            return
        if self._lingering and not outbox.urgent:
            self._quiet.append(outbox)
            if self._lingering:
                return
        self._signals.put(outbox)

    def send_alone(self, outbox: Outbox, take: Callable[[str], Append | None], text: str) -> bool:
        """Send a chunk on the calling thread if nothing else is under way; False: it was not taken.

        Args:
            outbox: the stream's.
            take: makes the request; None: the chunk has to wait for others of its stream.
            text: the chunk.
        """
        if not self._alone or self._closing or self._away or self._turn.locked() or self._loaded():
            return False
        now = self.now()
        if now < self._slow_until or now - outbox.alone_at < outbox.alone_took:
            return False  # a generator this fast would wait for the store most of its time
        # As a context manager, which no signal can leave between taking and giving back. Somebody
        # else may be faster; then this waits for one round trip.
        with self._turn:
            request = take(text)
            if request is None:
                return False
            now = self.now()
            requests: list[tuple[Outbox, Request]] = [(outbox, request)]
            self._note_load(requests, now)
            try:
                answers = self._execute(requests)
                self._tell(requests, now, answered=True)
                self._accept(requests, answers, {})
            except RelayUnavailableError as error:
                self._tell(requests, now, answered=False)
                self._away = True
                self._unanswered(requests, error)
            finally:
                # Also when a signal has interrupted this: the thread repeats the request.
                if outbox.has_more:
                    self.signal(outbox)
            outbox.alone_at = self.now()
            outbox.alone_took = outbox.alone_at - now
            if outbox.alone_took > SLOW_TRIP:
                self._slow_until = outbox.alone_at + SLOW_FOR
        return True

    def _note_load(self, requests: list[tuple[Outbox, Request]], now: float) -> None:
        sent = sum([each.count for _, each in requests if isinstance(each, Append)])
        self._load, self._load_at = self._load_of(now) + sent, now

    def _load_of(self, now: float) -> float:
        if not self._linger:
            return 0.0
        return self._load * exp((self._load_at - now) / (LOAD_CHUNKS * self._linger))

    def _loaded(self) -> bool:
        """Whether chunks come so fast that to wait for more of them pays."""
        return self._linger > 0 and self._load_of(self.now()) >= LOAD_CHUNKS

    def check_stops(self) -> None:
        """Ask the relay for stops now. Safe in a signal handler."""
        self._check_now = True
        self._signals.put(None)

    def forget(self, outbox: Outbox) -> None:
        """Renew this stream's lease no longer."""
        with self._lock:
            self._open.pop(id(outbox), None)
            self._untold.discard(id(outbox))
        self._relay.forget(outbox.stream_id, outbox.nonce)

    def close(self) -> None:
        """End the thread. Streams still open are left to their leases, and can write no more."""
        self._closing = True
        self._signals.put(None)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
            self._thread = None
        with self._lock:
            left = list(self._open.values())
        for outbox in left:
            self._abandon(outbox)
        if self._sealer is not None:
            self._sealer.close()

    def _abandon(self, outbox: Outbox) -> None:
        """Whoever waits for this stream's last words would wait for ever."""
        try:
            outbox.abandon(RelayUnavailableError("this process has closed its stream store"))
        except Exception:
            _log_failure(outbox)

    def patiently(self, ask: Callable[[], T]) -> T:
        """What a question that may be repeated came to, from a relay that may be away for a while.

        Raises:
            RelayUnavailableError: no answer for `stream_relay_timeout`.
        """
        deadline = self.now() + self._settings.relay_timeout
        backoff = Backoff(FIRST_BACKOFF, MAX_BACKOFF)
        while True:
            delay = backoff.next()
            try:
                return ask()
            except RelayUnavailableError:
                if self.now() + delay > deadline:
                    raise
            time.sleep(delay)

    async def apatiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """As `patiently`, on an event loop."""
        deadline = self.now() + self._settings.relay_timeout
        backoff = Backoff(FIRST_BACKOFF, MAX_BACKOFF)
        while True:
            delay = backoff.next()
            try:
                return await ask()
            except RelayUnavailableError:
                if self.now() + delay > deadline:
                    raise
            await asyncio.sleep(delay)

    def _run(self) -> None:
        ready: dict[int, Outbox] = {}
        renew_at = self.now() + RENEW_INTERVAL
        # A relay that comes back gives a lease's time (or less) to renew: several tries fit in.
        backoff = Backoff(FIRST_BACKOFF, min(MAX_BACKOFF, self._settings.lease / 5))
        refused: dict[int, _Refused] = {}
        while not self._closing:
            interval = min(
                QUICK_RENEW_INTERVAL if self._untold else RENEW_INTERVAL, self._settings.lease / 3
            )
            renew_at = min(renew_at, self.now() + interval)
            self._wait(ready, min([renew_at, *(each.due for each in refused.values())]))
            with self._turn:
                self._hold_back(ready, refused)
                requests = [
                    (outbox, request)
                    for outbox in ready.values()
                    if (request := outbox.next_request()) is not None
                ]
                now = self.now()
                if self._check_now or now >= renew_at:
                    before = now if self._check_now else now - interval / 2
                    self._check_now = False
                    requests += self._renewals(ready, before)
                    renew_at = now + interval
                if not requests:
                    ready.clear()
                    continue
                self._note_load(requests, now)
                waits = False
                try:
                    answers = self._execute(requests)
                    self._tell(requests, now, answered=True)
                    ready, waits = self._accept(requests, answers, refused)
                    self._away = False
                except RelayUnavailableError as error:
                    self._tell(requests, now, answered=False)
                    self._away = True
                    ready = self._unanswered(requests, error)
            if self._away:
                time.sleep(backoff.next())
                continue
            backoff.reset()
            if waits:
                self._take(ready, WAIT)

    def _execute(self, requests: list[tuple[Outbox, Request]]) -> list[Answer]:
        try:
            return self._relay.execute([request for _, request in requests])
        except RelayUnavailableError:
            raise
        except Exception as error:
            # Whatever it is: the thread that serves all streams of the process goes on.
            log.exception("unexpected error of the stream store")
            raise RelayUnavailableError(f"the stream store failed: {error!r}") from error

    def _hold_back(self, ready: dict[int, Outbox], refused: dict[int, _Refused]) -> None:
        """Leave out the streams that were refused, until they are due."""
        now = self.now()
        for key, each in list(refused.items()):
            if each.outbox.done:
                del refused[key]
            elif each.due <= now:
                ready[key] = each.outbox
                refused[key] = each._replace(due=inf)
            elif each.due < inf:
                ready.pop(key, None)

    def _tell(
        self, requests: list[tuple[Outbox, Request]], began: float, *, answered: bool
    ) -> None:
        """Tell whoever measures flushes of one."""
        if not stream_flushed.receivers:
            return
        sent = [each for _, each in requests if isinstance(each, Append) and each.count]
        if sent:
            # Without the line breaks that join chunks.
            size = sum([len(each.data) - each.count + 1 for each in sent])
            stream_flushed.send(
                sender=self, seconds=self.now() - began, batches=[each.count for each in sent],
                bytes=size, answered=answered,
            )  # fmt: skip

    def _accept(
        self,
        requests: list[tuple[Outbox, Request]],
        answers: list[Answer],
        refused: dict[int, _Refused],
    ) -> tuple[dict[int, Outbox], bool]:
        """Hand out the answers; return who may have more to send, and whether one of them waits."""
        now, waits = self.now(), False
        ready: dict[int, Outbox] = {}
        for (outbox, request), answer in zip(requests, answers, strict=True):
            key = id(outbox)
            try:
                outbox.accept(request, answer, now)
            except Exception:
                _log_failure(outbox)
            before = refused.pop(key, None) if refused else None
            if outbox.done:
                if outbox.whole and self._sealer is not None:
                    self._sealer.seal(outbox)
                outbox.whole = []
                continue
            ready[key] = outbox
            waits = waits or answer.kind == "waits"
            if answer.kind == "error":
                backoff = before.backoff if before else Backoff(FIRST_BACKOFF, MAX_BACKOFF)
                refused[key] = _Refused(outbox, now + backoff.next(), backoff)
        return ready, waits

    def _unanswered(
        self, requests: list[tuple[Outbox, Request]], error: RelayUnavailableError
    ) -> dict[int, Outbox]:
        """There was no answer; return the streams that try again."""
        now = self.now()
        for outbox, _ in requests:
            try:
                outbox.unanswered(error, now)
            except Exception:
                _log_failure(outbox)
        return {id(outbox): outbox for outbox, _ in requests if not outbox.done}

    def _wait(self, ready: dict[int, Outbox], until: float) -> None:
        """Add the streams that have something to send; return when it is time to send."""
        for key in [key for key, outbox in ready.items() if not outbox.has_more]:
            del ready[key]
        loaded = self._loaded()
        if not ready and not loaded:
            self._take(ready, until - self.now())
        while self._take(ready, None):
            pass
        if loaded and not any(outbox.urgent for outbox in ready.values()):
            self._lingering = True
            self._take(ready, self._linger)
            # In this order: who lined up after the last look sees that nobody lingers any more.
            self._lingering = False
            while self._take(ready, None):
                pass
        while self._quiet:
            outbox = self._quiet.popleft()
            ready[id(outbox)] = outbox

    def _take(self, ready: dict[int, Outbox], timeout: float | None) -> bool:
        """Wait for one signal (None: do not wait); tells whether there was one."""
        try:
            outbox = self._signals.get(timeout or 0.0)
        except Empty:
            return False
        if outbox is not None:
            ready[id(outbox)] = outbox
        return outbox is not None

    def _renewals(self, ready: dict[int, Outbox], before: float) -> list[tuple[Outbox, Request]]:
        with self._lock:
            idle = [outbox for key, outbox in self._open.items() if key not in ready]
        renewals = [(outbox, outbox.renewal(before)) for outbox in idle]
        return [(outbox, request) for outbox, request in renewals if request is not None]


def _log_failure(outbox: Outbox) -> None:
    """One stream's failing callback must not take the others down."""
    about = {"stream_id": outbox.stream_id, "attempt": outbox.attempt}
    log.exception("stream %s: interrupting its producer failed", outbox.stream_id, extra=about)
