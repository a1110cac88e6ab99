"""Streams in every state, read in all four ways from real Redis and a real relay server."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import closing
from typing import Any

import pytest

from streamstraight_celery import StreamFailedError, StreamNotFoundError
from streamstraight_celery.errors import MalformedOffsetError, StreamGoneError, StreamResetError
from streamstraight_celery.relays import open_relay
from streamstraight_celery.relays.requests import Release
from streamstraight_celery.settings import read_settings
from tests.clients.ways import Reading, Way
from tests.conftest import eventually
from tests.server.producer import Producer


def new_attempt(producer: Producer, *, resume: bool = False) -> None:
    producer.relay.call(Release(producer.stream_id, producer.attempt, producer.nonce, 1000))
    producer.claim(resume=resume)


def test_a_finished_stream_of_many_entries(way: Way) -> None:
    producer = way.site.producer()
    for number in range(400):
        producer.append(number, {"n": number, "text": "ü\u2028😀"}, None)
    producer.end()

    reading = way.read(producer)

    assert reading.error is None
    assert reading.chunks == producer.values()
    assert reading.reader.end_reason == "completed"
    assert reading.reader.offset == producer.offset(1200)
    assert reading.reader.status == "closed"


def test_a_live_stream_from_the_queue_to_its_end(way: Way) -> None:
    producer = Producer(way.site.relay).create()
    seen = threading.Semaphore(0)
    reading = way.start(producer, on_chunk=lambda _: seen.release())
    producer.claim()
    for number in range(20):
        producer.append(number)
        # Each chunk comes while the stream is live.
        assert seen.acquire(timeout=30)
    producer.end()

    assert reading.result(30).chunks == list(range(20))


def test_a_failed_stream_raises_after_its_last_chunk(way: Way) -> None:
    producer = way.site.producer()
    error = json.dumps({"code": "rate-limit", "message": "Slow down"})
    producer.append(1, 2, end="producer-error", error=error)

    reading = way.read(producer)

    assert reading.chunks == [1, 2]
    assert isinstance(reading.error, StreamFailedError)
    assert reading.error.code == "rate-limit"
    assert reading.error.end_reason == "producer-error"
    assert str(reading.error) == (
        f"stream {producer.stream_id!r} failed (producer-error): Slow down"
    )
    assert reading.reader.end_reason == "producer-error"


def test_a_failed_stream_as_a_value(way: Way) -> None:
    producer = way.site.producer()
    producer.append(1, end="too-large")

    reading = way.read(producer, raise_on_failure=False)

    assert reading.chunks == [1]
    assert reading.error is None
    assert reading.reader.end_reason == "too-large"
    assert isinstance(reading.reader.error, StreamFailedError)


def test_an_error_is_raised_each_time(way: Way) -> None:
    producer = way.site.producer()
    producer.append(1, end="producer-error")
    reader = way.read(producer).reader
    if not way.asynchronous:
        for _ in range(2):
            with pytest.raises(StreamFailedError):
                next(reader)


def test_a_stop(way: Way) -> None:
    producer = way.site.producer()
    producer.append(1)
    pending: list[Any] = []

    def stop(reading: Reading) -> None:
        if len(reading.chunks) == 1:
            asked = reading.reader.stop()
            if way.asynchronous:
                pending.append(asyncio.ensure_future(asked))

    reading = way.start(producer, on_chunk=stop)
    eventually(lambda: producer.relay.state(producer.stream_id).stop_asked)
    producer.append(2, end="stopped")

    assert reading.result(30).chunks == [1, 2]
    assert reading.result().error is None
    assert reading.result().reader.end_reason == "stopped"


def test_a_new_attempt_is_an_error_without_on_reset(way: Way) -> None:
    producer = way.site.producer()
    producer.append("a")
    seen = threading.Event()
    reading = way.start(producer, on_chunk=lambda _: seen.set())
    assert seen.wait(30)
    new_attempt(producer)
    producer.append("b", end="completed")

    done = reading.result(30)

    assert done.chunks == ["a"]
    assert isinstance(done.error, StreamResetError)
    assert done.error.attempt == 2
    assert done.reader.offset == "-1"


def test_a_new_attempt_is_read_from_its_start(way: Way) -> None:
    producer = way.site.producer()
    producer.append("a", "b")
    seen = threading.Semaphore(0)
    reading = way.start(producer, resets=True, on_chunk=lambda _: seen.release())
    assert seen.acquire(timeout=30)
    new_attempt(producer)
    producer.append("c")
    producer.append("d", end="completed")

    assert reading.result(30).chunks == ["c", "d"]
    assert reading.result().resets == [2]
    assert reading.result().error is None


def test_a_new_attempt_before_the_first_chunk_is_none(way: Way) -> None:
    producer = way.site.producer()
    reading = way.start(producer)
    new_attempt(producer)
    producer.append("a", end="completed")

    assert reading.result(30).chunks == ["a"]
    assert reading.result().error is None


def test_an_attempt_that_continues_is_no_reset(way: Way) -> None:
    producer = way.site.producer()
    producer.append("a", "b")
    seen = threading.Event()
    reading = way.start(producer, on_chunk=lambda _: seen.set())
    assert seen.wait(30)
    new_attempt(producer, resume=True)
    producer.append("c", end="completed")

    assert reading.result(30).chunks == ["a", "b", "c"]
    assert reading.result().error is None


@pytest.mark.parametrize("first", ["http", "direct"])
def test_every_offset_resumes_in_every_way(way: Way, first: str) -> None:
    producer = way.site.producer()
    for start in (0, 1, 3):
        producer.append(*range(start, start + max(1, start)))
    producer.end()
    values = producer.values()
    other = Way(way.site, asynchronous=False, direct=first == "direct")
    for taken in range(1, len(values) + 1):
        before = other.read(producer, take=taken)
        assert before.chunks == values[:taken]
        after = way.read(producer, offset=before.reader.offset)
        assert after.error is None
        assert after.chunks == values[taken:]
    other.close()


def test_a_place_in_a_later_frame_resumes_in_every_way(way: Way) -> None:
    producer = way.site.producer()
    producer.append(1, 2, 3, 4, end="completed")
    other = Way(way.site, asynchronous=False, direct=False)
    before = other.read(producer, offset=producer.offset(1), take=2)
    other.close()
    assert before.chunks == [2, 3]
    assert before.reader.offset.startswith(f"{producer.offset(1)},2,")
    assert way.read(producer, offset=before.reader.offset).chunks == [4]


def test_now_is_what_comes_from_now_on(way: Way) -> None:
    producer = way.site.producer()
    producer.append(1, 2)
    opened = threading.Event()
    reading = way.start(producer, offset="now", on_status=lambda s: opened.set())
    assert opened.wait(30)
    # It is open, and stands where the log ends now, or does so in a moment.
    while not reading.done():
        producer.append(len(producer.chunks) + 1)
        if len(producer.chunks) > 40:
            producer.end()
            break
        threading.Event().wait(0.01)
    chunks = reading.result(30).chunks
    assert chunks
    assert chunks == producer.values(after=chunks[0] - 1)
    assert 1 not in chunks


def test_no_such_stream(way: Way) -> None:
    reading = way.read(Producer(way.site.relay, "nobody"))
    assert isinstance(reading.error, StreamNotFoundError)
    assert reading.error.code == "not-found"


def test_an_offset_behind_what_is_left_is_gone(way: Way) -> None:
    producer = way.site.producer()
    producer.append(1, 2, end="completed")
    reading = way.read(producer, offset=producer.offset(7))
    assert isinstance(reading.error, StreamGoneError)
    assert reading.error.code == "gone"


def test_an_offset_of_a_lost_attempt_is_superseded(way: Way) -> None:
    producer = way.site.producer()
    producer.append(1, 2, end="completed")
    offset = producer.offset(1).replace(producer.nonce, "ffffffff")
    assert isinstance(way.read(producer, offset=offset).error, StreamResetError)
    again = way.read(producer, offset=offset, resets=True)
    assert (again.chunks, again.resets) == ([1, 2], [1])


def test_a_malformed_offset(way: Way) -> None:
    producer = way.site.producer()
    if way.direct:
        with pytest.raises(MalformedOffsetError):
            way.open(producer, offset="seven")
    with pytest.raises(MalformedOffsetError):
        way.open(producer, offset="a,b,c")


def test_a_lost_producer_ends_the_stream(way: Way) -> None:
    """Nobody else watches the stream: over HTTP the relay server ends it, else the reader."""
    with closing(open_relay(read_settings(way.site.app))) as relay:
        producer = Producer(relay).create().claim()
        producer.append(1)

    reading = way.read(producer)

    assert reading.chunks == [1]
    assert isinstance(reading.error, StreamFailedError)
    assert reading.error.end_reason == "producer-disconnected"


def test_what_on_reset_raises_ends_the_reading(way: Way) -> None:
    producer = way.site.producer()
    producer.append("a", end="completed")
    offset = producer.offset(1).replace(producer.nonce, "ffffffff")

    def refuse(attempt: int) -> None:
        raise RuntimeError(f"not attempt {attempt}")

    reading = way.read(producer, offset=offset, on_reset=refuse)

    assert isinstance(reading.error, RuntimeError)
    assert reading.reader.status == "closed"
