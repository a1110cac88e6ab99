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
from django.templatetags.static import static
from django.views.decorators.http import require_GET, require_POST
from kombu.exceptions import OperationalError
from pydantic import BaseModel, Field, ValidationError

from streamstraight_celery import RelayUnavailableError

from .tasks import answer


class Turn(BaseModel):
    role: Literal["user", "assistant"]
    content: str


class Question(BaseModel):
    prompt: str = Field(min_length=1, max_length=8000)
    history: list[Turn] = Field(default=[], max_length=100)


# What the page shows when a question cannot be taken.
PROBLEMS: dict[type[Exception], tuple[str, int]] = {
    ValidationError: ("That is not a message.", 400),
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
    shown = {
        "framework": "Django",
        "static_url": settings.STATIC_URL,
        "client_url": static("streamstraight_celery/client.js"),
    }
    return render(request, "chat.html", shown)


@require_POST
@explained
def ask(request: HttpRequest) -> HttpResponse:
    question = Question.model_validate_json(request.body)
    stream_id = f"{visitor(request)}.{uuid4()}"
    stream = answer.apply_stream(kwargs=question.model_dump(), stream_id=stream_id)
    return JsonResponse(stream.ref())


def visitor(request: HttpRequest) -> str:
    """Who this browser is; the names of its streams begin with it."""
    return str(request.session.setdefault("visitor", token_hex(8)))


def stream_permission(request: HttpRequest, stream_id: str) -> bool:
    """Only the visitor who asked for a stream may have it."""
    return stream_id.startswith(f"{visitor(request)}.")
