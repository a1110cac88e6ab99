"""The checks of `streams doctor`. Each says what it found and how to fix it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from celery import Celery

from ..errors import StreamError
from ..relays.urls import without_secrets
from ..runtime import Runtime
from ..settings import LOOPBACK, StreamSettings, read_celery_times
from ..tasks.task import StreamTask
from .doctor_findings import Finding, Grade
from .doctor_store import check_redis

HTTP_TIMEOUT = 5.0  # seconds
PING_TIMEOUT = 1.0  # seconds, in which workers answer
NO_WORKERS = Finding("queues", "not checked", "no worker has answered")


def findings(app: Celery) -> Iterator[Finding]:
    """All findings. A check that cannot be made is a finding too."""
    try:
        runtime = Runtime.of(app)
        runtime.relay  # noqa: B018 - a wrong URL is told here
    except StreamError as error:
        yield Finding("settings", "error", str(error), "correct the setting")
        return
    yield Finding("settings", "ok", f"streams in {without_secrets(runtime.settings.relay_url)}")
    checks: list[Callable[[Celery, Runtime], Iterator[Finding]]] = [check_redis, check_imports]
    if not runtime.is_hosted:
        checks += [check_secret, check_server, check_origins]
    checks += [check_times, check_workers]
    for check in checks:
        yield from check(app, runtime)


def check_imports(app: Celery, runtime: Runtime) -> Iterator[Finding]:
    """Import what a worker imports when it starts: tasks are registered by that."""
    try:
        app.loader.import_default_modules()
        app.finalize(auto=True)
    except Exception as error:  # whatever the project's modules raise
        found = f"importing the project's tasks fails: {type(error).__name__}: {error}"
        yield Finding("imports", "error", found, "mend it: a worker does not start either")


def check_secret(app: Celery, runtime: Runtime) -> Iterator[Finding]:
    settings = runtime.settings
    if settings.secret:
        try:
            runtime.tokens  # noqa: B018 - a bad one is told here
        except StreamError as error:
            advice = "set another one, the same for the web application and the relay server"
            yield Finding("secret", "error", str(error), advice)
            return
        rotating = " (two: being changed)" if len(settings.secret) == 2 else ""
        yield Finding("secret", "ok", f"stream_secret is set{rotating}")
        return
    grade: Grade = "warning"
    try:
        settings.secrets()
    except StreamError:
        grade = "error"
    advice = "set stream_secret, the same for the web application and the relay server"
    yield Finding("secret", grade, "stream_secret is not set", advice)


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
    given_up = runtime.settings.lease + runtime.settings.reap_after
    fails = [name for name in times.acks_late if tasks[name].on_lost == "fail"]
    if fails and times.visibility_timeout > given_up:
        yield Finding(
            "lost-tasks", "warning",
            f"{found}, but the stream of a killed worker is given up after {given_up:.0f} s: its "
            f"task then fails when it is delivered again ({', '.join(sorted(fails))})",
            "give the task on_lost='run', or make stream_reap_after longer than the "
            "visibility_timeout",
        )  # fmt: skip
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
        found = f"mounted in the web application at {runtime.settings.public_url or '/'}"
        yield Finding("relay server", "not checked", found)
        return
    try:
        with urlopen(url, timeout=HTTP_TIMEOUT) as answer:
            found = f"{url} answers {answer.status}"
        takes_tokens = _takes_tokens(runtime)
    except (URLError, OSError) as error:
        advice = "start it (celery -A proj streams relay), or correct stream_public_url"
        why = getattr(error, "reason", error)
        yield Finding("relay server", "error", f"{url}: {why}", advice)
        return
    if takes_tokens:
        yield Finding("relay server", "ok", found)
    else:
        advice = "give the web application and the relay server the same stream_secret"
        yield Finding("relay server", "error", f"{found}, and refuses our tokens", advice)


def _takes_tokens(runtime: Runtime) -> bool:
    """Whether the relay server has the secret that is set here."""
    try:
        token, _ = runtime.tokens.issue("doctor")
    except StreamError:
        return True  # another finding
    # For another stream: the answer to a good token is 404, at once.
    url = f"{runtime.settings.public_url}/v1/stream/doctors"
    request = Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urlopen(request, timeout=HTTP_TIMEOUT):
            return True
    except HTTPError as error:
        return error.code != 401


def check_origins(app: Celery, runtime: Runtime) -> Iterator[Finding]:
    settings: StreamSettings = runtime.settings
    url = urlsplit(settings.public_url)
    if unreachable := list(_unreachable(settings)):
        advice = "correct stream_public_url, or stream_allowed_origins"
        yield Finding("origins", "warning", "; ".join(unreachable), advice)
    elif settings.allowed_origins:
        shown = ", ".join(settings.allowed_origins)
        grade: Grade = "warning" if "*" in settings.allowed_origins else "ok"
        advice = "name the origins of your pages" if grade == "warning" else ""
        yield Finding("origins", grade, f"pages of {shown} may read", advice)
    elif settings.development or not settings.secret:
        yield Finding("origins", "ok", "pages on loopback may read (development)")
    elif not url.netloc or url.path:  # below a path it shares an origin with pages
        yield Finding("origins", "ok", "only pages on the relay server's origin may read")
    else:
        found = f"only pages on the relay server's own origin, {settings.public_url}, may read"
        advice = "set stream_allowed_origins to the origins of your pages"
        yield Finding("origins", "warning", found, advice)


def _unreachable(settings: StreamSettings) -> Iterator[str]:
    """Why browsers would not let pages of some allowed origins reach the relay server."""
    url = urlsplit(settings.public_url)
    if not url.netloc:
        return
    for origin in settings.allowed_origins:
        page = urlsplit(origin)
        if page.hostname in LOOPBACK or not page.hostname:
            continue
        if url.hostname in LOOPBACK:
            yield f"pages of {origin} look for {settings.public_url} on their visitor's own machine"
        elif (page.scheme, url.scheme) == ("https", "http"):
            yield f"pages of {origin} may not read from {settings.public_url}, which is not https"


def check_workers(app: Celery, runtime: Runtime) -> Iterator[Finding]:
    try:
        answers = app.control.inspect(timeout=PING_TIMEOUT).active_queues() or {}
    except Exception as error:  # whatever the broker's client raises
        yield Finding("workers", "error", f"the broker: {error}", "correct broker_url, or start it")
        yield NO_WORKERS
        return
    if not answers:
        yield Finding("workers", "warning", "none answers", "start one: celery -A proj worker")
        yield NO_WORKERS
        return
    yield Finding("workers", "ok", f"{len(answers)} answer: {', '.join(sorted(answers))}")
    taken = {queue["name"] for queues in answers.values() for queue in queues}
    queues = _queues(app)
    if not queues:
        yield Finding("queues", "not checked", "there are no stream tasks to look for")
        return
    lost = {name: queue for name, queue in sorted(queues.items()) if queue and queue not in taken}
    if lost:
        found = "; ".join(f"{name} from the queue {queue!r}" for name, queue in lost.items())
        advice = f"start one: celery -A proj worker -Q {','.join(sorted({*taken, *lost.values()}))}"
        yield Finding("queues", "warning", f"no worker takes {found}", advice)
    else:
        yield Finding("queues", "ok", "workers take from those of all stream tasks")


def _queues(app: Celery) -> dict[str, str]:
    """Where each stream task is sent; `""` where an exchange decides."""
    found = {}
    for name, task in app.tasks.items():
        if isinstance(task, StreamTask):
            own = {key: value for key, value in task._get_exec_options().items() if value}
            queue = app.amqp.router.route(own, name).get("queue")
            found[name] = str(getattr(queue, "name", queue) or "")
    return found
