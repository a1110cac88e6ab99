"""Django: `INSTALLED_APPS = [..., "streamstraight_celery.integrations.django"]`.

What views use: `respond`, `arespond`, `remember`, `resume`, `stream_permission`, `get_own_stream`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..answers import is_remembered
from ..answers import remember as _remember

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
    from typing_extensions import Unpack

    from ...enqueue.handle import StreamHandle, StreamLink
    from ...server.own_routes.options import Options

__all__ = [
    "arespond",
    "get_own_stream",
    "remember",
    "respond",
    "resume",
    "stream_permission",
]


def remember(request: HttpRequest, stream: StreamLink) -> None:
    """Note in the visitor's session that this stream is theirs."""
    session: Any = getattr(request, "session")  # noqa: B009 - a middleware puts it there
    _remember(session, stream.id)


def stream_permission(request: HttpRequest, stream_id: str) -> bool:
    """The default of `CELERY_STREAM_PERMISSION`: the streams that the session remembers."""
    return is_remembered(getattr(request, "session", None), stream_id)


def get_own_stream(request: HttpRequest, stream_id: str) -> StreamHandle:
    """The stream's handle, if `CELERY_STREAM_PERMISSION` allows it to the visitor.

    Raises:
        StreamNotFoundError: not allowed, or not there.
        RelayUnavailableError: the relay does not answer.
    """
    from .views import own

    return own(request, stream_id)


def resume(key: str, *, have: str | None = None) -> HttpResponse:
    """Answer `GET /<chat>/stream` of `useChat`: a redirect to its latest stream, or 204.

    Whether the visitor may read that conversation is for the view to decide first.

    Args:
        key: the conversation's, as in `apply_stream(key=...)`.
        have: the id of the stream whose whole answer the page already shows: if that one is the
            latest, 204. Any other stream that has ended is replayed.
    """
    from ..answers import attempted, resume_answer
    from .views import as_response

    answered: Any = as_response(attempted(lambda: resume_answer(key, have)))
    return answered


def respond(
    stream: StreamLink | str, request: HttpRequest, **options: Unpack[Options]
) -> HttpResponse | StreamingHttpResponse:
    """Answer with a stream, as server-sent events: `return respond(answer.stream(...), request)`.

    For views under WSGI, and sync views under ASGI. Whether the visitor may read the stream is for
    the view to decide first. The reader resumes by `Last-Event-ID`, or by `?offset=` with the id
    of the last event it has; a stream that has ended is replayed. The response has the stream's id
    as `X-Stream-Id`.

    Args:
        stream: a handle, or a stream's id.
        request: the view's.
        **options: `event`, `envelope`, `headers`, `offset`, `ping`, `app`.

    Raises:
        ConfigurationError: an option or a setting is wrong.
        MalformedOffsetError: `offset` is not an offset.
        TypeError: `stream` is neither a handle nor an id.
        RuntimeError: in an async view under ASGI, where `arespond` is needed.
    """
    from . import own_routes

    return own_routes.respond(stream, request, **options)


async def arespond(
    stream: StreamLink | str, request: HttpRequest, **options: Unpack[Options]
) -> HttpResponse | StreamingHttpResponse:
    """As `respond`, for async views: `return await arespond(stream, request)`."""
    from . import own_routes

    return await own_routes.arespond(stream, request, **options)
