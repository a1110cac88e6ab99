"""Streams that a process produces itself: the same ends as a task's."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from celery import Celery

from streamstraight_celery import PublicError, get_stream
from streamstraight_celery.errors import (
    ConfigurationError,
    EncodeError,
    RelayUnavailableError,
    StreamClosedError,
    StreamError,
    StreamExistsError,
)
from streamstraight_celery.producing.sender import Sender
from streamstraight_celery.publishing.publish import (
    Publication,
    aprepare,
    apublish,
    end_publications,
    prepare,
    publish,
)
from streamstraight_celery.relays.base import RelayOptions
from streamstraight_celery.relays.memory.relay import MemoryRelay
from streamstraight_celery.relays.memory.store import MemoryStore
from streamstraight_celery.relays.requests import Answer, Request
from streamstraight_celery.runtime import Runtime
from streamstraight_celery.settings import read_settings
from tests.conftest import eventually
from tests.tasks.log import ended_log, read_log, state_of


def words(text: str) -> Iterator[str]:
    yield from text.split()


async def awords(text: str) -> AsyncIterator[str]:
    for word in text.split():
        await asyncio.sleep(0)
        yield word


class Held:
    """Generators that yield one chunk, and the rest when they are let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.closed = threading.Event()

    def sync(self) -> Iterator[str]:
        try:
            yield "first"
            while not self.go.wait(0.01):
                yield "more"
            yield "last"
        finally:
            self.closed.set()

    async def asynchronous(self) -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            self.closed.set()


