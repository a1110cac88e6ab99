"""Chunks that the producer's own thread sends, and the moments at which it may not."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from streamstraight_celery.producing.outbox import FLUSH_CHUNKS
from streamstraight_celery.producing.sender import LOAD_CHUNKS, Sender
from streamstraight_celery.relays.requests import Answer, Append, Request
from tests.conftest import eventually

from .troubled import SETTINGS, TroubledRelay, numbers, write_all


class QuickRelay(TroubledRelay):
    """Producers may ask it themselves. Notes which threads send, and may be interrupted."""

    quick = True

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []
        self.interrupt = ""
        self.time, self.trip = 100.0, 0.0

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        if any(isinstance(request, Append) for request in requests):
            self.threads.append(threading.current_thread().name)
            self.time += self.trip
            if threading.current_thread() is threading.main_thread():
                interrupt, self.interrupt = self.interrupt, ""
                if interrupt == "before":
                    raise SystemExit
                answers = super().execute(requests)
                if interrupt == "after":
                    raise SystemExit
                return answers
        return super().execute(requests)


@pytest.fixture
def relay() -> QuickRelay:
    return QuickRelay()


@pytest.fixture
def sender(relay: QuickRelay) -> Iterator[Sender]:
    sender = Sender(relay, replace(SETTINGS, linger=0, lease=10.0))
    yield sender
    relay.gate.set()
    sender.close()


@pytest.fixture
def timed(relay: QuickRelay) -> Iterator[Sender]:
    """A sender whose clock moves by the relay's round trips, and when a test moves it."""
    sender = Sender(relay, replace(SETTINGS, linger=0, lease=10.0), now=lambda: relay.time)
    yield sender
    sender.close()


MAIN = threading.main_thread().name


def test_a_lone_chunk_changes_no_thread(relay: QuickRelay, timed: Sender) -> None:
    relay.trip = 0.0002
    writer = timed.open("s")
    for text in numbers(20):
        relay.time += 0.02
        writer.write(text)
    assert relay.texts() == numbers(20)  # at once: nothing is under way any more
    assert set(relay.threads) == {MAIN}
    writer.finish("completed")
    assert relay.state("s").end == "completed"
    assert (writer.chunks, writer.size) == (20, sum(map(len, numbers(20))))


def test_a_producer_that_is_faster_than_round_trips_waits_for_one_only(
    relay: QuickRelay, timed: Sender
) -> None:
    relay.trip = 0.001
    writer = timed.open("s")
    write_all(writer, numbers(20))
    writer.finish("completed")
    assert relay.texts() == numbers(20)
    assert relay.threads.count(MAIN) == 1


def test_a_producer_does_not_wait_for_a_store_that_is_far_away(
    relay: QuickRelay, timed: Sender
) -> None:
    relay.trip = 0.03
    writer = timed.open("s")
    for text in numbers(20):
        relay.time += 0.04
        writer.write(text)
        eventually(lambda: not writer.outbox.has_more)
    assert relay.texts() == numbers(20)
    assert relay.threads.count(MAIN) == 2  # it looks again after a second
    writer.finish("completed")


def test_a_producer_does_not_wait_for_the_round_trip_of_another(
    relay: QuickRelay, sender: Sender
) -> None:
    one, other = sender.open("one"), sender.open("other")
    relay.gate.clear()
    thread = threading.Thread(target=one.write, args=("1",), name="one")
    thread.start()
    eventually(lambda: relay.threads == ["one"])
    others = threading.Thread(target=write_all, args=(other, numbers(50)))
    others.start()
    others.join(10)
    assert not others.is_alive()
    assert thread.is_alive()
    relay.gate.set()
    thread.join()
    other.finish("completed")
    assert relay.texts("one") == ["1"]
    assert relay.texts("other") == numbers(50)


def test_a_chunk_does_not_overtake_others_of_its_stream(relay: QuickRelay, sender: Sender) -> None:
    writer = sender.open("s")
    writer.add("0")  # as another thread of the task does
    for number in range(1, 200):
        (writer.write if number % 3 else writer.add)(str(number))
    writer.finish("completed")
    assert relay.texts() == numbers(200)


