"""Readers that are left early, closed from elsewhere, or interrupted in a wait."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from streamstraight_celery import (
    AsyncStreamReader,
    RelayUnavailableError,
    StreamReader,
    aread_stream,
    read_stream,
)
from streamstraight_celery.errors import StreamResetError
from streamstraight_celery.reader.events import Arrival, Reset
from streamstraight_celery.reader.inbox import Inbox
from streamstraight_celery.reader.log.session import LogSession
from streamstraight_celery.reader.log.sync_io import Bell, SyncLog
from streamstraight_celery.reader.options import ReadOptions
from tests.clients.relay import Scripted, ScriptedRelay
from tests.clients.ways import Site
from tests.conftest import eventually, free_port
from tests.server.producer import Producer
from tests.support.waiting import eventually_async

DIRECT = pytest.mark.parametrize("direct", [False, True], ids=["http", "direct"])


def sync_reader(
    site: Site, producer: Producer, direct: bool, statuses: list[str] | None = None
) -> StreamReader[object]:
    told = None if statuses is None else statuses.append
    if direct:
        return read_stream(producer.stream_id, app=site.app, on_status=told)
    return read_stream(site.ref(producer), on_status=told)


def async_reader(site: Site, producer: Producer, direct: bool) -> AsyncStreamReader[object]:
    if direct:
        return aread_stream(producer.stream_id, app=site.app)
    return aread_stream(site.ref(producer))


def keep_alive(producer: Producer, over: threading.Event) -> threading.Thread:
    """A producer that is silent and lives."""

    def renew() -> None:
        while not over.wait(0.2):
            producer.append()

    thread = threading.Thread(target=renew)
    thread.start()
    return thread


@DIRECT
def test_close_from_another_thread_ends_a_wait(site: Site, direct: bool) -> None:
    producer = site.producer()
    producer.append(1)
    over = threading.Event()
    alive = keep_alive(producer, over)
    statuses: list[str] = []
    reader = sync_reader(site, producer, direct, statuses)
    got: list[object] = []

    def read() -> None:
        for chunk in reader:
            got.append(chunk)

    thread = threading.Thread(target=read)
    thread.start()
    eventually(lambda: got)
    started = time.monotonic()
    reader.close()
    thread.join(30)

    assert not thread.is_alive()
    assert time.monotonic() - started < 10
    assert got == [1]
    assert reader.offset == producer.offset(1)
    assert reader.status == "closed"
    assert statuses == ["open", "closed"]
    assert list(reader) == []
    over.set()
    alive.join()


@DIRECT
async def test_close_from_another_task_ends_a_wait(site: Site, direct: bool) -> None:
    producer = site.producer()
    producer.append(1)
    reader = async_reader(site, producer, direct)
    got: list[object] = []

    async def read() -> None:
        async for chunk in reader:
            got.append(chunk)

    task = asyncio.ensure_future(read())
    await eventually_async(lambda: got)
    await reader.close()
    await asyncio.wait_for(task, 10)

    assert got == [1]
    assert reader.offset == producer.offset(1)


@DIRECT
async def test_a_cancelled_wait_loses_nothing(site: Site, direct: bool) -> None:
    producer = site.producer()
    async with async_reader(site, producer, direct) as reader:
        got: list[object] = []
        for number in range(20):
            producer.append(number)
            patience = 0.0005
            while len(got) <= number:
                waiting = asyncio.ensure_future(anext(reader))
                # Sometimes before, sometimes while, in the end after it connects and reads.
                await asyncio.wait([waiting], timeout=patience)
                patience *= 2
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    got.append(await waiting)
        producer.end()
        got.extend([chunk async for chunk in reader])

    assert got == list(range(20))


@DIRECT
def test_leaving_early_keeps_the_place(site: Site, direct: bool) -> None:
    producer = site.producer()
    producer.append("a", "b", "c", end="completed")
    with sync_reader(site, producer, direct) as reader:
        assert next(reader) == "a"
    assert reader.status == "closed"
    assert list(read_stream(site.ref(producer), offset=reader.offset)) == ["b", "c"]


@DIRECT
def test_a_loop_may_be_left_and_entered_again(site: Site, direct: bool) -> None:
    producer = site.producer()
    producer.append("a", "b", "c", end="completed")
    with sync_reader(site, producer, direct) as reader:
        for chunk in reader:
            assert chunk == "a"
            break
        assert list(reader) == ["b", "c"]


def test_a_reader_that_was_never_iterated_closes(site: Site) -> None:
    producer = site.producer()
    for direct in (False, True):
        sync_reader(site, producer, direct).close()


def test_stopping_what_has_ended_does_nothing(site: Site) -> None:
    producer = site.producer()
    producer.append("a", end="completed")
    with sync_reader(site, producer, False) as reader:
        assert list(reader) == ["a"]
        reader.stop()


async def test_a_stop_that_nobody_answers_is_an_error_of_ours() -> None:
    url = f"http://127.0.0.1:{free_port()}/v1/stream/abc"
    with pytest.raises(RelayUnavailableError, match="'abc' could not be stopped"):
        read_stream(url).stop()
    with pytest.raises(RelayUnavailableError, match="'abc' could not be stopped"):
        await aread_stream(url).stop()


@pytest.fixture
def silent() -> Iterator[ScriptedRelay]:
    """A relay that sends one chunk, and then nothing for ever."""
    with ScriptedRelay() as relay:
        chunk = b"event: data\nid: o1\ndata:[1]\n\n"
        relay.play([Scripted(200, {"content-type": "text/event-stream"}, [chunk], "stay")])
        yield relay


def test_close_ends_a_read_that_waits_for_ever(silent: ScriptedRelay) -> None:
    reader = read_stream(silent.url)
    assert next(reader) == 1
    thread = threading.Thread(target=lambda: list(reader))
    thread.start()
    eventually(lambda: reader._stepping.locked())
    reader.close()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("warm", [False, True], ids=["new connection", "connection of before"])
@pytest.mark.parametrize("head", [False, True], ids=["no answer", "no end of a refusal"])
def test_close_ends_the_wait_for_an_answer(warm: bool, head: bool) -> None:
    mute = Scripted(*((404, {}, [b"x"], "stay") if head else (0, {}, [], "mute")))
    again = Scripted(401, {}, [b"{}"])
    with ScriptedRelay() as relay:
        relay.play([again, mute] if warm else [mute])
        reader = read_stream(relay.url, token="a", get_token=lambda: "b")
        thread = threading.Thread(target=lambda: list(reader))
        thread.start()
        eventually(lambda: len(relay.seen) == 1 + warm)
        started = time.monotonic()
        reader.close()
        thread.join(30)
        assert not thread.is_alive()
        assert time.monotonic() - started < 10


async def test_close_ends_an_async_read_that_waits_for_ever(silent: ScriptedRelay) -> None:
    reader = aread_stream(silent.url)
    assert await anext(reader) == 1
    waiting = asyncio.ensure_future(anext(reader, None))
    await eventually_async(lambda: reader._step is not None)
    await reader.close()
    assert await asyncio.wait_for(waiting, 20) is None


class Endless:
    """A source whose step never returns by itself."""

    def __init__(self) -> None:
        self.closed = False

    async def advance(self) -> None:
        await asyncio.Event().wait()

    async def stop(self) -> None: ...

    async def close(self) -> None:
        self.closed = True


async def test_close_ends_any_step() -> None:
    steps = Endless()
    reader = AsyncStreamReader(Inbox[object]("s", ReadOptions()), steps)
    waiting = asyncio.ensure_future(anext(reader, None))
    await eventually_async(lambda: reader._step is not None)
    await reader.close()
    assert await asyncio.wait_for(waiting, 20) is None
    assert steps.closed


def test_waking_ends_a_wait_for_news(site: Site) -> None:
    bell = Bell()
    thread = threading.Thread(target=bell.wait, args=(600,))
    thread.start()
    options = ReadOptions()
    session = LogSession("s", Inbox[object]("s", options), options, patience=1, look_every=1)
    SyncLog(session, site.relay, "s", bell, owned=False).wake()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("on_reset", [None, lambda _: None], ids=["raises", "is told"])
def test_the_offset_is_of_the_old_attempt_until_the_consumer_hears_of_a_new_one(
    on_reset: Callable[[int], object] | None,
) -> None:
    # A step that brings a reset may be the last one: anext() was cancelled, say.
    inbox: Inbox[object] = Inbox("s", ReadOptions(on_reset=on_reset))
    inbox.put(Arrival(1, "1", "o1"))
    inbox.tail = "o1"
    assert inbox.take() == (1,)
    inbox.reset(Reset(2, 0.0))
    assert inbox.offset == "o1"
    assert inbox.take() is None
    assert inbox.offset == "-1"
    assert isinstance(inbox.outcome(), StreamResetError) is (on_reset is None)
