"""`if_active="enqueue"`: one stream after the other, in order, however the one before ends."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import pytest
from celery import Celery
from kombu import serialization
from kombu.exceptions import ContentDisallowed

from streamstraight_celery import StreamActiveError, get_conversation, publish
from streamstraight_celery.conversations import messages
from streamstraight_celery.enqueue import ending
from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.ids import PARENT_HEADER
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Append, Claim, Delete, Read, Stop
from tests.conftest import eventually
from tests.conversations.project import answer, race
from tests.conversations.test_log import events
from tests.support.workers import worker_here

NONCE = "0" * 8


def end(relay: Relay, stream_id: str, reason: str = "completed") -> None:
    """What a producer does, from its claim to its end."""
    attempt = relay.call(Claim(stream_id, NONCE)).number
    assert relay.call(Append(stream_id, attempt, NONCE, 1, 0, b"", reason)).kind == "ok"


def active(app: Celery) -> str | None:
    found = get_conversation("chat-42", app=app).active_stream()
    return None if found is None else found.id


@pytest.mark.parametrize("reason", ["completed", "producer-error", "stopped", "too-large"])
def test_the_next_begins_when_the_one_before_has_ended(
    app: Celery, relay: Relay, sent: list[str], reason: str
) -> None:
    chat = get_conversation("chat-42", app=app)
    first, *others = [chat.stream(answer, "hi", if_active="enqueue") for _ in range(3)]
    assert active(app) == first.id
    before = first
    for stream in others:
        sent.clear()
        end(relay, before.id, reason)
        assert active(app) == stream.id
        assert sent == [stream.task_id]
        before = stream
    kinds = [(each["type"], each["stream_id"]) for each in events(app)]
    assert kinds == [
        *[("stream", each.id) for each in (first, *others)],
        ("ended", first.id), ("ended", others[0].id),
    ]  # fmt: skip


def test_a_lost_producer_holds_up_nobody(app: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=app)
    first, second = [chat.stream(answer, "hi", if_active="enqueue") for _ in range(2)]
    relay.call(Claim(first.id, NONCE))
    eventually(lambda: active(app) == second.id)


def test_one_that_was_stopped_in_the_queue_is_passed_over(app: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=app)
    first, second, third = [chat.stream(answer, "hi", if_active="enqueue") for _ in range(3)]
    assert second.stop()
    end(relay, first.id)
    assert active(app) == third.id


def test_others_see_the_queue_as_active(app: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=app)
    first, second, third = [chat.stream(answer, "hi", if_active="enqueue") for _ in range(3)]
    end(relay, first.id)
    with pytest.raises(StreamActiveError) as error:
        chat.stream(answer, "hi")
    assert error.value.stream_id == second.id
    new = chat.stream(answer, "hi", if_active="replace")
    assert active(app) == new.id
    assert {second.state().end, third.state().end} == {"stopped"}


def test_many_at_once_are_all_queued(app: Celery, relay: Relay) -> None:
    outcomes = race("chat-42", "enqueue", 50, threading.Barrier(50))
    assert len(set(outcomes)) == 50
    order = [each["stream_id"] for each in events(app)]
    had_turn = []
    while (current := active(app)) is not None:
        had_turn.append(current)
        end(relay, current)
    assert had_turn == order
    assert sorted(had_turn) == sorted(outcomes)


def test_a_worker_begins_the_next_by_itself(app: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=app)
    first, *others = [chat.stream(answer, "hi", if_active="enqueue") for _ in range(3)]
    # Its worker was lost, with all that could have seen its end.
    relay.call(Claim(first.id, NONCE))
    with worker_here(app, pool="threads"):
        eventually(lambda: all(relay.state(each.id).end == "completed" for each in others))
    last = [each for each in events(app) if each["type"] == "ended"]
    assert [each["stream_id"] for each in last] == [first.id, *[each.id for each in others]]


def test_what_a_web_process_produces_takes_its_turn(app: Celery) -> None:
    chat = get_conversation("chat-42", app=app)
    published = publish(iter(["hi"]), conversation="chat-42", title="Assistant")
    assert published.wait(60)
    eventually(lambda: [each["type"] for each in events(app)] == ["stream", "ended"])
    queued = chat.stream(answer, "hi")
    with pytest.raises(StreamActiveError):
        publish(iter(["hi"]), conversation="chat-42")
    assert publish(iter(["hi"]), conversation="chat-42", if_active="replace").wait(60)
    assert queued.state().end == "stopped"
    wrong: Any = "enqueue"
    with pytest.raises(ConfigurationError, match="takes its turn at once"):
        publish(iter(["hi"]), conversation="chat-42", if_active=wrong)


@pytest.mark.parametrize(
    ("options", "least", "most"),
    [({}, 3500, 3600), ({"countdown": 9000}, 12_500, 12_600), ({"expires": 50}, 40, 50)],
)
def test_a_producer_is_awaited_for_as_long_as_its_message_says(
    app: Celery, relay: Relay, options: dict[str, Any], least: float, most: float
) -> None:
    queued: dict[str, Any] = {"conversation": "chat-42", "if_active": "enqueue", **options}
    first, second = [answer.apply_stream(("hi",), **queued) for _ in range(2)]
    assert relay.state(second.id).lease_left > 7 * 24 * 3_600_000 - 60_000
    end(relay, first.id)
    assert active(app) == second.id
    assert least * 1000 < relay.state(second.id).lease_left <= most * 1000


def test_one_that_was_deleted_meanwhile_is_not_begun_again(
    app: Celery, relay: Relay, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = get_conversation("chat-42", app=app)
    first, second, third = [chat.stream(answer, "hi", if_active="enqueue") for _ in range(3)]
    end(relay, first.id)
    unpack = messages.unpack

    def delete_first(app: Celery, packed: str) -> Any:
        if relay.state(third.id).end == "" and not deleted:
            deleted.append(second.id)
            relay.execute([Stop(second.id), Delete(second.id)])
        return unpack(app, packed)

    deleted: list[str] = []
    monkeypatch.setattr(messages, "unpack", delete_first)
    sent.clear()
    assert active(app) == third.id
    assert (deleted, sent) == ([second.id], [third.task_id])
    assert relay.read(Read(second.id)) is None


def test_replacing_asks_each_one_to_stop_once(
    app: Celery, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that runs takes its time, and others wait behind it."""
    chat = get_conversation("chat-42", app=app)
    first, second = [chat.stream(answer, "hi", if_active="enqueue") for _ in range(2)]
    attempt = relay.call(Claim(first.id, NONCE)).number
    asked: list[str] = []

    def broadcast(command: str, arguments: dict[str, str]) -> None:
        asked.append(arguments["stream_id"])
        writer.start()

    def stop_late() -> None:
        eventually(lambda: waits)
        relay.call(Append(first.id, attempt, NONCE, 1, 0, b"", "stopped"))

    waits: list[bool] = []
    writer = threading.Thread(target=stop_late)
    look = ending.has_ended
    monkeypatch.setattr(app.control, "broadcast", broadcast)
    monkeypatch.setattr(ending, "has_ended", lambda *of: waits.append(True) or look(*of))
    new = chat.stream(answer, "hi", if_active="replace")
    writer.join()
    assert asked == [first.id]
    assert active(app) == new.id
    assert relay.state(second.id).end == "stopped"


def test_the_store_s_messages_are_read_as_the_broker_s_are(app: Celery) -> None:
    """Whoever can write to the store does not choose a serializer that runs code."""
    body = serialization.dumps({"task": "t"}, serializer="pickle")
    packed = json.dumps([body[0], body[1], base64.b64encode(body[2]).decode()])
    with pytest.raises(ContentDisallowed):
        messages.unpack(app, packed)
    with pytest.raises(ConfigurationError, match="accept_content"):
        messages.pack(app, "t", (), {}, {"serializer": "pickle"})


def test_a_child_is_in_no_queue(app: Celery, relay: Relay) -> None:
    chat = get_conversation("chat-42", app=app)
    first = chat.stream(answer, "hi")
    child = answer.apply_stream(
        ("hi",), conversation="chat-42", if_active="enqueue", headers={PARENT_HEADER: first.id}
    )
    assert relay.state(child.id).lease_left <= 3_600_000
