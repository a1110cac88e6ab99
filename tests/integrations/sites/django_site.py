"""A Django project in one file, for WSGI and ASGI servers and in the tests' own process."""

from __future__ import annotations

from typing import Any

import django
from celery import Celery
from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.template import engines
from django.urls import include, path

from tests.integrations.sites import sources

settings.configure(
    SECRET_KEY="of these tests",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    INSTALLED_APPS=[
        "django.contrib.sessions",
        "django.contrib.staticfiles",
        "streamstraight_celery.integrations.django",
    ],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
        "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
    },
    STATIC_URL="/static/",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
    **{f"CELERY_{name.upper()}": value for name, value in sources.settings().items()},
)
celery_app = Celery("django_site", set_as_current=False)
celery_app.config_from_object("django.conf:settings", namespace="CELERY")
django.setup()

from streamstraight_celery import apublish, atee, publish, tee  # noqa: E402
from streamstraight_celery.integrations.django import (  # noqa: E402
    arespond,
    remember,
    respond,
    resume,
)
from streamstraight_celery.integrations.hubs import hubs_of  # noqa: E402


def ask(request: HttpRequest) -> HttpResponse:
    stream = sources.answer.apply_stream(("one two",), key=request.GET.get("chat"))
    remember(request, stream)
    return JsonResponse(stream.ref())


def go_on(request: HttpRequest, chat: str) -> HttpResponse:
    return resume(chat, have=request.GET.get("have"))


def page(request: HttpRequest) -> HttpResponse:
    template = "{% load streams %}{% stream_client nonce=nonce %}|{% stream_client_url %}"
    rendered = engines["django"].from_string(template).render({"nonce": "n"}, request)
    return HttpResponse(rendered)


def after(request: HttpRequest) -> HttpResponse:
    stream = publish(sources.gated(), app=celery_app)
    remember(request, stream)
    return JsonResponse(stream.ref())


async def after_async(request: HttpRequest) -> HttpResponse:
    stream = await apublish(sources.agated(), app=celery_app)
    return JsonResponse(stream.ref())


def both(request: HttpRequest) -> Any:
    stream = tee(sources.gated(), app=celery_app)
    return StreamingHttpResponse(sources.lines(stream), headers={"X-Stream-Id": stream.id})


async def both_async(request: HttpRequest) -> Any:
    stream = await atee(sources.agated(), app=celery_app)
    return StreamingHttpResponse(sources.alines(stream), headers={"X-Stream-Id": stream.id})


def begin(request: HttpRequest, then: str = "") -> Any:
    return respond(publish(sources.steps(then), app=celery_app), request)


async def begin_async(request: HttpRequest, then: str = "") -> Any:
    return await arespond(await apublish(sources.steps(then), app=celery_app), request)


def own(request: HttpRequest, way: str, stream_id: str) -> Any:
    return respond(stream_id, request, **sources.WAYS[way])


async def own_async(request: HttpRequest, way: str, stream_id: str) -> Any:
    return await arespond(stream_id, request, **sources.WAYS[way])


def watched(request: HttpRequest) -> HttpResponse:
    return JsonResponse(sources.watched(hubs_of(celery_app)))


urlpatterns = [
    path("begin/<str:then>", begin),
    path("begin-async/<str:then>", begin_async),
    path("own/<str:way>/<str:stream_id>", own),
    path("own-async/<str:way>/<str:stream_id>", own_async),
    path("watched", watched),
    path("", page),
    path("ask", ask),
    path("chat/<str:chat>/stream", go_on),
    path("after", after),
    path("after-async", after_async),
    path("both", both),
    path("both-async", both_async),
    path("streams/", include("streamstraight_celery.integrations.django.urls")),
]


def serving() -> None:
    """In a server's process this is the app of all threads."""
    celery_app.set_default()


def wsgi() -> Any:
    from django.core.handlers.wsgi import WSGIHandler

    serving()
    return WSGIHandler()


def asgi() -> Any:
    from django.core.handlers.asgi import ASGIHandler

    serving()
    return ASGIHandler()


if __name__ == "__main__":
    import sys

    from django.core.servers.basehttp import run

    run("127.0.0.1", int(sys.argv[1]), wsgi(), threading=True)
