"""`streams.sweep`: the sweep as a task, for Celery beat."""

from __future__ import annotations

from celery import Task, shared_task

from ..ends.sweeping import Swept
from ..runtime import Runtime


@shared_task(name="streams.sweep", bind=True, ignore_result=True)  # type: ignore[untyped-decorator]
def sweep_streams(self: Task) -> Swept:
    """End streams whose producer is lost, and tell `on_end` tasks what they have missed.

        app.conf.beat_schedule = {"streams": {"task": "streams.sweep", "schedule": 60.0}}

    Raises:
        RelayUnavailableError: the relay does not answer.
    """
    return Runtime.of(self.app).sweep()
