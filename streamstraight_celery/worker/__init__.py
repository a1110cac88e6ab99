"""What a Celery worker does around a stream task."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from celery.signals import worker_init


def register_remote_control(sender: Any = None, **_: Any) -> None:
    """Register the remote control commands, now or when this process becomes a worker.

    Celery's worker, which they import, costs a web process more than all of this package.
    """
    # Celery's command line has imported it: `celery inspect` lists the commands.
    if sender is not None or "celery.worker.control" in sys.modules:
        import_module(f"{__name__}.remote_control")
    else:
        worker_init.connect(register_remote_control, weak=False)
