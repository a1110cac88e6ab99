"""A request's body, as a whole."""

from __future__ import annotations

import asyncio

from .reads.durable import Refused
from .reads.sse_response import Receive

# How long a body may take, and how many bytes of it buy a second more: a slow client gets a large
# one through, and one that sends next to nothing does not hold its place for ever.
BODY_SECONDS = 10.0
SLOWEST = 32 * 1024


async def read_body(receive: Receive, limit: int) -> bytes:
    """Receive a request's whole body.

    Raises:
        Refused: 413, it is larger than `limit` bytes; 408, it does not arrive; 400, the client went
            away in the middle.
    """
    clock = asyncio.get_running_loop().time
    began = clock()
    parts: list[bytes] = []
    size = 0
    while True:
        left = began + BODY_SECONDS + size / SLOWEST - clock()
        try:
            message = await asyncio.wait_for(receive(), left)
        except asyncio.TimeoutError:
            raise Refused(408, "timeout", "the request's body did not arrive") from None
        if message["type"] == "http.disconnect":
            raise Refused(400, "bad-request", "the body is incomplete")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise Refused(413, "too-large", f"the body is larger than {limit} bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
