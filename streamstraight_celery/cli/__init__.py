"""`celery -A proj streams ...`: commands around streams. Loaded by each `celery` call, so light."""

from __future__ import annotations

from .doctor import doctor
from .group import streams
from .listing import ls, show, stop, top
from .relay import relay
from .sweeping import sweep
from .tail import tail

for command in (ls, show, tail, top, stop, sweep, relay, doctor):
    streams.add_command(command)

__all__ = ["streams"]
