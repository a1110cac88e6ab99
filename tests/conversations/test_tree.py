"""Stopping a stream together with those that its task has started; tasks enqueued by name."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import (
    StreamActiveError,
    StreamHandle,
    get_conversation,
    get_stream,
    send_stream_task,
)
from streamstraight_celery.conversations.events import stream_ended
from streamstraight_celery.enqueue import handle
from streamstraight_celery.errors import ConfigurationError, StreamNotEndedError
from streamstraight_celery.ids import PARENT_HEADER
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Append, Claim, Read, Stop
from streamstraight_celery.runtime import Runtime
from tests.conftest import eventually
from tests.conversations.project import answer
from tests.conversations.test_log import events

NONCE = "0" * 8


def child_of(parent: StreamHandle) -> StreamHandle:
    headers = {PARENT_HEADER: parent.id}
    return answer.apply_stream(("hi",), conversation="chat-42", headers=headers)


def count_reads(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The logs of conversations that are read from now on."""
    logs: list[str] = []
    read = relay.read

    def reads(request: Read) -> Any:
        if request.stream_id == get_conversation("chat-42").id:
            logs.append(request.stream_id)
        return read(request)

    monkeypatch.setattr(relay, "read", reads)
    return logs


def ends(*streams: StreamHandle) -> list[str]:
    return [each.state().end for each in streams]


@pytest.fixture
def tree(app: Celery) -> list[StreamHandle]:
    """A stream, two children of it, and a grandchild."""
    root = get_conversation("chat-42", app=app).stream(answer, "hi")
    first, second = child_of(root), child_of(root)
    return [root, first, second, child_of(first)]


def test_a_stream_is_stopped_with_all_below_it(tree: list[StreamHandle]) -> None:
    root, first, second, grandchild = tree
    assert first.stop(tree=True)
    assert ends(root, first, second, grandchild) == ["", "stopped", "", "stopped"]
    assert root.stop(tree=True, wait=10)
    assert ends(*tree) == ["stopped"] * 4
    assert not root.stop(tree=True)


def test_without_tree_children_go_on(tree: list[StreamHandle]) -> None:
    assert tree[0].stop()
    assert ends(*tree) == ["stopped", "", "", ""]


@pytest.mark.parametrize("first", ["conversation", "handle"])
def test_what_outlives_the_stream_that_started_it_is_reached(
    app: Celery, tree: list[StreamHandle], first: str
) -> None:
    tree[0].stop()
    by: Any = get_conversation("chat-42", app=app) if first == "conversation" else tree[0]
    assert by.stop(tree=True)
    assert ends(*tree) == ["stopped"] * 4
    assert not by.stop(tree=True)


async def test_on_an_event_loop(app: Celery, tree: list[StreamHandle]) -> None:
    assert await tree[1].astop(tree=True)
    assert await get_conversation("chat-42", app=app).astop(tree=True)
    assert ends(*tree) == ["stopped"] * 4


def test_it_waits_for_all(app: Celery, relay: Relay, tree: list[StreamHandle]) -> None:
    attempt = relay.call(Claim(tree[3].id, NONCE)).number
    with pytest.raises(StreamNotEndedError, match=tree[3].id):
        tree[0].stop(tree=True, wait=0.05)
    relay.call(Append(tree[3].id, attempt, NONCE, 1, 0, b"", "stopped"))
    assert tree[0].stop(tree=True, wait=10) is False


