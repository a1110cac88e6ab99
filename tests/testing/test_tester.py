"""The testing kit: stream tasks in memory, as users' own tests run them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from pydantic import BaseModel

from streamstraight_celery import PublicError, StreamTask, get_stream, read_stream
from streamstraight_celery.errors import (
    DecodeError,
    RelayUnavailableError,
    StreamNotFoundError,
)
from streamstraight_celery.server import relay_app
from streamstraight_celery.settings import read_settings
from streamstraight_celery.testing import FakeClock, StreamTester

app = Celery("tested", broker="memory://", set_as_current=False)
app.conf.update(task_always_eager=True)
closed: list[str] = []


class Delta(BaseModel):
    text: str


@app.task(base=StreamTask)
def greet(name: str) -> Iterator[str]:
    yield "Hello, "
    yield ""
    yield name


@app.task(base=StreamTask)
async def agreet(name: str) -> AsyncIterator[str]:
    yield "Hello, "
    yield name


@app.task(base=StreamTask)
def endless() -> Iterator[int]:
    try:
        number = 0
        while True:
            yield number
            number += 1
    finally:
        closed.append("endless")


@app.task(base=StreamTask)
def broken() -> Iterator[str]:
    yield "so far"
    raise PublicError("Quota used up", code="quota")


@app.task(base=StreamTask, bind=True, max_retries=1)
def flaky(self: Any) -> Iterator[str]:
    yield f"attempt {self.request.retries}"
    if not self.request.retries:
        raise self.retry(countdown=0)


@app.task(base=StreamTask)
def deltas() -> Iterator[dict[str, str]]:
    yield {"text": "a"}
    yield {"text": "b"}


@app.task(base=StreamTask, encoder=str.upper)
def loud() -> Iterator[str]:
    yield "hey"


@app.task(base=StreamTask)
def returning() -> Iterator[str]:
    yield "a"
    return 7


@pytest.fixture
def streams() -> Iterator[StreamTester]:
    with StreamTester(app) as tester:
        yield tester


def test_a_task_runs_to_its_end(streams: StreamTester) -> None:
    run = streams.run(greet, "Ada")
    assert run.completed() == ["Hello, ", "", "Ada"]
    assert run.text == "Hello, Ada"
    assert run.result["chunks"] == 3
    assert streams.run(agreet, "Ada").completed() == ["Hello, ", "Ada"]
    assert streams.run(loud).completed() == ["HEY"]
    assert streams.run(returning).result == 7


def test_chunks_are_checked_types() -> None:
    with StreamTester(app, type=Delta) as streams:
        assert streams.run(deltas).completed() == [Delta(text="a"), Delta(text="b")]
        with pytest.raises(DecodeError):
            streams.run(greet, "Ada")


def test_a_failure_is_what_readers_are_told(streams: StreamTester) -> None:
    run = streams.run(broken)
    assert run.chunks == ["so far"]
    assert run.failed("quota") == {"code": "quota", "message": "Quota used up"}
    assert isinstance(run.exception, PublicError)
    with pytest.raises(AssertionError, match="not completed: producer-error") as told:
        run.completed()
    assert told.value.__cause__ is run.exception
    with pytest.raises(AssertionError, match="not 'another'"):
        run.failed("another")


def test_a_stream_that_completed_has_not_failed(streams: StreamTester) -> None:
    with pytest.raises(AssertionError, match="did not fail"):
        streams.run(greet, "Ada").failed()
    with pytest.raises(AssertionError, match="not stopped"):
        streams.run(greet, "Ada").stopped()


def test_a_stop_closes_the_generator() -> None:
    closed.clear()
    with StreamTester(app, stop_after=3) as streams:
        assert streams.run(endless).stopped()[:3] == [0, 1, 2]
    assert closed == ["endless"]


def test_a_relay_that_is_down_fails_the_task() -> None:
    with StreamTester(app, relay_down_after=2) as streams:
        run = streams.run(endless)
        assert run.chunks[:2] == [0, 1]
        assert isinstance(run.exception, RelayUnavailableError)
        assert run.end_reason == ""
        assert streams.lose_producer(run.stream_id).failed("producer-disconnected")


def test_a_lost_answer_doubles_nothing() -> None:
    with StreamTester(app, lose_answer_after=2) as streams:
        assert streams.run(greet, "Ada").completed() == ["Hello, ", "", "Ada"]


def test_a_retry_begins_the_stream_again(streams: StreamTester) -> None:
    run = streams.run(flaky)
    assert (run.completed(), run.attempt) == (["attempt 1"], 2)


def test_streams_that_a_view_asked_for(streams: StreamTester) -> None:
    handle = greet.stream("Ada")
    assert streams.read(handle.id).completed() == ["Hello, ", "", "Ada"]
    assert get_stream(handle.id, app=app).state().end == "completed"


def test_time_passes_only_when_it_is_told_to() -> None:
    clock = FakeClock()
    with StreamTester(app, clock=clock, ttl=60) as streams:
        run = streams.run(greet, "Ada")
        clock.advance(59)
        assert streams.read(run.stream_id).chunks
        clock.advance(2)
        with pytest.raises(StreamNotFoundError):
            streams.read(run.stream_id)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)


def test_the_app_is_as_before_afterwards() -> None:
    with StreamTester(app) as streams:
        name = greet.stream("Ada").id
        assert streams.read(name)
    with StreamTester(app), pytest.raises(StreamNotFoundError):
        get_stream(name, app=app)


def test_the_plugin_gives_a_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "from streamstraight_celery import stream_task\n"
        "from celery import Celery\n"
        "app = Celery(broker='memory://')\n"
        "@stream_task\n"
        "def count(n: int):\n"
        "    yield from range(n)\n"
        "def test_it(stream_tester):\n"
        "    assert stream_tester.run(count, 3).completed() == [0, 1, 2]\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:asyncio", "."],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_the_plugin_loads_nothing_that_is_not_used(tmp_path: Path) -> None:
    (plugin,) = entry_points(group="pytest11", name="streamstraight_celery")
    loads = f"import sys, pytest, {plugin.value}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", loads], capture_output=True, text=True, timeout=120, check=True
    )
    loaded = set(done.stdout.split())
    assert plugin.value in loaded
    assert not loaded & {"celery", "kombu", "redis", "streamstraight_celery"}


def test_readers_and_a_relay_server_read_what_the_tester_keeps() -> None:
    with StreamTester(app) as streams:
        run = streams.run(greet, "Ada")
        with read_stream(run.stream_id, app=app) as reader:
            assert list(reader) == run.chunks
        server = relay_app(app)
        assert server.settings.relay_url == streams.settings.relay_url
    assert read_settings(app).relay_url == ""