class Gated(MemoryRelay):
    """Does not answer while its gate is closed; for a while, or a test that fails would hang."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(RelayOptions()))
        self.gate = threading.Event()
        self.gate.set()
        self.asked = self.waited_in_vain = False

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        self.asked = self.asked or not self.gate.is_set()
        self.waited_in_vain = not self.gate.wait(5) or self.waited_in_vain
        return super().execute(requests)


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.go.set()


class TestInAThread:
    def test_a_generator_is_published(self, app: Celery) -> None:
        published = publish(words("a b c"), stream_id="one")
        assert published.id == "one"
        assert published.wait(30)
        log = ended_log(app, "one")
        assert (log.chunks, log.end) == (["a", "b", "c"], "completed")

    def test_an_async_generator_too(self, app: Celery) -> None:
        published = publish(awords("a b c"))
        assert published.wait(30)
        assert ended_log(app, published.id).chunks == ["a", "b", "c"]

    def test_its_ref_is_good_before_it_has_begun(self, app: Celery) -> None:
        published = prepare(words("a"))
        ref = published.ref()
        assert ref["stream_id"] == published.id
        assert state_of(app, published.id).attempt == 0
        published.run()
        assert state_of(app, published.id).end == "completed"

    def test_any_codec(self, app: Celery) -> None:
        published = publish(words("a b"), encoder=str.upper)
        published.wait(30)
        log = ended_log(app, published.id)
        assert (log.chunks, log.state.kind) == (["A", "B"], "text")

    def test_nothing_runs_twice(self, app: Celery) -> None:
        published = prepare(words("a"))
        published.run()
        with pytest.raises(RuntimeError, match="produced before"):
            published.run()

    def test_context_variables_go_along(self, app: Celery) -> None:
        from contextvars import ContextVar

        variable: ContextVar[str] = ContextVar("variable")
        variable.set("seen")

        def reading() -> Iterator[str]:
            yield variable.get()

        published = publish(reading())
        published.wait(30)
        assert ended_log(app, published.id).chunks == ["seen"]


class TestEnds:
    def test_an_error_ends_the_stream_and_is_not_shown(self, app: Celery) -> None:
        def failing() -> Iterator[str]:
            yield "a"
            raise LookupError("the prompt was: secret")

        published = publish(failing())
        with pytest.raises(LookupError):
            published.wait(30)
        log = ended_log(app, published.id)
        assert (log.chunks, log.end) == (["a"], "producer-error")
        assert log.error == {
            "code": "producer-error",
            "message": "The answer could not be completed. Please try again.",
        }

    def test_a_public_error_is_shown(self, app: Celery) -> None:
        async def failing() -> AsyncIterator[str]:
            yield "a"
            raise PublicError("Quota used up", code="quota")

        published = publish(failing())
        with pytest.raises(PublicError):
            published.wait(30)
        assert ended_log(app, published.id).error == {"code": "quota", "message": "Quota used up"}

    def test_a_bad_chunk_is_an_error(self, app: Celery) -> None:
        published = publish(iter([b"bytes"]))
        with pytest.raises(EncodeError):
            published.wait(30)
        assert ended_log(app, published.id).end == "producer-error"

    @pytest.mark.parametrize("form", ["sync", "asynchronous"])
    def test_a_stop_closes_the_generator(self, app: Celery, held: Held, form: str) -> None:
        published = publish(getattr(held, form)())
        eventually(lambda: state_of(app, published.id).last)
        assert published.stop()
        assert published.wait(30)
        assert held.closed.is_set()
        assert state_of(app, published.id).end == "stopped"
        assert not published.stop()

    def test_a_stop_from_elsewhere_reaches_a_waiting_generator(
        self, app: Celery, held: Held
    ) -> None:
        published = publish(held.asynchronous())
        eventually(lambda: state_of(app, published.id).last)
        assert get_stream(published.id).stop()
        assert published.wait(30)
        assert held.closed.is_set()

    @pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
    def test_one_that_leaves_the_event_loop_takes_no_other_along(
        self, app: Celery, held: Held, error: type[BaseException]
    ) -> None:
        async def leaves() -> AsyncIterator[str]:
            yield "a"
            raise error

        other = publish(held.asynchronous())
        published = publish(leaves())
        # Who waits for it does not leave its own thread or process.
        with pytest.raises(StreamError, match="within the generator") as caught:
            published.wait(30)
        assert isinstance(caught.value.__cause__, error)
        assert ended_log(app, published.id).end == "producer-error"
        assert publish(awords("a b")).wait(30)
        other.stop()
        assert other.wait(30)

    def test_a_stop_before_the_beginning(self, app: Celery, held: Held) -> None:
        published = prepare(held.sync())
        assert published.stop()
        published.run()
        assert state_of(app, published.id).end == "stopped"
        assert state_of(app, published.id).last == 0

    def test_a_process_that_goes_down_says_so(self, app: Celery, held: Held) -> None:
        published = publish(held.asynchronous())
        eventually(lambda: state_of(app, published.id).last)
        end_publications()
        log = read_log(app, published.id)
        assert log is not None
        assert log.end == "producer-error"
        assert log.error["code"] == "server-stopped"

    def test_it_may_begin_and_end_others_meanwhile(self, app: Celery) -> None:
        names: list[str] = []

        def churn() -> None:
            for _ in range(100):
                published = prepare(words(""), app=app)
                names.append(published.id)
                with contextlib.suppress(StreamClosedError):  # before it began
                    published.run()

        before = sys.getswitchinterval()
        threads = [threading.Thread(target=churn) for _ in range(4)]
        sys.setswitchinterval(1e-6)
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                end_publications()
        finally:
            sys.setswitchinterval(before)
            for thread in threads:
                thread.join()
        assert len(names) == 400
        assert {state_of(app, name).end for name in names} <= {"completed", "producer-error"}


@pytest.mark.parametrize("way", ["publish(rows())", "asyncio.run(on_a_loop())"])
def test_a_thread_s_connections_to_django_s_database_are_closed(redis_url: str, way: str) -> None:
    code = f"""
        import asyncio, django, threading, weakref
        from django.conf import settings
        database = {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
        settings.configure(DATABASES={{"default": database}})
        django.setup()
        from celery import Celery
        from django.db import connection
        from django.db.backends.signals import connection_created
        from streamstraight_celery.publishing.publish import apublish, publish

        class Closed:
            calls = []

        def created(sender, connection, **_):
            close = connection.close
            connection.close = lambda: (Closed.calls.append(threading.current_thread()), close())

        connection_created.connect(created)
        app = Celery(broker="{redis_url}")
        app.set_current()
        threads = []

        def rows():
            threads.append(threading.current_thread())
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                yield from cursor.fetchall()

        async def on_a_loop():
            published = await apublish(rows())
            await asyncio.to_thread(published.wait, 30)

        {way}
        while not threads:
            pass
        threads[0].join(30)
        assert Closed.calls == threads, Closed.calls
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=60)


