"""A claim that overwrites: a producer of the Streamstraight SDK may ask for it, or a lost task."""

from __future__ import annotations

import pytest

from streamstraight_celery.relays.about import About
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Append, Claim, Conclude, Release, Stop

S = "stream-1"


def write(relay: Relay, nonce: str, attempt: int, text: str, end: str = "") -> None:
    answer = relay.call(Append(S, attempt, nonce, 1, 1, text.encode(), end))
    assert answer.kind == "ok"


@pytest.mark.fakeredis
def test_an_ended_stream_begins_anew(relay: Relay) -> None:
    relay.call(Claim(S, "aaaaaaaa"))
    relay.call(Stop(S))
    write(relay, "aaaaaaaa", 1, '"old"', "completed")
    assert relay.call(Claim(S, "bbbbbbbb")).kind == "closed"

    assert relay.call(Claim(S, "bbbbbbbb", overwrite=True)) == ("ok", 2, False, "0")

    state = relay.state(S)
    assert (state.end, state.last, state.ended, state.stop_asked) == ("", 0, 0, False)
    write(relay, "bbbbbbbb", 2, '"new"', "completed")
    assert relay.state(S).end == "completed"


def test_one_that_begins_anew_is_found_by_what_it_is_now(relay: Relay) -> None:
    relay.call(Claim(S, "aaaaaaaa", about=About("proj.old", (("user", "1"),))))
    write(relay, "aaaaaaaa", 1, '"old"', "completed")
    relay.call(Claim(S, "bbbbbbbb", overwrite=True, about=About("proj.new", (("user", "2"),))))
    state = relay.state(S)
    assert (state.task, dict(state.labels)) == ("proj.new", {"user": "2"})


def test_a_living_producer_is_taken_over_from(relay: Relay) -> None:
    relay.call(Claim(S, "aaaaaaaa"))
    assert relay.call(Claim(S, "bbbbbbbb")).kind == "busy"
    assert relay.call(Claim(S, "bbbbbbbb", overwrite=True))[:2] == ("ok", 2)
    assert relay.call(Append(S, 1, "aaaaaaaa", 1, 1, b"1")).kind == "fenced"


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_same_claim_again_takes_the_stream_back(relay: Relay, overwrite: bool) -> None:
    relay.call(Claim(S, "aaaaaaaa", overwrite=overwrite))
    relay.call(Release(S, 1, "aaaaaaaa", 0))
    assert relay.state(S).released
    assert relay.call(Claim(S, "aaaaaaaa", overwrite=overwrite))[:2] == ("ok", 1)
    assert not relay.state(S).released
    assert relay.call(Claim(S, "bbbbbbbb")).kind == "busy"


def lose(relay: Relay, reason: str) -> None:
    """End the stream of `task-1` as if its producer was lost."""
    relay.call(Claim(S, "aaaaaaaa", "task-1"))
    relay.call(Append(S, 1, "aaaaaaaa", 1, 1, b'"old"'))
    relay.call(Conclude(S, "task-1", "aaaaaaaa", reason, "{}", begun=True))
    assert relay.state(S).end == reason


@pytest.mark.fakeredis
@pytest.mark.parametrize("resume", [False, True])
def test_a_stream_whose_producer_was_lost_begins_again(relay: Relay, resume: bool) -> None:
    lose(relay, "producer-disconnected")
    assert relay.call(Claim(S, "bbbbbbbb", "task-1")).kind == "closed"
    claim = Claim(S, "bbbbbbbb", "task-1", resume=resume, after_loss=True)
    assert relay.call(claim) == ("ok", 2, False, "1" if resume else "0")
    assert relay.call(Append(S, 1, "aaaaaaaa", 2, 1, b"1")).kind == "fenced"
    # It is held again.
    assert relay.call(Claim(S, "cccccccc", "task-1", after_loss=True)).kind == "busy"
    state = relay.state(S)
    assert (state.end, state.error, state.ended) == ("", "", 0)


@pytest.mark.parametrize(
    ("owner", "reason"), [("task-2", "producer-disconnected"), ("task-1", "producer-error")]
)
def test_only_its_own_task_may_and_only_after_a_loss(relay: Relay, owner: str, reason: str) -> None:
    lose(relay, reason)
    answer = relay.call(Claim(S, "bbbbbbbb", owner, after_loss=True))
    assert (answer.kind, answer.reason) == ("closed", reason)


def test_a_stop_holds_for_the_attempt_after_a_loss(relay: Relay) -> None:
    relay.call(Claim(S, "aaaaaaaa", "task-1"))
    relay.call(Stop(S))
    relay.call(Append(S, 1, "aaaaaaaa", 1, 0, b"", "producer-disconnected", "{}"))
    answer = relay.call(Claim(S, "bbbbbbbb", "task-1", after_loss=True))
    assert (answer.kind, answer.stop) == ("ok", True)


@pytest.mark.parametrize("first", [0, 60_000])
def test_the_first_release_counts(relay: Relay, first: int) -> None:
    relay.call(Claim(S, "aaaaaaaa", "task-1"))
    relay.call(Release(S, 1, "aaaaaaaa", first))
    before = relay.state(S)
    relay.call(Release(S, 1, "aaaaaaaa", 60_000 - first))
    after = relay.state(S)
    assert after.lease_left + after.now == before.lease_left + before.now
