"""Finding streams: what the index holds wrongly is neither believed nor kept."""

from __future__ import annotations

from typing import Any

import pytest

from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.relays.about import ACTIVE, PLACES, RECENT, About
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.cluster.relay import ClusterRelay
from streamstraight_celery.relays.index import Query, place_of, terms_of
from streamstraight_celery.relays.memory.relay import MemoryRelay
from streamstraight_celery.relays.requests import (
    Append,
    Claim,
    Conclude,
    Create,
    Delete,
    Index,
    Indexed,
    Open,
    Progress,
    Read,
    Reap,
    Release,
    Stop,
    Write,
)
from tests.contract.conftest import MakeRelay

FOUR_TWO = About.of("tasks.answer", {"user": "42"})


def found(relay: Relay, **wanted: Any) -> list[str]:
    return sorted(name for name, _ in relay.find(Query.of(**wanted)).streams)


def active(relay: Relay) -> list[str]:
    return found(relay, state="active")


def entries(relay: Relay, term: str) -> int:
    """How many entries the index itself has under a term."""
    answers = relay.execute([Indexed(place, term) for place in relay.places])
    return sum(answer.number for answer in answers)


def ended(relay: Relay, name: str, about: About = FOUR_TWO, end: str = "completed") -> None:
    relay.call(Create(name, name, about=about))
    relay.call(Claim(name, "aaaaaaaa", name, about=about))
    relay.call(Append(name, 1, "aaaaaaaa", 1, 1, b'"x"', end, ""))


@pytest.mark.fakeredis
def test_streams_are_found_by_labels_task_and_state(relay: Relay) -> None:
    relay.call(Create("queued", "t1", about=FOUR_TWO))
    relay.call(Create("other", "t2", about=About.of("tasks.other", {"user": "43", "team": "x"})))
    relay.call(Create("running", "t3", about=FOUR_TWO))
    relay.call(Claim("running", "aaaaaaaa", "t3", about=FOUR_TWO))
    ended(relay, "done")
    ended(relay, "failed", end="producer-error")

    assert found(relay) == ["done", "failed", "other", "queued", "running"]
    assert active(relay) == ["other", "queued", "running"]
    assert found(relay, labels={"user": "42"}) == ["done", "failed", "queued", "running"]
    assert found(relay, labels={"user": "43", "team": "x"}) == ["other"]
    assert found(relay, labels={"user": "42", "team": "x"}) == []
    assert found(relay, task="tasks.other") == ["other"]
    assert found(relay, state="streaming") == ["running"]
    assert found(relay, state=["queued", "completed"]) == ["done", "other", "queued"]
    assert found(relay, labels={"user": "42"}, state="ended") == ["done", "failed"]
    assert found(relay, task="tasks.answer", state="producer-error") == ["failed"]
    assert found(relay, state="failed") == ["failed"]
    state = relay.state("queued")
    assert (state.task, dict(state.labels)) == ("tasks.answer", {"user": "42"})


def test_the_newest_come_first_and_no_more_than_asked_for(relay: Relay) -> None:
    for number in range(60):
        relay.call(Create(f"s{number:02d}", "t", about=FOUR_TWO))

    some = relay.find(Query.of(labels={"user": "42"}, limit=25))

    created = [state.created for _, state in some.streams]
    assert len(created) == 25
    assert created == sorted(created, reverse=True)
    assert some.more
    assert some.total == 60
    whole = relay.find(Query.of(limit=60))
    assert (len(whole.streams), whole.more) == (60, False)


@pytest.mark.fakeredis
def test_whatever_ends_a_stream_takes_it_from_the_active_ones(make_relay: MakeRelay) -> None:
    relay = make_relay(lease=1, reap_after=1)
    ended(relay, "completed")
    for name in ("stopped", "concluded", "released"):
        relay.call(Create(name, "t", about=FOUR_TWO))
    relay.call(Stop("stopped"))
    relay.call(Conclude("concluded", "t", "", "producer-error", "{}"))
    relay.call(Claim("released", "aaaaaaaa", "t"))
    relay.call(Stop("released"))
    relay.call(Release("released", 1, "aaaaaaaa", 1000))
    relay.call(Create("expired", "t", wait=1, about=FOUR_TWO))
    while relay.call(Reap("expired")).kind == "alive":
        pass
    opened = Open(
        stream_id="written", config="c", kind="json", content_type="application/json",
        nonce="cccccccc",
    )  # fmt: skip
    relay.call(opened)
    assert "written" in active(relay)
    relay.call(Write(stream_id="written", end="completed"))

    # Not `active()`, which would repair it.
    assert entries(relay, ACTIVE) == 0
    assert len(found(relay)) == 6


