"""Reading the last chunks, and a stream that is not there yet: by all four ways to read."""

from __future__ import annotations

from typing import Any

import pytest

from streamstraight_celery import read_stream
from streamstraight_celery.errors import ConfigurationError, StreamError
from tests.clients.ways import Way
from tests.server.producer import Producer


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(-1, [6]), ("-01", [6]), (-4, [3, 4, 5, 6]), ("-4", [3, 4, 5, 6]), (-100, [1, 2, 3, 4, 5, 6]),
     ("-1", [1, 2, 3, 4, 5, 6])],
)  # fmt: skip
def test_a_negative_offset_counts_from_the_end(way: Way, offset: Any, expected: list[int]) -> None:
    producer = way.site.producer()
    producer.append(1, 2, 3)
    producer.append(4)
    producer.append(5, 6, end="completed")

    assert way.read(producer, offset=offset).chunks == expected


def test_a_position_between_the_last_chunks_holds_when_more_come(way: Way) -> None:
    producer = way.site.producer()
    producer.append(1, 2, 3, 4, 5)

    place = way.read(producer, offset=-4, take=2).reader.offset
    producer.append(6, 7, end="completed")

    assert way.read(producer, offset=place).chunks == [4, 5, 6, 7]


def test_also_over_attempts_that_go_on(way: Way) -> None:
    producer = way.site.producer()
    producer.append(1, 2, 3)
    producer.release()
    producer.claim(resume=True)
    producer.append(4, end="completed")

    assert way.read(producer, offset=-3).chunks == [2, 3, 4]


def test_a_stream_that_is_not_there_yet_is_waited_for(way: Way) -> None:
    producer = Producer(way.site.relay)
    waiting = way.start(producer, wait=60)
    producer.create().claim().append("here", end="completed")

    assert waiting.result(60).chunks == ["here"]


def test_but_not_for_longer_than_said(way: Way) -> None:
    reading = way.read(Producer(way.site.relay), wait=0.2)
    assert isinstance(reading.error, StreamError)
    assert reading.error.code == "not-found"


@pytest.mark.parametrize("offset", [0, 5, True])
def test_other_numbers_are_no_offsets(offset: Any) -> None:
    with pytest.raises(ConfigurationError, match="negative number of chunks"):
        read_stream("stream", offset=offset)
