"""Chunks that several threads add to one writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from streamstraight_celery.errors import StreamClosedError
from streamstraight_celery.producing.sender import Sender
from tests.conftest import eventually

from .troubled import SETTINGS, TroubledRelay, numbers


@pytest.fixture
def relay() -> TroubledRelay:
    return TroubledRelay()


@pytest.fixture
def sender(relay: TroubledRelay) -> Iterator[Sender]:
    sender = Sender(relay, SETTINGS)
    yield sender
    sender.close()


@pytest.mark.parametrize("kind", ["completed", "released"])
def test_no_chunk_of_any_thread_follows_the_end(
    relay: TroubledRelay, sender: Sender, kind: str
) -> None:
    writer = sender.open("s")
    added: list[str] = []
    refused: list[StreamClosedError] = []

    def add() -> None:
        try:
            while True:
                writer.add(str(len(added)))
                added.append(str(len(added)))
        except StreamClosedError as error:
            refused.append(error)

    thread = threading.Thread(target=add)
    thread.start()
    eventually(lambda: added, "it adds")
    if kind == "completed":
        writer.finish("completed")
    else:
        writer.release(1)
    thread.join()

    assert refused[0].reason == kind
    assert relay.texts() == added == numbers(len(added))