def test_one_that_begins_while_the_others_are_stopped(
    app: Celery, relay: Relay, tree: list[StreamHandle], monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[StreamHandle] = []
    call = relay.call

    def calls(request: Any) -> Any:
        if isinstance(request, Stop) and request.stream_id == tree[3].id and not late:
            late.append(child_of(tree[2]))
        return call(request)

    monkeypatch.setattr(relay, "call", calls)
    tree[0].stop(tree=True)
    assert ends(*tree, *late) == ["stopped"] * 5


@pytest.mark.parametrize("wait", [False, 10])
def test_one_that_begins_until_its_parent_has_ended(
    app: Celery, relay: Relay, monkeypatch: pytest.MonkeyPatch, wait: float
) -> None:
    root = get_conversation("chat-42", app=app).stream(answer, "hi")
    attempt = relay.call(Claim(root.id, NONCE)).number
    monkeypatch.setattr(handle, "SETTLE", 60)
    looks = count_reads(relay, monkeypatch)
    with ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(root.stop, tree=True, wait=wait)
        eventually(lambda: len(looks) > 2 or stopping.done())
        late = child_of(root)
        relay.call(Append(root.id, attempt, NONCE, 1, 0, b"", "stopped"))
        assert stopping.result()
    assert ends(root, late) == ["stopped"] * 2


def test_a_task_that_does_not_end_is_awaited_for_a_while(
    app: Celery, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = get_conversation("chat-42", app=app).stream(answer, "hi")
    relay.call(Claim(root.id, NONCE))
    monkeypatch.setattr(handle, "SETTLE", 0.1)
    assert root.stop(tree=True)
    assert ends(root) == [""]


def test_a_child_that_was_lost_and_begins_again_is_stopped(
    relay: Relay, tree: list[StreamHandle]
) -> None:
    relay.call(stream_ended("chat-42", tree[1].id, "producer-disconnected"))
    assert tree[0].stop(tree=True)
    assert ends(*tree) == ["stopped"] * 4


def test_a_stream_of_no_conversation_has_no_tree(app: Celery) -> None:
    alone = answer.stream("hi")
    assert alone.stop(tree=True)
    assert ends(alone) == ["stopped"]


# -- by name


def test_a_task_by_its_name_belongs_to_a_conversation(app: Celery) -> None:
    chat = get_conversation("chat-42", app=app)
    stream = send_stream_task(answer.name, ["hi"], app=app, conversation="chat-42", title="Bot")
    (began,) = events(app)
    assert (began["stream_id"], began["task"], began["title"]) == (stream.id, answer.name, "Bot")
    active = chat.active_stream()
    assert active is not None
    assert active.id == stream.id
    assert get_stream(stream.id, app=app).state().conversation == "chat-42"
    with pytest.raises(StreamActiveError):
        send_stream_task(answer.name, ["hi"], app=app, conversation="chat-42")
    joined = send_stream_task(
        answer.name, ["hi"], app=app, conversation="chat-42", if_active="join"
    )
    assert (joined.id, joined.joined) == (stream.id, True)
    assert len(events(app)) == 1


def test_a_task_by_its_name_waits_for_its_turn(app: Celery, sent: list[str]) -> None:
    first = get_conversation("chat-42", app=app).stream(answer, "hi")
    elsewhere = "another.service.answer"
    second = send_stream_task(
        elsewhere, ["hi"], app=app, conversation="chat-42", if_active="enqueue"
    )
    assert sent == [first.task_id, second.task_id]  # the second comes later, to look
    first.stop()
    assert sent == [first.task_id, second.task_id, second.task_id]
    active = get_conversation("chat-42", app=app).active_stream()
    assert active is not None
    assert active.id == second.id


def test_a_child_by_name(app: Celery) -> None:
    root = get_conversation("chat-42", app=app).stream(answer, "hi")
    child = send_stream_task(
        answer.name, ["hi"], app=app, conversation="chat-42", headers={PARENT_HEADER: root.id}
    )
    assert events(app)[-1]["parent"] == root.id
    root.stop(tree=True)
    assert ends(child) == ["stopped"]


def test_a_child_by_name_waits_for_no_turn(app: Celery) -> None:
    root = get_conversation("chat-42", app=app).stream(answer, "hi")
    canvas: Any = answer.si("a") | answer.si("b")
    for task, args in ((answer.name, ["hi"]), (canvas, None)):
        child = send_stream_task(
            task, args, app=app, conversation="chat-42", if_active="enqueue",
            headers={PARENT_HEADER: root.id},
        )  # fmt: skip
        assert child.state().lease_left < 2 * Runtime.of(app).settings.ttl * 1000


def test_a_canvas_cannot_wait_for_its_turn(app: Celery) -> None:
    canvas: Any = answer.si("a") | answer.si("b")
    with pytest.raises(ConfigurationError, match="given by name"):
        send_stream_task(canvas, app=app, conversation="chat-42", if_active="enqueue")
    assert send_stream_task(canvas, app=app, conversation="chat-42").id
    with pytest.raises(ConfigurationError, match="if_active="):
        send_stream_task("x", app=app, conversation="chat-42", if_active="never")  # type: ignore[arg-type]
