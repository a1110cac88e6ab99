"""Tell a conversation that one of its streams has ended, and give the turn to the next."""

from __future__ import annotations

from celery import Celery

from ..errors import RelayRefusedError
from ..relays.base import AsyncRelay, Page, Relay
from ..relays.conversations import Post
from ..relays.requests import Read
from .events import stream_ended
from .turns import advance


def tell_end(app: Celery | None, relay: Relay, stream_id: str) -> None:
    """Tell the stream's conversation of its end, if it has both: at least once, added once.

    Raises:
        RelayUnavailableError: the store does not answer.
        kombu.exceptions.OperationalError: the broker does not take the next task.
    """
    try:
        post = _end_of(stream_id, relay.read(Read(stream_id)))
    except RelayRefusedError:  # the hosted service, which has no conversations
        return
    if post is not None:
        relay.call(post)
        if app is not None:
            advance(app, relay, post.key)


async def atell_end(relay: AsyncRelay, stream_id: str) -> str | None:
    """As `tell_end`, but for the turn: returns the conversation in which somebody may have it."""
    post = _end_of(stream_id, (await relay.read([Read(stream_id)]))[0])
    if post is None:
        return None
    await relay.execute([post])
    return post.key


def _end_of(stream_id: str, page: Page | None) -> Post | None:
    if page is None or not page.state.conversation or not page.state.end:
        return None
    state = page.state
    return stream_ended(state.conversation, stream_id, state.end, state.error)
