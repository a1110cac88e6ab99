"""An agent in a conversation: it asks, listens, and starts another."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from streamstraight_celery import stream_task


@stream_task
def helper(word: str) -> Iterator[str]:
    yield word
    yield "done"


@stream_task(unwatched=15)
def silent() -> Iterator[str]:
    yield "ready"
    time.sleep(600)


@stream_task(bind=True)
def agent(self: Any) -> Iterator[str]:
    yield "ready"
    approved = self.conversation.ask({"tool": "delete"})["approved"]
    yield "approved" if approved else "refused"
    self.conversation.stream(helper, "sub-agent", title="Helper")
    yield self.conversation.receive()["text"]
