"""Checkpoints: kept after the chunks that they cover."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamstraight_celery.errors import (
    ChunkTooLargeError,
)
from streamstraight_celery.producing.sender import Sender
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
