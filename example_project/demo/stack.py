"""All processes of a chat: Redis, a model, a Celery worker, the relay, the page."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
from celery import Celery

from streamstraight_celery.testing.embedded import EmbeddedRedis

from .children import ROOT, Child, wait_ready

HOST = "127.0.0.1"
Framework = Literal["flask", "django", "fastapi"]
OnReady = Callable[[str, str, float], None]


@dataclass(frozen=True)
class Service:
    """A process to start: arguments of Python, when it is ready, and how it is shown."""

    arguments: str
    ready: Callable[[], bool]
    shown: str


class Stack:
    """Starts everything on loopback and free ports, and stops it in reverse order.

    Args:
        framework: whose page and tasks.
        page_port: 0 takes a free one.
        on_ready: told what is ready, where it is, and the seconds since its start.
        env: more environment variables for all processes.
    """

    def __init__(
        self,
        framework: Framework = "flask",
        *,
        page_port: int = 0,
        on_ready: OnReady = lambda *_: None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        page, relay, self._model_port = free_ports(3)
        self.page_url = f"http://{HOST}:{page_port or page}"
        self.relay_url = f"http://{HOST}:{relay}"
        self.children: dict[str, Child] = {}
        self.logs = Path(tempfile.mkdtemp(prefix="streamstraight-demo-"))
        self.keep_logs = False
        self.env: dict[str, str] = {}
        self._framework = framework
        self._on_ready = on_ready
        self._given = dict(env or {})
        self._services: dict[str, Service] = {}
        self._exit = ExitStack()

    def __enter__(self) -> Stack:
        """Return when everything is ready.

        Raises:
            ChildFailed: one of the processes did not start.
            EmbeddedRedisError: Redis did not.
        """
        try:
            self._start()
        except BaseException as error:
            self.__exit__(type(error))
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._exit.close()
        if kind in (None, KeyboardInterrupt) and not self.keep_logs:
            shutil.rmtree(self.logs, ignore_errors=True)

    @property
    def model_url(self) -> str:
        """The API that the worker asks."""
        return self.env.get("OPENAI_BASE_URL", "https://api.openai.com/v1")

    @property
    def streams_page(self) -> str:
        """The link to the relay server's page of all streams, as it has printed it."""
        said = (self.logs / "relay.log").read_text(errors="replace")
        found = re.search(r"http://\S+/streams#key=\S+", said)
        return found[0] if found else ""

    @property
    def agent_page(self) -> str:
        """The page of the agent, which the Flask example has."""
        return f"{self.page_url}/agent/" if self._framework == "flask" else ""

    def start(self, *names: str) -> None:
        """Start these processes and return when they are ready.

        Raises:
            ChildFailed: one of them did not start.
        """
        started: dict[Child, Callable[[], bool]] = {}
        for name in names:
            command = [sys.executable, "-m", *self._services[name].arguments.split()]
            child = Child(name, command, self.logs / f"{name}.log", self.env)
            self.children[name] = child
            started[child] = self._services[name].ready
        wait_ready(started, self._tell)

    def kill(self, name: str) -> None:
        """End a process and its children at once."""
        self.children[name].kill()

    def check(self) -> None:
        """Raise `ChildFailed` when one of the processes has ended."""
        for child in self.children.values():
            child.check()

    def _start(self) -> None:
        redis = self._exit.enter_context(EmbeddedRedis())
        self._on_ready("redis", f"{redis.backend}, {redis.url}", 0.0)
        self.env, own_model = self._environment(redis.url)
        if not own_model:
            self._on_ready("model", self.model_url, 0.0)
        self._services = self._all_services(redis.url, own_model)
        self._exit.callback(self._stop)
        self.start(*self._services)

    def _tell(self, child: Child, seconds: float) -> None:
        self._on_ready(child.name, self._services[child.name].shown, seconds)

    def _stop(self) -> None:
        children = list(reversed(self.children.values()))
        for child in children:
            child.terminate()
        for child in children:
            child.wait()

    def _environment(self, redis_url: str) -> tuple[dict[str, str], bool]:
        """What all processes get, and whether the model is our own."""
        page = self.page_url
        env = {
            **os.environ,
            "PYTHONPATH": join(os.pathsep, str(ROOT), os.environ.get("PYTHONPATH")),
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": join(",", HOST, os.environ.get("NO_PROXY")),
            "REDIS_URL": redis_url,
            "STREAM_PUBLIC_URL": self.relay_url,
            "PAGE_ORIGINS": f"{page} {page.replace(HOST, 'localhost')}",
            **self._given,
        }
        own_model = not (env.get("OPENAI_API_KEY") or env.get("OPENAI_BASE_URL"))
        if own_model:
            env["OPENAI_BASE_URL"] = f"http://{HOST}:{self._model_port}/v1"
        if self._framework == "django":
            env["DJANGO_SETTINGS_MODULE"] = "example_project.django_chat.settings"
        env["OPENAI_API_KEY"] = env.get("OPENAI_API_KEY") or "none"
        return env, own_model

    def _all_services(self, redis_url: str, own_model: bool) -> dict[str, Service]:
        celery = f"celery -A example_project.{self._framework}_chat"
        page = {
            "flask": f"flask --app example_project.flask_chat run --port {port(self.page_url)}",
            "django": f"django runserver --noreload {HOST}:{port(self.page_url)}",
            "fastapi": f"uvicorn example_project.fastapi_chat:api --port {port(self.page_url)}",
        }[self._framework]
        worker = f"{celery} worker --pool prefork --concurrency 4 --loglevel INFO"
        worker += " --without-mingle --without-gossip"  # there is no other worker
        relay = f"{celery} streams relay --port {port(self.relay_url)}"
        services = {
            "worker": Service(worker, pings(redis_url), "Celery, prefork, 4 processes"),
            "relay": Service(relay, answers(f"{self.relay_url}/readyz"), self.relay_url),
            "page": Service(page, answers(self.page_url), f"{self._framework}, {self.page_url}"),
        }
        if own_model:
            model = f"example_project.model_server --port {port(self.model_url)}"
            ready = answers(f"{self.model_url}/models")
            services = {"model": Service(model, ready, f"our own, {self.model_url}"), **services}
        return services


def answers(url: str) -> Callable[[], bool]:
    """Whether that URL answers with a success."""

    def ready() -> bool:
        try:
            return httpx.get(url, timeout=2.0, trust_env=False).is_success
        except httpx.HTTPError:
            return False

    return ready


def pings(redis_url: str) -> Callable[[], bool]:
    """Whether a worker answers to a ping."""

    def ready() -> bool:
        with Celery(broker=redis_url, set_as_current=False) as app, app.connection() as connection:
            return bool(app.control.ping(timeout=0.2, limit=1, connection=connection))

    return ready


def port(url: str) -> int:
    return httpx.URL(url).port or 80


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens, all different."""
    found: list[int] = []
    # Below those that the kernel gives to outgoing connections: none of them takes one in between.
    for number in random.sample(range(10_000, 32_000), 1000):
        with contextlib.suppress(OSError), socket.create_server((HOST, number)):
            found.append(number)
        if len(found) == count:
            break
    return found


def join(separator: str, *parts: str | None) -> str:
    return separator.join(part for part in parts if part)
