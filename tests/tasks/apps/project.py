"""The Celery app of these tests, as a project of a user would have it.

Its configuration comes from the fixtures: in the tests' own process directly, in a worker by way
of an environment variable.
"""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.signals import after_task_publish, before_task_publish

from tests.tasks.apps.marks import leave_mark

CONF_VARIABLE = "STREAM_TESTS_CONF"


def counted(run: Callable[..., Any]) -> Callable[..., Any]:
    """A `@run` annotation."""

    @functools.wraps(run)
    def around(*args: Any, **kwargs: Any) -> Any:
        leave_mark("annotation", kwargs["mark"])
        return run(*args, **kwargs)

    return around


app = Celery(
    "project",
    include=[
        "tests.tasks.apps.forms",
        "tests.tasks.apps.failing",
        "tests.tasks.apps.encoding",
        "tests.tasks.apps.listening",
        "tests.tasks.apps.green",
        "tests.tasks.apps.owning",
        "tests.tasks.apps.lingering",
        "tests.tasks.apps.agents",
        "tests.tasks.apps.paced",
        "tests.tasks.apps.ending",
        "tests.tasks.apps.resuming",
        "tests.tasks.apps.results",
        "tests.tasks.apps.sending",
        "tests.tasks.apps.callbacks",
        "tests.tasks.apps.saving",
        "tests.tasks.apps.talking",
    ],
    set_as_current=False,
)
app.conf.task_annotations = {"tests.tasks.apps.forms.annotated": {"@run": counted}}
app.conf.update(json.loads(os.environ.get(CONF_VARIABLE, "{}")))


# -- whoever tells an end is killed: once, before or after the task that is told is enqueued


def _die(moment: str, body: Any) -> None:
    stream_id = str(body[0][0]["stream_id"])
    if CONF_VARIABLE not in os.environ or not stream_id.startswith(moment):
        return  # not in the process of the tests
    # Not `leave_mark`: the current app depends on the thread.
    if app.backend.client.rpush(f"mark:died-{stream_id}", os.getpid()) == 1:
        os.kill(os.getpid(), signal.SIGKILL)


@before_task_publish.connect(sender="tests.tasks.apps.saving.save")
def die_before(body: Any, **_: Any) -> None:
    """Between the end and the enqueueing."""
    _die("before", body)


@after_task_publish.connect(sender="tests.tasks.apps.saving.save")
def die_after(body: Any, **_: Any) -> None:
    """Between the enqueueing and the note."""
    _die("after", body)
