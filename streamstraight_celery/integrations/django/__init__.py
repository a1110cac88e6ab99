"""Django: `INSTALLED_APPS = [..., "streamstraight_celery.integrations.django"]`.

Views that other views use: `remember`, `resume`, `stream_permission`, `get_own_stream`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..answers import is_remembered
from ..answers import remember as _remember

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from ...enqueue.handle import StreamHandle, StreamLink

__all__ = ["get_own_stream", "remember", "resume", "stream_permission"]


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
    from .views import respond

    answered: Any = respond(attempted(lambda: resume_answer(key, have)))
    return answered
