"""Wrong configuration and absent servers, as a web route meets them: clear errors, nothing lost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import kombu
import pytest
from celery import Celery
from kombu.exceptions import OperationalError

from streamstraight_celery import RelayUnavailableError, StreamError, StreamHandle
from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.relays.requests import Read, Stop
from streamstraight_celery.runtime import Runtime
from tests.conftest import RedisServer, free_port
from tests.tasks.apps import forms
from tests.tasks.log import relay_of
from tests.tasks.processes import PATIENCE, ROOT, Worker

MakeApp = Callable[..., Celery]

FEW_RETRIES = {
    "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0, "interval_step": 0.01}
}


def stream_on(app: Celery, **options: Any) -> StreamHandle:
    handle: StreamHandle = app.tasks[forms.bare.name].apply_stream(("one two",), **options)
    return handle


def waiting_in(app: Celery, queue: str) -> int:
    """How many messages wait in a queue of a Redis broker."""
    with app.connection_for_read() as connection:
        return int(connection.default_channel.client.llen(queue))


# -- settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param(
            {"stream_relay_url": "ftp://example"},
            r"stream_relay_url: unknown scheme 'ftp'; use one of redis://, .*memory://",
            id="unknown scheme",
        ),
        pytest.param(
            {"stream_relay_url": "localhost:6379"},
            "stream_relay_url: unknown scheme 'localhost'",
            id="no scheme",
        ),
        pytest.param(
            {"stream_relay_url": "redis://localhost:port/0"}, "stream_relay_url", id="no port"
        ),
        pytest.param(
            {"stream_relay_url": ""}, "stream_relay_url is not set.*Set it to where", id="unset"
        ),
        pytest.param(
            {"stream_lesae": 3},
            r"unknown setting stream_lesae; did you mean stream_lease\?",
            id="misspelt",
        ),
        pytest.param({"stream_zzz": 3}, "unknown setting stream_zzz$", id="unknown"),
        pytest.param(
            {"stream_lease": "ten"}, "stream_lease must be a float, not 'ten'", id="wrong type"
        ),
        pytest.param({"stream_ttl": 0}, "stream_ttl must be greater than 0", id="out of range"),
        pytest.param(
            {"stream_show_arguments": "no"}, "stream_show_arguments must be a bool", id="no bool"
        ),
        pytest.param({"stream_linger": 1}, "stream_linger is in seconds, from 0 to", id="linger"),
    ],
)
def test_a_wrong_setting_is_said_at_enqueue_and_nothing_is_enqueued(
    another_app: MakeApp, mark: str, changes: dict[str, Any], message: str
) -> None:
    other = another_app(**changes)

    with pytest.raises(ConfigurationError, match=message):
        stream_on(other, queue=f"queue-{mark}")

    assert waiting_in(other, f"queue-{mark}") == 0


@pytest.mark.parametrize("options", [{}, {"key": "a chat"}], ids=["alone", "in a conversation"])
def test_a_task_s_id_that_no_reader_could_ask_for(
    another_app: MakeApp, mark: str, options: dict[str, Any]
) -> None:
    other = another_app()

    with pytest.raises(ConfigurationError, match="stream id 'user 7/8'"):
        stream_on(other, queue=f"queue-{mark}", task_id="user 7/8", **options)

    assert waiting_in(other, f"queue-{mark}") == 0


def test_a_relay_is_asked_for_when_the_broker_is_no_redis(
    monkeypatch: pytest.MonkeyPatch, app: Celery
) -> None:
    monkeypatch.delenv("STREAM_RELAY_URL", raising=False)
    other = Celery(broker="memory://", set_as_current=False)

    with pytest.raises(
        ConfigurationError,
        match=r"stream_relay_url is not set, and Celery's broker is not Redis.*redis://localhost",
    ):
        stream_on(other)


def test_an_app_that_is_not_the_default_one_in_a_thread(
    monkeypatch: pytest.MonkeyPatch, app: Celery
) -> None:
    monkeypatch.delenv("STREAM_RELAY_URL", raising=False)
    monkeypatch.setattr("celery._state.default_app", None)

    with (
        ThreadPoolExecutor(1) as threads,  # as FastAPI runs a route
        pytest.raises(ConfigurationError, match=r"this thread has another app: call app\.set_def"),
    ):
        threads.submit(lambda: forms.bare.stream("x")).result()


def test_the_broker_s_redis_is_the_relay_when_none_is_named(
    server: RedisServer, app: Celery
) -> None:
    other = Celery(broker=server.url(9), set_as_current=False)

    handle = stream_on(other, stream_id="beside-the-broker")

    assert Runtime.of(other).settings.relay_url == server.url(9)
    assert handle.stop()
    Runtime.of(other).close()


def test_a_wrong_setting_fails_the_task_and_not_the_worker(
    start_worker: Callable[..., Worker], app: Celery
) -> None:
    worker = start_worker("misconfigured", {"stream_lesae": 3}, pool="solo", concurrency=1)

    results = [forms.bare.apply_async(("x",), queue=worker.queue) for _ in range(2)]

    for result in results:
        with pytest.raises(ConfigurationError, match=r"did you mean stream_lease\?"):
            result.get(timeout=PATIENCE)
    assert app.control.inspect(destination=[worker.hostname], timeout=PATIENCE).ping()


# -- optional dependencies


WITHOUT = """
import sys

