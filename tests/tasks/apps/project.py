"""The Celery app of these tests, as a project of a user would have it.

Its configuration comes from the fixtures: in the tests' own process directly, in a worker by way
of an environment variable.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from typing import Any

from celery import Celery

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
    ],
    set_as_current=False,
)
app.conf.task_annotations = {"tests.tasks.apps.forms.annotated": {"@run": counted}}
app.conf.update(json.loads(os.environ.get(CONF_VARIABLE, "{}")))
