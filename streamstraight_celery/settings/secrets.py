"""What makes a secret or an API key easy to guess."""

from __future__ import annotations

import re

MIN_SECRET_LENGTH = 16  # characters, of secrets and API keys
HOW_TO_MAKE_ONE = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"

_UNEXPANDED = re.compile(r"\$\{\w+|\A\$\w+\Z|\{\{.*\}\}|\A<.*>\Z|\A%\w+%\Z")
_REPEATED = re.compile(r"(.{1,16}?)\1+.{0,2}\Z", re.DOTALL)
_EXAMPLE = re.compile(
    r"change[ _-]?(me|this)|replace[ _-]?(me|this)|(your|my)[ _-]?(secret|api)[ _-]?key|"
    r"\A0?123456789",
    re.IGNORECASE,
)


def weakness_of(secret: str) -> str:
    """What makes a secret easy to guess, as the rest of a sentence; `""`: nothing obvious."""
    if len(secret.strip()) < MIN_SECRET_LENGTH:
        return f"is too short: use at least {MIN_SECRET_LENGTH} random characters"
    if _UNEXPANDED.search(secret):
        return "is a placeholder that nothing has filled in"
    if _REPEATED.match(secret) or _EXAMPLE.search(secret):
        return "is easy to guess"
    return ""
