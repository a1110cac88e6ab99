"""How a relay process watches streams."""

from __future__ import annotations

from dataclasses import dataclass

from ...settings import StreamSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """How the hub watches. Durations are seconds, sizes bytes.

    Attributes:
        lease, reap_after: as in the settings.
        window_bytes: how much of each watched log's end is kept in memory.
        check_every: a stream without news for so long is looked at.
        keep_idle: how long a stream without readers is still watched.
        settle: how long a stream that is not there is waited for, because Redis may just have lost
            it: its producer, if it lives, notices within that and creates it again.
        interval: how often readers and streams are looked at.
    """

    lease: float = 10.0
    reap_after: float = 30.0
    window_bytes: int = 1024 * 1024
    check_every: float = 1.0
    keep_idle: float = 10.0
    settle: float = 3.0
    interval: float = 1.0

    @classmethod
    def of(cls, settings: StreamSettings) -> HubOptions:
        return cls(lease=settings.lease, reap_after=settings.reap_after)
