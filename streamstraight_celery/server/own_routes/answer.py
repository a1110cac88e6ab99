"""One answer of an application's own route: the relay server's doors, without its access rules.

The route has decided who may read. A request of this package's clients (`live=sse`, `long-poll`)
is answered as `/v1/stream/<id>` answers it, every other one as `/v1/sse/<id>` does.
"""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from math import inf

from ...errors import ConfigurationError, RelayUnavailableError, StreamNotFoundError
from ...ids import check_stream_id
from ..http import (
    Headers,
    Message,
    Receive,
    Refused,
    Reply,
    Request,
    Send,
    bad_request,
    complete_headers,
    not_found,
    query_fields,
    start_message,
)
from ..logs import Seldom
from ..reads import durable, plain_sse
from ..reads.hubs import Hubs
from ..reads.sse_response import SseConnection
from .options import Wanted

logger = logging.getLogger(__name__)

_may_tell = Seldom(10.0)


async def serve(
    hubs: Hubs,
    stream_id: str,
    request: Request,
    wanted: Wanted,
    receive: Receive,
    send: Send,
    *,
    added: Headers = (),
) -> None:
    """Answer the request, as an ASGI application would.

    Args:
        added: further headers, of the framework's response.
    """
    reply: Reply | SseConnection
    try:
        reply = await _reply(hubs, stream_id, request, wanted, receive)
    except Refused as error:
        reply = error.reply()
    except StreamNotFoundError:
        reply = not_found().reply()
    except RelayUnavailableError as error:
        # The message names hosts.
        logger.log(logging.WARNING if _may_tell() else logging.DEBUG, "%s", error)
        after = (("retry-after", str(random.randint(1, 3))),)
        words = "the stream store does not answer"
        reply = Refused(503, error.code, words, after).reply()
    own = tuple((name.lower(), value) for name, value in wanted.headers.items())
    common = (*own, *added)
    if isinstance(reply, SseConnection):
        frames = reply.frames
        theirs = (*durable.sse_headers(frames.content, frames.media_type), *frames.headers)
        named = ("x-stream-id", stream_id)  # for a page whose POST began the stream
        await reply.serve(_start(200, (*theirs, named), common), receive, send)
        return
    await send(_start(reply.status, complete_headers(reply, (), request.method), common))
    body = b"" if request.method == "HEAD" else reply.body
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _reply(
    hubs: Hubs, stream_id: str, request: Request, wanted: Wanted, receive: Receive
) -> Reply | SseConnection:
    try:
        check_stream_id(stream_id)
    except ConfigurationError:
        raise not_found() from None
    reading = hubs.here().reading
    if request.method == "HEAD":
        return await reading.head(stream_id)
    fields = query_fields(request.query)
    if "live" not in fields:
        call = plain_sse.parse_plain(request, wanted.offset)
        # Whatever its path is: no client of Anthropic's, whose answers have a form of their own.
        call = replace(call, event=wanted.event, messages=False)
        await reading.until_there(stream_id, call.wait, receive)
        return await reading.plain(
            stream_id, call, inf, None, False, envelope=wanted.envelope, ping=wanted.ping
        )
    read = durable.parse_read(request)
    await reading.until_there(stream_id, read.wait, receive)
    if read.live == "sse":
        return await reading.stream(
            stream_id, read, inf, None, envelope=wanted.envelope, ping=wanted.ping
        )
    if wanted.envelope is not None:
        raise bad_request("this route answers with server-sent events: live=sse, or no live")
    return await reading.long_poll(stream_id, read, inf, receive)


def _start(status: int, headers: Headers, own: Headers) -> Message:
    """The head; what the application says stands in place of what we say."""
    said = {name for name, _ in own}
    return start_message(status, (*(each for each in headers if each[0] not in said), *own))
