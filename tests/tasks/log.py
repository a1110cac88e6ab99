"""Reads a stream back from the relay, as its readers will get it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any

from celery import Celery

from streamstraight_celery import RelayUnavailableError
from streamstraight_celery.relays.base import Page, Relay, StreamState
from streamstraight_celery.relays.requests import Read
from streamstraight_celery.runtime import Runtime
from tests.tasks.processes import PATIENCE, wait_until


@dataclass(frozen=True)
class Log:
    """A stream at one moment: its state, and every chunk that is in its log."""

    state: StreamState
    chunks: list[Any]

    @property
    def end(self) -> str:
        return self.state.end

    @property
    def error(self) -> Any:
        """What readers are told of a failure."""
        return json.loads(self.state.error) if self.state.error else None


def relay_of(app: Celery) -> Relay:
    return Runtime.of(app).relay


def read_log(app: Celery, stream_id: str) -> Log | None:
    """Read all of a stream, page by page; None when there is no such stream."""
    texts: list[bytes] = []
    nonce, attempt, seq = "", 0, 0
    while True:
        page = _read(app, Read(stream_id, attempt, seq, limit=200))
        if page is None:
            return None
        state = page.state
        if state.nonce != nonce:
            # The first page, or another attempt has begun meanwhile.
            texts, nonce, attempt, seq = [], state.nonce, 0, 0
            if state.last:
                continue
        texts += _texts(page, seq)
        if not page.entries:
            return Log(state, [json.loads(text) for text in texts])
        seq = page.entries[-1].last
        # Behind which entry: of an earlier attempt, if this one continues it.
        attempt = next(segment.attempt for segment in state.segments if seq <= segment.last)


def _read(app: Celery, read: Read) -> Page | None:
    """Read, once more if need be: a connection may be to a server that was restarted since."""
    with contextlib.suppress(RelayUnavailableError):
        return relay_of(app).read(read)
    return relay_of(app).read(read)


def _texts(page: Page, seq: int) -> list[bytes]:
    """The chunks of a page, whose numbers must go on from `seq` without a gap."""
    texts: list[bytes] = []
    for entry in page.entries:
        lines = entry.data.split(b"\n")
        assert entry.first == seq + 1
        assert entry.last == seq + len(lines)
        texts += lines
        seq = entry.last
    return texts


def state_of(app: Celery, stream_id: str) -> StreamState:
    return relay_of(app).state(stream_id)


def ended_log(app: Celery, stream_id: str, timeout: float = PATIENCE) -> Log:
    """Wait until a stream has ended, and read all of it."""

    def ended() -> bool:
        page = _read(app, Read(stream_id))
        return page is not None and bool(page.state.end)

    wait_until(ended, f"stream {stream_id} ends", timeout)
    log = read_log(app, stream_id)
    assert log is not None
    return log


def wait_for_chunks(app: Celery, stream_id: str, count: int) -> Log:
    """Wait until a stream holds `count` chunks at least."""

    def enough() -> Log | None:
        log = read_log(app, stream_id)
        return log if log is not None and len(log.chunks) >= count else None

    log = wait_until(enough, f"stream {stream_id} holds {count} chunks")
    assert log is not None
    return log
