"""Streams that real servers produce, beside and after their responses."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from celery import Celery

from streamstraight_celery.relays.requests import Reap
from tests.conftest import eventually
from tests.integrations.conftest import Server
from tests.integrations.sites.sources import CHUNKS
from tests.tasks.log import ended_log, relay_of, state_of

READERS = 10
Serve = Callable[[str], Server]
EVERYWHERE = [
    # The one request at a time of a sync worker is over when the next chunk meets nobody.
    ("flask-gunicorn", ["after", "both"]),
    ("flask-gunicorn-threads", ["both"]),
    ("flask-gunicorn-gevent", ["both", "both-async", "after"]),
    ("django-gunicorn", ["both", "after"]),
    ("django-uvicorn", ["both-async", "after", "after-async"]),
    ("fastapi-uvicorn", ["both", "both-async", "after", "after-async", "after-task"]),
]


def hang_up_after_the_first_line(server: Server, path: str) -> str:
    """Read the first chunk and close the connection; the id of the stream."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        received = b""
        while b"0\n" not in received.partition(b"\r\n\r\n")[2]:
            piece = connection.recv(4096)
            assert piece, received
            received += piece
    head = received.decode("latin-1").lower()
    return head.partition("x-stream-id: ")[2].partition("\r\n")[0]


@pytest.mark.parametrize(("name", "paths"), EVERYWHERE, ids=[name for name, _ in EVERYWHERE])
def test_the_stream_is_finished_when_the_client_has_gone(
    serve: Serve, watching: Celery, name: str, paths: list[str]
) -> None:
    server = serve(name)
    ids = []
    for path in paths:
        if path.startswith("both"):
            ids.append(hang_up_after_the_first_line(server, path))
        else:
            ids.append(httpx.get(f"{server.url}/{path}", timeout=30).json()["stream_id"])
    for each in ids:
        eventually(lambda each=each: state_of(watching, each).last == 1)
    server.open_gate()
    for each in ids:
        log = ended_log(watching, each)
        assert (log.chunks, log.end) == (CHUNKS, "completed")
    if "both" in paths:
        # And one whose client stays gets all of it, too.
        answered = httpx.get(f"{server.url}/both", timeout=30)
        assert answered.text.split() == ["0", "1", "2", "3", "4"]


def test_event_loops_of_a_gevent_server_leave_other_requests_alone(
    serve: Serve, watching: Celery
) -> None:
    server = serve("flask-gunicorn-gevent")
    stream_id = hang_up_after_the_first_line(server, "both-async")
    with ThreadPoolExecutor(READERS) as pool, server.client() as client:
        answers = [pool.submit(client.get, f"/read/{stream_id}") for _ in range(READERS)]
        # While an async generator and the readers run.
        for _ in range(3):
            assert client.get("/asyncio").text == "fine"
        server.open_gate()
        assert [each.result().text.split() for each in answers] == [list("01234")] * READERS
    assert ended_log(watching, stream_id).end == "completed"


@pytest.mark.parametrize("name", ["flask-gunicorn-threads", "fastapi-uvicorn", "django-uvicorn"])
def test_a_server_that_is_stopped_ends_its_streams(
    serve: Serve, watching: Celery, name: str
) -> None:
    server = serve(name)
    stream_id = httpx.get(f"{server.url}/after", timeout=30).json()["stream_id"]
    eventually(lambda: state_of(watching, stream_id).last == 1)
    server.end(signal.SIGTERM)

    def ended() -> str:
        # What a relay server does when it meets an expired lease.
        relay_of(watching).call(Reap(stream_id))
        return state_of(watching, stream_id).end

    eventually(ended)
    if name == "django-uvicorn":
        # uvicorn ends by its signal, and Django has no lifespan: the lease tells.
        assert ended() in ("producer-disconnected", "producer-error")
    else:
        assert ended() == "producer-error"
        assert "server-stopped" in state_of(watching, stream_id).error


def test_a_server_that_is_killed_is_found_out(serve: Serve, watching: Celery) -> None:
    server = serve("fastapi-uvicorn")
    stream_id = httpx.get(f"{server.url}/after", timeout=30).json()["stream_id"]
    eventually(lambda: state_of(watching, stream_id).last == 1)
    server.end(signal.SIGKILL)
    assert state_of(watching, stream_id).end == ""
    eventually(lambda: relay_of(watching).call(Reap(stream_id)).kind == "ended")
    assert state_of(watching, stream_id).end == "producer-disconnected"
