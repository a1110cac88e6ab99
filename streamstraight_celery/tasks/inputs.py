"""What a running task receives from its conversation. No I/O: pages of the log come in.

Each message is received once and in order by the attempts of one stream: how far they have is kept
with the first chunk (or checkpoint) after a message, so an attempt that resumes goes on behind it,
and one that begins again receives the same again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ..conversations.events import event_bytes
from ..errors import DecodeError, InputTimeoutError, StreamError
from ..relays.base import Page
from ..relays.requests import Post, Read

PAGE = 100  # entries
MAX_WHY = 1000  # characters of what is told of a message that does not fit


class Place:
    """How far the task has read the log of its conversation.

    Attributes:
        attempt: of the log; another one begins when it was lost.
        seq: of the last event received.
        asked: how often each question was asked.
        timeouts: how often a suspended task's wait of that name was over.
    """

    def __init__(self, seq: int) -> None:
        self.attempt = 1
        self.seq = seq
        self.asked: Counter[str] = Counter()
        self.timeouts: Counter[str] = Counter()


class Wanted:
    """One call to `receive` or `ask`: looks for the message that answers it.

    Args:
        name: the conversation's.
        log: the id of its log.
        stream_id: of the task, whose own messages it does not receive.
        place: where to look on.
        kind: what the value has to be.
        question: the id of the question; `""` for any message that answers none.
        sent: chunks of the stream so far, which the attempt that goes on behind them counts, too.
        peeks: only looks whether there is one, which is still to be received then.
    """

    def __init__(
        self,
        name: str,
        log: str,
        stream_id: str,
        place: Place,
        kind: Any,
        question: str = "",
        *,
        sent: int = 0,
        peeks: bool = False,
    ) -> None:
        # Only here: most tasks never read.
        from ..reader.decoding import make_decode, name_of

        self.name = name
        self.question = question
        self._log = log
        self._stream_id = stream_id
        self._place = place
        self._kind = name_of(kind)
        self._decode = make_decode(kind, None)
        self._seq = place.seq
        self._sent = sent
        self._peeks = peeks
        self.found = False
        self.value: Any = None

    @property
    def seen(self) -> int:
        """The last event that was looked at."""
        return self._seq

    def what(self, timeout: float | None) -> str:
        """A name for what is wanted, which another attempt of the task gives it too.

        That one may begin behind earlier waits, so they are not counted: chunks and times tell
        waits apart, and equal ones that follow each other without a chunk are numbered.
        """
        if self.question:
            return self.question
        name = self._wait_of(timeout)
        return f"{name} {self._place.timeouts[name]}"

    def next_read(self) -> Read:
        """What to read now."""
        return Read(self._log, self._place.attempt, self._seq, PAGE)

    def absorb(self, page: Page | None) -> Iterator[Post]:
        """Look through a page; gives what is to be told of messages that do not fit."""
        if page is None:
            return
        if page.state.attempt != self._place.attempt:
            # The log was lost, with all that was in it.
            self._place.attempt, self._place.seq, self._seq = page.state.attempt, 0, 0
            return
        for entry in page.entries:
            event = json.loads(entry.data)
            self._seq = entry.last
            if self._is_wanted(event):
                refusal = self._take(event)
                if refusal is None:
                    return
                yield refusal

    def is_done(self, page: Page | None) -> bool:
        """Whether that page was the last there is."""
        return page is None or (
            page.state.attempt == self._place.attempt and self._seq >= page.state.last
        )

    def timed_out(self, timeout: float | None, *, suspended: bool = False) -> InputTimeoutError:
        """The error when nothing has come in time."""
        if suspended and not self.question:
            self._place.timeouts[self._wait_of(timeout)] += 1
        return InputTimeoutError(self.name, timeout or 0.0)

    def _wait_of(self, timeout: float | None) -> str:
        return f"input {self._place.seq} {self._sent} {timeout}"

    def _is_wanted(self, event: dict[str, Any]) -> bool:
        return (
            event.get("type") == "input"
            and event.get("stream_id") != self._stream_id
            and event.get("answers", "") == self.question
        )

    def _take(self, event: dict[str, Any]) -> Post | None:
        value = event.get("value")
        try:
            self.value = self._decode(value, json.dumps(value))
        except StreamError:
            raise
        except Exception as error:
            why = str(DecodeError(self._stream_id, None, self._kind, str(error)))
            return refusal_of(self.name, event, self._kind, why)
        self.found = True
        if not self.question and not self._peeks:
            # An answer may come behind messages that are still to be received.
            self._place.seq = self._seq
        return None


def refusal_of(name: str, event: dict[str, Any], wanted: str, why: str) -> Post:
    """Tell the sender, and all who read, that a message does not fit."""
    fields = {
        "type": "refused", "input": event["id"], "answers": event.get("answers"),
        "message": f"not a {wanted}: {why}"[:MAX_WHY],
    }  # fmt: skip
    event_id = f"refused:{event['id']}"
    return Post(name, event_id, event_bytes(fields), vital=True, refuses=event["id"])
