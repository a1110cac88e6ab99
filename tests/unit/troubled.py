"""A relay whose network is at the test's mercy."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from streamstraight_celery.errors import (
    RelayUnavailableError,
)
from streamstraight_celery.relays.base import Page, Relay, RelayOptions
from streamstraight_celery.relays.memory.relay import MemoryRelay
from streamstraight_celery.relays.memory.store import MemoryStore
from streamstraight_celery.relays.requests import (
    Answer,
    Append,
    Read,
    Request,
)
from streamstraight_celery.settings import StreamSettings

SETTINGS = StreamSettings(relay_url="memory://", lease=0.3, relay_timeout=5.0)


class TroubledRelay(Relay):
    """A memory relay whose network is at the test's mercy."""

    def __init__(self, **options: int) -> None:
        self.options = RelayOptions(**options)  # type: ignore[arg-type]
        self.lose_everything()
        self.sent: list[list[Request]] = []
        self.lose_requests = 0
        self.lose_replies = 0
        self.fail_with: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def lose_everything(self) -> None:
        self.inner = MemoryRelay(MemoryStore(self.options))

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        self.gate.wait(30)
        self.sent.append(list(requests))
        if self.fail_with is not None:
            error, self.fail_with = self.fail_with, None
            raise error
        if self.lose_requests:
            self.lose_requests -= 1
            raise RelayUnavailableError("request lost")
        answers = self.inner.execute(requests)
        if self.lose_replies:
            self.lose_replies -= 1
            raise RelayUnavailableError("reply lost")
        return answers

    def read(self, read: Read) -> Page | None:
        return self.inner.read(read)

    def texts(self, stream_id: str = "s") -> list[str]:
        page = self.read(Read(stream_id, 0, 0, 10_000))
        if page is None:
            return []
        return [t for e in page.entries for t in e.data.decode().split("\n")]

    def appends(self) -> list[Append]:
        return [r for batch in self.sent for r in batch if isinstance(r, Append)]


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def write_all(writer: object, texts: list[str]) -> None:
    for text in texts:
        writer.write(text)  # type: ignore[attr-defined]
