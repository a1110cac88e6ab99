"""Tell a conversation that one of its streams has ended: at least once, added once."""

from __future__ import annotations

from ..errors import RelayRefusedError
from ..relays.base import AsyncRelay, Page, Relay
from ..relays.conversations import Post
from ..relays.requests import Read
from .events import stream_ended


def tell_end(relay: Relay, stream_id: str) -> None:
    """Tell the stream's conversation of its end, if it has both.

    Raises:
        RelayUnavailableError: the store does not answer.
    """
    try:
        post = _end_of(stream_id, relay.read(Read(stream_id)))
    except RelayRefusedError:  # the hosted service, which has no conversations
        return
    if post is not None:
        relay.call(post)


async def atell_end(relay: AsyncRelay, stream_id: str) -> None:
    """As `tell_end`."""
    post = _end_of(stream_id, (await relay.read([Read(stream_id)]))[0])
    if post is not None:
        await relay.execute([post])


def _end_of(stream_id: str, page: Page | None) -> Post | None:
    if page is None or not page.state.conversation or not page.state.end:
        return None
    state = page.state
    return stream_ended(state.conversation, stream_id, state.end, state.error)
