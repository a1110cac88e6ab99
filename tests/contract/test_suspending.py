"""What every relay promises of suspended tasks: see `lua/await.lua`, `wake.lua`, `resume.lua`."""

from __future__ import annotations

from typing import Any

import pytest

from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.conversations import Await, Post, Resume, Wake
from streamstraight_celery.relays.requests import (
    Answer,
    Append,
    Checkpoint,
    Claim,
    Conclude,
    Create,
    Read,
    Reap,
    Release,
    Stop,
)
from tests.conftest import eventually
from tests.contract.conftest import MakeRelay

NAME = "chat-42"
NONCE = "1" * 8


def begin(relay: Relay, stream: str = "a", nonce: str = NONCE, wakes: int = 0) -> Answer:
    return relay.call(Claim(stream, nonce, "task", resume=True, wakes=wakes))


def post(relay: Relay, number: int, **about: Any) -> Answer:
    return relay.call(Post(NAME, f"event-{number}", b'{"type":"input"}', **about))


def park(
    relay: Relay, stream: str = "a", *, seen: int = 0, question: str = "", wait: int = 600_000,
    attempt: int = 1, what: str = "input 0 0",
) -> Answer:  # fmt: skip
    return relay.call(Await(NAME, stream, attempt, seen, question, what, wait, f"for {stream}"))


def suspend(relay: Relay, stream: str = "a", wait: int = 600_000) -> None:
    release = Release(stream, 1, NONCE, wait, suspends=True)
    assert relay.call(release).kind == "ok"


def due(relay: Relay) -> list[str]:
    return [message for _, _, message in relay.call(Wake(NAME)).due]


@pytest.mark.fakeredis
def test_an_input_hands_out_the_message_once(relay: Relay) -> None:
    begin(relay)
    assert park(relay).number == pytest.approx(600_000, abs=1000)
    suspend(relay)
    assert relay.state("a").status == "waiting"
    assert (due(relay), relay.call(Wake(NAME)).number) == ([], 1)
    assert not post(relay, 1).stop  # an event of the application's own
    assert post(relay, 2, wakes=True).stop
    assert post(relay, 2, wakes=True).stop  # whoever sends again sends what is due, too
    assert relay.call(Wake(NAME)).due == [("a", 1, "for a")]
    assert due(relay) == []  # somebody is sending it
    assert relay.call(Resume("a", 1)).kind == "ok"
    assert relay.state("a").status == "retrying"
    assert relay.call(Wake(NAME, "a", 1)).number == 0
    assert not post(relay, 3, wakes=True).stop
    assert begin(relay, nonce="2" * 8, wakes=1).attempt == 2
    assert relay.state("a").status == "streaming"


@pytest.mark.fakeredis
def test_what_is_handed_out_and_not_sent_is_handed_out_again(make_relay: MakeRelay) -> None:
    relay = make_relay(lease=100)
    begin(relay)
    park(relay)
    post(relay, 1, wakes=True)
    assert due(relay) == ["for a"]
    eventually(lambda: due(relay) == ["for a"])


def test_an_answer_is_for_who_has_asked(relay: Relay) -> None:
    for stream, question in (("a", "q1"), ("b", "q2"), ("c", "")):
        begin(relay, stream)
        park(relay, stream, question=question)
    post(relay, 1, wakes=True, answers="q2")
    assert due(relay) == ["for b"]
    post(relay, 2, wakes=True, sender="c")  # a task does not receive what it sends
    assert due(relay) == []
    post(relay, 3, wakes=True, sender="a")
    assert due(relay) == ["for c"]


def test_an_event_that_it_has_not_seen_comes_first(relay: Relay) -> None:
    begin(relay)
    post(relay, 1, wakes=True)
    assert park(relay).kind == "gap"
    assert relay.call(Wake(NAME)).number == 0
    assert park(relay, seen=1).kind == "ok"


def test_a_task_that_goes_on_is_sent_no_message(relay: Relay) -> None:
    begin(relay)
    assert park(relay).kind == "ok"  # the answer is lost, and the request repeated
    post(relay, 1, wakes=True)
    assert park(relay, attempt=2).kind == "gap"  # of another attempt
    assert park(relay).kind == "gap"
    assert due(relay) == []
    assert relay.call(Wake(NAME)).number == 0


