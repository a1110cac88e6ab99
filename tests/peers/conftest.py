"""Other people's clients, and a worker and a relay for them to read from."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streamstraight_celery.runtime import Runtime
from tests.conftest import RedisServer, eventually, free_port, missing
from tests.peers.app import app
from tests.peers.processes import Dictation, start_peers
from tests.peers.web import Web
from tests.support.processes import answers, stop
from tests.support.providers import ReplayProvider
from tests.support.proxy import Proxy

FOLDER = Path(__file__).parent
BUNDLES = ("chat7", "chat6", "chat5", "durable", "texts")


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The packages of these tests' clients."""
    return install_packages(FOLDER)


def install_packages(folder: Path) -> Path:
    """The packages of a folder's lock file, installed when they are missing or others."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        missing("Node.js with npm")
    modules = folder / "node_modules"
    installed, lock = modules / ".installed.json", folder / "package-lock.json"
    # Several test processes run beside each other; one installs.
    with lock.open("rb") as wanted:
        fcntl.flock(wanted, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_bytes() != lock.read_bytes():
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=500)
            assert done.returncode == 0, done.stdout + done.stderr
            installed.write_bytes(lock.read_bytes())
    return modules


@pytest.fixture(scope="session")
def bundles(node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages' scripts."""
    out = tmp_path_factory.mktemp("bundles")
    command = [
        node_modules / ".bin/esbuild", *(f"pages/{name}.jsx" for name in BUNDLES),
        "--bundle", "--format=esm", "--jsx=automatic", f"--outdir={out}", "--log-level=warning",
        '--define:process.env.NODE_ENV="production"',
    ]  # fmt: skip
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def provider() -> Iterator[ReplayProvider]:
    with ReplayProvider() as provider:
        yield provider


@pytest.fixture(scope="session")
def web() -> Iterator[Web]:
    """The application of the chat pages."""
    web = Web()
    yield web
    web.close()


@pytest.fixture(scope="session")
def proxy(
    redis_server: RedisServer, web: Web, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """The way to the relay, which serves what a worker writes; both run from here on."""
    logs = tmp_path_factory.mktemp("logs")
    url, port = redis_server.new_database(), free_port()
    proxy = Proxy(port)
    conf: dict[str, Any] = {
        "broker_url": url,
        "result_backend": url,
        "broker_connection_retry_on_startup": True,
        "stream_public_url": f"http://127.0.0.1:{proxy.port}",
        "stream_secret": "a-secret-of-the-peers",
        "stream_allowed_origins": [web.origin],
        "stream_ping_interval": 0.5,
    }
    app.conf.update(conf)
    worker = start_peers(
        conf, logs / "worker.log", "worker", "-P", "prefork", "-c", "2", "-n", "peers@tests",
        "-l", "INFO", "--without-mingle", "--without-gossip", "--without-heartbeat",
    )  # fmt: skip
    relay = start_peers(conf, logs / "relay.log", "streams", "relay", "--port", str(port))
    try:
        eventually(lambda: b" ready." in (logs / "worker.log").read_bytes(), timeout=60)
        eventually(lambda: answers(f"http://127.0.0.1:{port}/readyz"), timeout=60)
        yield proxy
    finally:
        proxy.close()
        stop(relay)
        stop(worker)
        Runtime.of(app).close()
        app.backend.client.close()
        app.pool.force_close_all()


@pytest.fixture
def dictation(proxy: Proxy) -> Iterator[Dictation]:
    """A stream that goes on when it is told to."""
    dictation = Dictation(app.conf.broker_url)
    yield dictation
    dictation.close()
