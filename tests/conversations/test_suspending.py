"""Tasks that wait for an input without a worker: one attempt for each, whoever dies in between."""

from __future__ import annotations

import datetime
import json
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pytest
from celery import Celery
from celery._state import get_current_app

from streamstraight_celery import StreamHandle, get_conversation, stream_task
from streamstraight_celery.conversations import messages
from streamstraight_celery.enqueue.conversations import Conversation
from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.ids import PARENT_HEADER
from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.conversations import Await
from streamstraight_celery.relays.requests import Answer, Append, Claim, Conclude, Enlist, Release
from streamstraight_celery.runtime import Runtime
from streamstraight_celery.signals import stream_ended
from streamstraight_celery.tasks.suspending import seconds_of
from tests.conftest import eventually
from tests.conversations.project import Approval, make_app
from tests.conversations.test_inputs import chunks
from tests.conversations.test_log import events
from tests.support.workers import worker_here

_chats = count()


@stream_task(bind=True, on_redelivery="resume")
def wait(self: Any, timeout: float | None = None) -> Iterator[Any]:
    """Repeats one message, for which it is suspended."""
    if not self.stream.sent:
        yield "ready"
    try:
        self.conversation.suspend(timeout=timeout)
    except TimeoutError:
        yield "late"
        return
    yield self.conversation.receive(timeout=0)


@stream_task(bind=True, on_redelivery="resume")
async def await_(self: Any) -> AsyncIterator[Any]:
    if not self.stream.sent:
        yield "ready"
    yield await self.conversation.areceive(suspend=True)


@stream_task(bind=True, on_redelivery="resume")
def approve(self: Any, timeout: float | None = None) -> Iterator[Any]:
    """Needs an approval, and says how often it was begun."""
    wanted = datetime.timedelta(seconds=timeout) if timeout else None
    try:
        answer = self.conversation.ask("go?", type=Approval, timeout=wanted, suspend=True)
    except TimeoutError:
        yield "late"
        return
    yield [answer.approved, self.stream.attempt]


@stream_task(bind=True, on_redelivery="resume")
def keep(self: Any) -> Iterator[Any]:
    """Keeps what it has received in checkpoints, and yields at the end only."""
    seen = self.stream.saved or []
    while len(seen) < 3:
        seen.append(self.conversation.receive(suspend=True))
        self.stream.checkpoint(seen)
    yield seen


@stream_task(bind=True, on_redelivery="resume")
def remind(self: Any) -> Iterator[Any]:
    """Waits for a while, reminds of it, and then waits for long; skips what it has done."""
    if not self.stream.saved:
        try:
            self.conversation.receive(type=Approval, timeout=0.2, suspend=True)
        except TimeoutError:
            yield "please"
            self.stream.checkpoint("reminded")
    answer = self.conversation.receive(type=Approval, timeout=600, suspend=True)
    yield answer.approved


@stream_task(bind=True)
def restart(self: Any) -> Iterator[Any]:
    yield "ready"
    self.conversation.suspend()


@pytest.fixture(scope="module", params=["memory", "redis"])
def app(request: pytest.FixtureRequest) -> Iterator[Celery]:
    """An app with a worker, which all tests of this module share."""
    before = get_current_app()
    url = "memory://"
    if request.param == "redis":
        url = request.getfixturevalue("redis_server").new_database()
    app = make_app(url, "memory://suspending" if url == "memory://" else url)
    app.set_current()
    with worker_here(app, pool="threads", concurrency=4):
        yield app
    Runtime.of(app).close()
    before.set_default()
    before.set_current()


@pytest.fixture
def chat(app: Celery) -> Conversation:
    return get_conversation(f"chat-{next(_chats)}", app=app)


def waiting(stream: StreamHandle) -> bool:
    return stream.state().status == "waiting"


def ended(stream: StreamHandle, reason: str = "completed") -> bool:
    return stream.state().end == reason


def told(chat: Conversation, app: Celery, kind: str) -> list[dict[str, Any]]:
    return [each for each in events(app, chat.name) if each["type"] == kind]


@pytest.mark.parametrize("task", [wait, await_])
def test_an_input_begins_one_attempt(
    chat: Conversation, relay: Relay, sent: list[str], task: Any
) -> None:
    stream = chat.stream(task)
    eventually(lambda: waiting(stream))
    assert sent == [stream.task_id]
    chat.send("not for tasks", type="title")
    chat.send("hello")
    eventually(lambda: ended(stream))
    assert chunks(relay, stream) == ["ready", "hello"]
    assert (stream.state().attempt, sent) == (2, [stream.task_id] * 2)


