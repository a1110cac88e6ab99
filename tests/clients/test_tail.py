"""Chunks with where and when."""

from __future__ import annotations

import time

from streamstraight_celery import read_stream
from streamstraight_celery.cli.tail import timed_chunks
from tests.clients.ways import Site


def test_tail_tells_where_and_when(site: Site) -> None:
    producer = site.producer()
    producer.append("a", "b")
    began = time.time()
    tailing = timed_chunks(read_stream(producer.stream_id, app=site.app))
    first, second = next(tailing), next(tailing)
    between = time.time()
    producer.append("c", end="stopped")
    (third,) = tailing

    assert [item.chunk for item in (first, second, third)] == ["a", "b", "c"]
    assert [item.offset for item in (first, second, third)] == [
        producer.offset(number) for number in (1, 2, 3)
    ]
    assert began <= first.time <= second.time <= between <= third.time
    # Each position is one to go on from.
    rest = timed_chunks(read_stream(producer.stream_id, app=site.app, offset=second.offset))
    assert [item.chunk for item in rest] == ["c"]
