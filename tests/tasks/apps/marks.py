"""Marks that a task leaves behind for its test, in the result backend's Redis."""

from __future__ import annotations

from celery import current_app


def leave_mark(name: str, value: object = "") -> int:
    """Leave a mark; returns how many of that name there are."""
    return int(current_app.backend.client.rpush(f"mark:{name}", str(value)))


def marks(name: str) -> list[str]:
    """The marks of that name, oldest first."""
    return [value.decode() for value in current_app.backend.client.lrange(f"mark:{name}", 0, -1)]