@pytest.mark.fakeredis
def test_the_first_request_decides_about_the_deadline(make_relay: MakeRelay) -> None:
    relay = make_relay(reap_after=1)
    begin(relay)
    assert park(relay, wait=300).kind == "ok"
    suspend(relay, wait=300)
    assert park(relay, attempt=2, wait=600_000).number <= 300
    eventually(lambda: due(relay) == ["for a"])
    assert park(relay, attempt=2, wait=600_000).kind == "closed"
    assert park(relay, attempt=2, what="input 0 1").kind == "ok"
    # Whoever looks whether its producer is lost sends the message.
    eventually(lambda: relay.call(Reap("a")).kind == "waits")
    eventually(lambda: relay.state("a").lease_left < -50)
    assert relay.call(Reap("a")).kind == "waits"


def test_the_deadline_holds_whatever_came_between(relay: Relay) -> None:
    begin(relay)
    assert park(relay, wait=200, what="x").kind == "ok"
    assert park(relay, what="y").kind == "ok"
    eventually(lambda: park(relay, what="x").kind == "closed")


def test_it_is_ended_when_nobody_looks(make_relay: MakeRelay) -> None:
    relay = make_relay(ttl=200, reap_after=1, lease=1)
    begin(relay)
    suspend(relay, wait=1)
    eventually(lambda: relay.call(Reap("a")).kind == "ended")
    assert relay.state("a").end == "producer-disconnected"


@pytest.mark.fakeredis
def test_only_the_message_that_ends_the_wait_may_claim(relay: Relay) -> None:
    begin(relay)
    suspend(relay)
    for wakes in (0, 2):
        assert begin(relay, nonce="2" * 8, wakes=wakes) == ("waits", 1, False, "")
    for nonce, begun in ((NONCE, True), ("2" * 8, False)):
        lost = Conclude("a", "task", nonce, "producer-disconnected", begun=begun)
        assert relay.call(lost).kind == "busy"
    relay.call(Resume("a", 1))
    assert begin(relay, nonce="2" * 8).kind == "waits"
    assert relay.call(Conclude("a", "task", NONCE, "producer-disconnected")).kind == "busy"
    assert begin(relay, nonce="2" * 8, wakes=1).kind == "ok"
    assert relay.call(Resume("a", 1)) == ("fenced", 2, False, "")


def test_one_whose_message_is_rejected_ends(relay: Relay) -> None:
    relay.call(Create("a", "task"))
    begin(relay)
    suspend(relay)
    relay.call(Resume("a", 1))
    assert relay.call(Conclude("a", "task", "2" * 8, "expired")).kind == "ended"


@pytest.mark.fakeredis
def test_a_stop_ends_it_and_hands_out_its_message(relay: Relay) -> None:
    begin(relay)
    park(relay)
    suspend(relay)
    assert relay.call(Stop("a")).kind == "ended"
    assert relay.state("a").status == "ended"
    assert post(relay, 1, ends="a").stop
    assert due(relay) == ["for a"]
    assert relay.call(Resume("a", 1)) == ("closed", 1, False, "stopped")


def test_a_stop_before_the_last_step_counts(relay: Relay) -> None:
    begin(relay)
    relay.call(Stop("a"))
    answer = relay.call(Release("a", 1, NONCE, 600_000, suspends=True))
    assert (answer.kind, answer.end_reason) == ("ok", "stopped")


def test_what_was_received_before_the_first_chunk_is_kept(relay: Relay) -> None:
    begin(relay)
    relay.call(Checkpoint("a", 1, NONCE, "1", 0, received=7))
    suspend(relay)
    begin(relay, nonce="2" * 8, wakes=1)
    assert relay.state("a").received == 7
    relay.call(Append("a", 2, "2" * 8, 1, 1, b"1"))
    relay.call(Release("a", 2, "2" * 8, 1))
    # One that begins anew receives all of it again.
    relay.call(Claim("a", "3" * 8, "task"))
    assert relay.state("a").received == 0


def test_the_log_lives_for_longer_than_a_task_waits(make_relay: MakeRelay) -> None:
    relay = make_relay(ttl=100, conversation_ttl=100)
    begin(relay)
    park(relay, wait=1500)
    post(relay, 1)
    eventually(lambda: relay.read(Read("a")) is None)
    assert relay.call(Wake(NAME)).number == 1


def test_no_conversation_has_no_tasks(relay: Relay) -> None:
    assert relay.call(Wake(NAME)).kind == "unknown"
    assert relay.call(Resume("a", 1)).kind == "unknown"
