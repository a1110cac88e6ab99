"""Sealing a stream as its producer does, and what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from streamstraight_celery.relays.base import Relay
from streamstraight_celery.relays.requests import Entry, Read
from streamstraight_celery.relays.sealing import seal_requests


def entries_of(relay: Relay, stream_id: str) -> list[Entry]:
    """The whole log, read page by page."""
    found: list[Entry] = []
    while (
        page := relay.read(Read(stream_id, 0, found[-1].last if found else 0, 1000))
    ) is not None:
        found += page.entries
        if not page.entries or found[-1].last >= page.state.last:
            break
    return found


def texts_of(entries: Sequence[Entry]) -> list[str]:
    """The chunks; they follow each other without a gap."""
    for before, entry in pairwise(entries):
        assert entry.first == before.last + 1
    for entry in entries:
        assert entry.data.count(b"\n") == entry.last - entry.first
    return [text for entry in entries for text in entry.data.decode().split("\n")]


def seal(relay: Relay, stream_id: str, entries: Sequence[Entry] | None = None) -> list[str]:
    """What the store answers to each part; entries: of the producer's memory."""
    state = relay.state(stream_id)
    if entries is None:
        entries = entries_of(relay, stream_id)
    kinds: list[str] = []
    for request in seal_requests(stream_id, state.attempt, state.nonce, entries):
        kinds.append(relay.call(request).kind)
        if kinds[-1] != "ok":
            break
    return kinds
