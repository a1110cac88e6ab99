"""One active stream a conversation, however many ask at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import redis
from celery import Celery

from streamstraight_celery import (
    StreamActiveError,
    StreamNotFoundError,
    active_stream,
    get_stream,
    latest_stream,
)
from streamstraight_celery.enqueue.conversations import resume_url
from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Answer, Append, Claim, Delete, Request
from streamstraight_celery.runtime import Runtime
from tests.conftest import ROOT, eventually
from tests.conversations.project import answer, race

REQUESTS = 50


def end(relay: Relay, stream_id: str, reason: str = "completed") -> None:
    """What a worker does at the end."""
    nonce = "0" * 8
    attempt = relay.call(Claim(stream_id, nonce)).number
    assert relay.call(Append(stream_id, attempt, nonce, 1, 0, b"", reason)).kind == "ok"


def ask(if_active: Any = "reject", key: str = "chat-42") -> Any:
    return answer.apply_stream(("hi",), key=key, if_active=if_active)


def test_a_stream_is_announced_once(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    execute = relay.execute

    def noted(requests: Sequence[Request]) -> list[Answer]:
        asked.extend(type(each).__name__ for each in requests)
        return execute(requests)

    monkeypatch.setattr(relay, "execute", noted)
    ask()
    assert asked == ["Create", "Hold"]
    answer.stream("hi")
    assert asked == ["Create", "Hold", "Create"]


class TestActive:
    def test_a_conversation_without_a_stream(self, app: Celery) -> None:
        assert active_stream("chat-42") is None

    def test_a_queued_stream_is_active(self, app: Celery, sent: list[str]) -> None:
        handle = ask()
        found = active_stream("chat-42")
        assert found is not None
        assert (found.id, found.task_id) == (handle.id, handle.task_id)
        assert sent == [handle.task_id]
        assert active_stream("chat-43") is None

    @pytest.mark.parametrize("reason", ["completed", "producer-error", "stopped", "too-large"])
    def test_it_is_cleared_when_the_stream_ends(
        self, app: Celery, relay: Relay, reason: str
    ) -> None:
        handle = ask()
        end(relay, handle.id, reason)
        assert active_stream("chat-42") is None
        assert ask().id != handle.id

    def test_a_retried_stream_stays_active(self, app: Celery, relay: Relay) -> None:
        from streamstraight_celery.relays.requests import Release

        handle = ask()
        attempt = relay.call(Claim(handle.id, "0" * 8)).number
        relay.call(Release(handle.id, attempt, "0" * 8, 60_000))
        found = active_stream("chat-42")
        assert found is not None
        assert found.id == handle.id

    def test_a_lost_producer_does_not_block_the_conversation(
        self, app: Celery, relay: Relay
    ) -> None:
        handle = ask()
        relay.call(Claim(handle.id, "0" * 8))
        assert active_stream("chat-42") is not None
        eventually(lambda: active_stream("chat-42") is None)
        assert handle.state().end == "producer-disconnected"
        assert ask().id != handle.id

    def test_the_end_of_an_older_stream_clears_nothing(self, app: Celery, relay: Relay) -> None:
        old = ask()
        new = ask("replace")
        assert old.state().end == "stopped"
        found = active_stream("chat-42")
        assert found is not None
        assert found.id == new.id


class TestPolicies:
    def test_reject(self, app: Celery, sent: list[str]) -> None:
        handle = ask()
        with pytest.raises(StreamActiveError, match="'chat-42' has the active stream") as error:
            ask()
        assert error.value.stream_id == handle.id
        assert sent == [handle.task_id]

    def test_join(self, app: Celery, sent: list[str]) -> None:
        handle = ask()
        joined = ask("join")
        assert (joined.id, joined.task_id, joined.joined) == (handle.id, handle.task_id, True)
        assert not handle.joined
        assert sent == [handle.task_id]

    def test_replace_stops_a_running_stream(self, app: Celery, relay: Relay) -> None:
        old = ask()
        relay.call(Claim(old.id, "0" * 8))
        new = ask("replace")
        assert old.state().stop_asked
        assert active_stream("chat-42").id == new.id  # type: ignore[union-attr]

    def test_wrong_arguments_stop_nothing(self, app: Celery) -> None:
        old = ask()
        with pytest.raises(TypeError):
            answer.apply_stream((), key="chat-42", if_active="replace")
        assert old.state().end == ""

    def test_a_broker_that_is_away_leaves_the_conversation_free(
        self, app: Celery, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from celery import Task

        def refuse(*_: Any, **__: Any) -> None:
            raise ConnectionError("no broker")

        with monkeypatch.context() as patched:
            patched.setattr(Task, "apply_async", refuse)
            with pytest.raises(ConnectionError, match="no broker"):
                answer.apply_stream(("hi",), key="chat-42", stream_id="one")
        assert get_stream("one").state().end == "stopped"
        assert active_stream("chat-42") is None

    def test_a_stream_that_lost_leaves_nothing_behind(self, app: Celery) -> None:
        ask()
        with pytest.raises(StreamActiveError):
            answer.apply_stream(("hi",), key="chat-42", stream_id="late")
        with pytest.raises(StreamNotFoundError):
            get_stream("late")

    @pytest.mark.parametrize("key", ["", "x" * 501, 42, "half \ud83d"])
    def test_a_key_that_cannot_be(self, app: Celery, key: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"^key="):
            ask(key=key)

    def test_an_unknown_policy(self, app: Celery) -> None:
        with pytest.raises(ConfigurationError, match="'join', 'reject' or 'replace', or 'enqueue'"):
            ask("ignore")


class TestRaces:
    @pytest.mark.parametrize("if_active", ["join", "reject"])
    def test_one_of_many_threads_enqueues(
        self, app: Celery, sent: list[str], if_active: str
    ) -> None:
        outcomes = race("chat-42", if_active, REQUESTS, threading.Barrier(REQUESTS))
        active = active_stream("chat-42")
        assert active is not None
        assert sent == [active.task_id]
        if if_active == "join":
            assert outcomes == [active.id] * REQUESTS
        else:
            assert sorted(outcomes) == sorted(["rejected"] * (REQUESTS - 1) + [active.id])

    def test_after_the_end_one_of_many_enqueues(
        self, app: Celery, relay: Relay, sent: list[str]
    ) -> None:
        first = ask()
        end(relay, first.id)
        outcomes = race("chat-42", "join", REQUESTS, threading.Barrier(REQUESTS))
        assert len(set(outcomes)) == 1
        assert sent == [first.task_id, outcomes[0]]

    def test_the_last_of_many_replacements_is_left(self, app: Celery) -> None:
        outcomes = race("chat-42", "replace", REQUESTS, threading.Barrier(REQUESTS))
        assert len(set(outcomes)) == REQUESTS
        running = [each for each in outcomes if not get_stream(each).state().end]
        active = active_stream("chat-42")
        assert active is not None
        assert running == [active.id]


@pytest.mark.parametrize("if_active", ["join", "reject"])
def test_one_of_many_processes_enqueues(redis_url: str, if_active: str) -> None:
    command = [sys.executable, "-m", "tests.conversations.project", redis_url, "chat", if_active]
    racers = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(REQUESTS // 10)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    outcomes = [line for racer in racers for line in racer.communicate(timeout=60)[0].split()]
    assert len(outcomes) == REQUESTS
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen("celery") == 1
        (winner,) = {each for each in outcomes if each != "rejected"}
        assert client.hget("ss:{conversation:chat}:m", "A") == winner.encode()
        states = set(client.scan_iter("ss:{*}:m"))
        assert states == {b"ss:{conversation:chat}:m", f"ss:{{{winner}}}:m".encode()}


def test_where_a_chat_goes_on(app: Celery, relay: Relay) -> None:
    assert resume_url("chat-42") is None
    handle = ask()
    url = resume_url("chat-42")
    assert url is not None
    place, _, token = url.partition("?token=")
    assert place == f"http://127.0.0.1:8787/v1/sse/{handle.id}"
    grant = Runtime.of(app).tokens.verify(token)
    assert (grant.stream_id, grant.scopes) == (handle.id, {"read"})
    # A page that says so while the answer is written has only a part of it.
    assert resume_url("chat-42", have=handle.id) is not None


@pytest.mark.parametrize("reason", ["completed", "producer-error", "stopped"])
def test_an_ended_stream_is_replayed_unless_the_page_has_it(
    app: Celery, relay: Relay, reason: str
) -> None:
    before = ask()
    end(relay, before.id, "completed")
    handle = ask()
    end(relay, handle.id, reason)
    assert active_stream("chat-42") is None
    latest = latest_stream("chat-42")
    assert latest is not None
    assert (latest.id, latest.task_id) == (handle.id, handle.task_id)
    for have in (None, before.id, "something else"):
        url = resume_url("chat-42", have=have)
        assert url is not None
        assert f"/v1/sse/{handle.id}?" in url
    assert resume_url("chat-42", have=handle.id) is None
    relay.execute([Delete(handle.id)])
    assert latest_stream("chat-42") is None
    assert resume_url("chat-42") is None
