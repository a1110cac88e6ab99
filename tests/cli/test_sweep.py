"""`celery -A proj streams sweep`: what it prints, and its exit status."""

from __future__ import annotations

import pytest
import redis
from celery import Celery

from streamstraight_celery.relays.requests import Create, Enlist, Stop
from streamstraight_celery.runtime import Runtime
from tests.cli.test_cli import Streams
from tests.conftest import free_port


def ended(streams: Streams, on_end: str = "proj.save") -> None:
    streams.relay.call(Enlist("s"))
    streams.relay.call(Create("s", "task-1", on_end=on_end))
    streams.relay.call(Stop("s"))


def test_it_says_what_it_did(redis_url: str) -> None:
    streams = Streams(redis_url)
    ended(streams)
    done = streams("sweep")
    assert (done.exit_code, done.stdout) == (0, "1 streams looked at, 0 ended, 1 told\n")
    with redis.Redis.from_url(redis_url) as broker:
        assert broker.llen("celery") == 1
    assert streams.json("sweep") == {
        "looked": 0, "ended": 0, "told": 0, "failed": 0, "lost": 0, "woken": 0,
    }  # fmt: skip
    streams.relay.close()


@pytest.mark.filterwarnings("ignore::celery.exceptions.CDeprecationWarning")
def test_it_uses_the_queue_of_a_task_that_it_has_not_imported(redis_url: str) -> None:
    app = Celery("web", set_as_current=False)
    app.conf.stream_relay_url = redis_url

    @app.task(name="proj.save", queue="db", shared=False)
    def task(end: object) -> None: ...

    on_end = Runtime.of(app).on_end_name(task)
    assert on_end == Runtime.of(app).on_end_name("proj.save")
    streams = Streams(redis_url)
    ended(streams, on_end)
    assert streams("sweep").exit_code == 0
    with redis.Redis.from_url(redis_url) as broker:
        assert broker.llen("db") == 1
    streams.relay.close()


def test_it_fails_when_the_broker_does_not_take_it(redis_url: str) -> None:
    streams = Streams(redis_url)
    ended(streams)
    away = f"redis://127.0.0.1:{free_port()}/0"
    done = streams("sweep", stream_relay_url=redis_url, broker_url=away, task_publish_retry=False)
    assert done.exit_code == 1
    assert "0 told; 1 could not be told, see the log" in done.stdout
    streams.relay.close()
