"""What the reader of the log makes of pages, without a relay and without waiting."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamstraight_celery.errors import StreamGoneError
from streamstraight_celery.reader.inbox import Inbox
from streamstraight_celery.reader.log.session import AskReap, Await, LogSession
from streamstraight_celery.reader.options import ReadOptions
from streamstraight_celery.reader.timing import Timing
from streamstraight_celery.relays.base import Page, RelayOptions
from streamstraight_celery.relays.memory.relay import MemoryRelay
from streamstraight_celery.relays.memory.store import MemoryStore
from streamstraight_celery.relays.requests import Read
from tests.server.producer import Producer


class Bench:
    """A session that has read five chunks, and a clock."""

    def __init__(self) -> None:
        self.time = 100.0
        options = ReadOptions(timing=Timing(now=lambda: self.time, random=lambda: 0.0))
        self.inbox = Inbox[object]("s", options)
        self.session = LogSession("s", self.inbox, options, patience=40, look_every=1)
        store = MemoryStore(RelayOptions(), lambda: self.time)
        self.producer = Producer(MemoryRelay(store), "s").create().claim()
        self.producer.append(*range(5))
        asked = self.session.next()
        assert isinstance(asked, Read)
        page = self.producer.relay.read(asked)
        assert page is not None
        self.page = page
        self.session.absorb(page)

    def taken(self) -> list[object]:
        found = []
        while (chunk := self.inbox.take()) is not None:
            found.append(chunk[0])
        return found


@pytest.mark.parametrize("changes", [{"last": 2}, {"attempt": 0, "nonce": ""}])
def test_lost_chunks_are_waited_for_and_then_gone(changes: dict[str, object]) -> None:
    bench = Bench()
    lost = Page(replace(bench.page.state, **changes), ())  # type: ignore[arg-type]
    # A consumer that comes back late has not waited yet.
    bench.time += 1000
    for _ in range(3):
        bench.session.absorb(lost)
        assert bench.session.next() == Await(1)
        bench.time += 13
    assert bench.taken() == list(range(5))
    assert not bench.inbox.over
    bench.time += 13
    bench.session.absorb(lost)
    assert isinstance(bench.inbox.error, StreamGoneError)


def test_chunks_that_come_back_are_not_doubled() -> None:
    bench = Bench()
    bench.session.absorb(Page(replace(bench.page.state, last=2), ()))
    bench.producer.append(5)
    page = bench.producer.relay.read(Read("s", 0, 0, 100))  # more than was asked for
    bench.session.absorb(page)
    assert bench.taken() == list(range(6))


def test_a_producer_that_could_not_renew_its_lease_in_time_is_given_notice() -> None:
    """As after an outage of Redis that was longer than lease and grace time."""
    bench = Bench()
    relay, session = bench.producer.relay, bench.session
    bench.time += 60
    session.absorb(relay.read(Read("s", 1, 5, 100)))
    assert session.next() == AskReap()
    session.reaped(relay.call(session.reap))
    assert session.next() == Await(1)
    bench.producer.append(5)
    session.absorb(relay.read(Read("s", 1, 5, 100)))
    assert session.next() == Await(1)
    assert bench.taken() == list(range(6))
    bench.time += 60
    for _ in range(2):
        session.absorb(relay.read(Read("s", 1, 6, 100)))
        assert session.next() == AskReap()
        session.reaped(relay.call(session.reap))
        bench.time += 10
    assert relay.state("s").end == "producer-disconnected"


def test_a_hole_in_the_log_is_never_jumped_over() -> None:
    bench = Bench()
    bench.producer.append(5)
    bench.producer.append(6)
    page = bench.producer.relay.read(Read("s", 1, 6, 100))
    assert page is not None
    bench.session.absorb(page)
    assert bench.taken() == list(range(5))
    bench.session.absorb(bench.producer.relay.read(Read("s", 1, 5, 100)))
    assert bench.taken() == [5, 6]