class TestOnAnEventLoop:
    async def test_an_async_generator_is_published(self, app: Celery) -> None:
        loops: list[asyncio.AbstractEventLoop] = []

        async def noting() -> AsyncIterator[str]:
            loops.append(asyncio.get_running_loop())
            yield "a"

        published = await apublish(noting())
        assert await asyncio.to_thread(published.wait, 30)
        assert loops == [asyncio.get_running_loop()]
        assert (await asyncio.to_thread(ended_log, app, published.id)).chunks == ["a"]

    async def test_a_sync_generator_does_not_block_the_loop(self, app: Celery, held: Held) -> None:
        published = await apublish(held.sync())
        await asyncio.to_thread(eventually, lambda: state_of(app, published.id).last)
        held.go.set()
        assert await asyncio.to_thread(published.wait, 30)
        log = await asyncio.to_thread(ended_log, app, published.id)
        assert (log.chunks[0], log.chunks[-1]) == ("first", "last")

    async def test_a_stop_cancels_the_generator_alone(self, app: Celery, held: Held) -> None:
        published = await aprepare(held.asynchronous())
        waiting = asyncio.ensure_future(published.arun())
        await asyncio.to_thread(eventually, lambda: state_of(app, published.id).last)
        await asyncio.to_thread(published.stop)
        await waiting  # not cancelled
        assert held.closed.is_set()
        assert state_of(app, published.id).end == "stopped"

    async def test_any_number_of_sync_generators(self, app: Celery, held: Held) -> None:
        # More than the event loop has threads, of which enqueueing needs one.
        many = 40
        published = await asyncio.wait_for(
            asyncio.gather(*[apublish(held.sync()) for _ in range(many)]), 60
        )
        for each in published:
            await asyncio.to_thread(eventually, lambda: state_of(app, each.id).last)  # noqa: B023
        held.go.set()
        for each in published:
            assert await asyncio.to_thread(each.wait, 30)

    async def test_a_failure_does_not_hold_the_loop_up(self, app: Celery) -> None:
        relay = Gated()
        Runtime.install(app, Runtime(read_settings(app), relay))

        async def fails() -> AsyncIterator[str]:
            yield "first"
            relay.gate.clear()
            raise ValueError("no answer")

        published = await apublish(fails())
        await asyncio.to_thread(eventually, lambda: relay.asked)
        relay.gate.set()
        with pytest.raises(ValueError, match="no answer"):
            await asyncio.to_thread(published.wait, 30)
        assert not relay.waited_in_vain
        assert relay.state(published.id).end == "producer-error"

    @pytest.mark.parametrize("form", ["sync", "asynchronous"])
    async def test_a_cancelled_task_ends_the_stream(
        self, app: Celery, held: Held, form: str
    ) -> None:
        published = await aprepare(getattr(held, form)())
        waiting = asyncio.ensure_future(published.arun())
        await asyncio.to_thread(eventually, lambda: state_of(app, published.id).last)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.to_thread(eventually, held.closed.is_set)
        state = state_of(app, published.id)
        assert state.end == "producer-error"
        assert "server-stopped" in state.error


class TestNeverBegun:
    def test_one_that_is_forgotten_ends(self, app: Celery) -> None:
        name = prepare(words("a")).id
        log = ended_log(app, name)
        assert (log.chunks, log.end) == ([], "producer-error")
        assert log.error == {"code": "not-begun", "message": "The answer was never begun."}

    def test_one_whose_relay_was_away_when_it_was_to_begin_ends(
        self, app: Celery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: object, **__: object) -> None:
            raise RelayUnavailableError("away")

        monkeypatch.setattr(Sender, "open", away)
        published = prepare(words("a"))
        with pytest.raises(RelayUnavailableError):
            published.run()
        assert ended_log(app, published.id).error["code"] == "not-begun"

    @pytest.mark.parametrize("forked", [False, True])
    def test_one_whose_process_exits_ends(self, app: Celery, redis_url: str, forked: bool) -> None:
        child = "if os.fork() == 0: sys.exit()\nelse: os.wait(); os._exit(0)"
        code = f"""
from celery import Celery
from streamstraight_celery.publishing.publish import prepare
import os, sys
app = Celery(broker="{redis_url}")
kept = prepare(iter("a"), app=app, stream_id="kept")
prepare(iter("a"), app=app, stream_id="run").run()
{child if forked else ""}
"""
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        state = state_of(app, "kept")
        if forked:  # the child did not announce it, and the parent was not asked
            assert not state.end
        else:
            assert state.end == "producer-error"
            assert "not-begun" in state.error
        assert state_of(app, "run").end == "completed"

    def test_one_that_was_begun_is_left_alone(self, app: Celery) -> None:
        published = publish(words("a"))
        name = published.id
        published.wait(30)
        del published
        gc.collect()
        Runtime.of(app).request_queue.flush()
        assert ended_log(app, name).end == "completed"

    async def test_one_whose_request_was_cancelled_ends(self, app: Celery) -> None:
        asked = asyncio.ensure_future(aprepare(words("a"), stream_id="cancelled"))
        await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        log = await asyncio.to_thread(ended_log, app, "cancelled")
        assert log.error["code"] == "not-begun"


class TestBadInput:
    def test_a_name_that_is_taken(self, app: Celery) -> None:
        prepare(words("a"), stream_id="taken")
        with pytest.raises(StreamExistsError):
            publish(words("a"), stream_id="taken")

    def test_a_name_that_cannot_be(self, app: Celery) -> None:
        with pytest.raises(ConfigurationError, match="stream id"):
            publish(words("a"), stream_id="a/b")

    def test_no_generator(self, app: Celery) -> None:
        with pytest.raises(TypeError, match="call the generator function"):
            publish(words)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="is not a generator"):
            publish(["a", "b"])  # type: ignore[arg-type]

    def test_an_unknown_option(self, app: Celery) -> None:
        with pytest.raises(TypeError):
            publish(words("a"), stream_ids="x")  # type: ignore[call-arg]


def test_a_publication_is_a_link(app: Celery) -> None:
    published = prepare(words("a"), stream_id="one")
    assert isinstance(published, Publication)
    assert published.url.endswith("/v1/stream/one")
