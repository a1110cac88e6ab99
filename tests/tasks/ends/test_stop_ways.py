"""Every way to stop a stream reaches a generator that waits for its model, on each broker."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.tasks.apps import listening
from tests.tasks.apps.marks import marks
from tests.tasks.ends.conftest import Site
from tests.tasks.log import ended_log, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker
from tests.tasks.speaker import Speaker


@pytest.fixture(autouse=True)
def current(app: Any) -> None:
    """Marks are left in the current app's backend."""


@pytest.mark.parametrize("way", ["handle", "relay", "control"])
@pytest.mark.parametrize("task", [listening.listening, listening.listening_asynchronously])
def test_a_generator_that_waits_is_closed(
    site: Site, worker: Worker, relay: str, speaker: Speaker, mark: str, task: Any, way: str
) -> None:
    before = worker.pool_processes()
    stream = site.stream(task, speaker.port, mark, queue=worker.queue)
    speaker.answer()
    speaker.say("one")
    wait_for_chunks(site.app, stream.id, 1)

    if way == "handle":
        assert stream.stop() is True
    elif way == "control":
        site.app.control.broadcast("stop_stream", arguments={"stream_id": stream.id})
    else:
        headers = {"Authorization": f"Bearer {stream.token()}"}
        answer = httpx.post(f"{relay}/v1/stop/{stream.id}", headers=headers, timeout=PATIENCE)
        assert answer.json() == {"status": "asked"}

    assert speaker.hears_hang_up()
    log = ended_log(site.app, stream.id)
    assert (log.end, log.chunks) == ("stopped", ["one"])
    assert marks(f"{mark}:finally") == [""]
    assert stream.result.get(timeout=PATIENCE)["end_reason"] == "stopped"
    assert worker.pool_processes() == before
