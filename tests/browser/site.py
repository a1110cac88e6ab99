"""A relay and a worker as processes, and pages that use the client as it ships."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from celery import Celery
from playwright.sync_api import BrowserContext, Page

from streamstraight_celery import StreamTask
from streamstraight_celery.relays import open_relay
from streamstraight_celery.settings import StreamSettings, read_settings
from streamstraight_celery.tokens import Tokens
from tests.conftest import ROOT, RedisServer, eventually, free_port, missing
from tests.server.producer import Producer
from tests.tasks.apps.project import CONF_VARIABLE
from tests.tasks.conftest import close_app
from tests.tasks.processes import Worker

CLIENT = ROOT / "client"
STATIC = ROOT / "streamstraight_celery/static/streamstraight_celery"
SHIPPED = ("client", "shared", "react", "ai-sdk")


class Site:
    """A Redis, a relay and a worker of their own.

    Attributes:
        app: enqueues, as a web application would.
        relay_url: of the relay's HTTP server.
    """

    def __init__(self, folder: Path) -> None:
        self._redis = RedisServer()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        port = free_port()
        self.relay_url = f"http://127.0.0.1:{port}"
        self.conf: dict[str, Any] = {
            "broker_url": self._redis.url(1),
            "result_backend": self._redis.url(2),
            "broker_connection_retry_on_startup": True,
            "task_default_queue": "site",
            "stream_relay_url": self._redis.url(3),
            "stream_public_url": self.relay_url,
            "stream_lease": 2,
            "stream_reap_after": 20,
        }
        self.app = Celery("site", set_as_current=False)
        # Without a result backend, which subscribes to each task's result.
        self.app.conf.update({**self.conf, "result_backend": None})
        settings = read_settings(self.app)
        self.tokens = Tokens(settings.secrets())
        # Its producers are these tests, which renew no lease.
        self._relay = open_relay(StreamSettings(relay_url=settings.relay_url, lease=600))
        self.worker = Worker("site", self.conf, folder, concurrency=1)

    def close(self) -> None:
        self.worker.ask_to_stop()
        self.worker.stop()
        self.stop_relay()
        self._relay.close()
        close_app(self.app)
        self._redis.close()

    def start_relay(self) -> None:
        command = [
            sys.executable, "-m", "celery", "-A", "tests.tasks.apps.project",
            "streams", "relay", "--port", self.relay_url.rpartition(":")[2],
        ]  # fmt: skip
        with (self._folder / "relay.log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, CONF_VARIABLE: json.dumps(self.conf)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(self._is_ready, timeout=60)

    @contextmanager
    def without_relay(self, number: int = signal.SIGKILL) -> Iterator[None]:
        """Ends the relay by that signal; started again behind it, also when a test failed there."""
        self.stop_relay(number)
        try:
            yield
        finally:
            self.start_relay()

    def stop_relay(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def task(self, task: StreamTask[...]) -> Any:
        """That task, as one of this site's app."""
        return self.app.tasks[task.name]

    def needs_worker(self) -> Worker:
        """The worker, which is started when it is first needed."""
        if not self.worker.log_file.exists():
            self.worker.start()
        return self.worker

    def producer(self, name: str) -> Producer:
        """A stream that the test itself writes."""
        return Producer(self._relay, name).create().claim()

    def ref(self, stream_id: str, ttl: float = 3600) -> dict[str, Any]:
        token, expires_at = self.tokens.issue(stream_id, ttl=ttl)
        url = f"{self.relay_url}/v1/stream/{stream_id}"
        return {"stream_id": stream_id, "url": url, "token": token, "expires_at": expires_at}

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.relay_url}/readyz", trust_env=False).is_success
        except httpx.HTTPError:
            return False


@contextmanager
def running(folder: Path) -> Iterator[Site]:
    """A site with its relay; its worker is started by those who need it."""
    site = Site(folder)
    try:
        site.start_relay()
        yield site
    finally:
        site.close()


