"""Which node of a Redis Cluster serves which slot, as a node told it. No I/O."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.crc import key_slot

from ...errors import ConfigurationError
from ..redis.scripts import PUBLISH

SHARDED_PUBLISH = b"SPUBLISH"

Node = tuple[str, int]


@dataclass(frozen=True, slots=True)
class SlotMap:
    """Ranges of slots and their primaries.

    Attributes:
        publish: `SPUBLISH` where the server has it (Redis 7), else `PUBLISH`.
    """

    starts: tuple[int, ...]
    ends: tuple[int, ...]
    primaries: tuple[Node, ...]
    publish: bytes

    @property
    def nodes(self) -> list[Node]:
        """Each primary once."""
        return list(dict.fromkeys(self.primaries))

    def node_of(self, stream_id: str) -> Node | None:
        """The node that serves a stream's keys; None when no node does."""
        slot = key_slot(stream_id.encode())
        index = bisect_right(self.starts, slot) - 1
        if index < 0 or slot > self.ends[index]:
            return None
        return self.primaries[index]


def parse_slots(raw: Sequence[Any], asked: Node, spublish: Sequence[Any]) -> SlotMap:
    """Read the answers to CLUSTER SLOTS and COMMAND INFO SPUBLISH.

    Args:
        asked: the node that answered; a node listed without an address is that one.

    Raises:
        ConfigurationError: the node belongs to no cluster that serves anything.
    """
    rows = sorted((int(row[0]), int(row[1]), _node(row[2], asked)) for row in raw)
    if not rows:
        raise ConfigurationError(
            f"the Redis Cluster at {asked[0]}:{asked[1]} serves no slots: "
            "create it with redis-cli --cluster create"
        )
    publish = SHARDED_PUBLISH if any(spublish) else PUBLISH
    starts, ends, primaries = zip(*rows, strict=True)
    return SlotMap(starts, ends, primaries, publish)


def _node(raw: Sequence[Any], asked: Node) -> Node:
    host = (raw[0] or b"").decode()
    return (asked[0] if host in ("", "?") else host), int(raw[1])
