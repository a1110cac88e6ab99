"""Deleting the stream of a task: its name stays for as long as the task might begin it again."""

from __future__ import annotations

import pytest

from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import (
    Append,
    Claim,
    Conclude,
    Create,
    Delete,
    Read,
    Stop,
)

S = "stream-1"


def ended(relay: Relay, owner: str = "task-1") -> None:
    relay.call(Create(S, owner))
    relay.call(Claim(S, "aaaaaaaa", owner))
    relay.call(Append(S, 1, "aaaaaaaa", 1, 1, b'"old"', "completed"))


@pytest.mark.fakeredis
def test_a_deleted_stream_is_not_begun_again_by_its_task(relay: Relay) -> None:
    relay.call(Create(S, "task-1"))
    assert relay.call(Delete(S, keep_name=True)).kind == "held"
    relay.call(Stop(S))

    assert relay.call(Delete(S, keep_name=True)).kind == "ok"

    assert relay.call(Create(S, "task-1"))[:2] == ("ok", 0)  # nothing new
    assert relay.call(Claim(S, "aaaaaaaa", "task-1")).kind == "closed"
    assert relay.call(Delete(S, keep_name=True)).kind == "deleted"
    assert relay.state(S).deleted


def test_nothing_is_left_of_its_chunks(relay: Relay) -> None:
    ended(relay)
    relay.call(Delete(S, keep_name=True))

    page = relay.read(Read(S, 0, 0, 100))
    assert page is None or (page.state.deleted and page.entries == () and page.state.error == "")


def test_also_one_whose_task_runs_again_when_it_is_lost(relay: Relay) -> None:
    relay.call(Claim(S, "aaaaaaaa", "task-1"))
    relay.call(Conclude(S, "task-1", "aaaaaaaa", "producer-disconnected", "{}", begun=True))
    relay.call(Delete(S, keep_name=True))

    for options in ({"after_loss": True}, {"overwrite": True}):
        assert relay.call(Claim(S, "bbbbbbbb", "task-1", **options)).kind == "closed"  # type: ignore[arg-type]


@pytest.mark.fakeredis
def test_a_deleted_stream_makes_way_for_another_task(relay: Relay) -> None:
    ended(relay)
    assert relay.call(Create(S, "task-2")) == ("exists", 0, False, "completed")
    relay.call(Delete(S, keep_name=True))

    assert relay.call(Create(S, "task-2")).is_new

    assert relay.state(S).owner == "task-2"
    assert relay.call(Claim(S, "bbbbbbbb", "task-2")) == ("ok", 1, False, "0")
    assert relay.state(S).last == 0


def test_and_for_one_that_was_not_announced(relay: Relay) -> None:
    ended(relay)
    relay.call(Delete(S, keep_name=True))

    assert relay.call(Claim(S, "bbbbbbbb", "task-2")) == ("ok", 1, False, "0")
    assert relay.state(S).owner == "task-2"
