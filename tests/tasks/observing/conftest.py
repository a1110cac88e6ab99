"""Whoever listens to signals, and an app whose tasks run in this process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streamstraight_celery import stream_ended, stream_first_chunk, stream_started

SIGNALS = {"started": stream_started, "first": stream_first_chunk, "ended": stream_ended}


class Listener:
    """Notes every signal of a stream's life: its name, and what came with it."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._receivers: list[Any] = []
        for name, signal in SIGNALS.items():
            receiver = self._receiver(name)
            self._receivers.append((signal, receiver))
            signal.connect(receiver, weak=False)

    def _receiver(self, name: str) -> Any:
        def receive(sender: Any, signal: Any, **what: Any) -> None:
            assert sender.name == what["task_name"]
            self.heard.append((name, what))

        return receive

    def close(self) -> None:
        for signal, receiver in self._receivers:
            signal.disconnect(receiver)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.heard]

    def only(self, name: str) -> dict[str, Any]:
        """What came with the one signal of that name."""
        (found,) = (what for each, what in self.heard if each == name)
        return found

    def ends(self) -> list[tuple[int, str]]:
        """Attempt and reason of each end."""
        return [(what["attempt"], what["reason"]) for name, what in self.heard if name == "ended"]


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()
