"""Sites in server processes: gunicorn and uvicorn."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from celery import Celery

from streamstraight_celery.runtime import Runtime
from tests.conftest import ROOT, RedisServer, eventually, free_port
from tests.integrations.sites.sources import SECRET

SITES = "tests.integrations.sites"
GUNICORN = "gunicorn --workers 1 --graceful-timeout 10 --bind 127.0.0.1:{port} --log-level warning"
UVICORN = "uvicorn --port {port} --log-level warning --timeout-graceful-shutdown 2 --factory"
SERVERS = {
    "flask-gunicorn": f"{GUNICORN} {SITES}.flask_site:create_app()",
    "flask-gunicorn-threads": f"{GUNICORN} --threads 4 {SITES}.flask_site:create_app()",
    "flask-gunicorn-gevent": f"{GUNICORN} --worker-class gevent {SITES}.flask_site:create_app()",
    "django-gunicorn": f"{GUNICORN} --threads 4 {SITES}.django_site:wsgi()",
    "django-uvicorn": f"{UVICORN} {SITES}.django_site:asgi",
    "channels-uvicorn": f"{UVICORN} {SITES}.channels_site:asgi",
    "recipes-uvicorn": f"{UVICORN} {SITES}.recipes:create_app",
    "recipes-channels": f"{UVICORN} {SITES}.recipes_channels:asgi",
    "django-runserver": f"{SITES}.django_site {{port}}",
    "fastapi-uvicorn": f"{UVICORN} {SITES}.fastapi_site:create_app",
}


class Server:
    """A site in a process of its own."""

    def __init__(self, name: str, redis_url: str, folder: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.gate = folder / "gate"
        self.log_file = folder / "server.log"
        self.redis_url = redis_url
        environment = {
            **os.environ,
            "SITE_REDIS": redis_url,
            "SITE_GATE": str(self.gate),
            "SITE_URL": f"{self.url}/{'relay' if name.startswith('fastapi') else 'streams'}",
        }
        command = [sys.executable, "-m", *SERVERS[name].format(port=port).split()]
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def wait(self) -> Server:
        def answers() -> bool:
            assert self.process.poll() is None, self.log_file.read_text()
            try:
                return httpx.get(self.url, timeout=5).status_code in (200, 404)
            except httpx.HTTPError:
                return False

        eventually(answers, timeout=240)
        return self

    def client(self) -> httpx.Client:
        """A visitor: keeps the session's cookie."""
        return httpx.Client(base_url=self.url, timeout=30)

    def open_gate(self) -> None:
        """Let the generators go on."""
        self.gate.touch()

    def end(self, number: int = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(30)


@pytest.fixture
def serve(redis_url: str, tmp_path: Path) -> Iterator[Callable[[str], Server]]:
    """Starts a site on one of `SERVERS`."""
    started: list[Server] = []

    def start(name: str) -> Server:
        server = Server(name, redis_url, tmp_path)
        started.append(server)
        return server.wait()

    yield start
    for server in started:
        server.open_gate()
        server.end(signal.SIGKILL if server.process.poll() is None else 0)


@pytest.fixture(scope="package")
def site(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Server]]:
    """Sites that tests share, with generators that run through."""
    database, started = redis_server.new_database(), {}

    def get(name: str) -> Server:
        if name not in started:
            started[name] = Server(name, database, tmp_path_factory.mktemp("site"))
            started[name].open_gate()
        return started[name].wait()

    yield get
    for server in started.values():
        server.end()


@pytest.fixture
def watching(serve: Callable[[str], Server], redis_url: str) -> Iterator[Celery]:
    """A Celery app that looks at the streams of `serve` from outside."""
    yield from watch(redis_url)


def watch(redis_url: str) -> Iterator[Celery]:
    app = Celery("watching", broker=redis_url, set_as_current=False)
    app.conf.update(stream_secret=SECRET, stream_lease=5, stream_reap_after=0.5)
    yield app
    Runtime.of(app).close()
