"""OpenTelemetry: request, task and stream are one trace, kept by its in-memory exporter."""

from __future__ import annotations

import subprocess
import sys
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from celery import Celery
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from streamstraight_celery import StreamTask
from streamstraight_celery.runtime import Runtime
from streamstraight_celery.testing import StreamTester
from streamstraight_celery.worker.tracing import carry
from tests.support.workers import worker_here
from tests.tasks.log import ended_log

from .tasks import app as eager_app
from .tasks import broken, flaky

exporter = InMemorySpanExporter()
PREFIX = "streamstraight."

traced = Celery("traced", broker="memory://", backend="cache+memory://", set_as_current=False)
traced.conf.update(stream_relay_url="memory://traced", worker_hijack_root_logger=False)


def call_the_model() -> AbstractContextManager[Any]:
    """The span of an instrumented client, which says in which thread it was begun."""
    where = {"thread": threading.current_thread().name}
    return trace.get_tracer("llm").start_as_current_span("call the model", attributes=where)


@traced.task(base=StreamTask)
def calling(text: str) -> Iterator[str]:
    with call_the_model():
        yield from text.split()


@traced.task(base=StreamTask)
async def acalling(text: str) -> AsyncIterator[str]:
    with call_the_model():
        for word in text.split():
            yield word


@pytest.fixture(scope="module", autouse=True)
def provider() -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


@pytest.fixture
def spans() -> Iterator[Callable[[], dict[str, ReadableSpan]]]:
    """All spans that have ended, by name."""
    exporter.clear()
    yield lambda: {span.name: span for span in exporter.get_finished_spans()}
    exporter.clear()


@pytest.fixture(scope="module")
def worker() -> Iterator[None]:
    with worker_here(traced, pool="threads", concurrency=1):
        yield
    Runtime.of(traced).close()


def request_to(task: Any, *arguments: Any) -> str:
    """A web request that asks for a stream, and the end of that stream."""
    with trace.get_tracer("web").start_as_current_span("POST /chat"):
        stream = task.apply_stream(arguments)
    ended_log(traced, stream.id)
    stream.result.get(timeout=30)
    return str(stream.id)


def parent_of(span: ReadableSpan) -> Any:
    return span.parent and span.parent.span_id


def id_of(span: ReadableSpan) -> Any:
    return span.context.span_id


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("task", "thread"), [(calling, "stream-generator"), (acalling, "stream-loop")]
)
def test_request_stream_and_what_it_calls_are_one_trace(spans: Any, task: Any, thread: str) -> None:
    stream_id = request_to(task, "one two")
    found = spans()
    web, stream = found["POST /chat"], found[f"stream {task.name}"]
    model = found["call the model"]
    assert stream.context.trace_id == model.context.trace_id == web.context.trace_id
    assert (parent_of(stream), parent_of(model)) == (id_of(web), id_of(stream))
    # A thread of its own in either case, and not the pool's: the context has gone along.
    assert model.attributes["thread"] == thread
    shown = {name.removeprefix(PREFIX): value for name, value in stream.attributes.items()}
    assert shown.pop("seconds") >= shown.pop("first_chunk_seconds") > 0
    assert shown == {
        "stream_id": stream_id, "task_id": stream_id, "task_name": task.name, "attempt": 1,
        "reason": "completed", "chunks": 2, "bytes": 10, "elsewhere": False,
    }  # fmt: skip
    assert [event.name for event in stream.events] == ["first chunk"]
    assert stream.status.is_unset
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.fixture
def instrumented() -> Iterator[None]:
    CeleryInstrumentor().instrument()
    yield
    CeleryInstrumentor().uninstrument()


@pytest.mark.usefixtures("worker", "instrumented")
def test_with_the_instrumentation_of_celery_the_task_is_between(spans: Any) -> None:
    request_to(calling, "one two")
    found = spans()
    names = ["POST /chat", f"apply_async/{calling.name}", f"run/{calling.name}"]
    names += [f"stream {calling.name}", "call the model"]
    assert [parent_of(found[name]) for name in names] == [
        None, *(id_of(found[name]) for name in names[:-1])
    ]  # fmt: skip


def test_a_failed_stream_is_an_error(spans: Any) -> None:
    with StreamTester(eager_app) as tester:
        tester.run(broken, "secret words")
    span = spans()[f"stream {broken.name}"]
    assert (span.status.is_ok, span.status.description) == (False, "producer-error")
    assert "secret words" not in span.to_json()


def test_each_attempt_has_a_span(spans: Any) -> None:
    with StreamTester(eager_app) as tester:
        tester.run(flaky)
    found = [span for span in exporter.get_finished_spans() if span.name.endswith("flaky")]
    ends = [(s.attributes[f"{PREFIX}attempt"], s.attributes[f"{PREFIX}reason"]) for s in found]
    assert sorted(ends) == [(1, "released"), (2, "completed")]


def test_a_message_carries_the_current_trace_unless_it_names_one() -> None:
    named = f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"
    headers: dict[str, Any] = {}
    own = {"traceparent": named, "stream_id": "mine"}
    with trace.get_tracer("web").start_as_current_span("POST /chat") as span:
        carry(headers)
        carry(own)
    assert f"{span.get_span_context().trace_id:032x}" in headers["traceparent"]
    assert own == {"traceparent": named, "stream_id": "mine"}


def test_without_opentelemetry_streams_are_streams() -> None:
    code = (
        "import sys\n"
        "for name in ('context', 'propagate', 'trace'):\n"
        "    sys.modules['opentelemetry.' + name] = None\n"
        "from streamstraight_celery.testing import StreamTester\n"
        "from streamstraight_celery.worker.tracing import load_opentelemetry\n"
        "from tests.tasks.observing.tasks import app, speak\n"
        "with StreamTester(app) as tester:\n"
        "    assert tester.run(speak, 'one two').completed() == ['one', 'two']\n"
        "    speak.stream('one')\n"
        "assert load_opentelemetry() is None\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
