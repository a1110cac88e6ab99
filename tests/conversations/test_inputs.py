"""Messages to running tasks: each once and in order, typed, also after a retry; and questions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import StreamHandle, get_conversation
from streamstraight_celery.errors import QuestionClosedError
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Post, Read
from tests.conftest import eventually
from tests.conversations.project import aask, alisten, ask, lead, lead_later, listen, repeat
from tests.conversations.test_log import events
from tests.support.workers import worker_here


@pytest.fixture
def working(app: Celery) -> Iterator[Celery]:
    app.conf.stream_lease = 30  # these tests lose no worker, however slow the machine is
    with worker_here(app, pool="threads", concurrency=4):
        yield app


def chunks(relay: Relay, stream: StreamHandle) -> list[Any]:
    page = relay.read(Read(stream.id, 0, 0, 1000))
    assert page is not None
    texts = [text for entry in page.entries for text in entry.data.decode().split("\n")]
    return [json.loads(text) for text in texts]


def of_type(app: Celery, kind: str) -> list[dict[str, Any]]:
    return [each for each in events(app) if each["type"] == kind]


@pytest.mark.parametrize("task", [listen, alisten])
def test_messages_come_once_and_in_order(working: Celery, relay: Relay, task: Any) -> None:
    chat = get_conversation("chat-42", app=working)
    chat.send(0)  # before there is a task
    stream = chat.stream(task, 4)
    eventually(lambda: chunks(relay, stream)[:2] == ["ready", 0])
    chat.send("not for tasks", type="title")
    for number in (1, 2, 3):
        chat.send(number)
    eventually(lambda: stream.state().end == "completed")
    assert chunks(relay, stream) == ["ready", 0, 1, 2, 3]


def test_the_next_task_receives_what_the_one_before_has_not(working: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=working)
    for number in (1, 2, 3):
        chat.send(number)
    first, second = [chat.stream(listen, count, if_active="enqueue") for count in (2, 1)]
    eventually(lambda: second.state().end == "completed")
    assert chunks(relay, first) == ["ready", 1, 2]
    assert chunks(relay, second) == ["ready", 3]


def test_a_task_that_is_retried_goes_on_behind_them(working: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=working)
    stream = chat.stream(repeat, 3)
    for number in (1, 2, 3):
        chat.send(number)
    eventually(lambda: stream.state().end == "completed")
    assert chunks(relay, stream) == [1, 2, 3]
    assert stream.state().attempt == 4


@pytest.mark.parametrize("task", [listen, alisten, ask])
def test_one_that_waits_can_be_stopped(working: Celery, relay: Relay, task: Any) -> None:
    chat = get_conversation("chat-42", app=working)
    stream = chat.stream(task) if task is ask else chat.stream(task, 1)
    eventually(lambda: chunks(relay, stream) == ["ready"])
    assert stream.stop()
    eventually(lambda: stream.state().end == "stopped")


def test_a_message_of_another_type_is_refused(working: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=working)
    stream = chat.stream(listen, 1, True)
    chat.send({"approved": "perhaps"}, id="bad")
    chat.send({"approved": True})
    eventually(lambda: stream.state().end == "completed")
    assert chunks(relay, stream) == ["ready", {"approved": True}]
    (refused,) = of_type(working, "refused")
    assert refused["input"] == "bad"
    assert refused["message"].startswith("not a Approval")


def test_one_answer_wins(working: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=working)
    stream = chat.stream(ask)
    eventually(lambda: of_type(working, "question"))
    (question,) = of_type(working, "question")
    assert (question["value"], question["stream_id"]) == ({"tool": "delete"}, stream.id)
    chat.send({"approved": False})  # answers nothing
    chat.send({"approved": 2}, answers=question["id"], id="bad")
    eventually(lambda: of_type(working, "refused"))
    chat.send({"approved": True}, answers=question["id"], id="good")
    chat.send({"approved": True}, answers=question["id"], id="good")
    with pytest.raises(QuestionClosedError):
        chat.send({"approved": False}, answers=question["id"])
    eventually(lambda: stream.state().end == "completed")
    assert chunks(relay, stream) == ["ready", True]


def test_a_question_is_given_up_in_time(working: Celery) -> None:
    chat = get_conversation("chat-42", app=working)
    stream = chat.stream(ask, 0.1)
    eventually(lambda: stream.state().end == "producer-error")
    (closed,) = of_type(working, "closed")
    with pytest.raises(QuestionClosedError):
        chat.send({"approved": True}, answers=closed["question"])


@pytest.mark.parametrize("task", [ask, aask])
@pytest.mark.parametrize(("late", "end"), [(2, "producer-error"), (True, "completed")])
def test_an_answer_at_the_last_moment(
    working: Celery, relay: Relay, monkeypatch: pytest.MonkeyPatch, task: Any, late: Any, end: str
) -> None:
    chat = get_conversation("chat-42", app=working)
    call = relay.call

    def calls(request: Any) -> Any:
        if isinstance(request, Post) and request.event_id == f"closed:{request.answers}":
            chat.send({"approved": late}, answers=request.answers, id="late")
        return call(request)

    with monkeypatch.context() as patch:
        patch.setattr(relay, "call", calls)
        stream = chat.stream(task, 0.1)
        eventually(lambda: stream.state().end)
    assert stream.state().end == end
    assert len(of_type(working, "closed")) == (late == 2)


def test_tasks_that_a_task_starts_are_its_children(working: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=working)
    stream = chat.stream(lead)
    eventually(lambda: len(of_type(working, "stream")) == 3)
    first, second, third = of_type(working, "stream")
    assert "parent" not in first
    assert [second["parent"], third["parent"]] == [stream.id] * 2
    assert second["title"] == "child"
    assert relay.state(second["stream_id"]).conversation == "chat-42"
    active = chat.active_stream()
    assert active is not None
    assert active.id == stream.id
    chat.send("for both")
    eventually(lambda: stream.state().end == relay.state(second["stream_id"]).end == "completed")


def test_a_child_takes_no_message_from_its_parent(working: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=working)
    stream = chat.stream(lead_later)
    eventually(lambda: len(of_type(working, "stream")) == 2)
    chat.send("for both")
    eventually(lambda: stream.state().end == "completed")
    assert chunks(relay, stream) == ["for both"]


def test_stopping_a_stream_stops_its_children(working: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=working)
    stream = chat.stream(lead)
    eventually(lambda: len(of_type(working, "stream")) == 3)
    child = of_type(working, "stream")[1]["stream_id"]
    assert chat.stop(tree=True)
    eventually(lambda: stream.state().end == relay.state(child).end == "stopped")
