"""Which stream a conversation has now: one small key beside the streams."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

# ms. Longer than any stream lives: the key must not be forgotten before the stream has ended.
CONVERSATION_TTL = 7 * 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Hold:
    """Let `key` name the stream `names` if it names `instead_of` now; "" stands for none."""

    key: str
    names: str = ""
    instead_of: str = ""

    @property
    def stream_id(self) -> str:
        """What decides about the slot in a cluster, as a stream's id does."""
        return hashlib.sha256(self.key.encode()).hexdigest()[:32]
