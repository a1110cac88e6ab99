"""Who this browser is; the names of its streams and conversations begin with it."""

from __future__ import annotations

from secrets import token_hex

from flask import session


def visitor() -> str:
    """The visitor's name, in a signed cookie."""
    return str(session.setdefault("visitor", token_hex(8)))


def owns(name: str) -> bool:
    """Whether that stream, or conversation, is this visitor's."""
    return name.startswith(f"{visitor()}.")
