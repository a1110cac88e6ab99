"""Checkpoints: kept after the chunks that they cover."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamstraight_celery.errors import (
    ChunkTooLargeError,
)
from streamstraight_celery.producing.sender import Sender
from streamstraight_celery.relays.about import About
from streamstraight_celery.relays.requests import (
    Append,
    Checkpoint,
    Recall,
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


def test_a_checkpoint_is_kept_behind_the_chunks_it_covers(
    relay: TroubledRelay, sender: Sender
) -> None:
    writer = sender.open("s")
    write_all(writer, numbers(3))
    writer.checkpoint('"three"')
    write_all(writer, ["3"])
    eventually(lambda: relay.inner.call(Recall("s")).reason)

    assert relay.inner.call(Recall("s")) == ("ok", 3, False, '"three"')
    writer.finish("completed")
    sent = [request for batch in relay.sent for request in batch]
    behind = [r.first + r.count - 1 for r in sent[: sent.index(Checkpoint(
        "s", 1, writer.nonce, '"three"', 3))] if isinstance(r, Append)]  # fmt: skip
    assert max(behind) >= 3


def test_a_checkpoint_that_redis_lost_is_sent_again(relay: TroubledRelay, sender: Sender) -> None:
    writer = sender.open("s")
    write_all(writer, numbers(3))
    writer.checkpoint("1")
    eventually(lambda: relay.inner.call(Recall("s")).reason)
    relay.lose_everything()
    write_all(writer, ["3"])
    eventually(lambda: relay.texts() == numbers(4))
    eventually(lambda: relay.inner.call(Recall("s")).reason)

    assert relay.inner.call(Recall("s")) == ("ok", 3, False, "1")
    writer.finish("completed")


def test_a_checkpoint_whose_reply_is_lost_is_repeated(relay: TroubledRelay, sender: Sender) -> None:
    writer = sender.open("s")
    writer.checkpoint("0")
    eventually(lambda: relay.inner.call(Recall("s")).reason)
    relay.lose_replies = 1
    writer.checkpoint("1")
    eventually(lambda: relay.inner.call(Recall("s")).reason == "1")
    write_all(writer, numbers(3))
    writer.finish("completed")

    assert relay.texts() == numbers(3)
    assert relay.state("s").end == "completed"


def test_a_resumed_writer_counts_on(relay: TroubledRelay, sender: Sender) -> None:
    first = sender.open("s")
    write_all(first, numbers(3))
    first.release(60)
    second = sender.open("s", resume=True)
    assert (second.attempt, second.continues) == (2, 3)
    second.checkpoint("2")
    second.write("3")
    second.finish("completed")

    assert relay.texts() == numbers(4)
    assert relay.inner.call(Recall("s")) == ("ok", 3, False, "2")


def test_a_checkpoint_may_be_too_large(relay: TroubledRelay, sender: Sender) -> None:
    writer = sender.open("s")
    with pytest.raises(ChunkTooLargeError, match="a checkpoint of"):
        writer.checkpoint(f'"{"x" * SETTINGS.max_chunk_bytes}"')
    writer.finish("completed")


def test_a_chunk_that_is_sent_again_tells_no_more_than_it_knew(
    relay: TroubledRelay, sender: Sender
) -> None:
    """The next attempt would miss the messages between it and the last chunk."""
    writer = sender.open("s")
    for number in range(3):
        writer.received = 10 * number
        writer.write(str(number))
        eventually(lambda until=number: len(relay.texts()) == until + 1)
    relay.lose_everything()
    before = len(relay.appends())
    writer.write("3")
    eventually(lambda: relay.texts() == numbers(4))
    again = relay.appends()[before:]
    told = {request.first: request.received for request in again}
    assert told == {1: 0, 2: 10, 3: 20, 4: 20}


def test_a_stream_that_redis_lost_keeps_what_it_is_found_by(
    relay: TroubledRelay, sender: Sender
) -> None:
    about = About("proj.answer", (("user", "42"),), 60_000)
    writer = sender.open("s", about=about)
    writer.write("0")
    relay.lose_everything()
    writer.write("1")
    eventually(lambda: relay.texts() == numbers(2))
    state = relay.inner.state("s")
    assert (state.task, dict(state.labels)) == ("proj.answer", {"user": "42"})