def test_its_attempts_end_as_suspended(chat: Conversation) -> None:
    reasons: list[str] = []

    def note(stream_id: str, reason: str, **_: Any) -> None:
        if stream_id == stream.id:
            reasons.append(reason)

    stream = wait.apply_stream((), conversation=chat.name, countdown=1)
    stream_ended.connect(note)
    try:
        eventually(lambda: waiting(stream))
        chat.send("hello")
        eventually(lambda: reasons == ["suspended", "completed"])
    finally:
        stream_ended.disconnect(note)


def test_one_that_is_there_already_needs_no_attempt(chat: Conversation, relay: Relay) -> None:
    chat.send("hello")
    stream = chat.stream(wait)
    eventually(lambda: ended(stream))
    assert (chunks(relay, stream), stream.state().attempt) == (["ready", "hello"], 1)


def test_an_answer_that_fits_begins_it(
    app: Celery, chat: Conversation, relay: Relay, sent: list[str]
) -> None:
    stream = chat.stream(approve)
    eventually(lambda: waiting(stream))
    (question,) = told(chat, app, "question")
    chat.send({"approved": True})  # answers nothing
    assert sent == [stream.task_id]
    chat.send({"approved": 2}, answers=question["id"], id="bad")
    eventually(lambda: told(chat, app, "refused"))
    eventually(lambda: waiting(stream))
    chat.send({"approved": True}, answers=question["id"])
    eventually(lambda: ended(stream))
    assert chunks(relay, stream) == [[True, 3]]
    assert len(told(chat, app, "question")) == 1


@pytest.mark.parametrize("task", [wait, approve])
def test_the_deadline_begins_it(app: Celery, chat: Conversation, relay: Relay, task: Any) -> None:
    stream = chat.stream(task, 0.3)
    eventually(lambda: stream.state().attempt == 1)
    eventually(lambda: Runtime.of(app).sweep() and ended(stream))
    assert (chunks(relay, stream)[-1:], stream.state().attempt) == (["late"], 2)
    assert len(told(chat, app, "closed")) == (task is approve)


def test_a_wait_has_its_own_deadline_whatever_was_skipped(
    app: Celery, chat: Conversation, relay: Relay
) -> None:
    stream = chat.stream(remind)
    eventually(lambda: Runtime.of(app).sweep() and chunks(relay, stream) == ["please"])
    eventually(lambda: stream.state().attempt == 2 and waiting(stream))
    chat.send({"approved": 2})  # does not fit, and begins an attempt that skips the first wait
    eventually(lambda: told(chat, app, "refused"))
    eventually(lambda: stream.state().end or waiting(stream))
    chat.send({"approved": True})
    eventually(lambda: stream.state().end)
    assert chunks(relay, stream) == ["please", True]


def test_what_was_received_stands_with_a_checkpoint(chat: Conversation, relay: Relay) -> None:
    stream = chat.stream(keep)
    for number in range(3):
        eventually(lambda: waiting(stream))
        chat.send(number)
        eventually(lambda attempt=number + 2: stream.state().attempt == attempt)
    eventually(lambda: ended(stream))
    assert chunks(relay, stream) == [[0, 1, 2]]


def test_a_stop_ends_it_while_it_waits(app: Celery, chat: Conversation, sent: list[str]) -> None:
    stream = chat.stream(wait)
    eventually(lambda: waiting(stream))
    assert stream.stop()
    assert ended(stream, "stopped")
    assert told(chat, app, "ended")[0]["reason"] == "stopped"
    assert chat.active_stream() is None
    assert sent == [stream.task_id] * 2  # once more, so that the task has a result


def test_it_holds_the_conversation(chat: Conversation) -> None:
    first = chat.stream(wait)
    second = chat.stream(wait, if_active="enqueue")
    eventually(lambda: waiting(first))
    active = chat.active_stream()
    assert active is not None
    assert active.id == first.id
    chat.send("hello")
    eventually(lambda: ended(first))
    eventually(lambda: waiting(second))


def test_a_task_that_begins_anew_cannot_be_suspended(chat: Conversation) -> None:
    stream = chat.stream(restart)
    eventually(lambda: ended(stream, "producer-error"))


def test_a_delivery_that_comes_too_late_tells_the_end(app: Celery, chat: Conversation) -> None:
    relay = Runtime.of(app).relay
    late = wait.apply_stream((), conversation=chat.name, countdown=1)
    attempt = relay.call(Claim(late.id, "1" * 8, late.task_id)).attempt
    relay.call(Append(late.id, attempt, "1" * 8, 1, 0, b"", "completed"))
    eventually(lambda: late.id in [each["stream_id"] for each in told(chat, app, "ended")])


