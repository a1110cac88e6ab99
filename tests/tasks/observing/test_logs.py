"""The log: which stream a record is about is a field of it, and no record holds a chunk."""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery

import streamstraight_celery
from streamstraight_celery.testing import StreamTester
from tests.server.conftest import MakeSite, make_site  # noqa: F401 - a fixture
from tests.support.waiting import eventually_async as eventually
from tests.tasks.apps import forms
from tests.tasks.log import ended_log
from tests.tasks.processes import Worker

from .tasks import app as here
from .tasks import aspeak, broken, endless, flaky, speak

PACKAGE = Path(streamstraight_celery.__file__).parent
LOGGERS = {"log", "logger"}
SECRET = "quetzalcoatl"


def calls_of_loggers() -> list[tuple[str, ast.Call]]:
    """All calls of `log` and `logger` in the package, with where they are."""
    return [
        (f"{path.relative_to(PACKAGE)}:{node.lineno}", node)
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in LOGGERS
    ]


def test_a_record_about_a_stream_names_it_in_a_field() -> None:
    about_streams = [
        (place, call)
        for place, call in calls_of_loggers()
        if any(
            isinstance(argument, ast.Constant) and str(argument.value).startswith("stream %s")
            for argument in call.args
        )
    ]
    assert len(about_streams) >= 10
    bare = [
        place
        for place, call in about_streams
        if "extra" not in {each.arg for each in call.keywords}
    ]
    assert bare == []


def shown(record: logging.LogRecord) -> str:
    """All that a structured log could show of a record."""
    text = logging.Formatter("%(message)s").format(record)
    return text + repr({name: value for name, value in vars(record).items() if name != "exc_info"})


def ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.startswith("streamstraight_celery")]


def test_no_chunk_and_no_prompt_is_logged_by_a_producer(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ids = []
    with StreamTester(here) as tester:
        ids += [tester.run(task, f"{SECRET} two").stream_id for task in (speak, aspeak, broken)]
        ids.append(tester.run(flaky).stream_id)
    for faults in ({"relay_down_after": 1}, {"lose_answer_after": 1, "stop_after": 3}):
        with StreamTester(here, **faults) as tester:
            ids.append(tester.run(endless).stream_id)
    assert {vars(record).get("stream_id") for record in ours(caplog)} >= set(ids)
    assert [shown(record) for record in ours(caplog) if SECRET in shown(record)] == []


async def test_no_chunk_is_logged_by_the_relay(
    make_site: MakeSite,  # noqa: F811
    redis_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    site = await make_site(redis_url, lease=0.1, reap_after=0.1)
    producer = site.producer()
    producer.append(SECRET)
    live = await site.client(producer).sse(producer.stream_id)
    await live.until_end()  # its producer is never heard of again
    assert live.control["endReason"] == "producer-disconnected"

    def told() -> list[logging.LogRecord]:
        return [each for each in ours(caplog) if "its producer is lost" in each.getMessage()]

    await eventually(told)  # readers may hear of the end before the relay has its answer
    (record,) = told()
    assert vars(record)["stream_id"] == producer.stream_id
    assert vars(record)["attempt"] == 1
    assert [shown(each) for each in caplog.records if SECRET in shown(each)] == []


def test_no_chunk_and_no_prompt_is_in_the_log_of_a_worker(
    app: Celery, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker("logged", concurrency=1, options=("-l", "DEBUG"))
    stream = forms.bare.apply_stream((f"say {SECRET}",), queue=worker.queue)
    assert ended_log(app, stream.id).chunks == ["say", SECRET]
    stream.result.get(timeout=60)
    again = forms.bare.apply_stream(("later",), queue=worker.queue)
    ended_log(app, again.id)  # by now the log of the first is written
    assert f"stream {stream.id}: attempt 1 ended: completed, 2 chunks" in worker.log
    assert SECRET not in worker.log
