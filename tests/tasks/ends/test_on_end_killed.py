"""Whoever tells an end is killed before it can, or before it can note that it has: it is told.

Counted: at least once for each stream, and what is saved is what readers got.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from celery import Celery

from streamstraight_celery import StreamHandle, get_stream
from streamstraight_celery.ends.sweeping import sweep
from tests.tasks.apps import saving
from tests.tasks.apps.marks import marks
from tests.tasks.apps.project import CONF_VARIABLE
from tests.tasks.ends.conftest import Site, relay_server
from tests.tasks.ends.test_on_end import saved, told
from tests.tasks.log import relay_of, state_of, wait_for_chunks
from tests.tasks.processes import PATIENCE, Worker, wait_until
from tests.tasks.speaker import Speaker

QUICK = {"stream_lease": 1.5, "stream_reap_after": 1.5}
MOMENTS = ["before", "after"]
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def current(app: Any) -> None:
    """Marks are left in the current app's backend."""


@pytest.fixture(scope="session")
def savers(site: Site) -> Worker:
    """A worker that runs what is told, while those that stream are killed."""
    return site.worker("quick-savers", QUICK, queue=site.conf["task_default_queue"])


class Case:
    """One stream with a short lease, whose teller is killed at that moment, once."""

    def __init__(self, site: Site, app: Celery, conf: dict[str, Any], stream_id: str) -> None:
        self.site = site
        self.app = app
        self.conf = conf
        self.stream_id = stream_id

    def worker(self, name: str) -> Worker:
        """One that will be killed: what is told goes to the savers' queue."""
        queue = {"task_default_queue": self.site.conf["task_default_queue"]}
        return self.site.worker(f"{name}-{self.stream_id}", {**QUICK, **queue})

    def begin(self, worker: Worker, speaker: Speaker) -> StreamHandle:
        """Start the stream, and wait for two chunks."""
        stream = self.ask(worker.queue, speaker.port)
        speaker.answer()
        speaker.say("one")
        wait_for_chunks(self.app, stream.id, 2)
        return stream

    def ask(self, queue: str, port: int) -> StreamHandle:
        return self.site.stream(saving.saved, port, queue=queue, stream_id=self.stream_id)

    def died(self) -> bool:
        """Whether somebody was killed while telling."""
        return bool(marks(f"died-{self.stream_id}"))

    def fork(self, act: Callable[[], object]) -> int:
        """Do it in another process, which may be killed; returns the signal that ended it, or 0."""
        child = os.fork()
        if not child:
            os.environ[CONF_VARIABLE] = "here"
            with contextlib.suppress(BaseException):
                act()
            os._exit(0)
        return os.waitpid(child, 0)[1]

    def swept(self, stream: StreamHandle) -> dict[str, Any]:
        """Sweep again and again, as beat does, until the end is told and that is noted."""

        def tell() -> bool:
            sweep(self.app, relay_of(self.app))
            return bool(saved(stream)) and state_of(self.app, stream.id).end_told

        wait_until(tell, f"the sweep tells the end of {stream.id}")
        assert len(saved(stream)) >= 1
        return told(self.site, stream)


@pytest.fixture(params=MOMENTS)
def case(
    request: pytest.FixtureRequest,
    site: Site,
    conf: dict[str, Any],
    another_app: Callable[..., Celery],
    mark: str,
    savers: Worker,
) -> Case:
    changes = {**site.conf, **QUICK}
    return Case(site, another_app(**changes), {**conf, **changes}, f"{request.param}-{mark}")


def test_the_producer(case: Case, worker: Worker, speaker: Speaker) -> None:
    """The worker's parent process sees it die, and tells."""
    stream = case.begin(worker, speaker)
    speaker.hang_up()
    assert told(case.site, stream)["reason"] == "completed"
    assert case.died()


def test_the_parent_process(case: Case, speaker: Speaker) -> None:
    """Its child was killed; it dies when it tells that."""
    worker = case.worker("dying")
    stream = case.begin(worker, speaker)
    os.kill(wait_for_chunks(case.app, stream.id, 2).chunks[0], signal.SIGKILL)
    wait_until(case.died, "the parent process dies")
    worker.kill()
    assert case.swept(stream)["reason"] == "producer-disconnected"


def test_the_sweep(case: Case, speaker: Speaker) -> None:
    """All of the worker is killed in mid-answer, and then the sweep that tells it."""
    worker = case.worker("killed")
    stream = case.begin(worker, speaker)
    worker.kill()
    relay = relay_of(case.app)
    wait_until(
        lambda: case.fork(lambda: sweep(case.app, relay)) == signal.SIGKILL, "a sweep is killed"
    )
    assert case.died()
    assert case.swept(stream)["reason"] == "producer-disconnected"


def test_the_relay_server(case: Case, speaker: Speaker, tmp_path: Path) -> None:
    """It ends the stream of a killed worker for its readers, and dies when it tells that."""
    worker = case.worker("read")
    with relay_server(case.conf, tmp_path) as url:
        stream = case.begin(worker, speaker)
        reading = threading.Thread(target=read, args=(url, stream), daemon=True)
        reading.start()
        worker.kill()
        wait_until(case.died, "the relay server dies")
        reading.join(PATIENCE)
    assert case.swept(stream)["reason"] == "producer-disconnected"


def read(relay: str, stream: StreamHandle) -> None:
    """Read a stream over HTTP until the relay server dies."""
    url, token = f"{relay}/v1/stream/{stream.id}", stream.token()
    with contextlib.suppress(httpx.HTTPError), httpx.Client(timeout=PATIENCE) as client:
        client.get(url, params={"live": "sse", "offset": "-1", "token": token})


def test_who_stops_it_in_the_queue(case: Case) -> None:
    stream = case.ask(f"nobody-{case.site.conf['task_default_queue']}", 0)
    theirs = get_stream(stream.id, app=case.app)
    assert case.fork(theirs.stop) == signal.SIGKILL
    end = case.swept(stream)
    assert (end["reason"], end["read"]) == ("stopped", [])
