"""Which streams a conversation has had, and which of them started which. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple


class Member(NamedTuple):
    """A stream of a conversation; `depth`: how many streams above it started one another."""

    stream_id: str
    task: str
    title: str
    parent: str
    depth: int


def members(events: Iterable[Mapping[str, Any]]) -> list[Member]:
    """The streams that a conversation's events tell of: children follow their parents."""
    begun = {each["stream_id"]: each for each in events if each["type"] == "stream"}
    children: dict[str, list[str]] = {}
    for name, event in begun.items():
        parent = event.get("parent", "")
        children.setdefault(parent if parent in begun else "", []).append(name)

    def below(parent: str, depth: int) -> Iterator[Member]:
        for name in children.get(parent, ()):
            event = begun[name]
            yield Member(
                name, event.get("task", ""), event.get("title", ""), event.get("parent", ""), depth
            )
            yield from below(name, depth + 1)

    return list(below("", 0))
