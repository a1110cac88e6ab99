"""`celery -A proj streams ...`: commands around streams. Loaded by each `celery` call, so light."""

from __future__ import annotations

from .doctoring import doctor
from .following import tail
from .group import streams
from .listing import ls, show, stop, top
from .serving import relay

for command in (ls, show, tail, top, stop, relay, doctor):
    streams.add_command(command)

__all__ = ["streams"]
