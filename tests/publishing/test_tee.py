"""One generator into a response and into a stream: neither holds up the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from celery import Celery

from streamstraight_celery.publishing.tee import atee, tee
from tests.conftest import eventually
from tests.tasks.log import ended_log, state_of


def numbers(count: int) -> Iterator[int]:
    yield from range(count)


async def anumbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


def failing() -> Iterator[int]:
    yield 1
    raise LookupError("no luck")


class TestSync:
    def test_both_get_everything(self, app: Celery) -> None:
        teed = tee(numbers(100))
        assert list(teed) == list(range(100))
        assert ended_log(app, teed.id).chunks == list(range(100))

    def test_of_an_async_generator(self, app: Celery) -> None:
        assert list(tee(anumbers(5))) == [0, 1, 2, 3, 4]

    def test_the_stream_goes_on_when_the_client_goes_away(self, app: Celery) -> None:
        go = threading.Event()

        def waiting() -> Iterator[int]:
            yield 1
            assert go.wait(30)
            yield 2

        teed = tee(waiting())
        response = iter(teed)
        assert next(response) == 1
        response.close()  # as servers do
        go.set()
        log = ended_log(app, teed.id)
        assert (log.chunks, log.end) == ([1, 2], "completed")
        assert not log.state.stop_asked

    def test_a_response_that_nobody_reads_holds_up_nothing(self, app: Celery) -> None:
        teed = tee(numbers(10_000))
        assert ended_log(app, teed.id).end == "completed"
        assert list(teed) == list(range(10_000))

    def test_a_second_response_does_not_wait_for_ever(self, app: Celery) -> None:
        teed = tee(numbers(2))
        assert list(teed) == [0, 1]
        with pytest.raises(RuntimeError, match="gives each chunk once"):
            list(teed)

    def test_the_generators_error_reaches_both(self, app: Celery) -> None:
        teed = tee(failing())
        with pytest.raises(LookupError, match="no luck"):
            list(teed)
        assert ended_log(app, teed.id).end == "producer-error"

    def test_a_stop_ends_both(self, app: Celery) -> None:
        def endless() -> Iterator[int]:
            while True:
                yield 1
                threading.Event().wait(0.01)

        teed = tee(endless())
        eventually(lambda: state_of(app, teed.id).last)
        teed.stop()
        assert set(teed) == {1}
        assert ended_log(app, teed.id).end == "stopped"


class TestAsync:
    @pytest.mark.parametrize("source", [numbers, anumbers])
    async def test_both_get_everything(
        self, app: Celery, source: type[Iterator[int]] | type[AsyncIterator[int]]
    ) -> None:
        teed = await atee(source(100))  # type: ignore[call-arg]
        assert [chunk async for chunk in teed] == list(range(100))
        log = await asyncio.to_thread(ended_log, app, teed.id)
        assert log.chunks == list(range(100))

    async def test_the_stream_goes_on_when_the_client_goes_away(self, app: Celery) -> None:
        go = asyncio.Event()

        async def waiting() -> AsyncIterator[int]:
            yield 1
            await go.wait()
            yield 2

        teed = await atee(waiting())
        first = asyncio.Event()

        async def respond() -> None:
            async for _ in teed:
                first.set()

        response = asyncio.ensure_future(respond())
        await first.wait()
        response.cancel()  # as servers do
        with pytest.raises(asyncio.CancelledError):
            await response
        go.set()
        log = await asyncio.to_thread(ended_log, app, teed.id)
        assert (log.chunks, log.end) == ([1, 2], "completed")

    async def test_the_generators_error_reaches_both(self, app: Celery) -> None:
        teed = await atee(failing())
        response = aiter(teed)
        assert await anext(response) == 1
        with pytest.raises(LookupError, match="no luck"):
            await anext(response)
        log = await asyncio.to_thread(ended_log, app, teed.id)
        assert log.end == "producer-error"
