"""The views behind `urls`: a fresh token, stop, and under ASGI the relay itself."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from asgiref.sync import async_to_sync
from django.apps import apps
from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_GET, require_POST

from ...enqueue.handle import StreamHandle
from ...runtime import Runtime
from ...settings import this_app
from ..answers import FOREIGN, Answer, attempted, is_foreign, own_stream, stop_answer, token_answer
from . import stream_permission
from .bridge import serve

NO_ASGI = (
    "The relay server needs ASGI: serve this project with an ASGI server, or run the relay server "
    "separately (celery -A proj streams relay) and set CELERY_STREAM_PUBLIC_URL to it."
)


@require_GET
def token(request: HttpRequest, stream_id: str) -> HttpResponse:
    """A fresh ref of a stream, if the visitor may have it."""
    return as_response(attempted(lambda: token_answer(own(request, stream_id))))


@csrf_exempt
@require_POST
def stop(request: HttpRequest, stream_id: str) -> HttpResponse:
    """Stop a stream. Django's CSRF protection applies, where the project has it, unless the browser
    says that the page is of the same origin: proxies change the host that Django compares.
    """
    headers: Any = request.headers
    if headers.get("Sec-Fetch-Site") == "same-origin":
        return _stop(request, stream_id)
    if any(map(_guards, settings.MIDDLEWARE)):
        return _guarded_stop(request, stream_id)
    if is_foreign(headers, Runtime.of(this_app()).settings.allowed_origins):
        return as_response(FOREIGN)
    return _stop(request, stream_id)


@functools.cache
def _guards(name: str) -> bool:
    """Whether that middleware is Django's CSRF protection, or derived from it."""
    found = import_string(name)
    return isinstance(found, type) and issubclass(found, CsrfViewMiddleware)


def _stop(request: HttpRequest, stream_id: str) -> HttpResponse:
    return as_response(attempted(lambda: stop_answer(own(request, stream_id))))


_guarded_stop: Any = csrf_protect(_stop)


async def relay(request: HttpRequest, path: str) -> Any:
    """The relay server's answer; it checks tokens and origins itself."""
    if not isinstance(request, ASGIRequest):
        return as_response(Answer(501, {"error": {"code": "needs-asgi", "message": NO_ASGI}}))
    return await serve(apps.get_app_config("streamstraight_celery").relay, request, f"/{path}")


# Not the decorator, which Django 4.2 does not have for async views. The relay reads no session.
relay.csrf_exempt = True  # type: ignore[attr-defined]


def own(request: HttpRequest, stream_id: str) -> StreamHandle:
    """The stream, if the project's authorization hook allows it."""
    named = Runtime.of(this_app()).settings.permission
    hook = import_string(named) if named else stream_permission
    allowed = hook(request, stream_id)
    if inspect.isawaitable(allowed):
        allowed = async_to_sync(_awaited)(allowed)
    return own_stream(stream_id, allowed)


async def _awaited(answer: Any) -> Any:
    return await answer


def as_response(answer: Answer) -> HttpResponse:
    """As Django's response."""
    status, body, headers = answer
    if body is None:
        response = HttpResponse(status=status, headers=headers)
        del response["Content-Type"]
        return response
    return JsonResponse(body, status=status, headers=headers)
