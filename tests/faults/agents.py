"""Agents for the soak with conversations, and the Celery app of their workers.

What they do is in the ledger FAULTS_LEDGER: one line of JSON an event, with the time (seconds since
1970). Settings are in FAULTS_CONF as JSON, the broker in FAULTS_BROKER.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

from celery import Celery

from streamstraight_celery import stream_task
from streamstraight_celery.errors import RelayUnavailableError, StreamSuspended
from tests.faults.producer import CONF_VARIABLE

BROKER_VARIABLE, LEDGER_VARIABLE = "FAULTS_BROKER", "FAULTS_LEDGER"
# Delivered again when a worker is killed, and also when it only seems to be lost.
OPTIONS: dict[str, Any] = {
    "bind": True, "on_redelivery": "resume", "on_lost": "run", "acks_late": True,
    "reject_on_worker_lost": True,
    # Starting others is not repeated by the package: the task is.
    "autoretry_for": (RelayUnavailableError,), "max_retries": None, "default_retry_delay": 1,
}  # fmt: skip


def make_app(conf: dict[str, Any], broker: str) -> Celery:
    """An app whose broker delivers again what was not acknowledged for 20 s."""
    app = Celery("agents", broker=broker, set_as_current=False)
    app.conf.update({f"stream_{name}": value for name, value in conf.items()})
    app.conf.update(
        task_ignore_result=True, worker_prefetch_multiplier=1, task_send_sent_event=False,
        worker_send_task_events=False, broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": 20, "unacked_restore_interval": 1, "unacked_restore_throttle": 1,
        },
    )  # fmt: skip
    return app


def note(task: Any, kind: str, **fields: Any) -> None:
    """Append to the ledger, in one system call."""
    stream = task.stream
    event = {
        "at": time.time(), "kind": kind, "stream": stream.id, "attempt": stream.attempt, **fields,
    }  # fmt: skip
    file = os.open(os.environ[LEDGER_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (json.dumps(event) + "\n").encode())
    os.close(file)


@stream_task(**OPTIONS)
def agent(self: Any, count: int, children: int) -> Iterator[Any]:
    """Repeats `count` inputs: for some of them it keeps its worker, for most it is suspended."""
    note(self, "began", sent=self.stream.sent)
    try:
        if not self.stream.sent:
            for number in range(children):
                self.conversation.stream(helper, number, title=f"helper {number}")
        for number in range(self.stream.sent, count):
            value = self.conversation.receive(suspend=number % 3 != 2)
            note(self, "received", value=value)
            yield value
    except StreamSuspended:
        note(self, "suspended")
        raise
    note(self, "finished")


@stream_task(**OPTIONS)
def helper(self: Any, number: int) -> Iterator[Any]:
    """A child, which takes its time."""
    for step in range(self.stream.sent, 5):
        time.sleep(0.05)
        yield [number, step]


app = make_app(json.loads(os.environ.get(CONF_VARIABLE, "{}")), os.environ.get(BROKER_VARIABLE, ""))
