"""Conversations over HTTP: what their tokens open, and messages sent to them (`POST /v1/send/`)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..conversations.events import MAX_QUESTION_ID, check_event_id, event_bytes, value_text
from ..errors import ConfigurationError, EncodeError, RelayUnavailableError
from ..ids import conversation_id, is_conversation
from ..relays.base import AsyncRelay
from ..relays.requests import Post, Read
from ..tokens import Grant
from .http import Receive, Refused, Reply, Request, bad_request, json_reply, not_found, read_body

if TYPE_CHECKING:
    from .access import Access

SEND = "/v1/send/"
_ROOM = 4096  # of a body: for what is not the value


async def grant_for(
    access: Access, relay: AsyncRelay, request: Request, stream_id: str, scope: str
) -> Grant:
    """As `Access.grant`; a conversation's token also opens the streams that belong to it.

    Raises:
        Refused: as `Access.grant`.
        RelayUnavailableError: the store does not answer.
    """
    try:
        return access.grant(request, stream_id, scope)
    except Refused:
        grants = access.conversation_grants(request, scope)
        if not grants or is_conversation(stream_id):
            raise
        (page,) = await relay.read([Read(stream_id)])
        name = page.state.conversation if page is not None else ""
        for grant in grants:
            if name and conversation_id(name) == grant.stream_id:
                return grant
        raise


async def send(
    relay: AsyncRelay,
    stream_id: str,
    request: Request,
    receive: Receive,
    limit: int,
    send_due: Callable[[str], object],
) -> Reply:
    """Add a message to a conversation: `{"id", "value"}` (protocol.md, section 10).

    Args:
        relay: where it is.
        stream_id: its log.
        request: the request, whose token was checked.
        receive: ASGI's.
        limit: largest value, bytes of JSON.
        send_due: called when suspended tasks of that conversation are to begin again.

    Raises:
        Refused: 400, malformed; 404, there is no such conversation; 409, the question is closed;
            413, too large or full.
        RelayUnavailableError: the store does not answer; sending the same id again is safe.
    """
    event_id, value, answers = _message(await read_body(receive, limit + _ROOM), limit)
    (page,) = await relay.read([Read(stream_id)])
    if page is None or page.state.deleted:
        raise not_found()
    fields = {"type": "input", "id": event_id, "answers": answers or None}
    name = page.state.conversation
    post = Post(name, event_id, event_bytes(fields, value), answers=answers, wakes=True)
    (answer,) = await relay.execute([post])
    if answer.kind == "error":
        raise RelayUnavailableError(f"the stream store refused an event: {answer.message}")
    if answer.kind == "closed":
        raise Refused(409, "answered", "another answer came first, or nobody waits any more")
    if answer.kind == "too-large":
        raise Refused(413, "too-large", "the conversation is full")
    if answer.kind == "exists":
        raise not_found()
    if answer.stop:
        send_due(name)
    status = "sent" if answer.kind == "ok" else "duplicate"
    return json_reply(200, {"status": status, "id": event_id, "seq": answer.last_seq})


def _message(body: bytes, limit: int) -> tuple[str, str, str]:
    """The id, the value as JSON text, and the question of a request's body."""
    try:
        fields: Any = json.loads(body, parse_constant=_refuse)
        event_id, value, answers = fields["id"], fields["value"], fields.get("answers", "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise bad_request('the body is JSON: {"id": "...", "value": ...}') from None
    try:
        check_event_id(event_id)
        text = value_text(value)
    except (ConfigurationError, EncodeError, RecursionError) as error:
        raise bad_request(str(error)) from None
    if len(text.encode(errors="surrogatepass")) > limit:
        raise Refused(413, "too-large", f"a value is larger than {limit} bytes")
    if not isinstance(answers, str) or len(answers) > MAX_QUESTION_ID:
        raise bad_request("answers is the id of a question")
    return event_id, text, answers


def _refuse(constant: str) -> None:
    raise ValueError(constant)
