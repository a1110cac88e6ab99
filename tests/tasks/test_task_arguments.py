"""Arguments: checked where they are given, validated by pydantic, and shown to nobody."""

from __future__ import annotations

import functools
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import celery
import pytest
from celery import Celery
from celery.exceptions import MaxRetriesExceededError

from streamstraight_celery import StreamTask
from tests.tasks.apps import failing, forms, listening
from tests.tasks.log import ended_log
from tests.tasks.processes import PATIENCE, Worker, wait_until
from tests.tasks.speaker import Speaker

MakeApp = Callable[..., Celery]

WAYS_TO_ENQUEUE = [
    pytest.param(lambda task, *args, **kwargs: task.stream(*args, **kwargs), id="stream"),
    pytest.param(lambda task, *args, **kwargs: task.delay(*args, **kwargs), id="delay"),
    pytest.param(lambda task, *args, **kwargs: task.apply_stream(args, kwargs), id="apply_stream"),
    pytest.param(lambda task, *args, **kwargs: task.apply_async(args, kwargs), id="apply_async"),
]


# -- checked where they are given


@pytest.mark.parametrize("enqueue", WAYS_TO_ENQUEUE)
@pytest.mark.parametrize(
    ("task", "args", "kwargs"),
    [
        pytest.param(forms.bare, (), {}, id="missing"),
        pytest.param(forms.bare, ("a", "b"), {}, id="too many"),
        pytest.param(forms.bare, (), {"txt": "a"}, id="unknown keyword"),
        pytest.param(forms.bound, (), {}, id="bound, missing"),
        pytest.param(forms.bound, ("a", "b"), {}, id="bound, too many"),
        pytest.param(forms.asynchronous, (), {}, id="async, missing"),
        pytest.param(forms.on_app, (), {}, id="on an app, missing"),
        pytest.param(forms.count_down, (), {}, id="class, missing"),
        pytest.param(forms.count_down, (1, 2), {}, id="class, too many"),
        pytest.param(forms.validated, (), {}, id="pydantic, missing"),
        pytest.param(forms.validated, (), {"text": "a"}, id="pydantic, unknown keyword"),
        pytest.param(forms.validated_bound, (), {}, id="pydantic and bound, missing"),
        pytest.param(forms.annotated, ("a",), {}, id="keyword-only, missing"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_once(
    app: Celery, enqueue: Any, task: Any, args: Any, kwargs: Any
) -> None:
    with pytest.raises(TypeError, match="argument"):
        enqueue(task, *args, **kwargs)


def test_refused_arguments_leave_no_stream_behind(app: Celery) -> None:
    with pytest.raises(TypeError):
        forms.bare.apply_stream((), stream_id="refused")

    handle = forms.bare.apply_stream(("x",), stream_id="refused", queue="nobody")
    assert handle.stop()


def test_a_decorator_may_pass_arguments_of_its_own(another_app: MakeApp) -> None:
    other = another_app()

    def with_client(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function("a client", *args, **kwargs)

        return wrapper

    @other.task(base=StreamTask, shared=False)
    @with_client
    def answer(client: str, prompt: str) -> Iterator[str]:
        yield f"{client} {prompt}"

    assert answer.apply_stream(("hello",), queue="nobody").stop()
    assert list(answer("hello")) == ["a client hello"]


# -- pydantic


def test_pydantic_makes_the_model_from_a_mapping(app: Celery, prefork: Worker) -> None:
    stream = forms.validated.stream({"text": "why", "times": 2})

    assert ended_log(app, stream.id).chunks == [{"is": "Question"}, "why", "why"]


@pytest.mark.skipif(celery.VERSION < (5, 7), reason="Celery 5.7 serializes models by itself")
def test_a_model_may_be_passed_as_it_is(app: Celery, prefork: Worker) -> None:
    stream = forms.validated.stream(forms.Question(text="why"))

    assert ended_log(app, stream.id).chunks == [{"is": "Question"}, "why"]


def test_pydantic_and_bind_go_together(app: Celery, prefork: Worker) -> None:
    stream = forms.validated_bound.stream(question={"text": "why"})

    assert ended_log(app, stream.id).chunks == [stream.id, "why"]


def test_what_pydantic_refuses_fails_the_task_and_its_stream(app: Celery, prefork: Worker) -> None:
    stream = forms.validated.stream({"text": "why", "times": "a number"})

    # Celery does not carry that class over the result backend as it is.
    with pytest.raises(Exception, match="ValidationError"):
        stream.result.get(timeout=PATIENCE)
    log = ended_log(app, stream.id)
    assert (log.end, log.chunks) == ("producer-error", [])
    assert log.error == {
        "code": "producer-error",
        "message": "The answer could not be completed. Please try again.",
    }


# -- shown to nobody


class Eavesdropper:
    """Hears every event of every worker and publisher, as Flower does."""

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._receiver: Any = None
        self._thread = threading.Thread(target=self._listen)
        self._listening = threading.Event()
        self._events: list[dict[str, Any]] = []

    def start(self) -> None:
        self._thread.start()
        wait_until(self._hears, "events arrive")

    def stop(self) -> None:
        self._receiver.should_stop = True
        self._thread.join()

    def wait_for(self, kind: str, task_id: str) -> list[dict[str, Any]]:
        """Return all events of a task, once there is one of that kind."""

        def heard() -> list[dict[str, Any]]:
            events = [event for event in list(self._events) if event.get("uuid") == task_id]
            return events if kind in [event["type"] for event in events] else []

        return wait_until(heard, f"{kind} of {task_id}")

    def _hears(self) -> bool:
        # The subscription takes effect some time after the consumer has started.
        self._app.control.broadcast("heartbeat")
        return self._listening.wait(0.1)

    def _listen(self) -> None:
        with self._app.connection_for_read() as connection:
            self._receiver = self._app.events.Receiver(connection, handlers={"*": self._hear})
            self._receiver.capture(limit=None, timeout=None, wakeup=False)

    def _hear(self, event: dict[str, Any]) -> None:
        self._events.append(event)
        self._listening.set()


@pytest.fixture(scope="module")
def eavesdropper(project_app: Celery, prefork: Worker) -> Iterator[Eavesdropper]:
    eavesdropper = Eavesdropper(project_app)
    eavesdropper.start()
    yield eavesdropper
    eavesdropper.stop()


@pytest.fixture
def secret() -> str:
    return f"secret-{uuid.uuid4().hex}"


def test_events_show_the_stream_s_id_instead_of_the_arguments(
    app: Celery, eavesdropper: Eavesdropper, secret: str, mark: str
) -> None:
    stream = forms.starting.apply_stream((secret,), stream_id=f"chat-{mark}")

    eavesdropper.wait_for("task-succeeded", stream.task_id)
    events = eavesdropper.wait_for("task-sent", stream.task_id)  # over another connection

    assert secret not in repr(events)
    assert {"task-sent", "task-received", "task-succeeded"} <= {event["type"] for event in events}
    for event in events:
        if event["type"] in ("task-sent", "task-received"):
            assert event["args"] == "()"
            assert event["kwargs"] == repr({"stream_id": f"chat-{mark}"})


def test_a_worker_hides_the_arguments_of_a_task_sent_by_name(
    app: Celery, eavesdropper: Eavesdropper, prefork: Worker, secret: str, mark: str
) -> None:
    result = app.send_task(forms.starting.name, (secret,), headers={"stream_id": f"chat-{mark}"})

    events = eavesdropper.wait_for("task-succeeded", result.id)

    (received,) = [event for event in events if event["type"] == "task-received"]
    assert (received["args"], received["kwargs"]) == ("()", repr({"stream_id": f"chat-{mark}"}))
    assert secret not in prefork.log


@pytest.mark.parametrize("task", [failing.flaky, failing.flaky_asynchronous])
def test_events_hide_the_arguments_after_a_retry(
    app: Celery, eavesdropper: Eavesdropper, secret: str, task: Any
) -> None:
    stream = task.stream(prompt=secret)

    events = eavesdropper.wait_for("task-succeeded", stream.task_id)

    received = [event["kwargs"] for event in events if event["type"] == "task-received"]
    assert received == [repr({"stream_id": stream.id})] * 2
    assert secret not in repr(events)


def test_events_hide_the_arguments_when_retries_are_used_up(
    app: Celery, eavesdropper: Eavesdropper, prefork: Worker, secret: str
) -> None:
    stream = failing.hopeless_by_hand.stream(secret)

    events = eavesdropper.wait_for("task-failed", stream.task_id)

    assert "MaxRetriesExceededError" in repr(events)
    assert secret not in repr(events)
    with pytest.raises(MaxRetriesExceededError, match=f"Can't retry .*{stream.task_id}") as caught:
        stream.result.get(timeout=PATIENCE)
    assert secret not in str(caught.value)
    assert secret not in prefork.log


@pytest.mark.parametrize(
    "task", [forms.starting, failing.flaky, failing.flaky_asynchronous, failing.frank]
)
def test_the_worker_s_log_hides_the_arguments(
    app: Celery, prefork: Worker, secret: str, task: Any
) -> None:
    stream = task.stream(secret)

    wait_until(stream.result.ready, "the task is done")
    wait_until(lambda: f"[{stream.task_id}] " in prefork.log, "the log tells of the task")
    assert secret not in prefork.log


def test_inspecting_a_running_task_does_not_show_its_arguments(
    app: Celery, prefork: Worker, speaker: Speaker, secret: str
) -> None:
    stream = listening.listening.stream(speaker.port, secret)
    speaker.answer()
    inspect = app.control.inspect(destination=[prefork.hostname], timeout=PATIENCE)

    active = prefork.active(app, stream.task_id)
    queried = inspect.query_task([stream.task_id])[prefork.hostname]
    speaker.hang_up()

    assert stream.task_id in queried
    assert secret not in repr((active, queried))
    assert (active["args"], active["kwargs"]) == ("()", repr({"stream_id": stream.id}))
    ended_log(app, stream.id)


def test_inspecting_a_task_that_waits_does_not_show_its_arguments(
    app: Celery, prefork: Worker, secret: str
) -> None:
    stream = forms.bare.apply_stream((secret,), countdown=600)
    inspect = app.control.inspect(destination=[prefork.hostname], timeout=PATIENCE)

    scheduled = wait_until(
        lambda: [
            entry
            for entry in inspect.scheduled()[prefork.hostname]
            if entry["request"]["id"] == stream.task_id
        ],
        "the task is scheduled",
    )

    assert secret not in repr(scheduled)
    stream.stop()
    app.control.revoke(stream.task_id)


# -- unless asked for


@pytest.fixture(scope="module")
def outspoken(start_worker: Callable[..., Worker]) -> Worker:
    """A worker of a project that shows arguments."""
    changes = {"stream_show_arguments": True}
    return start_worker("outspoken", changes, pool="threads", options=("-E",))


def test_arguments_are_shown_where_that_is_asked_for(
    outspoken: Worker, eavesdropper: Eavesdropper, another_app: MakeApp, speaker: Speaker, mark: str
) -> None:
    other = another_app(stream_show_arguments=True, task_default_queue=outspoken.queue)

    stream = other.tasks[listening.listening.name].stream(speaker.port, mark)
    speaker.answer()
    events = eavesdropper.wait_for("task-started", stream.task_id)
    active = outspoken.active(other, stream.task_id)
    speaker.hang_up()

    shown = {event["type"]: event["args"] for event in events if "args" in event}
    assert shown["task-sent"] == shown["task-received"] == repr((speaker.port, mark))
    assert active["args"] == [speaker.port, mark]
    ended_log(other, stream.id)
