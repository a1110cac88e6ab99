"""Failures and retries: what readers are told, and what the next attempt leaves of the last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import celery
import pytest
from celery import Celery
from celery.exceptions import MaxRetriesExceededError

from streamstraight_celery import PublicError, stream_task
from streamstraight_celery.errors import ConfigurationError, StreamBusyError
from streamstraight_celery.offsets import Verdict, judge
from streamstraight_celery.runtime import Runtime
from tests.tasks.apps import failing, forms
from tests.tasks.apps.marks import marks
from tests.tasks.conftest import LEASE
from tests.tasks.log import Log, ended_log, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker, wait_until
from tests.tasks.speaker import Speaker

pytestmark = pytest.mark.usefixtures("prefork")

PROMPT = "who-shot-jr"


def verdict_of(log: Log, before: Log) -> Verdict:
    """What the relay makes of the offset at the end of an earlier reading."""
    return judge(before.state.offset(), log.state.segments, bool(log.end))


def test_autoretry_begins_a_new_attempt_and_doubles_no_chunk(app: Celery) -> None:
    stream = failing.flaky.stream(PROMPT, failures=2)

    log = ended_log(app, stream.id)

    assert log.chunks == ["3 one", "3 two", "3 three"]
    assert (log.state.attempt, log.state.last, log.end) == (3, 3, "completed")
    assert stream.result.get(timeout=PATIENCE)["attempt"] == 3


FINAL = [
    failing.final_once_begun,
    failing.final_once_begun_on_app,
    failing.final_once_sent,
    failing.final_by_hand,
]


@pytest.mark.parametrize("task", FINAL)
def test_an_error_is_final_once_a_chunk_was_sent(app: Celery, task: Any) -> None:
    stream = task.stream(2)

    log = ended_log(app, stream.id)

    assert (log.chunks, log.end, log.state.attempt) == (["0 0", "0 1"], "producer-error", 1)
    with pytest.raises(ConnectionResetError):
        stream.result.get(timeout=PATIENCE)


@pytest.mark.parametrize("task", FINAL)
def test_an_error_before_the_first_chunk_is_retried(app: Celery, task: Any) -> None:
    log = ended_log(app, task.stream(0).id)
    assert (log.chunks, log.end, log.state.attempt) == (["enough"], "completed", 2)


def test_a_wrong_retry_option_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="'before-first-chunk'"):
        stream_task(retry="sometimes")  # type: ignore[call-overload]


def test_a_task_that_expires_later_is_retried(app: Celery) -> None:
    stream = failing.flaky.apply_stream((PROMPT,), expires=PATIENCE)

    log = ended_log(app, stream.id)

    assert (log.chunks, log.end) == (["2 one", "2 two", "2 three"], "completed")
    assert stream.result.get(timeout=PATIENCE)["attempt"] == 2


def test_a_retry_without_delay_waits_for_the_attempt_before_to_let_go(app: Celery) -> None:
    # Not until its lease is over: that would be three leases for each stream.
    streams = [failing.flaky_without_delay.stream(failures=3) for _ in range(5)]

    logs = [ended_log(app, stream.id) for stream in streams]

    assert [log.chunks for log in logs] == [["3 one"]] * 5
    assert all(log.state.ended - log.state.created < 2 * LEASE * 1000 for log in logs)


def test_a_retry_whose_stream_is_still_held_begins_when_it_is_let_go(
    app: Celery, prefork: Worker, mark: str
) -> None:
    holder = Runtime.of(app).sender.open(f"chat-{mark}", owner=f"task-{mark}")
    forms.audited.apply_stream(
        ("one two",), stream_id=f"chat-{mark}", task_id=f"task-{mark}", retries=1
    )
    wait_until(lambda: marks(f"audit:task-{mark}"), "the task begins")

    holder.release(60)

    log = ended_log(app, f"chat-{mark}")
    assert (log.chunks, log.state.attempt) == (["one", "two"], 2)
    assert prefork.log.count(f"[task-{mark}] received") == 1


def test_an_async_generator_is_retried_too(app: Celery) -> None:
    log = ended_log(app, failing.flaky_asynchronous.stream(PROMPT).id)

    assert (log.chunks, log.state.attempt) == (["2 one", "2 two"], 2)


@pytest.mark.parametrize("task", [failing.unsteady, failing.unsteady_asynchronous])
def test_a_reader_of_the_first_attempt_is_told_that_it_was_superseded(
    app: Celery, speaker: Speaker, task: Any
) -> None:
    stream = task.stream(speaker.port)
    speaker.answer()
    speaker.say("once", "upon")
    first = wait_for_chunks(app, stream.id, 2)
    speaker.say("break")
    speaker.answer()
    speaker.say("a", "new", "tale")
    second = wait_for_chunks(app, stream.id, 3)
    speaker.hang_up()
    log = ended_log(app, stream.id)

    assert (first.chunks, first.state.attempt) == (["once", "upon"], 1)
    assert (log.chunks, log.state.attempt) == (["a", "new", "tale"], 2)
    assert verdict_of(second, first) is verdict_of(log, first) is Verdict.SUPERSEDED
    assert verdict_of(log, second) is Verdict.VALID


@pytest.mark.parametrize(
    ("task", "attempts"), [(failing.by_hand, 3), (failing.by_hand_asynchronous, 2)]
)
def test_a_task_may_retry_itself(app: Celery, task: Any, attempts: int) -> None:
    stream = task.stream(PROMPT)

    log = ended_log(app, stream.id)

    assert log.chunks == [f"{attempts - 1} {PROMPT}", "enough"]
    assert log.state.attempt == attempts


@pytest.mark.skipif(celery.VERSION[:2] < (5, 7), reason="merges changed arguments since 5.7")
def test_a_retry_may_change_the_arguments(app: Celery) -> None:
    stream = failing.with_other_arguments.stream(PROMPT)

    log = ended_log(app, stream.id)

    assert (log.chunks, log.end) == (["something shorter"], "completed")


def test_a_retry_keeps_the_name_of_the_stream(app: Celery, mark: str) -> None:
    stream = failing.flaky.apply_stream((PROMPT,), stream_id=f"chat-{mark}")

    log = ended_log(app, f"chat-{mark}")

    assert (log.chunks[0], log.state.attempt) == ("2 one", 2)
    assert stream.result.get(timeout=PATIENCE)["stream_id"] == f"chat-{mark}"


@pytest.mark.parametrize("task", [failing.hopeless, failing.broken, failing.broken_asynchronous])
def test_a_failed_task_ends_its_stream_behind_the_chunks_it_made(app: Celery, task: Any) -> None:
    stream = task.stream(PROMPT)

    log = ended_log(app, stream.id)

    assert (log.chunks, log.end) == (["beginning"], "producer-error")
    assert log.state.attempt == (2 if task is failing.hopeless else 1)
    with pytest.raises(ValueError, match=f"cannot answer '{PROMPT}'"):
        stream.result.get(timeout=PATIENCE)


@pytest.mark.parametrize(
    "task",
    [failing.hopeless, failing.broken, failing.broken_asynchronous, failing.broken_at_once],
)
def test_readers_are_not_shown_the_message_of_an_exception(app: Celery, task: Any) -> None:
    log = ended_log(app, task.stream(PROMPT).id)

    assert log.error == {
        "code": "producer-error",
        "message": "The answer could not be completed. Please try again.",
    }
    assert PROMPT not in log.state.error


def test_a_public_error_is_shown_to_readers(app: Celery) -> None:
    stream = failing.frank.stream(PROMPT)

    log = ended_log(app, stream.id)

    assert (log.chunks, log.end) == (["beginning"], "producer-error")
    assert log.error == {
        "code": "question-too-long",
        "message": "The question is too long for this model.",
    }
    with pytest.raises(PublicError, match="too long for this model"):
        stream.result.get(timeout=PATIENCE)


def test_retries_that_are_used_up_end_the_stream(app: Celery) -> None:
    stream = failing.hopeless_by_hand.stream(PROMPT)

    log = ended_log(app, stream.id)

    assert (log.chunks, log.end, log.state.attempt) == (["beginning"], "producer-error", 2)
    assert log.error == {
        "code": "producer-error",
        "message": "The answer could not be completed. Please try again.",
    }
    with pytest.raises(MaxRetriesExceededError):
        stream.result.get(timeout=PATIENCE)


# -- eager: the same, in this process


@pytest.fixture
def eager(another_app: Callable[..., Celery], mark: str) -> Celery:
    return another_app(task_always_eager=True, stream_relay_url=f"memory://{mark}")


def test_eager_tasks_stream_into_memory(eager: Celery) -> None:
    for task in (forms.bare, forms.asynchronous):
        stream = eager.tasks[task.name].stream("one two")

        assert ended_log(eager, stream.id).chunks == ["one", "two"]
        assert stream.result.get()["chunks"] == 2


def test_an_eager_task_is_retried(eager: Celery) -> None:
    stream = eager.tasks[failing.flaky.name].stream(PROMPT, failures=2)

    log = ended_log(eager, stream.id)

    assert log.chunks == ["3 one", "3 two", "3 three"]
    assert (log.state.attempt, log.end) == (3, "completed")
    assert stream.result.get()["attempt"] == 3


def test_an_eager_task_retries_itself(eager: Celery) -> None:
    stream = eager.tasks[failing.by_hand.name].apply_stream((PROMPT,), stream_id="eager-named")

    log = ended_log(eager, "eager-named")

    assert (log.chunks, log.state.attempt) == ([f"2 {PROMPT}", "enough"], 3)
    assert stream.result.get()["stream_id"] == "eager-named"


@pytest.mark.parametrize("task", [failing.hopeless, failing.hopeless_by_hand])
def test_an_eager_task_without_retries_left_ends_its_stream(eager: Celery, task: Any) -> None:
    stream = eager.tasks[task.name].stream(PROMPT)

    log = ended_log(eager, stream.id, timeout=5)

    assert (log.chunks, log.end, log.state.attempt) == (["beginning"], "producer-error", 2)
    assert stream.result.failed()


def test_an_eager_task_whose_stream_is_held_says_so(eager: Celery) -> None:
    holder = Runtime.of(eager).sender.open("held")

    result = eager.tasks[forms.bare.name].apply(("one two",), task_id="held")

    assert isinstance(result.result, StreamBusyError)
    holder.finish("completed")


def test_apply_runs_the_task_here_and_streams(eager: Celery) -> None:
    result = eager.tasks[failing.flaky.name].apply((PROMPT,), task_id="applied")

    assert result.get()["attempt"] == 2
    assert ended_log(eager, "applied").chunks == ["2 one", "2 two", "2 three"]


def test_apply_shows_the_failure_of_the_task(eager: Celery) -> None:
    result = eager.tasks[failing.broken.name].apply((PROMPT,), task_id="applied-in-vain")

    with pytest.raises(ValueError, match=PROMPT):
        result.get()
    assert ended_log(eager, "applied-in-vain").end == "producer-error"
