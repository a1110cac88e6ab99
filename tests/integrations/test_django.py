"""Django: checks that name the mistake, static files, and streams that wait for a commit."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery._state import get_current_app
from celery.signals import before_task_publish

from streamstraight_celery import StreamActiveError, StreamHandle, active_stream
from streamstraight_celery.relays.memory import relay as memory
from streamstraight_celery.runtime import Runtime
from tests.conftest import ROOT
from tests.integrations.sites.django_site import celery_app
from tests.integrations.sites.sources import answer

PROJECT = """
import sys, django
from celery import Celery
from django.conf import settings
from django.core.management import execute_from_command_line
settings.configure(
    SECRET_KEY="x", USE_TZ=True, STATIC_URL="/static/",
    {settings}
)
if {source!r}:
    app = Celery("project")
    app.config_from_object({source!r}, namespace="CELERY")
django.setup()
{code}
"""


def manage(
    *words: str, source: str | None = "django.conf:settings", code: str = "", **settings: Any
) -> str:
    """What a management command of a project with these settings prints."""
    settings = {
        "INSTALLED_APPS": [
            "django.contrib.staticfiles", "streamstraight_celery.integrations.django",
        ],
        "CELERY_BROKER_URL": "redis://127.0.0.1/0",
        **settings,
    }  # fmt: skip
    lines = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    code = code or f"execute_from_command_line(['manage.py', *{words!r}])"
    done = subprocess.run(
        [sys.executable, "-c", PROJECT.format(settings=lines, source=source, code=code)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.stdout + done.stderr


class TestChecks:
    def test_a_project_that_is_right(self) -> None:
        told = manage("check", CELERY_STREAM_PERMISSION="operator.contains")
        assert told == "System check identified no issues (0 silenced).\n"

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            (
                {"CELERY_STREAM_SECRETS": "x" * 32},
                "(streams.E001) unknown setting CELERY_STREAM_SECRETS; "
                "did you mean CELERY_STREAM_SECRET?",
            ),
            ({"CELERY_STREAM_TTL": "1h"}, "CELERY_STREAM_TTL must be a float, not '1h'"),
            (
                {"CELERY_STREAM_RELAY_URL": "kafka://x"},
                "(streams.E003) CELERY_STREAM_RELAY_URL: unknown scheme 'kafka'",
            ),
            ({"CELERY_STREAM_SECRET": "short"}, "(streams.E006) CELERY_STREAM_SECRET is too short"),
            (
                {"CELERY_STREAM_PUBLIC_URL": "https://relay.example"},
                "(streams.E006) CELERY_STREAM_SECRET is not set",
            ),
            (
                {"CELERY_STREAM_PERMISSION": "nowhere.at.all"},
                "(streams.E004) CELERY_STREAM_PERMISSION: No module named 'nowhere'",
            ),
            ({"CELERY_STREAM_PERMISSION": "sys.path"}, "sys.path is not a function"),
            (
                {"CELERY_STREAM_ALLOWED_ORIGINS": ["https://app.example/"]},
                "(streams.E001) no browser has the origin 'https://app.example/' of "
                "CELERY_STREAM_ALLOWED_ORIGINS",
            ),
            ({}, "(streams.W001) CELERY_STREAM_PERMISSION is not set and there are no sessions"),
        ],
    )
    def test_a_mistake_is_named(self, settings: dict[str, Any], expected: str) -> None:
        assert expected in manage("check", **settings)

    def test_a_celery_app_that_reads_other_settings(self) -> None:
        told = manage("check", source="builtins", CELERY_STREAM_SECRET="x" * 32)
        assert "(streams.E002) CELERY_STREAM_SECRET is set, but the Celery app does not" in told
        assert "namespace='CELERY'" in told

    def test_a_celery_app_that_is_not_imported(self) -> None:
        told = manage("check", source=None)
        assert "(streams.E002) CELERY_BROKER_URL is set, but the Celery app does not" in told
        assert "from .celery import app as celery_app" in told

    @pytest.mark.parametrize("instead", [[], ["streamstraight_celery"]])
    def test_urls_of_an_app_that_is_not_installed(self, instead: list[str]) -> None:
        urls = "streamstraight_celery.integrations.django.urls"
        told = manage("check", ROOT_URLCONF=urls, INSTALLED_APPS=instead)
        assert told.splitlines()[-1].startswith(
            "django.core.exceptions.ImproperlyConfigured: "
            'Add "streamstraight_celery.integrations.django" to INSTALLED_APPS'
        )

    def test_deployment(self) -> None:
        told = manage("check", "--deploy", CELERY_STREAM_DEVELOPMENT=True)
        for warning in ("W002", "W003", "W004"):
            assert f"streams.{warning}" in told


def test_static_files_with_a_hash_in_their_names(tmp_path: Path) -> None:
    told = manage(
        code=(
            "execute_from_command_line(['manage.py', 'collectstatic', '--noinput'])\n"
            "from django.template import engines\n"
            "tag = '{% load streams %}{% stream_client %}'\n"
            "print(engines['django'].from_string(tag).render())"
        ),
        STATIC_ROOT=str(tmp_path),
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        STORAGES={
            "staticfiles": {
                "BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
            }
        },
    )
    (client,) = (tmp_path / "streamstraight_celery").glob("client.*[0-9a-f].js")
    assert f'"streamstraight-celery": "/static/streamstraight_celery/{client.name}"' in told


@pytest.fixture
def sent() -> Iterator[list[str]]:
    """The ids of all tasks enqueued; in a transaction of Django, on a relay in memory."""
    before, ids = get_current_app(), []
    celery_app.set_current()
    Runtime.of(celery_app).settings  # noqa: B018 - the app's own, not another test's
    store = memory.store_for("memory://sites", memory.RelayOptions())

    def note(headers: dict[str, Any], **_: Any) -> None:
        ids.append(headers["id"])

    before_task_publish.connect(note, weak=False)
    yield ids
    before_task_publish.disconnect(note)
    before.set_current()
    assert store


class TestOnCommit:
    def test_it_is_announced_now_and_enqueued_at_commit(self, sent: list[str]) -> None:
        from django.db import transaction

        with transaction.atomic():
            stream = answer.stream_on_commit("one two")
            assert stream.ref()["stream_id"] == stream.id
            assert stream.state().attempt == 0
            assert sent == []
        assert sent == [stream.task_id]
        assert stream.state().end == ""

    def test_a_rollback_ends_it(self, sent: list[str]) -> None:
        from django.db import transaction

        with transaction.atomic():
            stream = answer.stream_on_commit("one two")
            transaction.set_rollback(True)
        assert sent == []
        assert stream.state().end == "stopped"

    def test_so_does_that_of_a_savepoint(self, sent: list[str]) -> None:
        from django.db import transaction

        with transaction.atomic():
            kept = answer.stream_on_commit("one")
            with transaction.atomic():
                undone = answer.stream_on_commit("two")
                transaction.set_rollback(True)
            assert undone.state().end == "stopped"
        assert sent == [kept.task_id]

    def test_without_a_transaction_it_is_enqueued_at_once(self, sent: list[str]) -> None:
        stream = answer.stream_on_commit("one two")
        assert sent == [stream.task_id]

    def test_another_database(self, sent: list[str]) -> None:
        from django.db import transaction

        with transaction.atomic(using="other"):
            stream = answer.apply_stream(("one",), on_commit="other", stream_id="named")
            assert sent == []
        assert sent == [stream.task_id]
        assert stream.id == "named"

    def test_a_broker_that_is_away_ends_it(
        self, sent: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from celery import Task
        from django.db import transaction

        def refuse(*_: Any, **__: Any) -> None:
            raise ConnectionError("no broker")

        monkeypatch.setattr(Task, "apply_async", refuse)
        streams: list[StreamHandle] = []
        with pytest.raises(ConnectionError, match="no broker"), transaction.atomic():
            streams.append(answer.stream_on_commit("one"))
        assert streams[0].state().end == "stopped"

    def test_wrong_arguments_announce_nothing(self, sent: list[str]) -> None:
        with pytest.raises(TypeError):
            answer.stream_on_commit("one", "two")  # type: ignore[call-arg]

    def test_in_a_conversation_it_holds_its_place_until_a_rollback(self, sent: list[str]) -> None:
        from django.db import transaction

        with transaction.atomic():
            answer.apply_stream(("one",), key="chat", on_commit=True)
            with pytest.raises(StreamActiveError):
                answer.apply_stream(("two",), key="chat")
            transaction.set_rollback(True)
        assert active_stream("chat") is None
        assert sent == []


async def test_a_mounted_relay_answers_djangos_test_client(sent: list[str]) -> None:
    from django.test import AsyncClient

    assert (await AsyncClient().get("/streams/readyz?a=b")).json() == {"status": "ok"}


async def test_djangos_gzip_leaves_a_streaming_response_as_it_is() -> None:
    """Each part would become a gzip member, of which browsers read the first."""
    from django.http import StreamingHttpResponse
    from django.middleware.gzip import GZipMiddleware
    from django.test import AsyncRequestFactory

    from streamstraight_celery.server.reads.durable import sse_headers

    async def parts() -> Any:
        for _ in range(50):
            yield b"event: data\ndata:[1]\n\n"

    async def view(request: Any) -> StreamingHttpResponse:
        return StreamingHttpResponse(parts(), headers=dict(sse_headers()))

    request = AsyncRequestFactory().get("/", headers={"accept-encoding": "gzip"})
    response: Any = await GZipMiddleware(view)(request)  # type: ignore[arg-type, misc]
    assert response["Content-Encoding"] == "identity"
    assert b"".join([part async for part in response]) == b"event: data\ndata:[1]\n\n" * 50


def test_the_check_names_a_middleware_that_may_rewrite_streams() -> None:
    from django.test import override_settings

    from streamstraight_celery.integrations.django import urls  # noqa: F401
    from streamstraight_celery.integrations.django.checks import _check_middleware

    names = ["django.middleware.gzip.GZipMiddleware"]
    with override_settings(MIDDLEWARE=names):
        assert not list(_check_middleware())
    names.append("compression_middleware.middleware.CompressionMiddleware")
    with override_settings(MIDDLEWARE=names):
        (found,) = _check_middleware()
    assert found.id == "streams.W005"
    assert "CompressionMiddleware may rewrite" in found.msg


async def test_a_mounted_relay_is_told_that_its_reader_left() -> None:
    from django.core.handlers.asgi import ASGIRequest
    from django.test import AsyncRequestFactory

    from streamstraight_celery.integrations.django.bridge import serve

    ended = asyncio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
        finally:
            ended.set()

    request = AsyncRequestFactory().get("/streams/v1/stream/one")
    assert isinstance(request, ASGIRequest)
    response: Any = await serve(endless, request, "/v1/stream/one")
    parts = aiter(response.streaming_content)
    assert await anext(parts) == b"x"
    assert not ended.is_set()
    await asyncio.to_thread(response.close)  # as Django does
    await asyncio.wait_for(ended.wait(), 30)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://x-8000.app.github.dev"}, 204),
        ({"Sec-Fetch-Site": "same-site", "Origin": "https://x-8000.app.github.dev"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}, 403),
        ({}, 403),
    ],
)
@pytest.mark.parametrize(
    "csrf",
    ["django.middleware.csrf.CsrfViewMiddleware", "tests.integrations.sites.django_csrf.Stricter"],
)
def test_a_stop_needs_djangos_token_unless_the_page_is_of_the_same_origin(
    sent: list[str], headers: dict[str, str], status: int, csrf: str
) -> None:
    from django.conf import settings
    from django.test import Client, override_settings

    with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, csrf]):
        visitor = Client(enforce_csrf_checks=True)
        stream_id = visitor.get("/ask").json()["stream_id"]
        stopped = visitor.post(f"/streams/{stream_id}/stop", headers=headers)
    assert stopped.status_code == status
