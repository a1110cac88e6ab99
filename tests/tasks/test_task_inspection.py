"""`celery inspect active_streams`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from celery import Celery

from tests.tasks.apps import listening
from tests.tasks.apps.project import CONF_VARIABLE
from tests.tasks.log import ended_log, wait_for_chunks
from tests.tasks.processes import PATIENCE, ROOT, Worker
from tests.tasks.speaker import Speaker


def test_a_worker_tells_which_streams_it_writes(
    app: Celery, prefork: Worker, speaker: Speaker, mark: str
) -> None:
    stream = listening.listening.apply_stream((speaker.port, "a prompt"), stream_id=mark)
    speaker.answer()
    speaker.say("one")
    wait_for_chunks(app, stream.id, 1)

    done = subprocess.run(
        [
            sys.executable, "-m", "celery", "-A", "tests.tasks.apps.project", "inspect", "--json",
            "--timeout", str(PATIENCE), "-d", prefork.hostname, "active_streams",
        ],
        cwd=ROOT, env={**os.environ, CONF_VARIABLE: json.dumps(conf_of(app))},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    speaker.hang_up()

    found = {each["stream_id"]: each for each in json.loads(done.stdout)[prefork.hostname]}
    assert found[mark]["task_id"] == stream.task_id
    assert found[mark]["task"] == listening.listening.name
    assert found[mark]["seconds"] >= 0
    assert "a prompt" not in done.stdout
    ended_log(app, stream.id)


def conf_of(app: Celery) -> dict[str, object]:
    """What the command line needs to find the broker."""
    return {"broker_url": app.conf.broker_url, "stream_relay_url": app.conf.stream_relay_url}