# What each page has: a stream's chunks, its status changes and its end, for the test to look at.
READER = """
import { openStream } from "/client.js";
import { sharedFetch } from "/shared.js";
globalThis.streams = {};
globalThis.read = (name, ref, options = {}) => {
  const it = (streams[name] = { chunks: [], statuses: [], resets: [], errors: [], end: null });
  if (options.shared) options.fetch = sharedFetch;
  if (options.renew) options.getToken = () => renew(ref.stream_id);
  it.stream = openStream(ref, {
    ...options,
    onStatus: (status) => it.statuses.push(status),
    onError: (error) => it.errors.push(error.code),
    onReset: (attempt) => { it.resets.push(attempt); it.chunks = []; },
  });
  (async () => {
    try {
      for await (const chunk of it.stream) { it.chunks.push(chunk); options.each?.(chunk); }
      it.end = it.stream.endReason;
    } catch (error) { it.end = `failed: ${error.code}`; }
  })();
};
document.title = "ready";
"""


class Pages:
    """A small web application, on loopback: Chromium lets no made-up page talk to it.

    Attributes:
        url: of its page, a script and the client as it ships.
        routes: what it answers to `METHOD /path` beside that, JSON: None is 204.
    """

    def __init__(self, script: str = READER, body: str = "") -> None:
        self.routes: dict[str, Callable[[Any], Any]] = {}
        self._files = {f"/{name}.js": (STATIC / f"{name}.js").read_text() for name in SHIPPED}
        self._files["/page.js"] = script
        self._page = f"<!doctype html><link rel=icon href=data:,><body>{body}"
        self._page += "<script type=module src=/page.js></script>"
        pages = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                pages._answer(self)

            def do_POST(self) -> None:
                pages._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def open(self, context: BrowserContext) -> Page:
        """A new tab with the page, when its script has run."""
        page = context.new_page()
        page.goto(self.url)
        page.wait_for_function("document.title === 'ready'")
        return page

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        given = request.rfile.read(int(request.headers.get("content-length") or 0))
        route = self.routes.get(f"{request.command} {request.path}")
        status, kind, body = 404, "text/plain", ""
        if route is not None:
            answer = route(json.loads(given or "null"))
            status, kind, body = 200, "application/json", json.dumps(answer)
            if answer is None:
                status, body = 204, ""
        elif request.path == "/":
            status, kind, body = 200, "text/html", self._page
        elif request.path in self._files:
            status, kind, body = 200, "text/javascript", self._files[request.path]
        request.send_response(status)
        request.send_header("content-type", kind)
        request.send_header("content-length", str(len(body.encode())))
        request.end_headers()
        request.wfile.write(body.encode())


def bundle(source: str, folder: Path, **alias: str) -> str:
    """The script that esbuild makes of a page's TypeScript, with what it imports from npm."""
    esbuild = CLIENT / "node_modules/.bin/esbuild"
    if shutil.which("node") is None or not esbuild.exists():
        missing("what `npm ci` installs in client/")
    names = {
        "streamstraight-celery/shared": str(STATIC / "shared.js"),
        "streamstraight-celery/react": str(STATIC / "react.js"),
        "streamstraight-celery/ai-sdk": str(STATIC / "ai-sdk.js"),
        "streamstraight-celery": str(STATIC / "client.js"),
        **{name: str(CLIENT / "node_modules" / target) for name, target in alias.items()},
    }
    page = folder / "page.tsx"
    page.write_text(source)
    command = [
        str(esbuild), str(page), "--bundle", "--format=esm", "--jsx=automatic",
        "--define:process.env.NODE_ENV=\"development\"", "--log-level=error",
        *(f"--alias:{name}={target}" for name, target in names.items()),
    ]  # fmt: skip
    environment = {**os.environ, "NODE_PATH": str(CLIENT / "node_modules")}
    done = subprocess.run(
        command, cwd=CLIENT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
