"""A task whose worker may be killed: another one begins it anew."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from streamstraight_celery import StreamTask, stream_task


@stream_task(bind=True, acks_late=True, reject_on_worker_lost=True)
def paced(self: StreamTask[Any], count: int, pause: float = 0.02) -> Iterator[dict[str, object]]:
    """Numbers, each with the process that counted it."""
    info = self.request.delivery_info or {}
    for number in range(count):
        yield {"n": number, "again": bool(info.get("redelivered"))}
        time.sleep(pause)
