"""A Celery worker on a thread of the test process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery.signals import setup_logging


@contextmanager
def worker_here(app: Celery, **options: Any) -> Iterator[None]:
    """A worker that leaves the process's logging as it is, for the tests that come later."""
    setup_logging.connect(_leave_logging)
    try:
        with start_worker(app, perform_ping_check=False, **options):
            yield
    finally:
        setup_logging.disconnect(_leave_logging)


def _leave_logging(**_: Any) -> None:
    """Celery sets up no logging where somebody else does."""
