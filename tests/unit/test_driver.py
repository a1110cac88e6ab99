"""What the driver makes of generators that do not end as they should, wherever it runs them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from streamstraight_celery.errors import StreamStopped
from streamstraight_celery.producing.driver import Driver
from streamstraight_celery.producing.generators import MOST_LAST_CHUNKS
from tests.support.waiting import PATIENCE

STOP = "stop"


class Written:
    """Stands in for the writer."""

    on_first_chunk: Callable[[], None] | None = None

    def __init__(self) -> None:
        self.texts: list[str] = []

    def write(self, text: str) -> None:
        self.texts.append(text)

    add = put = write

    def full(self) -> bool:
        return False


def drive(chunks: Any, written: Written) -> Any:
    """Drive to the end; the chunk `STOP` stops it, as a relay's answer would."""

    def encode(chunk: str) -> str:
        if chunk == STOP:
            driver.interrupt()
        return chunk

    driver = Driver(encode, lambda: None, detached=contextlib.nullcontext)
    return driver.run(chunks, written)  # type: ignore[arg-type]


def in_thread(call: Callable[[], Any]) -> Any:
    """What it returns or raises, in a thread that is not the main one."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def directly(call: Callable[[], Any]) -> Any:
    return call()


ran: list[str] = []


def last_words() -> Iterator[str]:
    try:
        yield "one"
        yield STOP
        yield "never"
    finally:
        yield "usage"
        ran.append("behind it")


async def last_words_asynchronously() -> AsyncIterator[str]:
    try:
        yield "one"
        yield STOP
        yield "never"
    finally:
        yield "usage"
        ran.append("behind it")


WAYS = [
    pytest.param(directly, last_words, id="main thread"),
    pytest.param(in_thread, last_words, id="another thread"),
    pytest.param(directly, last_words_asynchronously, id="async"),
]


@pytest.mark.parametrize(("place", "generator"), WAYS)
def test_a_generator_that_yields_when_it_is_closed_is_closed(
    place: Callable[..., Any], generator: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    ran.clear()
    written = Written()
    with pytest.raises(StreamStopped):
        place(lambda: drive(generator(), written))
    assert written.texts == ["one", STOP]
    assert ran == ["behind it"]
    (warning,) = caplog.messages
    assert warning.startswith(f"{generator.__name__} yields while it is closed")


def never_closed() -> Iterator[str]:
    for _ in range(2 * MOST_LAST_CHUNKS):
        with contextlib.suppress(GeneratorExit):
            yield STOP


async def never_closed_asynchronously() -> AsyncIterator[str]:
    for _ in range(2 * MOST_LAST_CHUNKS):
        with contextlib.suppress(GeneratorExit):
            yield STOP


def test_a_generator_that_never_ends_is_given_up() -> None:
    chunks = never_closed()
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        drive(chunks, Written())
    assert list(chunks)  # to its end, or Python complains of it


def test_an_async_generator_that_never_ends_is_given_up() -> None:
    chunks = never_closed_asynchronously()
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        drive(chunks, Written())

    async def rest() -> list[str]:
        return [chunk async for chunk in chunks]

    assert asyncio.run(rest())


def broken_clean_up() -> Iterator[str]:
    try:
        yield STOP
    finally:
        raise RuntimeError("generator ignored the rules")


async def broken_clean_up_asynchronously() -> AsyncIterator[str]:
    try:
        yield STOP
    finally:
        raise RuntimeError("generator ignored the rules")


@pytest.mark.parametrize("generator", [broken_clean_up, broken_clean_up_asynchronously])
def test_an_error_of_the_clean_up_goes_through(
    generator: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RuntimeError, match="the rules"):
        drive(generator(), Written())
    assert caplog.messages == []


class Response:
    """As of an LLM client: iterating does not end with the generator that iterates."""

    def __init__(self) -> None:
        self.closed = False
        # As theirs, it is part of a cycle.
        self._chunks = self._read()

    def _read(self) -> Iterator[str]:
        yield "one"
        yield STOP
        yield "never"

    def __iter__(self) -> Iterator[str]:
        yield from self._chunks

    async def __aiter__(self) -> AsyncIterator[str]:
        for chunk in self._chunks:
            yield chunk

    def close(self) -> None:
        self.closed = True


class AsyncResponse(Response):
    async def close(self) -> None:  # type: ignore[override]
        self.closed = True


def delegates(response: list[Response]) -> Iterator[str]:
    yield from response[0]


def iterates(response: list[Response]) -> Iterator[str]:
    for chunk in response[0]:
        yield chunk + ""


def delegates_twice(response: list[Response]) -> Iterator[str]:
    inner = delegates(response)
    for chunk in inner:
        yield chunk + ""


async def iterates_asynchronously(response: list[Response]) -> AsyncIterator[str]:
    async for chunk in response[0]:
        yield chunk


@pytest.mark.parametrize(
    ("place", "generator", "kind"),
    [
        *[
            (place, generator, Response)
            for place in (directly, in_thread)
            for generator in (delegates, iterates, delegates_twice)
        ],
        (directly, iterates_asynchronously, AsyncResponse),
    ],
)
def test_the_response_that_a_generator_reads_is_closed_with_it(
    place: Callable[..., Any], generator: Callable[..., Any], kind: type[Response]
) -> None:
    response = kind()
    with pytest.raises(StreamStopped):
        place(lambda: drive(generator([response]), Written()))
    assert response.closed


def test_what_others_use_is_not_closed() -> None:
    shared = Response()

    def generator() -> Iterator[str]:
        client = shared
        yield "one"
        yield STOP
        del client

    with pytest.raises(StreamStopped):
        drive(generator(), Written())
    assert not shared.closed


class Stoppable(Written):
    """Is ended early, as the sender would."""

    stop_asked = True

    def __init__(self) -> None:
        super().__init__()
        self.ended: list[str] = []

    def end_early(self, reason: str, error: str = "") -> None:
        self.ended.append(reason)


def test_a_clean_up_that_takes_long_is_logged_by_name(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamstraight_celery.producing.driver.CLEANUP_GRACE", 0.02)
    monkeypatch.setattr("streamstraight_celery.producing.driver.CLEANUP_TIMEOUT", 0.1)
    written = Stoppable()
    records = caplog.handler.records

    def linger() -> None:
        until = time.monotonic() + PATIENCE
        while not records and time.monotonic() < until:
            time.sleep(0.01)

    def lingering() -> Iterator[str]:
        try:
            yield "one"
            driver.interrupt()
            threading.Event().wait(30)
        finally:
            linger()

    driver = Driver(str, lambda: None, name="task proj.answer[id]")
    with pytest.raises(StreamStopped):
        driver.run(lingering(), written)  # type: ignore[arg-type]
    (message,) = caplog.messages
    assert message.startswith("task proj.answer[id] was told to end")
    assert "holds its slot" in message
    assert "in linger)" in message  # where it waits
    assert written.ended == ["stopped"]


def stoppers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "stream-stop"]


def test_a_stop_before_the_generator_runs_leaves_no_thread_behind() -> None:
    # As when it comes while the last checkpoint is read, or a receiver of `stream_started` runs.
    written = Written()
    driver = Driver(str, lambda: None)
    driver.interrupt()
    assert stoppers() == []
    with pytest.raises(StreamStopped):
        driver.run(iter(["never"]), written)  # type: ignore[arg-type]
    assert written.texts == []
