"""The lists of streams whose end is to be told, and the note that it was."""

from __future__ import annotations

from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import (
    LISTS,
    Answer,
    Append,
    Claim,
    Conclude,
    Create,
    Delist,
    Enlist,
    Listed,
    NoteTold,
    Release,
    Stop,
    list_of,
)

S = "stream-1"
TOLD = "proj.save"


def listed(relay: Relay, name: str = "", skip: int = 0, limit: int = 100) -> list[str]:
    answer = relay.call(Listed(name or list_of(S), skip, limit))
    return [stream_id for stream_id, _ in answer.listed]


def ended(relay: Relay, attempt: int = 1, nonce: str = "aaaaaaaa") -> Append:
    return Append(S, attempt, nonce, 1, 1, b"1", "completed")


def note(relay: Relay) -> Answer:
    state = relay.state(S)
    return relay.call(NoteTold(S, state.attempt, state.ended))


class TestLists:
    def test_a_listed_stream_is_found_until_it_is_removed(self, relay: Relay) -> None:
        mark = relay.call(Enlist(S)).mark
        assert relay.call(Listed(list_of(S), 0, 10)).listed == [(S, mark)]
        assert relay.call(Delist(S, mark)).kind == "ok"
        assert listed(relay) == []

    def test_every_stream_is_in_one_of_the_lists(self, relay: Relay) -> None:
        names = {f"stream-{number}" for number in range(200)}
        for name in names:
            relay.call(Enlist(name))
        found = [name for each in LISTS for name in listed(relay, each)]
        assert len(found) == len(names)
        assert set(found) == names

    def test_a_list_is_read_in_parts(self, relay: Relay) -> None:
        names = [name for number in range(200) if list_of(name := f"s-{number}") == LISTS[0]]
        for name in names:
            relay.call(Enlist(name))
        found = [
            name for skip in range(0, len(names), 2) for name in listed(relay, LISTS[0], skip, 2)
        ]
        assert sorted(found) == sorted(names)

    def test_one_whose_end_is_being_told_is_left_alone(self, relay: Relay) -> None:
        relay.call(Enlist(S))
        relay.call(Enlist(S, True))
        assert listed(relay) == []

    def test_only_one_of_two_sweeps_gets_it(self, relay: Relay) -> None:
        mark = relay.call(Enlist(S)).mark
        assert relay.call(Enlist(S, True, mark)).kind == "ok"
        assert relay.call(Enlist(S, True, mark)).kind == "fenced"

    def test_one_that_was_listed_again_stays(self, relay: Relay) -> None:
        mark = relay.call(Enlist(S, True)).mark
        relay.call(Enlist(S))
        assert relay.call(Delist(S, mark)).kind == "fenced"
        assert listed(relay) == [S]

    def test_removing_what_is_not_there_changes_nothing(self, relay: Relay) -> None:
        assert relay.call(Delist(S, 1)).kind == "fenced"
        assert relay.call(Enlist(S, 0, 1)).kind == "fenced"


class TestWhomItIsTold:
    def test_as_it_was_announced(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1", on_end=TOLD))
        relay.call(Claim(S, "aaaaaaaa", "task-1", on_end="another"))
        assert relay.state(S).on_end == TOLD

    def test_as_its_producer_says_when_it_was_not_announced_so(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1"))
        relay.call(Claim(S, "aaaaaaaa", "task-1", on_end=TOLD))
        assert relay.state(S).on_end == TOLD

    def test_as_the_worker_says_that_never_ran_it(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1"))
        relay.call(Conclude(S, "task-1", "ffffffff", "expired", on_end=TOLD))
        assert (relay.state(S).end, relay.state(S).on_end) == ("expired", TOLD)

    def test_nobody(self, relay: Relay) -> None:
        relay.call(Claim(S, "aaaaaaaa", "task-1"))
        assert relay.state(S).on_end == ""


class TestNote:
    def test_of_an_end(self, relay: Relay) -> None:
        relay.call(Claim(S, "aaaaaaaa", "task-1", on_end=TOLD))
        relay.call(ended(relay))
        assert relay.state(S).end_told is False
        assert note(relay).kind == "ok"
        assert relay.state(S).end_told is True

    def test_of_a_stream_that_never_began(self, relay: Relay) -> None:
        relay.call(Create(S, "task-1", on_end=TOLD))
        relay.call(Stop(S))
        assert note(relay).kind == "ok"
        assert relay.state(S).end_told is True

    def test_of_none_while_it_is_open(self, relay: Relay) -> None:
        assert relay.call(NoteTold(S, 1, 0)).kind == "unknown"
        relay.call(Claim(S, "aaaaaaaa", "task-1", on_end=TOLD))
        assert relay.call(NoteTold(S, 1, 0)).kind == "fenced"
        relay.call(Release(S, 1, "aaaaaaaa", 1000))
        assert relay.state(S).end_told is False

    def test_not_of_the_next_end(self, relay: Relay) -> None:
        relay.call(Claim(S, "aaaaaaaa", "task-1", on_end=TOLD))
        relay.call(Append(S, 1, "aaaaaaaa", 1, 0, b"", "producer-disconnected"))
        first = relay.state(S)
        note(relay)
        relay.call(Claim(S, "bbbbbbbb", "task-1", after_loss=True))
        assert relay.state(S).end_told is False
        relay.call(ended(relay, 2, "bbbbbbbb"))
        assert (relay.state(S).on_end, relay.state(S).end_told) == (TOLD, False)
        assert relay.call(NoteTold(S, first.attempt, first.ended)).kind == "fenced"
        assert relay.state(S).end_told is False
