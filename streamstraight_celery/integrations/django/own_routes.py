"""Django's responses that answer with a stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asgiref.sync import async_to_sync, sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse

from ...enqueue.handle import StreamLink
from ...server.http import Receive, Scope, Send, request_of
from ...server.own_routes.answer import serve
from ...server.own_routes.blocking import BlockingAnswer, request_of_environ
from ..hubs import asked
from . import bridge

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ...server.own_routes.options import Options


def respond(
    stream: StreamLink | str, request: HttpRequest, **options: Unpack[Options]
) -> HttpResponse | StreamingHttpResponse:
    """As `streamstraight_celery.integrations.django.respond`, which imports Django late."""
    if isinstance(request, ASGIRequest):
        if _in_event_loop():
            raise RuntimeError("in an async view: return await arespond(stream, request)")
        return async_to_sync(arespond)(stream, request, **options)
    hubs, stream_id, wanted = asked(stream, options)
    answer = BlockingAnswer(hubs, stream_id, request_of_environ(request.META), wanted)
    response: HttpResponse | StreamingHttpResponse
    if any(name == "content-length" for name, _ in answer.headers) or answer.status == 204:
        response = HttpResponse(b"".join(answer), status=answer.status)
    else:
        response = StreamingHttpResponse(answer, status=answer.status)
    del response["Content-Type"]
    for name, value in answer.headers:
        response[name] = value
    return response


async def arespond(
    stream: StreamLink | str, request: HttpRequest, **options: Unpack[Options]
) -> HttpResponse | StreamingHttpResponse:
    """As `respond`, for async views."""
    if not isinstance(request, ASGIRequest):
        return await sync_to_async(respond, thread_sensitive=False)(stream, request, **options)
    hubs, stream_id, wanted = asked(stream, options)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await serve(hubs, stream_id, request_of(scope), wanted, receive, send)

    return await bridge.serve(answer, request)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
