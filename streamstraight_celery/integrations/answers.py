"""What the routes of every framework answer; each turns it into its own response."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from celery import Celery

from ..enqueue.conversations import resume_url
from ..enqueue.handle import StreamHandle, get_stream
from ..errors import ConfigurationError, RelayUnavailableError, StreamError, StreamNotFoundError
from ..ids import check_conversation_name, check_stream_id

SESSION_KEY = "streamstraight_streams"
# A session may be a cookie, which holds 4 KB.
REMEMBERED = 20
CLIENT_MODULE = "streamstraight-celery"


class Answer(NamedTuple):
    """Status, JSON (None: no body) and headers of a response."""

    status: int
    body: dict[str, Any] | None = None
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


# A token is for one visitor.
PRIVATE = {"Cache-Control": "no-store"}
# The same whether it is not there or not for this visitor.
NOT_FOUND = Answer(404, {"error": {"code": "not-found", "message": "no such stream"}}, PRIVATE)
FOREIGN = Answer(
    403, {"error": {"code": "foreign-origin", "message": "not from this site"}}, PRIVATE
)


def own_stream(stream_id: str, allowed: object, app: Celery | None = None) -> StreamHandle:
    """The stream, if the authorization hook has said `True`; nothing else counts.

    Raises:
        StreamNotFoundError: not allowed or not there; the caller cannot tell which.
        RelayUnavailableError: the relay does not answer.
    """
    if allowed is not True:
        raise StreamNotFoundError(f"no stream {stream_id!r}")
    try:
        check_stream_id(stream_id)
    except ConfigurationError as error:
        raise StreamNotFoundError(str(error)) from None
    return get_stream(stream_id, app=app)


def token_answer(stream: StreamHandle) -> Answer:
    """A fresh ref, for a page that was reloaded or has been open for long."""
    return Answer(200, dict(stream.ref()), PRIVATE)


def stop_answer(stream: StreamHandle) -> Answer:
    """Stop the stream; 204, also when it had ended."""
    stream.stop()
    return Answer(204, None, PRIVATE)


def resume_answer(key: str, have: str | None, app: Celery | None = None) -> Answer:
    """To the conversation's latest stream (307), or 204: what `useChat` asks when it resumes."""
    try:
        # Mostly part of the request's path: what cannot be a name has no stream.
        check_conversation_name(key)
    except ConfigurationError:
        return Answer(204, None, PRIVATE)
    url = resume_url(key, have=have, app=app)
    if url is None:
        return Answer(204, None, PRIVATE)
    # The URL holds a token, which must not be told to the next site.
    return Answer(307, None, {**PRIVATE, "Location": url, "Referrer-Policy": "no-referrer"})


def attempted(act: Callable[[], Answer]) -> Answer:
    """The answer, or that to an error that is foreseen."""
    try:
        return act()
    except StreamError as error:
        return error_answer(error)


def error_answer(error: StreamError) -> Answer:
    """The answer to an error of ours.

    Raises:
        StreamError: it is not one for visitors (a wrong setting).
    """
    if isinstance(error, StreamNotFoundError):
        return NOT_FOUND
    if isinstance(error, RelayUnavailableError):
        # The message names hosts.
        words = "the stream store does not answer"
        return Answer(503, {"error": {"code": error.code, "message": words}}, PRIVATE)
    raise error


def is_foreign(headers: Mapping[str, str], allowed: Iterable[str]) -> bool:
    """Whether a page of another site asks. Browsers name the origin of every POST.

    Args:
        headers: the request's, found by any case of their names.
        allowed: other sites that may.
    """
    origin, host = headers.get("Origin"), headers.get("Host", "")
    # Proxies change the host; this header no page can set, and no proxy has a reason to.
    if not origin or headers.get("Sec-Fetch-Site") == "same-origin":
        return False
    try:
        named = urlsplit(origin).netloc
    except ValueError:  # no browser's
        return True
    return named != host and origin not in allowed


def remember(session: MutableMapping[str, Any], stream_id: str) -> None:
    """Note in a visitor's session that the stream is theirs; the latest 20 are kept."""
    # A new list: sessions notice only that.
    session[SESSION_KEY] = [*session.get(SESSION_KEY, []), stream_id][-REMEMBERED:]


def is_remembered(session: MutableMapping[str, Any] | None, stream_id: str) -> bool:
    """Whether the stream was noted as this visitor's; never without a session."""
    return session is not None and stream_id in session.get(SESSION_KEY, [])
