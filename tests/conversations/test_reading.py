"""A conversation and its streams, read at once."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import aread_conversation, get_conversation, read_conversation
from streamstraight_celery.errors import ConfigurationError, DecodeError
from streamstraight_celery.reader import IDLE
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Append, Claim, Delete
from streamstraight_celery.runtime import Runtime
from tests.conversations.project import answer

NONCES = ("0" * 8, "1" * 8)


@dataclasses.dataclass
class Word:
    text: str


class Writer:
    """A producer of one stream of a conversation."""

    def __init__(self, app: Celery, relay: Relay) -> None:
        self._app, self._relay = app, relay
        self._chat = get_conversation("chat-42", app=app)
        self.id = self._chat.stream(answer, "hi", if_active="replace").id
        self._attempts = 0
        self.claim()

    def claim(self) -> None:
        self._nonce = NONCES[self._attempts % 2]
        self._attempts += 1
        self._seq = 0
        again = self._attempts > 1
        self._attempt = self._relay.call(Claim(self.id, self._nonce, overwrite=again)).number

    def write(self, *chunks: bytes) -> None:
        for chunk in chunks:
            self._seq += 1
            self._relay.call(Append(self.id, self._attempt, self._nonce, self._seq, 1, chunk))

    def end(self, reason: str = "completed") -> None:
        self._relay.call(Append(self.id, self._attempt, self._nonce, self._seq + 1, 0, b"", reason))
        Runtime.of(self._app).tell_end(self.id)


def short(event: Any) -> Any:
    """What matters of an event."""
    kind = event["type"]
    about = {"chunk": "value", "ended": "reason", "reset": "attempt"}.get(kind, "stream_id")
    return kind, event.get(about)


def take(items: Any, count: int) -> list[Any]:
    return [short(next(items)) for _ in range(count)]


def test_chunks_come_between_the_events(app: Celery, relay: Relay) -> None:
    with read_conversation("chat-42", app=app, streams=True) as reader:
        items = iter(reader)
        writer = Writer(app, relay)
        assert take(items, 1) == [("stream", writer.id)]
        writer.write(b'"one"', b'"two"')
        assert next(items) == {"type": "chunk", "stream_id": writer.id, "value": "one"}
        assert take(items, 1) == [("chunk", "two")]
        writer.write(b'"three"')
        writer.end()
        assert take(items, 2) == [("chunk", "three"), ("ended", "completed")]
        get_conversation("chat-42", app=app).send("next")
        assert take(items, 1) == [("input", None)]


def test_an_end_comes_after_the_last_chunk_also_of_what_is_long_over(
    app: Celery, relay: Relay
) -> None:
    expected = []
    for number in range(3):
        writer = Writer(app, relay)
        writer.write(*[b'"%d"' % number] * 5)
        writer.end()
        expected += [("stream", writer.id), *[("chunk", str(number))] * 5, ("ended", "completed")]
    relay.call(Delete(writer.id))  # expired: nothing of it is left but its events
    del expected[-6:-1]
    with read_conversation("chat-42", app=app, streams=True) as reader:
        found = take(iter(reader), len(expected))
    for kind in ("stream", "ended"):
        told = [each for each in expected if each[0] == kind]
        assert [each for each in found if each[0] == kind] == told
    assert sorted(found, key=str) == sorted(expected, key=str)


def test_a_new_attempt_is_an_event(app: Celery, relay: Relay) -> None:
    writer = Writer(app, relay)
    writer.write(b'"old"')
    with read_conversation("chat-42", app=app, streams=True) as reader:
        items = iter(reader)
        assert take(items, 2) == [("stream", writer.id), ("chunk", "old")]
        writer.claim()
        writer.write(b'"new"')
        assert take(items, 2) == [("reset", 2), ("chunk", "new")]


def test_chunks_are_what_was_asked_for(app: Celery, relay: Relay) -> None:
    writer = Writer(app, relay)
    writer.write(b'{"text":"hi"}', b"42")
    with read_conversation("chat-42", app=app, streams=True, type=Word) as reader:
        items = iter(reader)
        next(items)
        assert next(items)["value"] == Word("hi")
        with pytest.raises(DecodeError):
            next(items)


def test_idle_and_close_from_another_thread(app: Celery) -> None:
    reader = read_conversation("chat-42", app=app, streams=True, idle=0.05)
    assert next(iter(reader)) is IDLE
    reader = read_conversation("chat-42", app=app, streams=True)
    threading.Timer(0.1, reader.close).start()
    assert list(reader) == []


async def test_on_an_event_loop(app: Celery, relay: Relay) -> None:
    writer = Writer(app, relay)
    async with aread_conversation("chat-42", app=app, streams=True) as reader:
        items = aiter(reader)
        assert short(await anext(items)) == ("stream", writer.id)
        writer.write(b'"one"')
        assert short(await anext(items)) == ("chunk", "one")
        writer.end("stopped")
        assert short(await anext(items)) == ("ended", "stopped")


def test_over_http_it_is_refused_with_a_reason(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match="straight from the stream store"):
        read_conversation(get_conversation("chat-42", app=app).ref(), streams=True)
