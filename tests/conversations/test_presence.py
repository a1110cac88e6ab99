"""Who reads a conversation and its streams, and what becomes of a stream that nobody reads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import (
    Conversation,
    StreamTask,
    aread_stream,
    get_conversation,
    stream_task,
)
from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Answer, Watch
from streamstraight_celery.runtime import Runtime
from streamstraight_celery.server import relay_app
from streamstraight_celery.settings import read_settings
from streamstraight_celery.worker.unwatched import Unwatched, stopped_unwatched
from tests.conftest import eventually
from tests.conversations.project import counts_readers, endless
from tests.server.serving import serving
from tests.support.waiting import eventually_async
from tests.support.workers import worker_here


@pytest.fixture
def working(app: Celery) -> Iterator[Celery]:
    app.conf.stream_lease = 30  # these tests lose no worker, however slow the machine is
    with worker_here(app, pool="threads", concurrency=2):
        yield app


async def comes_to(chat: Conversation, count: int) -> None:
    await eventually_async(lambda: chat.watchers() == count, f"{count} readers")


@contextlib.asynccontextmanager
async def reading(port: int, ref: Any) -> AsyncIterator[None]:
    """A reader at that server, which takes all that comes."""
    url = f"http://127.0.0.1:{port}/v1/stream/{ref['stream_id']}"

    async def read() -> None:
        async for _ in aread_stream(url, token=ref["token"]):
            pass

    task = asyncio.ensure_future(read())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_readers_of_all_servers_are_counted(app: Celery) -> None:
    chat = get_conversation("chat-42", app=app)
    ref = chat.ref()
    async with serving(relay_app(app)) as one, serving(relay_app(app)) as two:
        async with reading(one, ref), reading(two, ref):
            async with reading(two, ref):
                await comes_to(chat, 3)
            await comes_to(chat, 2)
        await comes_to(chat, 0)
        async with reading(one, ref):
            await comes_to(chat, 1)
    await comes_to(chat, 0)
    assert await chat.awatchers() == 0


def test_a_task_can_ask_who_reads_it(working: Celery, relay: Relay) -> None:
    stream = counts_readers.stream()
    eventually(lambda: stream.state().attempt == 1)
    relay.call(Watch(stream.id, "a server", 7))
    assert list(stream.read()) == [7]


def test_a_stream_that_nobody_reads_is_stopped(
    working: Celery, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endless, "unwatched", 1.5)  # sooner than can be declared
    stream = endless.stream()

    def is_read_for_long() -> bool:
        relay.call(Watch(stream.id, "a server", 1))
        return stream.state().last > 60  # twice as many as in the time after which it is stopped

    eventually(is_read_for_long)
    assert stream.state().end == ""
    relay.call(Watch(stream.id, "a server", 0))
    eventually(lambda: stream.state().end == "stopped")


@pytest.mark.parametrize(
    ("readers", "over"),
    [
        ([(0, 59)], False),
        ([(0, 60)], True),
        ([(1, 59), (0, 118)], False),
        ([(1, 59), (0, 119)], True),
        ([(0, 59), (None, 60), (0, 119)], False),  # the store was away: readers may be there
        ([(0, 59), (None, 60), (0, 120)], True),
    ],
)
def test_how_long_nobody_has_read(readers: list[Any], over: bool) -> None:
    unwatched = Unwatched(60, 0)
    assert [unwatched.over(count, at) for count, at in readers][-1] is over


class Telling:
    """A store that answers in one way, and what it is asked for."""

    def __init__(self, relay: str, answer: Answer) -> None:
        self.asked: list[Any] = []
        self._answer = answer
        app = Celery("telling", set_as_current=False)
        app.conf.stream_relay_url = relay
        app.conf.stream_api_key = "a key"
        self.runtime = Runtime(read_settings(app), self)  # type: ignore[arg-type]

    def call(self, request: Any) -> Answer:
        self.asked.append(request)
        return self._answer

    def close(self) -> None:
        """Nothing is open."""


def test_a_store_that_refuses_to_tell_knows_of_no_absence() -> None:
    store = Telling("memory://", Answer("refused"))
    with stopped_unwatched(store.runtime, "a", 0.02):
        eventually(lambda: len(store.asked) > 8)
    assert set(store.asked) == {Watch("a")}


def test_a_relay_that_does_not_tell_who_reads() -> None:
    store = Telling("streamstraight://", Answer("refused"))
    with (
        pytest.raises(ConfigurationError, match="unwatched: stream_relay_url is streamstraight"),
        stopped_unwatched(store.runtime, "a", 60),
    ):
        pytest.fail("the task must not begin")
    assert not store.asked


@pytest.mark.parametrize("value", [0, -1, 14.9, "120", True, float("nan")])
def test_a_time_that_cannot_be(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="unwatched="):
        stream_task(unwatched=value)
    with pytest.raises(ConfigurationError, match="unwatched="):
        type("Answer", (StreamTask,), {"unwatched": value, "abstract": True})