hidden = set(sys.argv[1].split(","))

class Hidden:
    def find_spec(self, fullname, *_):
        if fullname.partition(".")[0] in hidden:
            raise ModuleNotFoundError(fullname)

sys.meta_path.insert(0, Hidden())

from celery import Celery
from streamstraight_celery import stream_task
from streamstraight_celery.runtime import Runtime
from streamstraight_celery.relays.requests import (Read)

app = Celery(broker="memory://", task_always_eager=True, stream_relay_url="memory://without")

@stream_task
def answer(text: str):
    yield from text.split()

stream = answer.stream("one two")
print(Runtime.of(app).relay.state(stream.id).last, hasattr(answer, "delay_on_commit"))
"""


def test_tasks_need_none_of_the_optional_dependencies() -> None:
    optional = "django,flask,fastapi,starlette,uvicorn,uvloop,hiredis,httptools,pydantic,openai"

    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, optional],
        cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip

    assert done.stdout == "2 False\n", done.stderr


# -- absent servers


def test_without_a_relay_nothing_is_enqueued(another_app: MakeApp, mark: str) -> None:
    port = free_port()
    other = another_app(stream_relay_url=f"redis://user:hidden@127.0.0.1:{port}/0")

    with pytest.raises(RelayUnavailableError) as caught:
        stream_on(other, queue=f"queue-{mark}")

    assert waiting_in(other, f"queue-{mark}") == 0
    message = str(caught.value)
    assert f"redis://user:***@127.0.0.1:{port}/0" in message
    assert "Is Redis running there? Set stream_relay_url" in message
    assert "hidden" not in message


def test_without_a_broker_no_stream_stays_open(another_app: MakeApp, mark: str) -> None:
    other = another_app(broker_url=f"redis://127.0.0.1:{free_port()}/0", **FEW_RETRIES)

    with pytest.raises(OperationalError):
        stream_on(other, stream_id=f"chat-{mark}")

    page = relay_of(other).read(Read(f"chat-{mark}"))
    assert page is not None
    assert page.state.end == "stopped"


def test_the_broker_s_error_is_told_when_the_relay_is_lost_as_well(
    another_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = another_app(broker_url=f"redis://127.0.0.1:{free_port()}/0", **FEW_RETRIES)
    relay = relay_of(other)
    execute = relay.execute

    def lost_after_the_announcement(requests: Any) -> Any:
        if isinstance(requests[0], Stop):
            raise RelayUnavailableError("it is gone")
        return execute(requests)

    monkeypatch.setattr(relay, "execute", lost_after_the_announcement)
    with pytest.raises(OperationalError):
        stream_on(other)


def test_a_broker_that_fails_leaves_another_s_stream_alone(
    app: Celery, another_app: MakeApp, mark: str
) -> None:
    first = stream_on(app, stream_id=f"chat-{mark}", queue="nobody")
    other = another_app(broker_url=f"redis://127.0.0.1:{free_port()}/0", **FEW_RETRIES)

    with pytest.raises(StreamError):
        stream_on(other, stream_id=f"chat-{mark}")

    assert first.state().end == ""
    assert first.stop()


def test_when_both_are_absent_it_is_the_relay_that_is_named(another_app: MakeApp) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    other = another_app(broker_url=url, stream_relay_url=url, **FEW_RETRIES)

    with pytest.raises(RelayUnavailableError):
        stream_on(other)


def test_a_relay_that_came_back_is_used_again(another_app: MakeApp, own_redis: RedisServer) -> None:
    other = another_app(stream_relay_url=own_redis.url())
    assert stream_on(other, queue="nobody").stop()
    own_redis.kill()
    with pytest.raises(RelayUnavailableError):
        stream_on(other, queue="nobody")

    own_redis.start()

    assert stream_on(other, queue="nobody").stop()


def test_stop_and_state_say_that_the_relay_is_absent(
    another_app: MakeApp, own_redis: RedisServer
) -> None:
    other = another_app(stream_relay_url=own_redis.url())
    handle = stream_on(other, queue="nobody")
    own_redis.kill()

    for ask in (handle.stop, handle.state):
        with pytest.raises(RelayUnavailableError, match="does not answer"):
            ask()


def test_a_message_that_cannot_be_serialised_leaves_no_stream_open(app: Celery, mark: str) -> None:
    with pytest.raises(kombu.exceptions.EncodeError):
        forms.bare.apply_stream((object(),), stream_id=f"chat-{mark}")

    assert relay_of(app).state(f"chat-{mark}").end == "stopped"


def test_a_worker_with_a_wrong_setting_says_so_when_it_starts(
    start_worker: Callable[..., Worker],
) -> None:
    worker = start_worker("misspelt", {"stream_leese": 5})
    assert "stream tasks will fail in this worker: unknown setting stream_leese" in worker.log
    assert "did you mean stream_lease?" in worker.log
