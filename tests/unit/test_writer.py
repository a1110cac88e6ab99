"""The writer against a relay that loses requests, replies, tails and everything."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from streamstraight_celery.errors import (
    ChunkTooLargeError,
    ConfigurationError,
    RelayUnavailableError,
    StreamBusyError,
    StreamClosedError,
    StreamError,
    StreamExistsError,
    StreamFencedError,
    StreamTooLargeError,
)
from streamstraight_celery.producing.outbox import FLUSH_CHUNKS
from streamstraight_celery.producing.sender import Sender
from streamstraight_celery.producing.writer import StreamWriter
from streamstraight_celery.relays.requests import (
    Answer,
    Append,
    Claim,
    Open,
    Read,
    Release,
    Renew,
    Request,
    Stop,
)
from tests.conftest import eventually

from .troubled import SETTINGS, TroubledRelay, numbers, write_all


@pytest.fixture
def relay() -> TroubledRelay:
    return TroubledRelay()


@pytest.fixture
def sender(relay: TroubledRelay) -> Iterator[Sender]:
    sender = Sender(relay, SETTINGS)
    yield sender
    relay.gate.set()
    sender.close()


def test_chunks_arrive_in_order_and_end(relay: TroubledRelay, sender: Sender) -> None:
    writer = sender.open("s")
    write_all(writer, numbers(5000))
    writer.finish("completed")
    assert relay.texts() == numbers(5000)
    assert relay.state("s").end == "completed"
    assert (writer.chunks, writer.size) == (5000, sum(map(len, numbers(5000))))


def test_a_stream_that_others_write_cannot_be_claimed(relay: TroubledRelay, sender: Sender) -> None:
    # A task that was enqueued with send_task() is not announced, and so nobody has noticed yet.
    relay.call(Open(stream_id="s", config="json", nonce="aaaaaaaa", kind="json", content_type=""))
    with pytest.raises(StreamExistsError, match="'s' is written over HTTP"):
        sender.open("s")


def test_the_first_chunk_leaves_at_once(relay: TroubledRelay, sender: Sender) -> None:
    writer = sender.open("s")
    writer.write("1")
    eventually(lambda: relay.texts() == ["1"])


def test_batches_grow_while_a_flush_is_under_way(relay: TroubledRelay, sender: Sender) -> None:
    writer = sender.open("s")
    relay.gate.clear()
    write_all(writer, numbers(300))
    relay.gate.set()
    writer.finish("completed")
    first, *rest = relay.appends()
    assert (first.count, sum(a.count for a in rest), len(rest)) == (1, 299, 1) or len(rest) == 0


def test_an_empty_stream_ends_too(relay: TroubledRelay, sender: Sender) -> None:
    sender.open("s").finish("completed")
    assert relay.texts() == []
    assert relay.state("s").end == "completed"


def test_the_end_travels_with_the_last_chunks(relay: TroubledRelay, sender: Sender) -> None:
    writer = sender.open("s")
    writer.write("1")
    eventually(lambda: relay.texts() == ["1"])
    relay.gate.clear()
    writer.write("2")
    ending = threading.Thread(target=lambda: writer.finish("completed"))
    ending.start()
    relay.gate.set()
    ending.join()
    assert [(a.count, a.end) for a in relay.appends()][-1] in [(1, "completed"), (0, "completed")]
    assert relay.texts() == ["1", "2"]


@pytest.mark.parametrize("moment", ["first", "middle", "end"])
@pytest.mark.parametrize("loss", ["lose_requests", "lose_replies"])
def test_lost_requests_and_replies_are_repeated(
    relay: TroubledRelay, sender: Sender, loss: str, moment: str
) -> None:
    writer = sender.open("s")
    for index, text in enumerate(numbers(30)):
        if (moment, index) in (("first", 0), ("middle", 15)):
            setattr(relay, loss, 2)
        writer.write(text)
        if index == 20:
            eventually(lambda: len(relay.texts()) == 21)
    if moment == "end":
        setattr(relay, loss, 2)
    writer.finish("completed")
    assert relay.texts() == numbers(30)


def test_a_lost_reply_to_the_claim_is_repeated(relay: TroubledRelay, sender: Sender) -> None:
    relay.lose_replies = 2
    assert sender.open("s").attempt == 1


@pytest.mark.parametrize("at", ["while writing", "before the end"])
def test_everything_lost_is_sent_again(relay: TroubledRelay, sender: Sender, at: str) -> None:
    writer = sender.open("s")
    write_all(writer, numbers(20))
    eventually(lambda: len(relay.texts()) == 20)
    nonce = writer.nonce
    relay.lose_everything()
    if at == "while writing":
        writer.write('"more"')
        eventually(lambda: len(relay.texts()) == 21)
    writer.finish("completed")
    state = relay.state("s")
    assert (state.attempt, state.nonce, state.end) == (1, nonce, "completed")
    assert relay.texts()[:20] == numbers(20)


def test_a_silent_producer_notices_the_loss_and_repairs_it(
    relay: TroubledRelay, sender: Sender
) -> None:
    writer = sender.open("s")
    write_all(writer, numbers(20))
    eventually(lambda: len(relay.texts()) == 20)
    relay.lose_everything()
    eventually(lambda: relay.read(Read("s")) is not None and relay.texts() == numbers(20))
    writer.finish("completed")


def test_a_lost_tail_is_sent_again(relay: TroubledRelay, sender: Sender) -> None:
    writer = sender.open("s")
    write_all(writer, numbers(10))
    eventually(lambda: len(relay.texts()) == 10)
    # What a promoted replica may hold: the same attempt, a part of its chunks.
    relay.lose_everything()
    relay.inner.call(Claim("s", writer.nonce, attempt=1))
    relay.inner.call(Append("s", 1, writer.nonce, 1, 2, b"0\n1"))
    writer.write('"more"')
    writer.finish("completed")
    assert relay.texts() == [*numbers(10), '"more"']


def test_a_lost_tail_is_noticed_in_silence(relay: TroubledRelay, sender: Sender) -> None:
    writer = sender.open("s")
    write_all(writer, numbers(10))
    eventually(lambda: len(relay.texts()) == 10)
    relay.lose_everything()
    relay.inner.call(Claim("s", writer.nonce, attempt=1))
    eventually(lambda: relay.texts() == numbers(10))
    writer.finish("completed")


def test_the_lease_of_a_silent_producer_is_kept(relay: TroubledRelay, sender: Sender) -> None:
    writer = sender.open("s")
    eventually(lambda: sum(isinstance(r, Renew) for b in relay.sent for r in b) >= 3)
    assert relay.state("s").lease_left > 0
    writer.finish("completed")


def test_no_lease_is_kept_after_the_end(relay: TroubledRelay, sender: Sender) -> None:
    sender.open("a").finish("completed")
    other = sender.open("b")
    eventually(lambda: sum(isinstance(r, Renew) for b in relay.sent for r in b) >= 3)
    assert {r.stream_id for b in relay.sent for r in b if isinstance(r, Renew)} == {"b"}
    other.finish("completed")


def test_a_writer_that_failed_is_not_kept(relay: TroubledRelay, sender: Sender) -> None:
    def fail() -> weakref.ref[StreamWriter]:
        writer = sender.open("s", untold=True)
        relay.inner.call(Claim("s", "bbbbbbbb", overwrite=True))
        writer.write("1")
        eventually(lambda: writer.done)
        return weakref.ref(writer)

    writer = fail()
    eventually(lambda: gc.collect() >= 0 and writer() is None)


def test_a_full_buffer_holds_the_producer(relay: TroubledRelay) -> None:
    sender = Sender(relay, replace(SETTINGS, buffer_chunks=10))
    writer = sender.open("s")
    relay.gate.clear()
    written: list[str] = []

    def produce() -> None:
        for text in numbers(100):
            writer.write(text)
            written.append(text)

    producer = threading.Thread(target=produce)
    producer.start()
    # At most ten are under way, ten wait, and the one that filled the buffer has not returned.
    eventually(lambda: len(writer.outbox.pending) >= 10)
    assert len(written) <= 21
    relay.gate.set()
    producer.join(30)
    writer.finish("completed")
    assert relay.texts() == numbers(100)
    sender.close()


def test_a_full_buffer_by_size_holds_the_producer(relay: TroubledRelay) -> None:
    sender = Sender(relay, replace(SETTINGS, buffer_bytes=1000))
    writer = sender.open("s")
    relay.gate.clear()
    writer.add("1")
    while not writer.full():
        writer.add("x" * 100)
    assert len(writer.outbox.pending) <= 11
    relay.gate.set()
    writer.wait_for_space()
    assert not writer.full()
    writer.finish("completed")
    sender.close()


def test_a_relay_gone_for_too_long_fails_the_producer(relay: TroubledRelay) -> None:
    interrupted = threading.Event()
    sender = Sender(relay, replace(SETTINGS, relay_timeout=0.2))
    writer = sender.open("s", on_interrupt=interrupted.set)
    relay.lose_requests = 1_000_000
    writer.write("1")
    assert interrupted.wait(30)
    with pytest.raises(RelayUnavailableError):
        writer.write("2")
    with pytest.raises(RelayUnavailableError):
        writer.finish("completed")
    sender.close()


def test_nobody_waits_for_a_sender_that_was_closed(relay: TroubledRelay) -> None:
    sender = Sender(relay, SETTINGS)
    writer = sender.open("s")
    sender.close()
    with pytest.raises(RelayUnavailableError, match="closed its stream store"):
        writer.write("1")
    with pytest.raises(RelayUnavailableError, match="closed its stream store"):
        sender.open("t").finish("completed")


def test_a_relay_that_never_answers_a_claim(relay: TroubledRelay) -> None:
    relay.lose_requests = 1_000_000
    with pytest.raises(RelayUnavailableError):
        Sender(relay, replace(SETTINGS, relay_timeout=0.1)).open("s")


def test_a_superseded_producer_is_told_and_interrupted(
    relay: TroubledRelay, sender: Sender
) -> None:
    interrupted = threading.Event()
    writer = sender.open("s", on_interrupt=interrupted.set)
    relay.inner.call(Release("s", 1, writer.nonce, 0))
    relay.inner.call(Claim("s", "ffffffff"))
    assert interrupted.wait(30)
    with pytest.raises(StreamFencedError, match="attempt 2"):
        writer.write("zombie")
    assert relay.texts() == []


def test_a_stop_interrupts_a_silent_producer(relay: TroubledRelay, sender: Sender) -> None:
    interrupted = threading.Event()
    writer = sender.open("s", on_interrupt=interrupted.set)
    relay.inner.call(Stop("s"))
    sender.check_stops()
    assert interrupted.wait(30)
    assert writer.stop_asked
    writer.finish("stopped")
    assert relay.state("s").end == "stopped"


def test_the_answer_to_an_append_tells_of_a_stop(relay: TroubledRelay, sender: Sender) -> None:
    interrupted = threading.Event()
    writer = sender.open("s", on_interrupt=interrupted.set)
    relay.inner.call(Stop("s"))
    writer.write("1")
    assert interrupted.wait(30)
    writer.finish("stopped")


def test_a_failing_interrupt_takes_no_other_stream_down(
    relay: TroubledRelay, sender: Sender
) -> None:
    def fail() -> None:
        raise ValueError("no")

    bad, good = sender.open("bad", on_interrupt=fail), sender.open("good")
    relay.inner.call(Stop("bad"))
    sender.check_stops()
    eventually(lambda: bad.stop_asked)
    good.write("1")
    good.finish("completed")
    assert relay.texts("good") == ["1"]
    bad.finish("stopped")


def test_nor_does_one_that_fails_when_the_relay_is_gone(relay: TroubledRelay) -> None:
    def fail() -> None:
        raise ValueError("no")

    sender = Sender(relay, replace(SETTINGS, relay_timeout=0.05))
    bad = sender.open("bad", on_interrupt=fail)
    relay.lose_requests = 10_000
    bad.write("1")
    eventually(lambda: bad.done)
    relay.lose_requests = 0
    good = sender.open("good")
    good.write("1")
    good.finish("completed", timeout=30)
    assert relay.texts("good") == ["1"]
    sender.close()


def test_an_error_that_the_relay_must_not_raise_ends_no_stream(
    relay: TroubledRelay, sender: Sender
) -> None:
    writer = sender.open("s")
    relay.fail_with = ConfigurationError("there is no cluster any more")
    writer.write("1")
    eventually(lambda: relay.fail_with is None)
    writer.finish("completed", timeout=30)
    assert relay.texts() == ["1"]


def test_a_chunk_that_is_too_large(relay: TroubledRelay) -> None:
    sender = Sender(relay, replace(SETTINGS, max_chunk_bytes=10))
    writer = sender.open("s")
    writer.write("x" * 10)
    with pytest.raises(ChunkTooLargeError, match="11 bytes"):
        writer.write("x" * 11)
    with pytest.raises(ChunkTooLargeError, match="12 bytes"):
        writer.write("é" * 6)
    writer.finish("too-large")
    assert relay.texts() == ["x" * 10]
    sender.close()


def test_a_stream_that_is_too_large() -> None:
    relay = TroubledRelay(max_bytes=10)
    sender = Sender(relay, SETTINGS)
    writer = sender.open("s")
    writer.write("x" * 11)
    with pytest.raises(StreamTooLargeError):
        writer.finish("completed")
    assert relay.state("s").end == "too-large"
    sender.close()


def test_held_and_ended_streams_are_refused(relay: TroubledRelay, sender: Sender) -> None:
    writer = sender.open("s")
    with pytest.raises(StreamBusyError) as busy:
        sender.open("s")
    assert 0 < busy.value.retry_after <= relay.options.lease / 1000
    writer.finish("completed")
    with pytest.raises(StreamClosedError, match="completed"):
        sender.open("s")


def test_release_hands_over_after_what_was_written(relay: TroubledRelay, sender: Sender) -> None:
    first = sender.open("s")
    write_all(first, numbers(3))
    first.release(60)
    second = sender.open("s", resume=True)
    assert second.attempt == 2
    second.write("3")
    second.finish("completed")
    assert relay.texts() == numbers(4)


def test_nobody_is_awaited_for_a_stream_that_is_to_stop(
    relay: TroubledRelay, sender: Sender
) -> None:
    writer = sender.open("s")
    writer.write("1")
    relay.inner.call(Stop("s"))
    writer.release(60)
    assert (relay.texts(), relay.state("s").end, writer.outcome) == (["1"], "stopped", "stopped")
    assert not writer.ended_elsewhere


def test_a_resumed_attempt_whose_predecessors_chunks_are_lost_says_so(
    relay: TroubledRelay, sender: Sender
) -> None:
    first = sender.open("s")
    write_all(first, numbers(3))
    first.release(60)
    second = sender.open("s", resume=True)
    second.write("3")
    eventually(lambda: relay.texts() == numbers(4))
    relay.lose_everything()
    second.write("4")
    with pytest.raises(StreamError, match="lost"):
        second.finish("completed")


def test_many_streams_share_a_round_trip(relay: TroubledRelay, sender: Sender) -> None:
    writers = [sender.open(f"s{number}") for number in range(20)]
    relay.gate.clear()
    for writer in writers:
        writer.write("1")
    relay.sent.clear()
    relay.gate.set()
    for writer in writers:
        writer.finish("completed")
    assert max(len(batch) for batch in relay.sent) >= 10
    assert all(relay.texts(f"s{number}") == ["1"] for number in range(20))


def test_a_flush_is_bounded(relay: TroubledRelay, sender: Sender) -> None:
    writer = sender.open("s")
    relay.gate.clear()
    write_all(writer, numbers(2000))
    relay.gate.set()
    writer.finish("completed")
    assert max(a.count for a in relay.appends()) <= FLUSH_CHUNKS


class TestLinger:
    @pytest.fixture
    def clock(self) -> Iterator[Callable[[], float]]:
        # Time stands still: a flush that waited for the clock would wait for ever.
        return lambda: 0.0

    def test_the_first_chunk_and_the_end_do_not_wait(
        self, relay: TroubledRelay, clock: Callable[[], float]
    ) -> None:
        sender = Sender(relay, replace(SETTINGS, linger=0.005), now=clock)
        writer = sender.open("s")
        writer.write("1")
        eventually(lambda: relay.texts() == ["1"])
        writer.write("2")
        writer.finish("completed", timeout=30)
        assert relay.texts() == ["1", "2"]
        sender.close()

    def test_later_chunks_gather(self, relay: TroubledRelay) -> None:
        sender = Sender(relay, replace(SETTINGS, linger=0.005))
        writer = sender.open("s")
        write_all(writer, numbers(200))
        writer.finish("completed")
        assert relay.texts() == numbers(200)
        sender.close()


def test_a_stream_that_redis_refuses_slows_no_other_down() -> None:
    class Refusing(TroubledRelay):
        def execute(self, requests: Sequence[Request]) -> list[Answer]:
            answers = super().execute(requests)
            return [
                Answer("error", reason="ERR") if isinstance(request, Append)
                and request.stream_id == "bad" else answer
                for request, answer in zip(requests, answers, strict=True)
            ]  # fmt: skip

    relay = Refusing()
    sender = Sender(relay, SETTINGS)
    bad, good = sender.open("bad"), sender.open("good")
    bad.write("1")
    eventually(lambda: len(relay.sent) >= 8)  # its pauses have grown
    before = time.monotonic()
    for number in range(20):
        good.write(str(number))
        eventually(lambda number=number: len(relay.texts("good")) == number + 1)
    good.finish("completed")
    # Twenty round trips; a pause between any two of them would be 0.3 s and more by now.
    assert time.monotonic() - before < 2.0
    assert not bad.done
    sender.close()
