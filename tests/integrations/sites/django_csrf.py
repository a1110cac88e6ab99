"""A project's own kind of Django's CSRF protection."""

from __future__ import annotations

from django.middleware.csrf import CsrfViewMiddleware


class Stricter(CsrfViewMiddleware):
    """Found by what it is, not by its name."""