class Parked:
    """A task that is being suspended, whose messages no worker takes."""

    def __init__(
        self, app: Celery, chat: Conversation, message: str = "", *args: Any,
        parent: str = "",
    ) -> None:  # fmt: skip
        self.relay = Runtime.of(app).relay
        self.stream = wait.apply_stream(
            (), conversation=chat.name, queue="nowhere",
            headers={PARENT_HEADER: parent} if parent else None,
        )  # fmt: skip
        self.nonce = "1" * 8
        self.attempt = self.claim(self.nonce).attempt
        options = {"task_id": self.stream.task_id, "queue": "nowhere"}
        message = message or messages.pack(app, wait.name, args, {}, options)
        seen = self.relay.state(chat.id).last
        about = Await(chat.name, self.stream.id, self.attempt, seen, "", "input", 60_000, message)
        assert self.relay.call(about).kind == "ok"

    def claim(self, nonce: str, wakes: int = 0) -> Answer:
        claim = Claim(self.stream.id, nonce, self.stream.task_id, resume=True, wakes=wakes)
        return self.relay.call(claim)

    def release(self) -> None:
        """The last step of being suspended."""
        about = Release(self.stream.id, self.attempt, self.nonce, 60_000, suspends=True)
        assert self.relay.call(about).kind == "ok"


@pytest.fixture
def parked(app: Celery, chat: Conversation, sent: list[str]) -> Parked:
    made = Parked(app, chat)
    sent.clear()
    return made


def test_an_input_whose_sender_died_is_found_by_the_sweep(
    app: Celery, chat: Conversation, parked: Parked, sent: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    parked.release()

    def die(*_: Any) -> None:
        raise ConnectionError("the broker is away")

    with monkeypatch.context() as patch:
        patch.setattr(messages, "send", die)
        chat.send("hello")
    assert sent == []
    Runtime.of(app).relay.call(Enlist(parked.stream.id))
    eventually(lambda: Runtime.of(app).sweep()["woken"])
    assert sent == [parked.stream.task_id]
    assert Runtime.of(app).sweep()["woken"] == 0
    assert parked.stream.state().status == "retrying"


def test_a_message_that_cannot_be_sent_holds_up_no_other(
    app: Celery, chat: Conversation, sent: list[str]
) -> None:
    pickled = json.dumps(["application/x-python-serialize", "binary", "gAQu"])
    unreadable = Parked(app, chat, pickled)
    other = Parked(app, chat, parent=unreadable.stream.id)
    sent.clear()
    unreadable.release()
    other.release()
    chat.send("hello")
    assert sent == [other.stream.task_id]


def test_arguments_that_the_task_no_longer_takes_fail_it_in_the_worker(
    app: Celery, chat: Conversation, sent: list[str]
) -> None:
    parked = Parked(app, chat, "", "one", "too", "many")
    sent.clear()
    parked.release()
    chat.send("hello")
    assert sent == [parked.stream.task_id]


def test_many_inputs_send_one_message(chat: Conversation, parked: Parked, sent: list[str]) -> None:
    parked.release()
    for number in range(10):
        chat.send(number)
    assert sent == [parked.stream.task_id]


def test_an_input_before_the_last_step_counts(
    chat: Conversation, parked: Parked, sent: list[str]
) -> None:
    chat.send("hello")
    parked.release()
    assert sent == [parked.stream.task_id]
    assert parked.claim("2" * 8, wakes=parked.attempt).attempt == 2


def test_only_its_own_message_ends_a_wait(parked: Parked) -> None:
    parked.release()
    # A broker delivers the first message once more, or that of an earlier wait.
    assert parked.claim("2" * 8).kind == "waits"
    assert parked.claim("2" * 8, wakes=7).kind == "waits"
    # Its process is lost once it has been suspended, or another delivery has expired.
    about = parked.stream.id, parked.stream.task_id
    for nonce, begun in ((parked.nonce, True), ("2" * 8, False)):
        lost = Conclude(*about, nonce, "producer-disconnected", begun=begun)
        assert parked.relay.call(lost).kind == "busy"
    assert waiting(parked.stream)
    assert parked.claim("2" * 8, wakes=parked.attempt).kind == "ok"


@pytest.mark.parametrize("wrong", ["3 days", True, -1, float("inf")])
def test_a_wrong_timeout_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="timeout="):
        seconds_of(wrong)
