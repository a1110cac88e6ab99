"""What every relay promises. The scripts' heads are the specification."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from streamstraight_celery.errors import StreamNotFoundError
from streamstraight_celery.offsets import Segment
from streamstraight_celery.relays.base import Page, Relay
from streamstraight_celery.relays.requests import (
    Answer,
    Append,
    Claim,
    Create,
    Read,
    Reap,
    Release,
    Renew,
    Stop,
)
from tests.conftest import eventually

S = "stream-1"
MakeRelay = Callable[..., Relay]


def append(first: int, *texts: str, attempt: int = 1, nonce: str = "aaaaaaaa", end: str = "",
           error: str = "") -> Append:  # fmt: skip
    data = "\n".join(texts).encode()
    return Append(S, attempt, nonce, first, len(texts), data, end, error)


def claim(relay: Relay, nonce: str = "aaaaaaaa", **options: object) -> Answer:
    return relay.call(Claim(S, nonce, "task-1", **options))  # type: ignore[arg-type]


def chunks(relay: Relay, seq: int = 0, attempt: int = 1, limit: int = 100) -> list[str]:
    return [text for entry in page(relay, seq, attempt, limit).entries
            for text in entry.data.decode().split("\n")]  # fmt: skip


def page(relay: Relay, seq: int = 0, attempt: int = 1, limit: int = 100) -> Page:
    found = relay.read(Read(S, attempt, seq, limit))
    assert found is not None
    return found


class TestCreate:
    @pytest.mark.fakeredis
    def test_announces_a_queued_stream(self, relay: Relay) -> None:
        assert relay.call(Create(S, "task-1", "text")) == ("ok", 1, False, "")
        state = relay.state(S)
        assert (state.attempt, state.last, state.end, state.owner, state.kind) == (
            0, 0, "", "task-1", "text",
        )  # fmt: skip

    def test_is_idempotent_for_its_owner(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1"))
        assert relay.call(Create(S, "task-1")) == ("ok", 0, False, "")

    def test_refuses_another_owner(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1"))
        assert relay.call(Create(S, "task-2")).kind == "exists"

    def test_says_how_the_other_stream_ended(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1"))
        relay.call(Stop(S))
        assert relay.call(Create(S, "task-2")) == ("exists", 0, False, "stopped")

    def test_an_announced_stream_is_claimed_as_attempt_one(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1"))
        assert claim(relay) == ("ok", 1, False, "0")


class TestClaim:
    def test_begins_attempt_one(self, relay: Relay) -> None:
        assert claim(relay) == ("ok", 1, False, "0")

    @pytest.mark.fakeredis
    def test_same_nonce_same_answer(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, "1", "2"))
        assert claim(relay) == ("ok", 1, False, "2")

    def test_a_living_holder_keeps_it(self, make_relay: MakeRelay) -> None:
        relay = make_relay(lease=60_000)
        claim(relay)
        answer = claim(relay, "bbbbbbbb")
        assert answer.kind == "busy"
        assert 50_000 < answer.number <= 60_000

    @pytest.mark.fakeredis
    def test_takes_over_when_the_lease_is_over(self, make_relay: MakeRelay) -> None:
        relay = make_relay(lease=1)
        claim(relay)
        relay.call(append(1, "1"))
        eventually(lambda: relay.state(S).lease_left < 0)
        assert claim(relay, "bbbbbbbb") == ("ok", 2, False, "0")
        assert chunks(relay, attempt=2) == []

    @pytest.mark.fakeredis
    def test_takes_over_what_was_released(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, "1"))
        relay.call(Release(S, 1, "aaaaaaaa", 60_000))
        assert claim(relay, "bbbbbbbb") == ("ok", 2, False, "0")
        assert page(relay).state.released is False

    def test_may_continue_the_log(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, "1", "2"))
        relay.call(Release(S, 1, "aaaaaaaa", 0))
        assert claim(relay, "bbbbbbbb", resume=True) == ("ok", 2, False, "2")
        relay.call(append(3, "3", attempt=2, nonce="bbbbbbbb"))
        assert chunks(relay) == ["1", "2", "3"]
        assert chunks(relay, seq=1, attempt=1) == ["2", "3"]
        assert relay.state(S).segments == (Segment(1, "aaaaaaaa", 2), Segment(2, "bbbbbbbb", 3))

    def test_an_ended_stream_is_closed(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, "1", end="completed"))
        assert claim(relay, "bbbbbbbb") == ("closed", 0, False, "completed")

    def test_lost_state_is_created_again_with_its_attempt(self, relay: Relay) -> None:
        assert claim(relay, attempt=3) == ("ok", 3, False, "0")
        assert relay.call(append(1, "1", attempt=3)) == ("ok", 1, False, "")

    def test_a_granted_attempt_replaces_an_older_one_that_came_back(self, relay: Relay) -> None:
        claim(relay, "00000001")
        relay.call(append(1, "old", nonce="00000001"))
        assert claim(relay, attempt=2) == ("ok", 2, False, "0")
        assert chunks(relay, attempt=2) == []

    def test_a_superseded_attempt_cannot_be_created_again(self, relay: Relay) -> None:
        claim(relay, attempt=3)
        assert claim(relay, "bbbbbbbb", attempt=2).kind == "fenced"
        assert claim(relay, "bbbbbbbb", attempt=3).kind == "fenced"


class TestAppend:
    @pytest.mark.fakeredis
    def test_keeps_chunks_in_order(self, relay: Relay) -> None:
        claim(relay)
        assert relay.call(append(1, '"a"', '"b"')) == ("ok", 2, False, "")
        assert relay.call(append(3, '"c"')) == ("ok", 3, False, "")
        assert chunks(relay) == ['"a"', '"b"', '"c"']

    def test_one_entry_a_call(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, "1", "2"))
        relay.call(append(3, "3"))
        assert [(e.first, e.last) for e in page(relay).entries] == [(1, 2), (3, 3)]

    def test_a_repetition_changes_nothing(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, "1", "2"))
        assert relay.call(append(1, "1", "2")) == ("duplicate", 2, False, "")
        assert chunks(relay) == ["1", "2"]

    @pytest.mark.fakeredis
    def test_of_an_overlap_the_unseen_part_is_added(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, "1", "2"))
        assert relay.call(append(1, "1", "2", "3", "4")) == ("ok", 4, False, "")
        assert chunks(relay) == ["1", "2", "3", "4"]
        assert relay.state(S).size == len("1\n2") + len("3\n4")

    def test_a_gap_is_refused(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, "1"))
        assert relay.call(append(3, "3")) == ("gap", 2, False, "")
        assert chunks(relay) == ["1"]

    def test_an_end_behind_a_gap_is_refused(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, "1"))
        assert relay.call(append(3, "3", end="completed")) == ("gap", 2, False, "")
        assert relay.call(append(3, end="completed")) == ("gap", 2, False, "")
        assert relay.state(S).end == ""

    def test_a_superseded_attempt_is_fenced(self, relay: Relay) -> None:
        claim(relay)
        relay.call(Release(S, 1, "aaaaaaaa", 0))
        claim(relay, "bbbbbbbb")
        assert relay.call(append(1, "zombie")) == ("fenced", 2, False, "")
        assert chunks(relay, attempt=2) == []

    def test_another_nonce_is_fenced(self, relay: Relay) -> None:
        claim(relay)
        assert relay.call(append(1, "1", nonce="ffffffff")).kind == "fenced"

    def test_an_unclaimed_stream_is_unknown(self, relay: Relay) -> None:
        assert relay.call(append(1, "1")).kind == "unknown"

    def test_an_older_state_is_unknown(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1"))
        assert relay.call(append(1, "1")).kind == "unknown"

    def test_the_last_chunks_and_the_end_are_one_step(self, relay: Relay) -> None:
        claim(relay)
        assert relay.call(append(1, "1", end="completed")) == ("ok", 1, False, "completed")
        assert chunks(relay) == ["1"]
        assert relay.state(S).end == "completed"

    def test_the_end_may_be_repeated(self, relay: Relay) -> None:
        claim(relay)
        final = append(1, "1", end="completed")
        relay.call(final)
        assert relay.call(final) == ("duplicate", 1, False, "completed")

    def test_nothing_follows_the_end(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, "1", end="completed"))
        assert relay.call(append(2, "2")) == ("closed", 1, False, "completed")
        assert relay.call(append(2, end="producer-error")).kind == "closed"
        assert chunks(relay) == ["1"]

    def test_an_error_is_kept_for_readers(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, end="producer-error", error='{"code":"x"}'))
        assert relay.state(S).error == '{"code":"x"}'

    def test_the_largest_size_closes_the_stream(self, make_relay: MakeRelay) -> None:
        relay = make_relay(max_bytes=5)
        claim(relay)
        assert relay.call(append(1, "12345")).kind == "ok"
        assert relay.call(append(2, "6")) == ("too-large", 1, False, "too-large")
        assert relay.state(S).end == "too-large"
        assert chunks(relay) == ["12345"]

    def test_renews_the_lease(self, make_relay: MakeRelay) -> None:
        relay = make_relay(lease=60_000)
        claim(relay)
        before = relay.state(S)
        eventually(lambda: relay.state(S).lease_left < before.lease_left)
        relay.call(append(1, "1"))
        after = relay.state(S)
        assert after.now + after.lease_left > before.now + before.lease_left

    @pytest.mark.fakeredis
    def test_many_requests_are_answered_each(self, relay: Relay) -> None:
        claim(relay)
        answers = relay.execute([append(1, "1"), append(5, "5"), append(2, "2", end="completed")])
        assert [answer.kind for answer in answers] == ["ok", "gap", "ok"]


class TestRead:
    @pytest.mark.parametrize("seq", range(8))
    def test_from_any_chunk_also_inside_an_entry(self, relay: Relay, seq: int) -> None:
        claim(relay)
        relay.call(append(1, "1", "2", "3"))
        relay.call(append(4, "4"))
        relay.call(append(5, "5", "6", "7"))
        assert chunks(relay, seq) == [str(number) for number in range(seq + 1, 8)]

    @pytest.mark.fakeredis
    def test_in_pages(self, relay: Relay) -> None:
        claim(relay)
        for number in range(1, 6):
            relay.call(append(number, str(number)))
        assert chunks(relay, 0, limit=2) == ["1", "2"]
        assert chunks(relay, 2, limit=2) == ["3", "4"]

    def test_the_state_alone(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, "1"))
        assert page(relay, limit=0).entries == ()

    def test_no_such_stream(self, relay: Relay) -> None:
        assert relay.read(Read("never")) is None
        with pytest.raises(StreamNotFoundError, match="never"):
            relay.state("never")

    @pytest.mark.fakeredis
    def test_a_stream_expires(self, make_relay: MakeRelay) -> None:
        relay = make_relay(ttl=20)
        claim(relay)
        relay.call(append(1, "1", end="completed"))
        eventually(lambda: relay.read(Read(S)) is None)

    @pytest.mark.fakeredis
    def test_times(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1"))
        claim(relay)
        relay.call(append(1, "1"))
        relay.call(append(2, end="completed"))
        state = relay.state(S)
        assert 0 < state.created <= state.first_chunk <= state.ended <= state.now


class TestRenewAndRelease:
    @pytest.mark.fakeredis
    def test_renews(self, make_relay: MakeRelay) -> None:
        relay = make_relay(lease=60_000)
        claim(relay)
        relay.call(append(1, "1", "2"))
        assert relay.call(Renew(S, 1, "aaaaaaaa")) == ("ok", 2, False, "")

    def test_learns_of_a_stop(self, relay: Relay) -> None:
        claim(relay)
        relay.call(Stop(S))
        assert relay.call(Renew(S, 1, "aaaaaaaa")).stop is True

    @pytest.mark.parametrize("wait", [None, 10])
    def test_refusals(self, relay: Relay, wait: int | None) -> None:
        def ask(attempt: int, nonce: str) -> str:
            if wait is None:
                return relay.call(Renew(S, attempt, nonce)).kind
            return relay.call(Release(S, attempt, nonce, wait)).kind

        assert ask(1, "aaaaaaaa") == "unknown"
        claim(relay)
        assert ask(1, "ffffffff") == "fenced"
        assert ask(2, "aaaaaaaa") == "unknown"
        relay.call(append(1, end="completed"))
        assert ask(1, "aaaaaaaa") == "closed"


class TestStop:
    def test_a_queued_stream_ends_at_once(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1"))
        assert relay.call(Stop(S)) == ("ended", 0, True, "stopped")
        assert claim(relay) == ("closed", 0, True, "stopped")

    @pytest.mark.fakeredis
    def test_a_living_producer_is_asked(self, relay: Relay) -> None:
        claim(relay)
        assert relay.call(Stop(S)) == ("asked", 1, True, "")
        assert relay.state(S).end == ""
        assert relay.call(append(1, "1")) == ("ok", 1, True, "")

    def test_a_released_stream_ends_at_once(self, relay: Relay) -> None:
        claim(relay)
        relay.call(Release(S, 1, "aaaaaaaa", 60_000))
        assert relay.call(Stop(S)).kind == "ended"

    def test_a_producer_that_lets_go_ends_it(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, "1"))
        relay.call(Stop(S))
        assert relay.call(Release(S, 1, "aaaaaaaa", 60_000)) == ("ok", 1, True, "stopped")
        state = relay.state(S)
        assert (state.end, state.last, state.released) == ("stopped", 1, False)
        assert relay.call(Release(S, 1, "aaaaaaaa", 60_000)).kind == "closed"

    def test_a_lost_producers_stream_ends_at_once(self, make_relay: MakeRelay) -> None:
        relay = make_relay(lease=1)
        claim(relay)
        eventually(lambda: relay.state(S).lease_left < 0)
        assert relay.call(Stop(S)).kind == "ended"

    def test_an_ended_stream_stays_as_it_ended(self, relay: Relay) -> None:
        claim(relay)
        relay.call(append(1, end="completed"))
        assert relay.call(Stop(S)) == ("closed", 0, True, "completed")

    def test_no_such_stream(self, relay: Relay) -> None:
        assert relay.call(Stop(S)).kind == "unknown"


class TestReap:
    def test_leaves_the_living_alone(self, make_relay: MakeRelay) -> None:
        relay = make_relay(lease=60_000, reap_after=30_000)
        claim(relay)
        answer = relay.call(Reap(S))
        assert answer.kind == "alive"
        assert 80_000 < answer.number <= 90_000

    def test_waits_for_the_grace_time(self, make_relay: MakeRelay) -> None:
        relay = make_relay(lease=1, reap_after=60_000)
        claim(relay)
        eventually(lambda: relay.state(S).lease_left < 0)
        assert relay.call(Reap(S)).kind == "alive"

    def test_gives_notice_first(self, make_relay: MakeRelay) -> None:
        """Whoever could not renew while the relay was away has the time to do so now."""
        relay = make_relay(lease=200, reap_after=200)
        claim(relay)
        for _ in range(2):
            eventually(lambda: relay.state(S).lease_left < -200)
            answer = relay.call(Reap(S))
            assert answer.kind == "alive"
            assert 0 < answer.number <= 200
            assert relay.call(Renew(S, 1, "aaaaaaaa")).kind == "ok"
            assert relay.call(Reap(S)).number > 200

    @pytest.mark.fakeredis
    def test_ends_the_lost(self, make_relay: MakeRelay) -> None:
        relay = make_relay(lease=1, reap_after=1)
        claim(relay)
        relay.call(append(1, "1"))
        eventually(lambda: relay.call(Reap(S)).kind == "ended")
        state = relay.state(S)
        assert state.end == "producer-disconnected"
        assert '"code":"producer-disconnected"' in state.error
        assert chunks(relay) == ["1"]
        assert relay.call(append(2, "2")) == ("closed", 1, False, "producer-disconnected")

    def test_leaves_a_queued_stream_alone(self, make_relay: MakeRelay) -> None:
        relay = make_relay(lease=1, reap_after=1)
        relay.call(Create(S, "task-1"))
        assert relay.call(Reap(S)).kind == "alive"

    def test_repeats_the_answer(self, relay: Relay) -> None:
        assert relay.call(Reap(S)).kind == "unknown"
        claim(relay)
        relay.call(append(1, end="completed"))
        assert relay.call(Reap(S)) == ("closed", 0, False, "completed")


@pytest.mark.fakeredis
def test_many_streams_are_read(relay: Relay) -> None:
    names = [f"read-{number}" for number in range(600)]
    relay.execute([Create(name, name) for name in names if name != "read-300"])
    pages = relay.read_all([Read(name) for name in names])
    found = [None if page is None else page.state.owner for page in pages]
    assert found == [name if name != "read-300" else None for name in names]
