"""Streams asked for by a process that has not got the worker's code."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery, chain, chord, signature

from streamstraight_celery import send_stream_task
from streamstraight_celery.errors import ConfigurationError, StreamExistsError
from tests.tasks.log import ended_log
from tests.tasks.processes import PATIENCE, Worker

BARE = "tests.tasks.apps.forms.bare"
PLAIN = "tests.tasks.apps.forms.spaced"


@pytest.fixture
def web(another_app: Callable[..., Celery], app: Celery) -> Celery:
    """A web service's app: the same broker and store, no tasks."""
    web = another_app(result_backend=app.conf.result_backend)
    # Other tests of this process may have imported the modules of shared tasks.
    for name in [name for name in web.tasks if name.startswith("tests.")]:
        del web.tasks[name]
    return web


def test_a_task_is_enqueued_by_its_name(app: Celery, web: Celery, prefork: Worker) -> None:
    stream = send_stream_task(BARE, ["one two"], app=web)
    assert stream.state().owner == stream.task_id
    assert stream.result.get(timeout=PATIENCE)["stream_id"] == stream.id
    assert ended_log(app, stream.id).chunks == ["one", "two"]


def test_it_is_there_and_can_be_stopped_before_a_worker_takes_it(web: Celery, mark: str) -> None:
    stream = send_stream_task(BARE, ["never"], app=web, queue=mark, stream_id=f"chat-{mark}")
    assert stream.id == f"chat-{mark}"
    assert stream.stop() is True
    assert stream.state().end == "stopped"
    with pytest.raises(StreamExistsError):
        send_stream_task(BARE, ["another"], app=web, queue=mark, stream_id=stream.id)


def test_the_last_task_of_a_chain_streams(
    app: Celery, web: Celery, prefork: Worker, mark: str
) -> None:
    steps = chain(signature(PLAIN, (["one", "two"],), app=web), signature(BARE, app=web), app=web)
    stream = send_stream_task(steps, app=web, stream_id=f"chain-{mark}")
    assert stream.state().end == ""
    assert ended_log(app, stream.id).chunks == ["one", "two"]
    assert stream.result.get(timeout=PATIENCE)["stream_id"] == stream.id


def test_the_body_of_a_chord_streams(app: Celery, web: Celery, prefork: Worker, mark: str) -> None:
    words = [signature(PLAIN, ([word],), app=web) for word in ("one", "two")]
    body = signature("tests.tasks.apps.forms.each_of", app=web)
    stream = send_stream_task(chord(words, body, app=web), app=web, stream_id=f"chord-{mark}")
    assert sorted(ended_log(app, stream.id).chunks) == ["one", "two"]


def test_a_group_has_no_last_task(web: Celery) -> None:
    from celery import group

    with pytest.raises(ConfigurationError, match="no single task"):
        send_stream_task(group(signature(BARE, ("x",), app=web), app=web), app=web)


def test_a_signature_has_its_own_arguments(web: Celery) -> None:
    with pytest.raises(ConfigurationError, match="its own"):
        send_stream_task(signature(BARE, ("x",), app=web), ["y"], app=web)
