"""What the application writes into a conversation, and what is written for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import (
    StreamActiveError,
    aread_conversation,
    get_conversation,
    read_conversation,
    read_stream,
    stream_ref,
)
from streamstraight_celery.conversations.events import question_id
from streamstraight_celery.errors import (
    ChunkTooLargeError,
    ConfigurationError,
    EncodeError,
    StreamTooLargeError,
)
from streamstraight_celery.reader import IDLE
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Append, Claim, Read, Stop
from streamstraight_celery.settings import install_settings, read_settings
from tests.conftest import eventually
from tests.conversations.project import answer

NONCE = "0" * 8


@dataclasses.dataclass
class Approval:
    approved: bool


def events(app: Celery, name: str = "chat-42") -> list[dict[str, Any]]:
    """All events so far, without their times."""
    import json

    from streamstraight_celery.runtime import Runtime

    page = Runtime.of(app).relay.read(Read(get_conversation(name, app=app).id, 0, 0, 1000))
    assert page is not None
    found = [json.loads(entry.data) for entry in page.entries]
    assert all(each.pop("at") for each in found)
    return found


@pytest.fixture
def limited(app: Celery) -> Iterator[Celery]:
    settings = dataclasses.replace(read_settings(app), conversation_bytes=200, max_chunk_bytes=150)
    before = install_settings(app, settings)
    yield app
    install_settings(app, before)


def test_a_run_is_told_of(app: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=app)
    chat.send({"text": "hi"}, id="one")
    stream = chat.stream(answer, "hi", title="Assistant")
    attempt = relay.call(Claim(stream.id, NONCE)).number
    relay.call(Append(stream.id, attempt, NONCE, 1, 0, b"", "completed"))
    chat.send("Greeting", type="title", id="two")
    later = answer.apply_stream(("again",), conversation="chat-42")
    assert later.stop()
    assert events(app) == [
        {"type": "input", "id": "one", "value": {"text": "hi"}},
        {
            "type": "stream", "stream_id": stream.id, "task": answer.name,
            "task_id": stream.task_id, "title": "Assistant",
        },
        {"type": "title", "id": "two", "value": "Greeting"},
        # Nobody told of the first end; whoever takes the next turn does.
        {"type": "ended", "stream_id": stream.id, "reason": "completed"},
        {
            "type": "stream", "stream_id": later.id, "task": answer.name,
            "task_id": later.task_id,
        },
        {"type": "ended", "stream_id": later.id, "reason": "stopped"},
    ]  # fmt: skip


def test_streams_are_one_at_a_time(app: Celery) -> None:
    chat = get_conversation("chat-42", app=app)
    first = chat.stream(answer, "hi")
    with pytest.raises(StreamActiveError):
        chat.stream(answer, "hi")
    assert chat.stream(answer, "hi", if_active="join").id == first.id
    second = chat.stream(answer, "hi", if_active="replace")
    active, latest = chat.active_stream(), chat.latest_stream()
    assert active is not None
    assert latest is not None
    assert active.id == latest.id == second.id
    assert chat.stop()
    assert chat.active_stream() is None
    assert not chat.stop()
    latest = chat.latest_stream()
    assert latest is not None
    assert latest.id == second.id


def test_a_lost_producer_is_told_of(app: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=app)
    stream = chat.stream(answer, "hi")
    relay.call(Claim(stream.id, NONCE))
    eventually(lambda: stream.state().end)
    last = events(app)[-1]
    assert last["reason"] == "producer-disconnected"
    assert last["error"]["code"] == "producer-disconnected"


def test_what_is_sent_twice_is_added_once(app: Celery) -> None:
    chat = get_conversation("chat-42", app=app)
    assert chat.send(1, id="one") == chat.send(1, id="one") == "one"
    assert chat.send(1) != chat.send(1)
    assert len(events(app)) == 3


def test_what_codecs_encode_can_be_sent(app: Celery) -> None:
    chat = get_conversation("chat-42", app=app)
    for value in (Approval(True), None, [1.5], "text", {"a": {"b": []}}):
        chat.send(value)
    assert [each["value"] for each in events(app)] == [
        {"approved": True}, None, [1.5], "text", {"a": {"b": []}},
    ]  # fmt: skip


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_what_json_cannot_say_is_refused(app: Celery, value: Any) -> None:
    with pytest.raises(EncodeError):
        get_conversation("chat-42", app=app).send(value)


@pytest.mark.parametrize("kind", ["", "ended", "stream", "x" * 101, 1])
def test_types_of_the_packages_own_are_refused(app: Celery, kind: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^type="):
        get_conversation("chat-42", app=app).send(1, type=kind)


@pytest.mark.parametrize("event_id", ["", "é", "x" * 201, "stream:1", "ended:1", 1, "a\nb"])
def test_ids_that_cannot_be(app: Celery, event_id: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^id="):
        get_conversation("chat-42", app=app).send(1, id=event_id)


def test_what_is_too_large_is_refused(limited: Celery) -> None:
    chat = get_conversation("chat-42", app=limited)
    with pytest.raises(ChunkTooLargeError, match="stream_max_chunk_bytes"):
        chat.send("x" * 150)
    chat.send("x" * 100)
    with pytest.raises(StreamTooLargeError, match="is full"):
        chat.send("x" * 100)
    with pytest.raises(StreamTooLargeError):
        chat.stream(answer, "hi")
    assert chat.active_stream() is None


def test_it_can_be_deleted(app: Celery) -> None:
    chat = get_conversation("chat-42", app=app)
    assert chat.state() is None
    chat.send(1)
    state = chat.state()
    assert state is not None
    assert state.last == 1
    chat.delete()
    assert chat.state() is None


def test_its_log_is_read_like_a_stream(app: Celery) -> None:
    chat = get_conversation("chat-42", app=app)
    chat.send("one")
    with read_stream(chat.id, app=app) as reader:
        first = next(iter(reader))
        chat.send("two")
        second = next(iter(reader))
    assert [first["value"], second["value"]] == ["one", "two"]


def test_it_is_read_before_it_has_begun(app: Celery) -> None:
    chat = get_conversation("chat-42", app=app)
    with read_conversation("chat-42", app=app, idle=0.05) as reader:
        items = iter(reader)
        assert next(items) is IDLE
        chat.send("one")
        event = next(each for each in items if each is not IDLE)
        assert event["value"] == "one"
        place = reader.offset
    chat.send("two")
    with read_conversation("chat-42", app=app, offset=place) as reader:
        assert next(iter(reader))["value"] == "two"


async def test_it_is_read_on_an_event_loop(app: Celery) -> None:
    chat = get_conversation("chat-42", app=app)
    async with aread_conversation("chat-42", app=app) as reader:
        items = aiter(reader)
        chat.send("one")
        assert (await anext(items))["value"] == "one"


@pytest.mark.parametrize("name", ["", "x" * 501, 42, "half \ud83d"])
def test_a_name_that_cannot_be(app: Celery, name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^conversation="):
        get_conversation(name, app=app)


def test_no_stream_takes_a_conversations_place(app: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=app)
    for ask in (
        lambda: answer.apply_stream(("hi",), stream_id=chat.id),
        lambda: answer.apply_async(("hi",), task_id=chat.id),
        lambda: stream_ref(chat.id, scopes=["write"], app=app),
    ):
        with pytest.raises(ConfigurationError, match="are for conversations"):
            ask()
    chat.ref()
    assert relay.call(Stop(chat.id)).kind == "unknown"


def test_key_and_conversation_are_one(app: Celery) -> None:
    with pytest.raises(ConfigurationError, match="give one of them"):
        answer.apply_stream(("hi",), key="a", conversation="b")


def test_its_token_is_for_three_scopes(app: Celery) -> None:
    chat = get_conversation("chat-42", app=app)
    ref = chat.ref()
    assert ref["conversation"] == "chat-42"
    assert ref["url"].endswith("/v1/stream/conversation:chat-42") or "%3A" in ref["url"]
    for scopes in (["write"], "read"):
        with pytest.raises(ConfigurationError, match="a conversation's token takes"):
            chat.token(scopes=scopes)


@pytest.mark.parametrize("name", ["", "two\nlines", "é", "x" * 201, 7])
def test_a_question_is_named_as_an_event_is(name: Any) -> None:
    assert question_id("a", "approval") == "question:a:approval"
    with pytest.raises(ConfigurationError, match="id="):
        question_id("a", name)
    with pytest.raises(ConfigurationError, match="an id of 411 characters"):
        question_id("a" * 201, "x" * 200)
