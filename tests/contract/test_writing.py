"""What every relay promises for streams that others write. The scripts' heads specify it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import (
    Append,
    Claim,
    Create,
    Delete,
    Reap,
    Stop,
)

from .writing import JSON, LARGEST, MakeRelay, S, chunks, exists, numbered, opening, place, writing


class TestOpen:
    def test_creates(self, relay: Relay) -> None:
        assert relay.call(opening()) == ("ok", 0, False, place(0))
        state = relay.state(S)
        assert (state.attempt, state.last, state.end, state.content_type) == (1, 0, "", JSON)
        assert state.http_written
        assert not state.deleted
        assert state.lease_left > 10**12

    @pytest.mark.fakeredis
    def test_may_begin_with_chunks_and_end_at_once(self, relay: Relay) -> None:
        assert relay.call(opening("1", "2", end="completed")).reason == place(2, "completed")
        assert chunks(relay) == ["1", "2"]
        assert relay.state(S).end == "completed"

    def test_the_same_again_changes_nothing(self, relay: Relay) -> None:
        relay.call(opening("1"))
        relay.call(writing("2"))
        again = opening("other", nonce="bbbbbbbb")
        assert relay.call(again) == ("duplicate", 0, False, place(2))
        assert chunks(relay) == ["1", "2"]

    def test_one_whose_answer_was_lost_is_answered_alike(self, relay: Relay) -> None:
        assert relay.call(opening("1")) == relay.call(opening("1"))
        assert chunks(relay) == ["1"]

    @pytest.mark.parametrize("changes", [{"config": "text"}, {"end": "completed"}])
    def test_another_configuration_is_refused(self, relay: Relay, changes: dict[str, str]) -> None:
        relay.call(opening())
        assert relay.call(opening(nonce="bbbbbbbb", **changes)) == ("exists", 0, False, "")

    def test_a_closed_one_matches_a_closed_one(self, relay: Relay) -> None:
        relay.call(opening())
        relay.call(writing(end="producer-error"))
        assert relay.call(opening(nonce="bbbbbbbb")).kind == "exists"
        again = relay.call(opening(nonce="bbbbbbbb", end="completed"))
        assert again == ("duplicate", 0, False, place(0, "producer-error"))

    @pytest.mark.parametrize("claimed", [False, True])
    def test_a_workers_stream_is_another(self, relay: Relay, claimed: bool) -> None:
        relay.call(Create(S, "task-1"))
        if claimed:
            relay.call(Claim(S, "bbbbbbbb", "task-1"))
        assert relay.call(opening()).kind == "exists"
        assert not relay.state(S).http_written

    def test_too_large_creates_nothing(self, make_relay: MakeRelay) -> None:
        relay = make_relay(max_bytes=3)
        assert relay.call(opening("1234")) == ("too-large", 0, False, "")
        assert not exists(relay)
        assert relay.call(opening("123")).kind == "ok"

    @pytest.mark.parametrize(
        "life", [{"ttl": 0}, {"expires_at": 0}, {"expires_at": 1_000_000_000_000}]
    )
    @pytest.mark.parametrize("texts", [(), ("1",)])
    def test_a_life_that_is_over_is_answered_and_gone(
        self, relay: Relay, life: dict[str, int], texts: tuple[str, ...]
    ) -> None:
        assert relay.call(opening(*texts, **life)) == ("ok", 0, False, place(len(texts)))
        assert not exists(relay)
        assert relay.call(writing("2")).kind == "unknown"


class TestWrite:
    @pytest.mark.fakeredis
    def test_adds_at_the_end(self, relay: Relay) -> None:
        relay.call(opening("1"))
        assert relay.call(writing("2", "3")) == ("ok", 0, False, place(3))
        assert relay.call(writing("4")) == ("ok", 0, False, place(4))
        assert chunks(relay) == ["1", "2", "3", "4"]

    def test_no_such_stream(self, relay: Relay) -> None:
        assert relay.call(writing("1")) == ("unknown", 0, False, "")
        assert relay.call(numbered(0, "1", end="completed")).kind == "unknown"
        assert not exists(relay)

    @pytest.mark.parametrize("claimed", [False, True])
    def test_a_workers_stream_is_held(self, relay: Relay, claimed: bool) -> None:
        relay.call(Create(S, "task-1"))
        if claimed:
            relay.call(Claim(S, "bbbbbbbb", "task-1"))
        for request in (writing("1"), writing(end="completed"), numbered(0, "1")):
            assert relay.call(request) == ("held", 0, False, "")
        assert chunks(relay) == []

    def test_a_workers_ended_stream_is_closed(self, relay: Relay) -> None:
        relay.call(Claim(S, "bbbbbbbb", "task-1"))
        relay.call(Append(S, 1, "bbbbbbbb", 1, 1, b"1", "completed"))
        answer = relay.call(writing("2"))
        assert answer == ("closed", 0, False, place(1, "completed", nonce="bbbbbbbb"))

    def test_another_content_type_is_refused(self, relay: Relay) -> None:
        relay.call(opening())
        assert relay.call(writing("1", content_type="text/plain")) == ("type", 0, False, JSON)
        assert relay.call(writing("1", content_type=JSON)).kind == "ok"
        assert chunks(relay) == ["1"]

    def test_too_large_leaves_it_open_and_as_it_was(self, make_relay: MakeRelay) -> None:
        relay = make_relay(max_bytes=5)
        relay.call(opening("123"))
        before = relay.state(S)
        for request in (writing("456"), writing("456", end="completed"), numbered(0, "456")):
            assert relay.call(request) == ("too-large", 0, False, "")
        after = relay.state(S)
        assert (after.last, after.size, after.end) == (before.last, before.size, "")
        assert relay.call(numbered(0, "45")) == ("ok", 0, False, place(2))
        assert chunks(relay) == ["123", "45"]

    @pytest.mark.parametrize("reason", ["completed", "producer-error", "stopped"])
    def test_closes_with_a_reason(self, relay: Relay, reason: str) -> None:
        relay.call(opening("1"))
        assert relay.call(writing("2", end=reason)).reason == place(2, reason)
        state = relay.state(S)
        assert state.end == reason
        assert 0 < state.created <= state.first_chunk <= state.ended

    def test_nothing_follows_the_end(self, relay: Relay) -> None:
        relay.call(opening("1"))
        relay.call(writing(end="completed"))
        closed = ("closed", 0, False, place(1, "completed"))
        assert relay.call(writing("2")) == closed
        assert relay.call(writing("2", end="completed")) == closed
        assert relay.call(numbered(0, "2")) == closed
        assert chunks(relay) == ["1"]

    def test_closing_again_is_no_error(self, relay: Relay) -> None:
        relay.call(opening("1"))
        relay.call(writing(end="completed"))
        again = relay.call(writing(end="producer-error"))
        assert again == ("duplicate", 0, False, place(1, "completed"))
        assert relay.state(S).end == "completed"


class TestSequence:
    @pytest.mark.parametrize(
        ("earlier", "later"),
        [
            ("0", "1"),
            ("10", "9"),
            ("a", "aa"),
            ("Z", "a"),  # many locales sort the other way
            ("z", "\xe4"),
            ("a-b", "ab"),  # many locales ignore the hyphen
            ("B", "a"),
            ("a\x7f", "b"),
        ],
    )
    def test_increases_byte_by_byte(self, relay: Relay, earlier: str, later: str) -> None:
        relay.call(opening())
        assert relay.call(writing("1", sequence=earlier)).kind == "ok"
        assert relay.call(writing("1", sequence=earlier)) == ("sequence", 0, False, "")
        assert relay.call(writing("2", sequence=later)).kind == "ok"
        assert relay.call(writing("3", sequence=earlier)).kind == "sequence"
        assert chunks(relay) == ["1", "2"]

    def test_is_the_streams_and_optional(self, relay: Relay) -> None:
        relay.call(opening())
        relay.call(numbered(0, "1", sequence="5"))
        assert relay.call(writing("2")).kind == "ok"
        assert relay.call(writing("3", sequence="4")).kind == "sequence"
        assert relay.call(numbered(1, "3", sequence="4")).kind == "sequence"
        assert relay.call(numbered(1, "3", sequence="6")) == ("ok", 1, False, place(3))

    def test_a_refused_one_counts_nowhere(self, make_relay: MakeRelay) -> None:
        relay = make_relay(max_bytes=4)
        relay.call(opening())
        assert relay.call(numbered(0, "12345", sequence="9")).kind == "too-large"
        assert relay.call(numbered(0, "1", sequence="1")).kind == "ok"


class TestProducer:
    def test_numbers_its_requests(self, relay: Relay) -> None:
        relay.call(opening())
        assert relay.call(numbered(0, "1")) == ("ok", 0, False, place(1))
        assert relay.call(numbered(1, "2", "3")) == ("ok", 1, False, place(3))
        assert chunks(relay) == ["1", "2", "3"]

    def test_a_repetition_changes_nothing(self, relay: Relay) -> None:
        relay.call(opening())
        for number in range(3):
            relay.call(numbered(number, str(number)))
        for number in (2, 0, 1):
            again = relay.call(numbered(number, "again"))
            assert again == ("duplicate", 2, False, place(3))
        assert chunks(relay) == ["0", "1", "2"]

    def test_a_gap_is_refused(self, relay: Relay) -> None:
        relay.call(opening())
        assert relay.call(numbered(1, "1")) == ("gap", 0, False, "")
        relay.call(numbered(0, "0"))
        assert relay.call(numbered(2, "2")) == ("gap", 1, False, "")
        assert relay.call(numbered(LARGEST, "2")) == ("gap", 1, False, "")
        assert chunks(relay) == ["0"]

    def test_a_new_epoch_begins_with_zero_and_fences_the_old(self, relay: Relay) -> None:
        relay.call(opening())
        relay.call(numbered(0, "0"))
        assert relay.call(numbered(1, "x", epoch=1)) == ("epoch", 0, False, "")
        assert relay.call(numbered(0, "1", epoch=1)) == ("ok", 0, False, place(2))
        assert relay.call(numbered(1, "x", epoch=0)) == ("fenced", 1, False, "")
        assert relay.call(numbered(0, "x", epoch=0)) == ("fenced", 1, False, "")
        assert chunks(relay) == ["0", "1"]

    @pytest.mark.fakeredis
    def test_the_largest_numbers_stay_exact(self, relay: Relay) -> None:
        relay.call(opening())
        assert relay.call(numbered(0, "0", epoch=LARGEST - 1)).kind == "ok"
        assert relay.call(numbered(0, "1", epoch=LARGEST)).kind == "ok"
        fenced = relay.call(numbered(1, "x", epoch=LARGEST - 1))
        assert fenced == ("fenced", LARGEST, False, "")
        assert relay.call(numbered(0, "x", epoch=LARGEST)).kind == "duplicate"
        assert relay.call(numbered(1, "2", epoch=LARGEST)).kind == "ok"

    def test_each_has_its_own_numbers(self, relay: Relay) -> None:
        relay.call(opening())
        names = ["p", "q", "p 0", "p\xe4", "*"]
        for number in range(2):
            for name in names:
                request = writing("1", producer=name, epoch=0, number=number)
                assert relay.call(request).kind == "ok"
                assert relay.call(request).kind == "duplicate"
        assert len(chunks(relay)) == 2 * len(names)

    def test_the_closing_request_may_be_repeated(self, relay: Relay) -> None:
        relay.call(opening())
        relay.call(numbered(0, "0"))
        closing = numbered(1, "1", end="completed")
        assert relay.call(closing) == ("ok", 1, False, place(2, "completed"))
        assert relay.call(closing) == ("duplicate", 1, False, place(2, "completed"))
        closed = ("closed", 0, False, place(2, "completed"))
        assert relay.call(numbered(2, "2")) == closed
        assert relay.call(numbered(2, end="completed")) == closed
        assert relay.call(replace(closing, producer="q")) == closed
        assert relay.call(replace(closing, epoch=1)) == closed
        assert chunks(relay) == ["0", "1"]

    def test_an_end_of_somebody_else_is_no_duplicate(self, relay: Relay) -> None:
        relay.call(opening())
        relay.call(numbered(0, "0"))
        relay.call(Stop(S))
        assert relay.call(numbered(1, end="completed")).kind == "closed"

    def test_closes_without_a_body(self, relay: Relay) -> None:
        relay.call(opening())
        closing = numbered(0, end="completed")
        assert relay.call(closing) == ("ok", 0, False, place(0, "completed"))
        assert relay.call(closing) == ("duplicate", 0, False, place(0, "completed"))

    def test_a_refused_request_is_not_counted(self, relay: Relay) -> None:
        relay.call(opening())
        assert relay.call(numbered(0, "0", content_type="text/plain")).kind == "type"
        assert relay.call(numbered(0, "0")).kind == "ok"


class TestWorkersRequests:
    def test_nobody_claims_such_a_stream(self, relay: Relay) -> None:
        relay.call(opening("1"))
        for claim in (
            Claim(S, "bbbbbbbb", "task-1"),
            Claim(S, "bbbbbbbb", "task-1", attempt=7),
            Claim(S, "aaaaaaaa", "task-1"),
            Claim(S, "bbbbbbbb", "task-1", resume=True),
        ):
            assert relay.call(claim).kind == "fenced"
        assert chunks(relay) == ["1"]
        assert relay.call(writing("2")).kind == "ok"

    def test_nobody_announces_one_of_its_name(self, relay: Relay) -> None:
        relay.call(opening())
        assert relay.call(Create(S, "task-1")) == ("exists", 0, False, "")
        assert relay.call(Create(S, "")).kind == "exists"

    def test_a_stop_ends_it_at_once(self, relay: Relay) -> None:
        relay.call(opening("1", "2"))
        assert relay.call(Stop(S)) == ("ended", 1, True, "stopped")
        assert relay.call(writing("2")) == ("closed", 0, False, place(2, "stopped"))
        assert relay.call(Stop(S)) == ("closed", 2, True, "stopped")

    def test_it_is_never_reaped(self, make_relay: MakeRelay) -> None:
        relay = make_relay(lease=1, reap_after=1)
        relay.call(opening("1"))
        assert relay.call(Reap(S)).kind == "alive"
        relay.call(writing("2"))
        assert relay.call(Reap(S)).kind == "alive"


class TestDelete:
    @pytest.mark.fakeredis
    def test_deletes(self, relay: Relay) -> None:
        relay.call(opening("1"))
        assert relay.call(Delete(S)) == ("ok", 0, False, "")
        assert not exists(relay)
        assert relay.call(Delete(S)) == ("unknown", 0, False, "")
        assert relay.call(writing("2")).kind == "unknown"

    def test_the_name_is_free_again(self, relay: Relay) -> None:
        relay.call(opening("1", ttl=60_000))
        relay.call(numbered(0, "2", sequence="9"))
        relay.call(Delete(S))
        assert relay.call(opening("new", config="other", nonce="bbbbbbbb")).kind == "ok"
        assert chunks(relay) == ["new"]
        assert relay.state(S).ttl is None
        assert relay.call(numbered(0, "3", sequence="1")).kind == "ok"

    @pytest.mark.parametrize("claimed", [False, True])
    def test_a_workers_live_stream_is_held(self, relay: Relay, claimed: bool) -> None:
        relay.call(Create(S, "task-1"))
        if claimed:
            relay.call(Claim(S, "bbbbbbbb", "task-1"))
        assert relay.call(Delete(S)) == ("held", 0, False, "")
        assert exists(relay)

    def test_a_workers_ended_stream_is_deleted(self, relay: Relay) -> None:
        relay.call(Claim(S, "bbbbbbbb", "task-1"))
        relay.call(Append(S, 1, "bbbbbbbb", 1, 1, b"1", "completed"))
        assert relay.call(Delete(S)).kind == "ok"
        assert not exists(relay)
