"""Send when Django's transaction commits, and clean up when it is rolled back."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from ..errors import MissingDependencyError

Act = Callable[[], None]


def at_commit(send: Act, drop: Act, database: bool | str) -> None:
    """Call `send` when the transaction commits (now, if there is none), `drop` at a rollback.

    Args:
        send: its errors are raised by the commit.
        drop: must not raise.
        database: alias of the database; True: the default one.

    Raises:
        MissingDependencyError: Django is not installed.
    """
    try:
        from django.db import transaction
    except ImportError as error:
        raise MissingDependencyError("Django", "django") from error
    using = database if isinstance(database, str) else None
    transaction.on_commit(_Pending(send, drop), using=using)


class _Pending:
    """Django calls it at commit, and forgets it at a rollback without a word: then `drop` runs."""

    def __init__(self, send: Act, drop: Act) -> None:
        self._send = send
        self._forgotten = weakref.finalize(self, drop)

    def __call__(self) -> None:
        self._forgotten.detach()
        self._send()