@pytest.mark.parametrize("moment", ["first", "later"])
@pytest.mark.parametrize("loss", ["lose_requests", "lose_replies"])
def test_the_thread_repeats_what_was_lost(
    relay: QuickRelay, sender: Sender, loss: str, moment: str
) -> None:
    writer = sender.open("s")
    before = numbers(5) if moment == "later" else []
    write_all(writer, before)
    setattr(relay, loss, 2)
    writer.write('"lost"')
    eventually(lambda: relay.threads[-1] == "stream-sender")
    eventually(lambda: relay.texts() == [*before, '"lost"'])
    writer.write('"next"')
    writer.finish("completed")
    assert relay.texts() == [*before, '"lost"', '"next"']


def test_what_redis_lost_is_sent_again(relay: QuickRelay, sender: Sender) -> None:
    writer = sender.open("s")
    write_all(writer, numbers(20))
    relay.lose_everything()
    writer.write('"more"')
    writer.finish("completed")
    assert relay.texts() == [*numbers(20), '"more"']


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupted_chunk_is_neither_lost_nor_doubled(
    relay: QuickRelay, timed: Sender, moment: str
) -> None:
    writer = timed.open("s")
    write_all(writer, numbers(3))
    relay.interrupt = moment
    with pytest.raises(SystemExit):
        writer.write("3")
    eventually(lambda: relay.texts() == numbers(4))  # without another chunk
    writer.write("4")
    writer.finish("completed")
    assert relay.texts() == numbers(5)


def test_producers_ask_no_relay_that_is_away(relay: QuickRelay, sender: Sender) -> None:
    one, other = sender.open("one"), sender.open("other")
    relay.lose_requests = 10**6
    one.write("1")
    write_all(other, numbers(500))
    assert relay.threads.count(threading.current_thread().name) == 1
    relay.lose_requests = 0
    one.finish("completed")
    other.finish("completed")
    assert (relay.texts("one"), relay.texts("other")) == (["1"], numbers(500))


def test_a_loaded_process_sends_what_gathers(relay: QuickRelay) -> None:
    # Time stands still: any number of writes are a load.
    sender = Sender(relay, replace(SETTINGS, linger=0.005), now=lambda: 0.0)
    writers = [sender.open(str(number)) for number in range(LOAD_CHUNKS)]
    for writer in writers:
        writer.write("1")
    assert "stream-sender" not in relay.threads
    for writer in writers:
        writer.write("2")
    for writer in writers:
        writer.finish("completed", timeout=30)
    assert all(relay.texts(str(number)) == ["1", "2"] for number in range(LOAD_CHUNKS))
    assert set(relay.threads[LOAD_CHUNKS:]) == {"stream-sender"}
    sender.close()


def test_a_lone_stream_does_not_linger(relay: QuickRelay) -> None:
    settings = replace(SETTINGS, linger=0.005, lease=10.0)
    sender = Sender(relay, settings, now=lambda: relay.time)
    writer = sender.open("s")
    for text in numbers(20):
        relay.time += 0.02
        writer.write(text)
    assert relay.texts() == numbers(20)
    assert "stream-sender" not in relay.threads
    sender.close()


def test_nothing_lingers_where_each_stream_has_its_own_connection() -> None:
    class OneByOne(QuickRelay):
        shares = False

    relay = OneByOne()
    # Time stands still: any number of writes would be a load.
    sender = Sender(relay, replace(SETTINGS, linger=0.005), now=lambda: 0.0)
    writer = sender.open("s")
    write_all(writer, numbers(3 * LOAD_CHUNKS))
    assert relay.texts() == numbers(3 * LOAD_CHUNKS)
    sender.close()


def test_a_full_batch_does_not_linger(relay: QuickRelay) -> None:
    # Time stands still, so any number of writes are a load; and the wait would take an hour.
    sender = Sender(relay, replace(SETTINGS, linger=3600.0), now=lambda: 0.0)
    writer = sender.open("s")
    write_all(writer, numbers(LOAD_CHUNKS))
    assert relay.texts() == numbers(LOAD_CHUNKS)
    write_all(writer, numbers(2 * FLUSH_CHUNKS))
    eventually(lambda: len(relay.texts()) > FLUSH_CHUNKS)
    writer.finish("completed")
    assert relay.texts() == [*numbers(LOAD_CHUNKS), *numbers(2 * FLUSH_CHUNKS)]
    sender.close()
