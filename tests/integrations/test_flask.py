"""Flask: stream tasks in the application's context, and the extension's own mistakes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from flask import Flask

from streamstraight_celery import StreamTask, stream_task
from streamstraight_celery.errors import ConfigurationError
from streamstraight_celery.integrations.flask import Streams, remember
from streamstraight_celery.runtime import Runtime
from tests.conftest import ROOT, eventually
from tests.integrations.conftest import watch
from tests.tasks.log import ended_log


def words() -> Iterator[str]:
    yield "word"


@pytest.fixture
def worker_app(redis_url: str, tmp_path: Path) -> Iterator[Celery]:
    """The Flask site's Celery app, whose tasks a worker runs."""
    log_file = tmp_path / "worker.log"
    command = [sys.executable, "-m", "celery", "-A", "tests.integrations.sites.flask_worker",
               "worker", "--without-mingle", "--without-gossip", "-l", "INFO"]  # fmt: skip
    with log_file.open("wb") as log:
        worker = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "SITE_REDIS": redis_url},
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    eventually(lambda: " ready." in log_file.read_text(), timeout=60)
    yield from watch(redis_url)
    worker.terminate()
    worker.wait(30)


def test_stream_tasks_run_in_the_context_of_the_app(worker_app: Celery) -> None:
    names = ("shared", "of_the_app", "asynchronous", "bound", "inherited")
    ids = {}
    for name in names:
        task = f"tests.integrations.sites.flask_worker.{name}"
        ids[name] = worker_app.send_task(task).id
    logs = {name: ended_log(worker_app, each) for name, each in ids.items()}
    assert {name: log.end for name, log in logs.items()} == dict.fromkeys(names, "completed")
    for name in ("shared", "of_the_app", "asynchronous"):
        assert logs[name].chunks == ["a_flask_app"]
    assert logs["bound"].chunks == [ids["bound"], "a_flask_app"]
    assert logs["inherited"].chunks == ["a_flask_app", "of the task class"]


def test_a_stream_task_is_of_the_apps_task_class() -> None:
    from tests.integrations.sites import flask_worker

    task = flask_worker.celery_app.tasks["tests.integrations.sites.flask_worker.shared"]
    assert isinstance(task, StreamTask)
    assert isinstance(task, flask_worker.celery_app.Task)
    other = Celery("other", set_as_current=False)
    plain = other.task(base=StreamTask)(words)
    assert other.Task not in type(plain._get_current_object()).__mro__


def test_a_task_class_that_streams_already() -> None:
    class Ours(StreamTask):  # type: ignore[type-arg]
        abstract = True

    app = Celery("ours", task_cls=Ours, set_as_current=False)
    assert isinstance(app.task(base=StreamTask, name="a")(words), Ours)
    assert isinstance(app.task(name="b")(words), Ours)


def test_an_app_without_celery() -> None:
    with pytest.raises(ConfigurationError, match=r'app.config\["CELERY"\] is not set'):
        Streams(Flask("x"))


def test_a_wrong_setting_is_told_at_once() -> None:
    app = Flask("x")
    app.config["CELERY"] = {"broker_url": "memory://", "stream_leas": 1}
    with pytest.raises(ConfigurationError, match="did you mean stream_lease"):
        Streams(app)


@stream_task
def shared(prompt: str) -> Iterator[str]:
    yield prompt


def test_several_apps_in_one_process() -> None:
    streams, apps = Streams(), []
    for name in ("first", "second"):
        app = Flask(name)
        app.config["SECRET_KEY"] = "of these tests"
        app.config["CELERY"] = {"broker_url": "memory://", "stream_relay_url": f"memory://{name}"}
        streams.init_app(app)

        @app.post("/chat")
        def chat() -> dict[str, Any]:
            stream = shared.stream("hello")
            remember(stream)
            return dict(stream.ref())

        apps.append(app)
    for app in apps:
        with app.test_client() as client:
            stream_id = client.post("/chat").json["stream_id"]  # type: ignore[index]
            assert client.get(f"/streams/{stream_id}/token").status_code == 200
            assert Runtime.of(app.extensions["celery"]).relay.state(stream_id)


def test_a_permission_has_to_say_true() -> None:
    app = Flask("x")
    app.config["CELERY"] = {"broker_url": "memory://", "stream_relay_url": "memory://permission"}
    Streams(app, permission=lambda stream_id: "yes")  # type: ignore[arg-type, return-value]
    runtime = Runtime.of(app.extensions["celery"])
    from streamstraight_celery.relays.requests import Create

    runtime.relay.call(Create("one", "task"))
    with app.test_client() as client:
        assert client.get("/streams/one/token").status_code == 404
        app.extensions["streams"]._permission = lambda stream_id: stream_id == "one"
        assert client.get("/streams/one/token").status_code == 200
        assert client.get("/streams/two/token").status_code == 404


@pytest.mark.parametrize(("secret", "message"), [("", "is not set"), ("short", "is too short")])
def test_a_bad_secret_is_told_at_once(secret: str, message: str) -> None:
    app = Flask("x")
    app.config["CELERY"] = {"stream_relay_url": "memory://", "stream_secret": secret,
                            "stream_public_url": "https://relay.example"}  # fmt: skip
    with pytest.raises(ConfigurationError, match=f"stream_secret {message}"):
        Streams(app)


def test_a_hosted_relay_needs_no_secret() -> None:
    app = Flask("x")
    app.config["CELERY"] = {"stream_relay_url": "streamstraight://", "stream_api_key": "k" * 20,
                            "stream_public_url": "https://relay.example"}  # fmt: skip
    Streams(app)
