"""Every form of a stream task, run by a real worker and read back from the relay."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import StreamHandle, StreamTask, get_stream, stream_task
from tests.tasks.apps import forms
from tests.tasks.apps.marks import marks
from tests.tasks.log import ended_log
from tests.tasks.processes import PATIENCE, Worker, wait_until

pytestmark = pytest.mark.usefixtures("prefork")

SUMMARY = [
    "end_reason", "chunks", "first_chunk_seconds", "seconds", "bytes", "attempt", "stream_id",
]  # fmt: skip


@pytest.mark.parametrize(
    "task",
    [
        pytest.param(forms.bare, id="bare decorator"),
        pytest.param(forms.optioned, id="decorator with options"),
        pytest.param(forms.returning, id="decorator with empty parentheses"),
        pytest.param(forms.asynchronous, id="async generator"),
        pytest.param(forms.on_app, id="app.task with base"),
        pytest.param(forms.shared, id="shared_task with base"),
        pytest.param(forms.audited, id="base class of the user's own"),
        pytest.param(forms.unrecorded, id="ignored result"),
    ],
)
def test_the_words_that_a_generator_yields_are_the_stream(app: Celery, task: Any) -> None:
    stream = task.stream("one two three")

    log = ended_log(app, stream.id)

    assert log.chunks == ["one", "two", "three"]
    assert log.end == "completed"
    assert log.state.attempt == 1
    assert log.error is None


@pytest.mark.parametrize("task", [forms.bound, forms.asynchronous_bound])
def test_a_bound_generator_gets_its_task_and_request(app: Celery, task: Any) -> None:
    stream = task.apply_stream(("hello",), stream_id=f"named:{task.name}")

    who, text = ended_log(app, stream.id).chunks

    assert who == {"stream": f"named:{task.name}", "task": stream.task_id, "retries": 0}
    assert text == "hello"


def test_a_bound_generator_on_an_app_gets_its_task(app: Celery) -> None:
    stream = forms.on_app_bound.stream("hello")

    assert ended_log(app, stream.id).chunks == [stream.task_id, "hello"]


def test_a_class_with_a_run_method_streams(app: Celery) -> None:
    assert ended_log(app, forms.count_down.stream(3).id).chunks == [3, 2, 1]


def test_a_class_with_an_async_run_method_streams(app: Celery) -> None:
    stream = forms.count_up.stream(end=2)

    assert ended_log(app, stream.id).chunks == [stream.id, 0, 1]


def test_a_decorator_that_passes_the_generator_on_may_stand_in_between(app: Celery) -> None:
    assert ended_log(app, forms.wrapped.stream("a b").id).chunks == ["0 a", "1 b"]


def test_a_decorator_may_make_a_plain_function_a_generator_function(app: Celery) -> None:
    assert ended_log(app, forms.made_streaming.stream("a b").id).chunks == ["a", "b"]


def test_a_decorator_that_swallows_the_generator_is_a_clear_error(app: Celery) -> None:
    stream = forms.spoilt.stream("a b")

    with pytest.raises(TypeError, match="returned list, not a generator: a decorator between"):
        stream.result.get(timeout=PATIENCE)
    assert ended_log(app, stream.id).end == "producer-error"


def test_what_a_generator_returns_is_the_result(app: Celery) -> None:
    assert forms.returning.stream("a b").result.get(timeout=PATIENCE) == {"words": 2}


@pytest.mark.parametrize("task", [forms.bare, forms.asynchronous])
def test_the_result_of_a_generator_that_returns_nothing_is_the_summary(
    app: Celery, task: Any
) -> None:
    stream = task.stream("ab é")

    summary = stream.result.get(timeout=PATIENCE)

    assert set(summary) == set(SUMMARY)
    assert summary["stream_id"] == stream.id
    assert summary["attempt"] == 1
    assert summary["chunks"] == 2
    assert summary["bytes"] == len(b'"ab"') + len('"é"'.encode())
    assert 0 <= summary["first_chunk_seconds"] <= summary["seconds"] < PATIENCE
    assert summary["end_reason"] == "completed"


def test_a_generator_without_chunks_makes_an_empty_stream(app: Celery) -> None:
    stream = forms.nothing.stream()

    summary = stream.result.get(timeout=PATIENCE)

    assert (summary["chunks"], summary["bytes"]) == (0, 0)
    assert summary["first_chunk_seconds"] is None
    assert ended_log(app, stream.id).chunks == []


def test_plain_delay_streams_and_its_id_is_the_stream_id(app: Celery) -> None:
    result = forms.bare.delay("one two")

    assert ended_log(app, result.id).chunks == ["one", "two"]
    state = get_stream(result.id, app=app).state()
    assert (state.task, state.queue) == (forms.bare.name, app.conf.task_default_queue)
    assert "@" in state.worker
    assert result.get(timeout=PATIENCE)["stream_id"] == result.id


def test_plain_apply_async_streams_under_the_task_id_it_is_given(app: Celery) -> None:
    result = forms.bare.apply_async(("one two",), task_id="my-task")

    assert result.id == "my-task"
    assert ended_log(app, "my-task").chunks == ["one", "two"]


def test_a_task_sent_by_name_streams(app: Celery) -> None:
    result = app.send_task(forms.bare.name, ("one two",))

    assert result.get(timeout=PATIENCE)["stream_id"] == result.id
    assert ended_log(app, result.id).chunks == ["one", "two"]


def test_a_task_sent_by_name_may_name_its_stream_in_a_header(app: Celery) -> None:
    result = app.send_task(forms.bound.name, ("x",), headers={"stream_id": "sent-by-name"})

    result.get(timeout=PATIENCE)

    assert ended_log(app, "sent-by-name").chunks[0]["task"] == result.id


def test_a_decorated_task_has_the_name_celery_would_give_it() -> None:
    assert forms.bare.name == "tests.tasks.apps.forms.bare"
    assert forms.optioned.name == "a-name-of-its-own"
    assert forms.bare.__doc__ is None
    assert "when and how often" in forms.starting.__doc__


def test_celery_s_handlers_of_a_base_class_are_called(app: Celery) -> None:
    result = forms.audited.stream("x").result
    assert result.get(timeout=PATIENCE) == "done"

    failed = forms.audited_failure.stream("x").result
    with pytest.raises(LookupError):
        failed.get(timeout=PATIENCE)

    wait_until(lambda: len(marks(f"audit:{failed.id}")) >= 4, "the handlers are called")
    wait_until(lambda: len(marks(f"audit:{result.id}")) >= 2, "the handlers are called")
    assert marks(f"audit:{result.id}") == ["before", "success done"]
    # The second attempt may begin before the handler of the first has been called.
    assert sorted(marks(f"audit:{failed.id}")) == [
        "before", "before", "failure no luck", "retry no luck",
    ]  # fmt: skip


def test_a_run_annotation_wraps_the_driver(app: Celery, mark: str) -> None:
    stream = forms.annotated.stream("one two", mark=mark)

    assert ended_log(app, stream.id).chunks == ["one", "two"]
    assert marks("annotation").count(mark) == 1


def test_stream_tasks_are_listed_by_the_worker(app: Celery, prefork: Worker) -> None:
    registered = app.control.inspect(destination=[prefork.hostname], timeout=10).registered()

    names = " ".join(registered[prefork.hostname])
    for task in (forms.bare, forms.optioned, forms.count_down, forms.count_up, forms.on_app):
        assert task.name in names


# -- without a worker


def test_a_direct_call_returns_the_generator() -> None:
    assert list(forms.bare("one two")) == ["one", "two"]
    assert list(forms.count_down(2)) == [2, 1]


def test_a_direct_call_of_run_returns_the_generator() -> None:
    assert list(forms.bare.run("one two")) == ["one", "two"]
    assert list(forms.count_down.run(2)) == [2, 1]


async def test_a_direct_call_returns_the_async_generator() -> None:
    assert [word async for word in forms.asynchronous("one two")] == ["one", "two"]


def test_a_bound_task_called_directly_gets_itself() -> None:
    first, second = forms.bound("hello")

    assert (first["task"], second) == (None, "hello")


def test_a_task_can_be_pickled(app: Celery) -> None:
    again = pickle.loads(pickle.dumps(app.tasks[forms.bare.name]))

    assert again is app.tasks[forms.bare.name]


def test_a_pickled_signature_streams(app: Celery) -> None:
    signature = pickle.loads(pickle.dumps(forms.bare.s("one two")))

    assert ended_log(app, signature.delay().id).chunks == ["one", "two"]


def test_a_handle_is_returned_at_once(app: Celery) -> None:
    handle = forms.bare.apply_stream(("x",), {}, queue="nobody")

    assert isinstance(handle, StreamHandle)
    assert handle.state().attempt == 0
    assert handle.stop()


def plain_function(prompt: str) -> str:
    return prompt


async def coroutine_function(prompt: str) -> str:
    return prompt


class Callable_:
    def __call__(self) -> Iterator[str]:
        yield ""


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(plain_function, id="function"),
        pytest.param(coroutine_function, id="coroutine function"),
        pytest.param(lambda prompt: prompt, id="lambda"),
        pytest.param(lambda prompt: (part for part in prompt), id="lambda giving a generator"),
        pytest.param(str, id="class"),
        pytest.param(len, id="builtin"),
        pytest.param(Callable_(), id="object"),
    ],
)
@pytest.mark.parametrize("decorate", [stream_task, stream_task(name="never")])
def test_what_is_no_generator_function_is_refused_at_decoration(
    function: Any, decorate: Any
) -> None:
    with pytest.raises(TypeError, match="a stream task yields its chunks"):
        decorate(function)


def test_the_refusal_names_the_function_and_what_it_is() -> None:
    with pytest.raises(TypeError, match=r"^plain_function is not a generator function"):
        stream_task(plain_function)
    with pytest.raises(TypeError, match=r"^coroutine_function is a coroutine function"):
        stream_task(coroutine_function)


def test_an_app_task_with_our_base_is_checked_too(app: Celery) -> None:
    with pytest.raises(TypeError, match="a stream task yields its chunks"):
        app.task(base=StreamTask, lazy=False, shared=False)(plain_function)


def test_a_class_whose_run_is_no_generator_is_refused() -> None:
    with pytest.raises(TypeError, match="a stream task yields its chunks"):

        class Wrong(StreamTask):
            def run(self) -> str:
                return ""


def test_a_base_that_does_not_stream_is_refused() -> None:
    from celery import Task

    class Base(Task):  # type: ignore[misc]
        abstract = True

    with pytest.raises(TypeError, match=r"must be a subclass of StreamTask.*X\(StreamTask, Base\)"):
        stream_task(base=Base)

    class X(StreamTask, Base):
        abstract = True

    @stream_task(base=X)
    def says_so() -> Iterator[int]:
        yield 1

    assert isinstance(says_so, Base)


def test_both_kinds_of_generator_functions_are_accepted(another_app: Any) -> None:
    other = another_app()

    async def asynchronous() -> AsyncIterator[int]:
        yield 1

    def synchronous() -> Iterator[int]:
        yield 1

    for function in (asynchronous, synchronous):
        assert other.task(base=StreamTask, shared=False)(function).name
