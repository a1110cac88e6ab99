"""An agent that starts two others, listens while it works, and waits for an approval for days.

It follows a script, without a model, so that you can see what the package does.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from streamstraight_celery import get_stream, stream_task
from streamstraight_celery.errors import InputTimeoutError

PLACES = {"Archive": 14, "Inbox": 9}
PACE = 0.25  # seconds for one file


class Note(BaseModel):
    """What somebody says while the agent works."""

    text: str


class Approval(BaseModel):
    approved: bool


# A task that was killed, or suspended, runs again and goes on behind its checkpoint.
DURABLE: dict[str, Any] = {
    "bind": True, "on_redelivery": "resume", "acks_late": True, "reject_on_worker_lost": True,
}  # fmt: skip


@stream_task(**DURABLE)
def clean_up(self: Any, topic: str) -> Iterator[str | dict[str, str]]:
    """Have two helpers look for old files, and delete them once somebody has approved."""
    saved = self.stream.saved
    if saved is None:
        yield from words(f"I look for files about “{topic}” that nobody needs. Two helpers search.")
        helpers = [
            self.conversation.stream(search, place, files, title=place).id
            for place, files in PLACES.items()
        ]
        yield {"place": "helpers"}  # between its words: so each tab shows them
        saved = {"helpers": helpers, "searched": False}
        self.stream.checkpoint(saved)
    if not saved["searched"]:
        yield from listen_until_ended(self, saved["helpers"])
        found = sum(PLACES.values()) // 3
        yield from words(f"They found {found} old files. I may delete them only if you agree.")
        yield {"place": "question"}
        saved = {**saved, "searched": True, "found": found}
        self.stream.checkpoint(saved)
    question = {"tool": "delete_files", "count": saved["found"], "topic": topic}
    try:
        # No worker waits here: the answer may come in three days, after a deploy or two.
        answer = self.conversation.ask(
            question, type=Approval, timeout=timedelta(days=3), suspend=True
        )
    except InputTimeoutError:
        yield from words("Nobody answered, so I deleted nothing.")
        return
    done = f"I deleted {saved['found']} files." if answer.approved else "I deleted nothing."
    yield from words(done)


def listen_until_ended(task: Any, streams: list[str]) -> Iterator[str | dict[str, str]]:
    """Wait for the helpers; what somebody says meanwhile is answered at once."""
    while any(not get_stream(stream, app=task.app).state().end for stream in streams):
        try:
            note = task.conversation.receive(timeout=0.2, type=Note)
        except InputTimeoutError:
            continue
        yield {"place": "note"}
        yield from words(f"Noted: “{note.text}”. I keep it in mind.")


@stream_task(**DURABLE)
def search(self: Any, place: str, files: int) -> Iterator[dict[str, int]]:
    """A helper: looks at one file after the other, and says how far it is."""
    for number in range(self.stream.sent + 1, files + 1):
        time.sleep(PACE)
        yield {"done": number, "of": files, "found": number // 3}


def words(text: str) -> Iterator[str]:
    """A text, word by word, as a model says it."""
    for word in text.split(" "):
        time.sleep(0.03)
        yield word + " "
