"""The streams page for developers, and its data.

`/streams` is the page, `/v1/overview` the list, `/v1/overview/<id>` one stream with a token, with
which the page reads and stops it like any reader. Access is checked by `Access.check_oversight`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import resources
from typing import Any

from ...conversations.events import PAGE
from ...conversations.tree import members
from ...errors import ConfigurationError
from ...ids import check_conversation_name, check_stream_id, conversation_id
from ...relays.base import AsyncRelay
from ...relays.index import Found, Query
from ...relays.overview import overview
from ...relays.requests import Read
from ...settings import StreamSettings
from ..access import Access
from ..http import (
    Refused,
    Reply,
    Request,
    bad_request,
    json_reply,
    not_found,
    nothing_here,
    number_of,
    query_fields,
)

LIST = "/v1/overview"
TOKEN_SECONDS = 300  # the page asks for another one when a view lasts longer
DEFAULT_LIMIT = 200
MAX_LIMIT = 1000
LABEL = "label."  # what a label's name has before it in the query

_SCRIPTS = ("streams", "streams-list", "streams-plots", "streams-shared", "streams-view")
_FILES = {
    "/streams": ("text/html; charset=utf-8", "streams.html"),
    "/streams.css": ("text/css; charset=utf-8", "streams.css"),
    **{f"/{each}.js": ("text/javascript; charset=utf-8", f"{each}.js") for each in _SCRIPTS},
}
# Nothing but these files and the relay's own data, so that no chunk can make the page do anything.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)


def leads_there(path: str) -> bool:
    """Whether `StreamsPage` answers this path."""
    return path in _FILES or path == LIST or path.startswith(LIST + "/")


class StreamsPage:
    """Answers GET and HEAD of the page and its data.

    Args:
        access: decides who may see all streams.
        settings: have the relay server's public URL.
    """

    def __init__(self, access: Access, settings: StreamSettings) -> None:
        self._access = access
        self._url = settings.stream_url

    async def answer(self, request: Request, relay: Callable[[], AsyncRelay]) -> Reply:
        """Answer a path that leads here.

        Raises:
            Refused: not allowed, malformed, or no such stream.
            RelayUnavailableError: the relay does not answer.
        """
        if request.path in _FILES:
            self._access.check_oversight_offered(request)
            return _file(*_FILES[request.path])
        self._access.check_oversight(request)
        if request.path == LIST:
            return await self._list(request, relay())
        return await self._one(request.path[len(LIST) + 1 :], relay())

    async def _list(self, request: Request, relay: AsyncRelay) -> Reply:
        fields = query_fields(request.query)
        if name := fields.get("conversation", ""):
            return json_reply(200, {"streams": await _conversation(name, relay)})
        query = query_of(fields)
        active = await find(relay, replace(query, states=("active",)))
        found = active if query.states == ("active",) else await find(relay, query, False)
        kept = (
            found
            if not query.states
            else await find(relay, replace(query, states=(), limit=1), False)
        )
        answer = {
            "streams": [overview(*each) for each in found.streams],
            "total": kept.total,
            "active": active.total if active.more else len(active.streams),
        }
        return json_reply(200, answer)

    async def _one(self, stream_id: str, relay: AsyncRelay) -> Reply:
        try:
            check_stream_id(stream_id)
        except ConfigurationError:
            raise not_found() from None
        page = (await relay.read([Read(stream_id)]))[0]
        if page is None:
            raise not_found()
        token, expires_at = self._access.issue(stream_id, TOKEN_SECONDS)
        ref = {
            "stream_id": stream_id,
            "url": self._url(stream_id),
            "token": token,
            "expires_at": expires_at,
        }
        return json_reply(200, {**overview(stream_id, page.state), "ref": ref})


async def _conversation(name: str, relay: AsyncRelay) -> list[dict[str, Any]]:
    """The streams of a conversation, children after their parents; at most `MAX_LIMIT`.

    Raises:
        Refused: there is no such conversation.
        RelayUnavailableError: the relay does not answer.
    """
    try:
        log = conversation_id(check_conversation_name(name))
    except ConfigurationError:
        raise not_found() from None
    events: list[dict[str, Any]] = []
    attempt = seq = 0
    while page := (await relay.read([Read(log, attempt, seq, PAGE)]))[0]:
        if not page.entries:
            break
        events += [json.loads(entry.data) for entry in page.entries]
        attempt, seq = page.state.attempt, page.entries[-1].last
    found = members(events)[-MAX_LIMIT:]
    if not found:
        raise not_found()
    states = await relay.read([Read(each.stream_id) for each in found])
    return [
        {
            **({"status": "expired"} if state is None else overview(each.stream_id, state.state)),
            **each._asdict(),
        }
        for each, state in zip(found, states, strict=True)
    ]


def query_of(fields: Mapping[str, str]) -> Query:
    """Which streams are asked for.

    Raises:
        Refused: 400, that cannot be.
    """
    limit = number_of("limit", fields.get("limit", str(DEFAULT_LIMIT)))
    if not 1 <= limit <= MAX_LIMIT:
        raise bad_request(f"limit is a number from 1 to {MAX_LIMIT}")
    if (only := fields.get("active", "false")) not in ("true", "false"):
        raise bad_request("active is true or false")
    states = [each for each in fields.get("state", "").split(",") if each]
    labels = {name[len(LABEL) :]: value for name, value in fields.items() if name.startswith(LABEL)}
    try:
        return Query.of(
            labels=labels, task=fields.get("task", ""), limit=limit,
            state=(*states, "active") if only == "true" else states,
        )  # fmt: skip
    except ConfigurationError as error:
        raise bad_request(str(error)) from None


async def find(relay: AsyncRelay, query: Query, look: bool = True) -> Found:
    """The streams of a query.

    Raises:
        Refused: 501, this kind of relay cannot list its streams.
        RelayUnavailableError: the relay does not answer.
    """
    try:
        return await relay.find(query, look=look)
    except ConfigurationError as error:
        raise Refused(501, "not-listed", str(error)) from error


def _file(content_type: str, name: str) -> Reply:
    file = resources.files("streamstraight_celery") / "static" / "streamstraight_celery" / name
    try:
        body = file.read_bytes()
    except OSError:
        raise nothing_here() from None
    headers = (
        ("content-type", content_type),
        ("cache-control", "no-cache"),
        ("content-security-policy", _POLICY),
        ("cross-origin-opener-policy", "same-origin"),
    )
    return Reply(200, headers, body)
