"""Whose a stream is that has ended: only its own task may find it so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from streamstraight_celery import StreamTask
from streamstraight_celery.errors import ConfigurationError, StreamClosedError, StreamExistsError
from streamstraight_celery.relays.requests import Claim, Conclude
from tests.conftest import RedisServer
from tests.support.proxy import Proxy
from tests.tasks.apps import listening, owning
from tests.tasks.apps.marks import marks
from tests.tasks.log import ended_log, relay_of, state_of, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker, wait_until
from tests.tasks.speaker import Speaker

NAME = "tests.tasks.apps.owning.counted"


def send(app: Celery, mark: str, text: str, **headers: Any) -> Any:
    """As Beat does, or a producer without the worker's code: nothing is announced."""
    headers["stream_id"] = f"daily-{mark}"
    return app.send_task(NAME, (text, mark), headers=headers, queue="prefork")


def test_another_task_s_stream_that_has_ended_is_no_success(
    app: Celery, prefork: Worker, mark: str
) -> None:
    first = send(app, mark, "one")
    assert first.get(timeout=PATIENCE)["chunks"] == 1

    with pytest.raises(StreamExistsError, match=f"is task {first.id}'s and has ended"):
        send(app, mark, "two").get(timeout=PATIENCE)

    assert marks(mark) == [""]
    assert ended_log(app, f"daily-{mark}").chunks == ["one"]


def test_it_is_replaced_where_the_caller_says_so(app: Celery, prefork: Worker, mark: str) -> None:
    send(app, mark, "one").get(timeout=PATIENCE)

    second = send(app, mark, "two", stream_overwrite=True)

    assert second.get(timeout=PATIENCE)["attempt"] == 1
    assert ended_log(app, f"daily-{mark}").chunks == ["two"]
    # With the task's code at hand, it is announced first.
    options = {"stream_id": f"daily-{mark}", "headers": {"stream_overwrite": True}}
    third = owning.counted.apply_stream(("three", mark), **options)  # type: ignore[arg-type]
    third.result.get(timeout=PATIENCE)
    assert ended_log(app, third.id).chunks == ["three"]
    assert state_of(app, third.id).owner == third.task_id


@pytest.mark.parametrize("task", [owning.runs_after_loss, owning.counted])
def test_a_task_that_comes_after_its_stream_was_given_up(
    app: Celery, prefork: Worker, mark: str, task: Any
) -> None:
    # Its worker was killed and its stream given up; the broker delivers it again much later.
    queue = f"late-{mark}"
    stream = task.apply_stream(("one two", mark), queue=queue)
    relay = relay_of(app)
    relay.call(Claim(stream.id, "aaaaaaaa", stream.task_id))
    lost = Conclude(stream.id, stream.task_id, "aaaaaaaa", "producer-disconnected", "{}")
    assert relay.call(lost).kind == "ended"

    app.control.add_consumer(queue, destination=[prefork.hostname], reply=True)

    try:
        if task is owning.runs_after_loss:
            assert stream.result.get(timeout=PATIENCE)["attempt"] == 2
            log = ended_log(app, stream.id)
            assert (log.chunks, log.end) == (["one", "two"], "completed")
        else:
            with pytest.raises(StreamClosedError):
                stream.result.get(timeout=PATIENCE)
            assert marks(mark) == []
    finally:
        app.control.cancel_consumer(queue, destination=[prefork.hostname], reply=True)


# Not prefork: kombu 5.7 sometimes takes the worker down when its hub loses Redis.
@pytest.mark.parametrize("pool", ["gevent"])
def test_readers_do_not_wait_long_when_the_worker_loses_its_broker(
    app: Celery, start_worker: Callable[..., Worker], server: RedisServer, speaker: Speaker,
    mark: str, pool: str,
) -> None:  # fmt: skip
    with Proxy(int(server.url(1).partition("127.0.0.1:")[2].partition("/")[0])) as proxy:
        changes = {
            "broker_url": f"redis://127.0.0.1:{proxy.port}/1",
            "worker_cancel_long_running_tasks_on_connection_loss": True,
        }
        start_worker(f"cut-{mark}", changes, pool=pool)
        stream = listening.late.apply_stream((speaker.port, mark), queue=f"cut-{mark}")
        speaker.answer()
        wait_for_chunks(app, stream.id, 1)

        proxy.refuse()
        proxy.cut()

        # Not for the hour that a stream is kept. `state` ends it when that is due.
        wait_until(lambda: stream.state().end, "the stream is given up")
        assert stream.state().end == "producer-disconnected"


@pytest.mark.parametrize(
    "options", [{"on_lost": "again"}, {"on_lost": "run", "on_redelivery": "fail"}]
)
def test_options_that_cannot_be(
    another_app: Callable[..., Celery], options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match="on_lost="):

        @another_app().task(base=StreamTask, lazy=False, shared=False, **options)
        def wrong() -> Any:
            yield 1
