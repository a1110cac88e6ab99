"""A position taken after any chunk still holds when the log has grown, and after a new attempt it
is refused: by all four ways to read, from every kind of start.
"""

from __future__ import annotations

from typing import Any

import pytest

from streamstraight_celery.errors import StreamResetError
from tests.clients.ways import Reading, Way
from tests.server.producer import Producer

SIZES = (3, 1, 2)  # of the entries in the log


def write(producer: Producer) -> None:
    for size in SIZES:
        start = len(producer.chunks) + 1
        producer.append(*range(start, start + size))


@pytest.mark.parametrize("grown", [True, False])
def test_every_position_holds(way: Way, grown: bool) -> None:
    producer = way.site.producer()
    write(producer)
    places = [
        way.read(producer, take=count).reader.offset for count in range(1, len(producer.chunks) + 1)
    ]
    if grown:
        producer.append("more", "and more")
    producer.end()
    for count, place in enumerate(places, start=1):
        reading = way.read(producer, offset=place)
        assert reading.error is None, place
        assert reading.chunks == producer.values(count), place


def test_a_position_after_a_position_holds(way: Way) -> None:
    """From a real offset, and from a place between two chunks."""
    producer = way.site.producer()
    producer.append(1, 2, 3, 4, 5)
    place = producer.offset(1)
    for count in (2, 3):
        reading = way.read(producer, offset=place, take=1)
        assert reading.chunks == [count]
        place = reading.reader.offset
        producer.append(f"after {count}")
    producer.end()
    assert way.read(producer, offset=place).chunks == [4, 5, "after 2", "after 3"]


def test_a_position_after_now_holds(way: Way) -> None:
    producer = way.site.producer()
    producer.append(1)

    def write_on(status: str) -> None:
        if status == "open":
            producer.append(2, 3, 4)

    reading = way.read(producer, offset="now", take=1, on_status=write_on)
    assert reading.chunks == [2]
    producer.append(5)
    producer.end()
    assert way.read(producer, offset=reading.reader.offset).chunks == [3, 4, 5]


def test_a_position_before_the_first_chunk_holds_for_every_attempt(way: Way) -> None:
    producer = way.site.producer()
    place = producer.offset(0)
    producer.release().claim()
    producer.append(1, 2)
    reading = way.read(producer, offset=place, take=1)
    producer.append(3)
    producer.end()
    assert way.read(producer, offset=reading.reader.offset).chunks == [2, 3]


def test_a_position_holds_when_another_attempt_resumed(way: Way) -> None:
    producer = way.site.producer()
    producer.append(1, 2, 3)
    place = way.read(producer, take=1).reader.offset
    producer.release().claim(resume=True)
    producer.append(4)
    producer.end()
    assert way.read(producer, offset=place).chunks == [2, 3, 4]


@pytest.mark.parametrize("chunks", [(1, 2, 3, 4), ("a",), ()], ids=["the same", "others", "none"])
def test_a_new_attempt_is_told(way: Way, chunks: tuple[Any, ...]) -> None:
    producer = way.site.producer()
    producer.append(1, 2, 3)
    places = [way.read(producer, take=count).reader.offset for count in (1, 2, 3)]
    producer.release().claim()
    producer.append(*chunks, end="completed")
    for place in places:
        reading = way.read(producer, offset=place)
        assert isinstance(reading.error, StreamResetError), place
        again: Reading = way.read(producer, offset=place, resets=True)
        assert (again.resets, again.chunks) == ([2], list(chunks)), place
