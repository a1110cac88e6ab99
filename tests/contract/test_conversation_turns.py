"""What every relay promises of a conversation's queue: see `lua/queue.lua` and `lua/turn.lua`."""

from __future__ import annotations

import pytest

from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Answer, Create, Delete, Hold, Queue, Read, Turn

NAME = "chat-42"


def queue(relay: Relay, stream_id: str) -> Answer:
    return relay.call(Queue(NAME, stream_id, f"message {stream_id}", stream_id, b'{"type":"x"}'))


def test_no_conversation_has_no_turn(relay: Relay) -> None:
    assert relay.call(Turn(NAME)) == ("unknown", 0, False, "")
    assert relay.read(Read(Turn(NAME).stream_id)) is None


@pytest.mark.fakeredis
def test_streams_have_their_turn_in_order(relay: Relay) -> None:
    for stream_id in ("a", "b", "c", "b"):
        assert queue(relay, stream_id).kind == "ok"
    first = relay.call(Turn(NAME))
    assert (first.turn, first.waiting) == (("a", "message a"), 2)
    assert relay.call(Turn(NAME, sent="a")).turn == ("a", "")
    assert relay.call(Turn(NAME, about="b")).stop
    assert not relay.call(Turn(NAME, about="a")).stop
    second = relay.call(Turn(NAME, ended="a"))
    assert (second.turn, second.waiting) == (("b", "message b"), 1)
    # Again, as after a lost answer, and of a stream that has not got the turn.
    assert relay.call(Turn(NAME, ended="a")) == second
    assert relay.call(Turn(NAME, ended="c")) == second
    assert relay.call(Turn(NAME, ended="b")).turn == ("c", "message c")
    assert relay.call(Turn(NAME, ended="c")).turn == ("c", "")
    assert relay.state(Turn(NAME).stream_id).last == 3


def test_nobody_passes_the_queue(relay: Relay) -> None:
    relay.call(Hold(NAME, "a"))
    queue(relay, "b")
    assert relay.call(Hold(NAME, "c", "a")).kind == "waits"
    assert relay.call(Turn(NAME, ended="a")).turn == ("b", "message b")
    assert relay.call(Hold(NAME, "c", "b")).kind == "ok"


def test_one_that_has_the_turn_is_not_queued(relay: Relay) -> None:
    relay.call(Hold(NAME, "a"))
    assert queue(relay, "a").kind == "ok"
    assert relay.call(Turn(NAME)).waiting == 0


def test_a_deleted_conversation_has_no_queue(relay: Relay) -> None:
    queue(relay, "a")
    relay.call(Delete(Turn(NAME).stream_id))
    assert relay.call(Turn(NAME)).kind == "unknown"


def test_a_producer_is_awaited_from_when_its_message_is_sent(relay: Relay) -> None:
    relay.call(Create("a", "task", wait=1_000_000))
    assert relay.state("a").lease_left > 900_000
    assert relay.call(Create("a", "task", wait=1000)).kind == "ok"
    assert relay.state("a").lease_left <= 1000
