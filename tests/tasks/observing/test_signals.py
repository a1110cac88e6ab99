"""Signals of a stream's life: once each an attempt, and harmless whatever their receivers do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery.utils.dispatch import Signal

from streamstraight_celery import stream_first_chunk
from streamstraight_celery.testing import StreamTester

from .conftest import SIGNALS, Listener
from .tasks import app, aspeak, broken, endless, flaky, silent, speak

Connect = Callable[[Any, Any], None]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connects a receiver for the time of a test."""
    made: list[tuple[Any, Any]] = []

    def connect(signal: Any, receiver: Any) -> None:
        signal.connect(receiver, weak=False)
        made.append((signal, receiver))

    yield connect
    for signal, receiver in made:
        signal.disconnect(receiver)


@pytest.mark.parametrize("task", [speak, aspeak], ids=["sync", "async"])
def test_a_stream_tells_of_its_life(listener: Listener, task: Any) -> None:
    with StreamTester(app) as tester:
        run = tester.run(task, "one two three")
    assert listener.names == ["started", "first", "ended"]
    first, ended = listener.only("first"), listener.only("ended")
    who = {
        "stream_id": run.stream_id, "task_name": task.name, "task_id": run.stream_id, "attempt": 1
    }  # fmt: skip
    assert listener.only("started") == who
    assert first == {**who, "seconds": ended["first_chunk_seconds"]}
    assert {name: ended[name] for name in who} == who
    assert (ended["reason"], ended["chunks"], ended["bytes"]) == ("completed", 3, 17)
    assert 0 < ended["first_chunk_seconds"] <= ended["seconds"]


def test_no_chunk_is_no_first_chunk(listener: Listener) -> None:
    with StreamTester(app) as tester:
        tester.run(silent).completed()
    assert listener.names == ["started", "ended"]
    assert listener.only("ended")["first_chunk_seconds"] is None


def test_how_it_ended(listener: Listener) -> None:
    with StreamTester(app) as tester:
        tester.run(broken, "so far").failed()
    with StreamTester(app, stop_after=2) as tester:
        tester.run(endless).stopped()
    with StreamTester(app, max_bytes=10) as tester:
        tester.run(endless).failed()
    with StreamTester(app, relay_down_after=1) as tester:
        tester.run(endless)
    assert [reason for _, reason in listener.ends()] == [
        "producer-error", "stopped", "too-large", "relay-unavailable",
    ]  # fmt: skip


def test_each_attempt_has_a_life_of_its_own(listener: Listener) -> None:
    with StreamTester(app) as tester:
        tester.run(flaky).completed()
    assert sorted(listener.ends()) == [(1, "released"), (2, "completed")]
    assert sorted(listener.names) == ["ended", "ended", "first", "first", "started", "started"]


@pytest.mark.parametrize("signal", SIGNALS.values(), ids=SIGNALS)
@pytest.mark.parametrize("task", [speak, aspeak], ids=["sync", "async"])
def test_a_failing_receiver_harms_nobody(
    connect: Connect,
    listener: Listener,
    caplog: pytest.LogCaptureFixture,
    task: Any,
    signal: Signal,
) -> None:
    def fail(**_: Any) -> None:
        raise RuntimeError("no database")

    connect(signal, fail)
    with StreamTester(app) as tester:
        assert tester.run(task, "one two").completed() == ["one", "two"]
    assert listener.names == ["started", "first", "ended"]
    assert "no database" in caplog.text


def test_a_receiver_may_block_though_the_generator_is_async(connect: Connect) -> None:
    loops: list[bool] = []

    def receive(**_: Any) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            loops.append(False)
        else:
            loops.append(True)

    connect(stream_first_chunk, receive)
    with StreamTester(app) as tester:
        tester.run(aspeak, "one two").completed()
    assert loops == [False]


def test_a_direct_call_is_no_stream(listener: Listener) -> None:
    assert list(speak("one two")) == ["one", "two"]
    assert listener.names == []


def test_the_log_tells_of_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "streamstraight_celery")
    with StreamTester(app) as tester:
        run = tester.run(speak, "one two")
    (record,) = (r for r in caplog.records if r.name == "streamstraight_celery.worker.telemetry")
    shown = vars(record)
    assert (shown["stream_id"], shown["attempt"], shown["reason"]) == (
        run.stream_id,
        1,
        "completed",
    )
    assert (shown["chunks"], shown["bytes"]) == (2, 10)
