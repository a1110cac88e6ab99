"""What `streams doctor` looks at. Each check says what it found, and what to change."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from celery import Celery

from ..errors import StreamError
from ..relays.redis import RedisRelay, without_password
from ..runtime import Runtime
from ..settings import StreamSettings, read_celery_times
from ..task import StreamTask

Grade = Literal["ok", "warning", "error"]

MIN_REDIS = (6, 2)
MAX_SKEW = 2.0  # seconds
HTTP_TIMEOUT = 5.0  # seconds
PING_TIMEOUT = 1.0  # seconds, in which workers answer


class Finding(NamedTuple):
    """One line of the doctor's report; `advice` is empty when all is well."""

    check: str
    grade: Grade
    found: str
    advice: str = ""


def findings(app: Celery) -> Iterator[Finding]:
    """All findings. A check that cannot be made is a finding too."""
    try:
        runtime = Runtime.of(app)
        runtime.relay  # noqa: B018 - a wrong URL is told here
    except StreamError as error:
        yield Finding("settings", "error", str(error), "correct the setting")
        return
    yield Finding("settings", "ok", f"streams in {without_password(runtime.settings.relay_url)}")
    checks: list[Callable[[Celery, Runtime], Iterator[Finding]]] = [
        check_secret, check_redis, check_times, check_server, check_origins, check_workers,
    ]  # fmt: skip
    for check in checks:
        yield from check(app, runtime)


def check_secret(app: Celery, runtime: Runtime) -> Iterator[Finding]:
    settings = runtime.settings
    if settings.secret:
        rotating = " (two: being changed)" if len(settings.secret) == 2 else ""
        yield Finding("secret", "ok", f"stream_secret is set{rotating}")
        return
    grade: Grade = "warning"
    try:
        settings.secrets()
    except StreamError:
        grade = "error"
    advice = "set stream_secret, the same for the web application and the relay"
    yield Finding("secret", grade, "stream_secret is not set", advice)


def check_redis(app: Celery, runtime: Runtime) -> Iterator[Finding]:
    relay = runtime.relay
    if not isinstance(relay, RedisRelay):
        yield Finding("relay", "ok", f"kept by {type(relay).__name__}")
        return
    try:
        began = time.monotonic()
        told = relay.server_info()
        took = time.monotonic() - began
    except StreamError as error:
        yield Finding("redis", "error", str(error), "start Redis, or correct stream_relay_url")
        return
    yield _version(told, took)
    yield _eviction(told)
    skew = abs(told["time"] - time.time())
    if skew > MAX_SKEW:
        advice = "synchronise the clocks: Celery's redelivery compares them"
        yield Finding("clock", "warning", f"{skew:.0f} s away from Redis' clock", advice)
    else:
        yield Finding("clock", "ok", f"within {MAX_SKEW:.0f} s of Redis' clock")


def _version(told: dict[str, Any], took: float) -> Finding:
    version = str(told["redis_version"])
    found = f"Redis {version} answers in {took * 1000:.1f} ms"
    if tuple(int(part) for part in version.split(".")[:2]) < MIN_REDIS:
        return Finding("redis", "error", found, "use Redis 6.2 or later")
    return Finding("redis", "ok", found)


def _eviction(told: dict[str, Any]) -> Finding:
    policy, limit = str(told.get("maxmemory_policy", "noeviction")), int(told.get("maxmemory", 0))
    if policy == "noeviction" or not limit:
        return Finding("eviction", "ok", f"maxmemory-policy is {policy}")
    advice = (
        "set maxmemory-policy to noeviction: every other policy may drop streams, which have a "
        "time to live, while they are written"
    )
    return Finding("eviction", "warning", f"maxmemory-policy is {policy}", advice)


def check_times(app: Celery, runtime: Runtime) -> Iterator[Finding]:
    tasks = {name: task for name, task in app.tasks.items() if isinstance(task, StreamTask)}
    if not tasks:
        advice = "import the modules that define them, as a worker does"
        yield Finding("tasks", "warning", "no stream task is registered", advice)
        return
    yield Finding("tasks", "ok", f"{len(tasks)} stream task(s): {', '.join(sorted(tasks))}")
    times = read_celery_times(app, tasks)
    if times.visibility_timeout is None or not times.acks_late:
        yield Finding("redelivery", "ok", "no task is redelivered by a visibility timeout")
        return
    found = f"visibility_timeout is {times.visibility_timeout:.0f} s"
    if times.longest_task is None:
        advice = "give the stream tasks a time limit below it: a longer one is delivered twice"
        yield Finding("redelivery", "warning", f"{found}, and tasks have no time limit", advice)
    elif times.longest_task >= times.visibility_timeout:
        advice = "make it longer than the longest time limit: the task is delivered twice"
        longest = f"a task may run for {times.longest_task:.0f} s"
        yield Finding("redelivery", "warning", f"{found}, {longest}", advice)
    else:
        yield Finding("redelivery", "ok", f"{found}, tasks end within {times.longest_task:.0f} s")


def check_server(app: Celery, runtime: Runtime) -> Iterator[Finding]:
    url = f"{runtime.settings.public_url}/readyz"
    if urlsplit(url).scheme not in ("http", "https"):
        yield Finding("relay server", "ok", "mounted in the web application")
        return
    try:
        with urlopen(url, timeout=HTTP_TIMEOUT) as answer:
            found = f"{url} answers {answer.status}"
        yield Finding("relay server", "ok", found)
    except (URLError, OSError) as error:
        advice = "start it (celery -A proj streams relay), or correct stream_public_url"
        why = getattr(error, "reason", error)
        yield Finding("relay server", "error", f"{url}: {why}", advice)


def check_origins(app: Celery, runtime: Runtime) -> Iterator[Finding]:
    settings: StreamSettings = runtime.settings
    if settings.allowed_origins:
        shown = ", ".join(settings.allowed_origins)
        grade: Grade = "warning" if "*" in settings.allowed_origins else "ok"
        advice = "name the origins of your pages" if grade == "warning" else ""
        yield Finding("origins", grade, f"pages of {shown} may read", advice)
    elif settings.development or not settings.secret:
        yield Finding("origins", "ok", "pages on loopback may read (development)")
    else:
        advice = "set stream_allowed_origins unless the relay is on the origin of your pages"
        yield Finding("origins", "ok", "only pages of the relay's own origin may read", advice)


def check_workers(app: Celery, runtime: Runtime) -> Iterator[Finding]:
    try:
        answers = app.control.ping(timeout=PING_TIMEOUT)
    except Exception as error:  # whatever the broker's client raises
        yield Finding("workers", "error", f"the broker: {error}", "correct broker_url, or start it")
        return
    names = sorted(name for answer in answers or () for name in answer)
    if names:
        yield Finding("workers", "ok", f"{len(names)} answer: {', '.join(names)}")
    else:
        yield Finding("workers", "warning", "none answers", "start one: celery -A proj worker")
