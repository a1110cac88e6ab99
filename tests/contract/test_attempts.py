"""What a worker asks of every relay besides writing: conclude, checkpoint, recall, expiry."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamstraight_celery.relays.about import Workplace
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import (
    Append,
    Checkpoint,
    Claim,
    Conclude,
    Create,
    Expect,
    Reap,
    Recall,
    Release,
    Stop,
)
from tests.conftest import eventually

S, MINE, OTHER = "stream-1", "aaaaaaaa", "bbbbbbbb"
MakeRelay = Callable[..., Relay]


def append(first: int, *texts: str, attempt: int = 1, nonce: str = MINE, end: str = "") -> Append:
    return Append(S, attempt, nonce, first, len(texts), "\n".join(texts).encode(), end)


def begin(relay: Relay, nonce: str = MINE, **options: bool) -> None:
    relay.call(Create(S, "task-1"))
    assert relay.call(Claim(S, nonce, "task-1", **options)).kind == "ok"


def end(nonce: str = MINE, owner: str = "task-1") -> Conclude:
    return Conclude(S, owner, nonce, "producer-error", '{"code":"x"}')


def release(nonce: str = MINE, owner: str = "task-1", wait: int = 60_000) -> Conclude:
    return Conclude(S, owner, nonce, wait=wait)


@pytest.mark.fakeredis
def test_the_worker_and_queue_of_the_latest_attempt_are_known(relay: Relay) -> None:
    relay.call(Create(S, "task-1"))
    assert (relay.state(S).worker, relay.state(S).queue) == ("", "")
    relay.call(Claim(S, MINE, "task-1", at=Workplace("a@host", "slow")))
    assert (relay.state(S).worker, relay.state(S).queue) == ("a@host", "slow")
    relay.call(Release(S, 1, MINE, 0))
    relay.call(Claim(S, OTHER, "task-1", at=Workplace("b@host", "fast")))
    assert (relay.state(S).worker, relay.state(S).queue) == ("b@host", "fast")


class TestConclude:
    @pytest.mark.fakeredis
    def test_ends_what_the_delivery_held(self, relay: Relay) -> None:
        begin(relay)
        relay.call(append(1, "1"))
        assert relay.call(end()) == ("ended", 1, False, "producer-error")
        state = relay.state(S)
        assert (state.end, state.error, state.last) == ("producer-error", '{"code":"x"}', 1)
        assert relay.call(append(2, "2")).kind == "closed"

    def test_ends_what_is_queued(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1"))
        assert relay.call(end()).kind == "ended"
        assert relay.call(Claim(S, MINE, "task-1")).kind == "closed"

    def test_leaves_a_living_producer_of_another_delivery_alone(self, relay: Relay) -> None:
        begin(relay, OTHER)
        for request in (end(), release()):
            answer = relay.call(request)
            assert answer.kind == "busy"
            assert 0 < answer.number <= 10_000
        assert relay.call(append(1, "1", nonce=OTHER)).kind == "ok"

    def test_ends_what_nobody_holds_any_more(self, make_relay: MakeRelay) -> None:
        relay = make_relay(lease=1)
        begin(relay, OTHER)
        eventually(lambda: relay.state(S).lease_left < 0)
        assert relay.call(end()).kind == "ended"

    def test_ends_what_was_released(self, relay: Relay) -> None:
        begin(relay, OTHER)
        relay.call(Release(S, 1, OTHER, 60_000))
        assert relay.call(end()).kind == "ended"

    def test_one_that_began_leaves_what_another_released_alone(self, relay: Relay) -> None:
        begin(relay, OTHER)
        relay.call(Release(S, 1, OTHER, 60_000))
        assert relay.call(Conclude(S, "task-1", MINE, "producer-error", begun=True)).kind == "busy"
        assert relay.state(S).end == ""

    def test_one_that_began_ends_what_it_did_not_come_to_claim(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1"))
        assert relay.call(Conclude(S, "task-1", MINE, "producer-error", begun=True)).kind == "ended"

    @pytest.mark.parametrize("request_", [end(owner="task-2"), release(owner="task-2")])
    def test_another_tasks_stream_is_not_ours(self, relay: Relay, request_: Conclude) -> None:
        relay.call(Create(S, "task-1"))
        assert relay.call(request_).kind == "fenced"
        assert relay.state(S).end == ""

    def test_releases_so_that_the_next_may_claim_at_once(self, relay: Relay) -> None:
        begin(relay)
        assert relay.call(release()) == ("ok", 1, False, "")
        assert relay.state(S).released
        assert 50_000 < relay.state(S).lease_left <= 60_000
        assert relay.call(Claim(S, OTHER, "task-1")) == ("ok", 2, False, "0")

    @pytest.mark.parametrize("request_", [end(), release()])
    def test_a_stop_that_was_asked_is_what_ends_it(self, relay: Relay, request_: Conclude) -> None:
        begin(relay)
        assert relay.call(Stop(S)).kind == "asked"
        assert relay.call(request_) == ("ended", 0, True, "stopped")
        assert relay.state(S).error == ""

    def test_an_ended_stream_stays_as_it_ended(self, relay: Relay) -> None:
        begin(relay)
        relay.call(append(1, "1", end="completed"))
        for request in (end(), release()):
            assert relay.call(request) == ("closed", 1, False, "completed")

    def test_no_such_stream(self, relay: Relay) -> None:
        assert relay.call(end()).kind == relay.call(release()).kind == "unknown"


class TestCheckpoint:
    @pytest.mark.fakeredis
    def test_is_kept_for_the_next_attempt(self, relay: Relay) -> None:
        begin(relay)
        relay.call(append(1, "1", "2"))
        assert relay.call(Recall(S)) == ("ok", 0, False, "")
        assert relay.call(Checkpoint(S, 1, MINE, '{"é":1}', 2)) == ("ok", 2, False, "")
        relay.call(release())
        relay.call(Claim(S, OTHER, "task-1", resume=True))
        assert relay.call(Recall(S)) == ("ok", 2, False, '{"é":1}')

    def test_may_come_before_the_first_chunk(self, relay: Relay) -> None:
        begin(relay)
        assert relay.call(Checkpoint(S, 1, MINE, "1", 0)).kind == "ok"
        assert relay.call(Recall(S)) == ("ok", 0, False, "1")

    def test_never_covers_chunks_that_are_not_here(self, relay: Relay) -> None:
        begin(relay)
        relay.call(append(1, "1"))
        assert relay.call(Checkpoint(S, 1, MINE, "1", 3)) == ("gap", 2, False, "")
        assert relay.call(Recall(S)).reason == ""

    def test_is_forgotten_with_a_log_that_begins_anew(self, relay: Relay) -> None:
        begin(relay)
        relay.call(append(1, "1"))
        relay.call(Checkpoint(S, 1, MINE, "1", 1))
        relay.call(release())
        relay.call(Claim(S, OTHER, "task-1"))
        assert relay.call(Recall(S)) == ("ok", 0, False, "")
        relay.call(append(1, "1", "2", attempt=2, nonce=OTHER))
        assert relay.call(Recall(S)) == ("ok", 0, False, "")

    def test_outlives_attempts_that_make_none(self, relay: Relay) -> None:
        begin(relay)
        relay.call(append(1, "1"))
        relay.call(Checkpoint(S, 1, MINE, "1", 1))
        for nonce in (OTHER, MINE):
            relay.call(Release(S, relay.state(S).attempt, relay.state(S).nonce, 0))
            relay.call(Claim(S, nonce, "task-1", resume=True))
        assert relay.state(S).attempt == 3
        assert relay.call(Recall(S)) == ("ok", 1, False, "1")

    def test_renews_the_lease(self, make_relay: MakeRelay) -> None:
        relay = make_relay(lease=60_000)
        begin(relay)
        before = relay.state(S)
        eventually(lambda: relay.state(S).lease_left < before.lease_left)
        relay.call(Checkpoint(S, 1, MINE, "1", 0))
        after = relay.state(S)
        assert after.now + after.lease_left > before.now + before.lease_left

    def test_refusals(self, relay: Relay) -> None:
        assert relay.call(Checkpoint(S, 1, MINE, "1", 0)).kind == "unknown"
        assert relay.call(Recall(S)).kind == "unknown"
        begin(relay)
        assert relay.call(Checkpoint(S, 1, OTHER, "1", 0)) == ("fenced", 1, False, "")
        assert relay.call(Checkpoint(S, 2, MINE, "1", 0)).kind == "unknown"
        relay.call(append(1, end="completed"))
        assert relay.call(Checkpoint(S, 1, MINE, "1", 0)) == ("closed", 0, False, "completed")

    def test_learns_of_a_stop(self, relay: Relay) -> None:
        begin(relay)
        relay.call(Stop(S))
        assert relay.call(Checkpoint(S, 1, MINE, "1", 0)).stop is True


class TestQueued:
    def test_is_awaited_for_as_long_as_said(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1", wait=5_000))
        assert 4_000 < relay.state(S).lease_left <= 5_000
        relay.call(Create("stream-2", "task-2"))
        assert 3_500_000 < relay.state("stream-2").lease_left <= 3_600_000

    @pytest.mark.fakeredis
    def test_expires_when_nobody_comes(self, make_relay: MakeRelay) -> None:
        relay = make_relay(reap_after=1)
        relay.call(Create(S, "task-1", wait=1))
        eventually(lambda: relay.call(Reap(S)).kind == "ended")
        state = relay.state(S)
        assert state.end == "expired"
        assert '"code":"expired"' in state.error
        assert relay.call(Claim(S, MINE, "task-1")) == ("closed", 0, False, "expired")

    def test_is_kept_behind_its_time_so_that_readers_are_told(self, make_relay: MakeRelay) -> None:
        relay = make_relay(reap_after=1, ttl=60_000)
        relay.call(Create(S, "task-1", wait=1))
        eventually(lambda: relay.state(S).lease_left < 0)
        assert relay.call(Reap(S)).kind in ("ended", "alive")

    def test_may_still_begin_within_the_grace_time(self, make_relay: MakeRelay) -> None:
        relay = make_relay(reap_after=60_000)
        relay.call(Create(S, "task-1", wait=1))
        eventually(lambda: relay.state(S).lease_left < 0)
        assert relay.call(Claim(S, MINE, "task-1")).kind == "ok"


class TestExpect:
    LOST = Conclude(S, "task-1", MINE, "producer-disconnected", begun=True)

    def test_leaves_a_lost_producers_stream_to_the_delivery_that_waits(self, relay: Relay) -> None:
        begin(relay)
        assert relay.call(Expect(S, "task-1", 60_000)) == ("ok", 0, False, "")
        assert relay.call(self.LOST) == ("ok", 1, False, "")
        assert 50_000 < relay.state(S).lease_left <= 60_000
        assert relay.call(Claim(S, OTHER, "task-1")) == ("ok", 2, False, "0")

    def test_only_a_lost_producers(self, relay: Relay) -> None:
        begin(relay)
        relay.call(Expect(S, "task-1", 60_000))
        assert relay.call(end()).kind == "ended"

    @pytest.mark.fakeredis
    def test_only_for_so_long(self, relay: Relay) -> None:
        begin(relay)
        relay.call(Expect(S, "task-1", 0))
        assert relay.call(self.LOST) == ("ended", 0, False, "producer-disconnected")

    def test_refusals(self, relay: Relay) -> None:
        assert relay.call(Expect(S, "task-1", 1)).kind == "unknown"
        begin(relay)
        assert relay.call(Expect(S, "task-2", 1)).kind == "fenced"
        relay.call(append(1, end="completed"))
        assert relay.call(Expect(S, "task-1", 1)) == ("closed", 0, False, "completed")
