"""Threads in which a user's generator runs."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable


def start_thread(name: str, call: Callable[[], None]) -> None:
    """Call it in a thread of its own, which sees the context variables of this one."""
    context = contextvars.copy_context()

    def run() -> None:
        try:
            context.run(call)
        finally:
            _close_django_connections()

    threading.Thread(target=run, name=name, daemon=True).start()


def _close_django_connections() -> None:
    """Each thread has its own, and nobody else closes those of this one."""
    conf, database = sys.modules.get("django.conf"), sys.modules.get("django.db")
    if conf is not None and database is not None and conf.settings.configured:
        database.connections.close_all()