@pytest.mark.fakeredis
def test_a_stream_that_begins_again_is_active_again(relay: Relay) -> None:
    relay.call(Claim("a", "aaaaaaaa", "t", about=FOUR_TWO))
    relay.call(Conclude("a", "t", "aaaaaaaa", "producer-disconnected", "{}", begun=True))
    assert active(relay) == []

    relay.call(Claim("a", "bbbbbbbb", "t", after_loss=True, about=FOUR_TWO))

    assert active(relay) == ["a"]
    assert found(relay, labels={"user": "42"}) == ["a"]


def test_a_deleted_stream_is_found_no_more(relay: Relay) -> None:
    ended(relay, "a")
    ended(relay, "b")
    relay.call(Delete("a"))
    relay.call(Delete("b", keep_name=True))

    assert found(relay) == found(relay, labels={"user": "42"}) == []


def test_an_entry_that_is_wrong_is_neither_believed_nor_kept(relay: Relay) -> None:
    if isinstance(relay, MemoryRelay):
        return  # has no entries
    ended(relay, "done")
    for name in ("done", "gone"):
        for term in terms_of(relay.state("done")):
            relay.call(Index(place_of(name, relay.places), name, add=(term,)))
    other = About.of("tasks.other", {"user": "7"}).terms[3]
    relay.call(Index(place_of("done", relay.places), "done", add=(other,)))
    assert entries(relay, ACTIVE) == 2

    assert active(relay) == []
    assert found(relay) == found(relay, labels={"user": "42"}) == ["done"]
    assert found(relay, labels={"user": "7"}) == []

    assert entries(relay, ACTIVE) == entries(relay, other) == 0
    assert entries(relay, RECENT) == entries(relay, FOUR_TWO.terms[3]) == 1


def test_a_stream_without_an_entry_is_entered_when_it_is_met(relay: Relay) -> None:
    if isinstance(relay, MemoryRelay):
        return
    relay.call(Create("running", "t", about=FOUR_TWO))
    ended(relay, "done")
    for name in ("running", "done"):
        remove = terms_of(relay.state(name))
        relay.call(Index(place_of(name, relay.places), name, remove=remove))
    assert entries(relay, RECENT) == 0

    # Each listing looks at some keys, until all were seen.
    while not relay.find(Query.of()).complete:
        pass

    assert found(relay) == ["done", "running"]
    assert active(relay) == ["running"]
    assert found(relay, labels={"user": "42"}) == ["done", "running"]
    assert entries(relay, ACTIVE) == 1


def test_but_only_in_the_first_day(relay: Relay) -> None:
    if isinstance(relay, MemoryRelay):
        return
    relay.call(Create("running", "t", about=FOUR_TWO))
    (progress,) = relay.execute([Progress()])
    relay.call(Progress(f"{progress.number - 25 * 3_600_000} 0 0", ""))
    relay.call(Index(place_of("running", relay.places), "running", remove=(RECENT,)))

    assert found(relay) == []


def test_stale_entries_are_dropped_while_streams_are_made(relay: Relay) -> None:
    if isinstance(relay, MemoryRelay):
        return
    for number in range(200):
        name = f"gone-{number}"
        relay.call(Index(place_of(name, relay.places), name, add=(RECENT,), at=number + 1))
    relay.call(Create("here", "t", about=FOUR_TWO))

    for _ in range(400):
        relay.tidy([RECENT])

    assert found(relay) == ["here"]
    assert entries(relay, RECENT) == 1


def test_a_cluster_spreads_the_index(relay: Relay) -> None:
    for number in range(100):
        relay.call(Create(f"s{number}", "t", about=FOUR_TWO))
    if isinstance(relay, ClusterRelay):
        assert relay.places == PLACES
        counts = [answer.number for answer in relay.execute([Indexed(p, RECENT) for p in PLACES])]
        assert sum(counts) == 100
        assert max(counts) < 30
    assert len(found(relay)) == 100


def test_a_stream_lives_as_long_after_its_end_as_it_was_told(make_relay: MakeRelay) -> None:
    relay = make_relay(ttl=60_000)
    ended(relay, "short", About.of("t", None, 0.05))
    ended(relay, "long", About.of("t", None, 3600))
    assert relay.state("long").ttl == 3_600_000

    while relay.read(Read("short")) is not None:
        pass
    assert relay.state("long").end == "completed"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"state": "done"}, "state='done': use active, queued"),
        ({"labels": {"user": 42}}, "label user=42: use a string"),
        ({"labels": {"us er": "x"}}, "label name 'us er'"),
        ({"labels": ["user"]}, "use a dict"),
        ({"limit": 0}, "limit=0"),
        ({"task": 7}, "task=7"),
    ],
)
def test_what_cannot_be_asked(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Query.of(**wanted)


@pytest.mark.parametrize("ttl", [0, -1, "60", float("nan"), float("inf"), True])
def test_no_time_to_keep_a_stream(ttl: Any) -> None:
    with pytest.raises(ConfigurationError, match="ttl="):
        About.of("t", None, ttl)
