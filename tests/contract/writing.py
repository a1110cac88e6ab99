"""Requests of streams that are written over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import (
    Open,
    Read,
    Write,
)

S = "stream-1"
JSON = "application/json"
LARGEST = 2**53 - 1
MakeRelay = Callable[..., Relay]


def opening(*texts: str, name: str = S, **changes: Any) -> Open:
    given: dict[str, Any] = {
        "stream_id": name, "config": "json", "nonce": "aaaaaaaa", "kind": "json",
        "content_type": JSON, "count": len(texts), "data": "\n".join(texts).encode(),
    }  # fmt: skip
    return Open(**{**given, **changes})


def writing(*texts: str, name: str = S, **changes: Any) -> Write:
    data = "\n".join(texts).encode()
    return Write(stream_id=name, count=len(texts), data=data, **changes)


def numbered(number: int, *texts: str, epoch: int = 0, **changes: Any) -> Write:
    return writing(*texts, producer="p", epoch=epoch, number=number, **changes)


def place(seq: int, end: str = "-", attempt: int = 1, nonce: str = "aaaaaaaa") -> str:
    return f"{attempt:06d}_{seq:010d}_{nonce} {end}"


def chunks(relay: Relay, name: str = S) -> list[str]:
    page = relay.read(Read(name, 0, 0, 100))
    assert page is not None
    return [text for entry in page.entries for text in entry.data.decode().split("\n")]


def exists(relay: Relay, name: str = S) -> bool:
    return relay.read(Read(name)) is not None
