"""The views. Plain WSGI: none of them waits for the worker, none streams."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from secrets import token_hex
from typing import Literal
from uuid import uuid4

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_POST
from kombu.exceptions import OperationalError
from pydantic import BaseModel, Field, ValidationError

from streamstraight_celery import (
    RelayUnavailableError,
    StreamHandle,
    StreamNotFoundError,
    get_stream,
)

from .tasks import answer


class Turn(BaseModel):
    role: Literal["user", "assistant"]
    content: str


class Question(BaseModel):
    prompt: str = Field(min_length=1, max_length=8000)
    history: list[Turn] = Field(default=[], max_length=100)


# What the page shows when a question cannot be taken, or an answer not be found.
PROBLEMS: dict[type[Exception], tuple[str, int]] = {
    ValidationError: ("That is no message.", 400),
    StreamNotFoundError: ("This answer is no longer kept.", 404),
    RelayUnavailableError: ("The queue cannot be reached. Try again later.", 503),
    OperationalError: ("The queue cannot be reached. Try again later.", 503),
}


def explained(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Answer in words when the view fails in one of the ways that are foreseen."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except tuple(PROBLEMS) as error:
            words, status = next(PROBLEMS[kind] for kind in PROBLEMS if isinstance(error, kind))
            return JsonResponse({"error": words}, status=status)

    return wrapper


@require_GET
def page(request: HttpRequest) -> HttpResponse:
    visitor(request)
    return render(request, "chat.html", {"framework": "Django", "static_url": settings.STATIC_URL})


@require_POST
@explained
def ask(request: HttpRequest) -> HttpResponse:
    question = Question.model_validate_json(request.body)
    stream_id = f"{visitor(request)}.{uuid4()}"
    stream = answer.apply_stream(kwargs=question.model_dump(), stream_id=stream_id)
    return JsonResponse(stream.ref())


@require_GET
@explained
def reopen(request: HttpRequest, stream_id: str) -> HttpResponse:
    """A fresh token, for a page that was reloaded or has been open for long."""
    return JsonResponse(own_stream(request, stream_id).ref())


@require_POST
@explained
def stop(request: HttpRequest, stream_id: str) -> HttpResponse:
    own_stream(request, stream_id).stop()
    return HttpResponse(status=204)


def visitor(request: HttpRequest) -> str:
    """Who this browser is; the names of its streams begin with it."""
    return str(request.session.setdefault("visitor", token_hex(8)))


def own_stream(request: HttpRequest, stream_id: str) -> StreamHandle:
    if not stream_id.startswith(f"{visitor(request)}."):
        raise StreamNotFoundError  # as if it were not there
    return get_stream(stream_id)
