"""System checks: `manage.py check` names the mistake in `CELERY_STREAM_*`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.utils.module_loading import import_string

from ...errors import ConfigurationError
from ...relays import open_relay
from ...settings import StreamSettings, given_settings, read_celery_times, read_settings, this_app
from ...tokens import Tokens
from ..middlewares import rewrites

PREFIX = "CELERY_STREAM_"


def register_checks() -> None:
    """Called when Django is ready."""
    register(check_settings, "streams")
    register(check_deployment, Tags.security, deploy=True)


def check_settings(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """Check everything that can be checked without a connection."""
    app = this_app()
    missed = _missed(app)
    if missed:
        hint = (
            "In the project's celery.py: app.config_from_object('django.conf:settings', "
            "namespace='CELERY'); in its __init__.py: from .celery import app as celery_app"
        )
        return [
            Error(f"{missed} is set, but the Celery app does not read it.", hint, id=_id("E", 2))
        ]
    try:
        read = read_settings(app)
    except ConfigurationError as error:
        return [Error(_named(error), id=_id("E", 1))]
    return [*_check_connection(read), *_check_permission(read), *_check_middleware()]


def check_deployment(app_configs: Any, **_: Any) -> list[CheckMessage]:
    """For `check --deploy`: settings that are only for development."""
    try:
        read = read_settings(this_app())
    except ConfigurationError:
        return []  # the other check tells
    found: list[CheckMessage] = []
    if not read.secret:
        found.append(Warning(f"{PREFIX}SECRET is not set: tokens can be forged.", id=_id("W", 2)))
    if read.development:
        found.append(Warning(f"{PREFIX}DEVELOPMENT is set.", id=_id("W", 3)))
    if urlsplit(read.public_url).scheme == "http":
        text = f"{PREFIX}PUBLIC_URL is not https: tokens can be read on the way."
        found.append(Warning(text, id=_id("W", 4)))
    return found


def _missed(app: Celery) -> str:
    """A setting that Django has and the Celery app has not."""
    known = given_settings(app)
    for name in dir(settings):
        if name.startswith(PREFIX) and name[len(PREFIX) :].lower() not in known:
            return name
    name = "CELERY_BROKER_URL"
    return (
        name if getattr(settings, name, None) and not read_celery_times(app, {}).broker_url else ""
    )


def _check_connection(read: StreamSettings) -> Iterator[CheckMessage]:
    try:
        open_relay(read).close()
    except ConfigurationError as error:
        yield Error(_named(error), id=_id("E", 3))
    try:
        Tokens(read.secrets())
    except ConfigurationError as error:
        yield Error(_named(error), id=_id("E", 6))


def _check_permission(read: StreamSettings) -> Iterator[CheckMessage]:
    name = f"{PREFIX}PERMISSION"
    if not read.permission:
        if not apps.is_installed("django.contrib.sessions"):
            yield Warning(
                f"{name} is not set and there are no sessions: no one can get a token or stop.",
                "Write a function stream_permission(request, stream_id) -> bool and name it there.",
                id=_id("W", 1),
            )
        return
    try:
        hook = import_string(read.permission)
    except ImportError as error:
        yield Error(f"{name}: {error}.", "Give the dotted path of a function.", id=_id("E", 4))
        return
    if not callable(hook):
        yield Error(f"{name}: {read.permission} is not a function.", id=_id("E", 4))


def _check_middleware() -> Iterator[CheckMessage]:
    """Django's own GZipMiddleware heeds the responses' Content-Encoding; others may not."""
    if f"{__package__}.urls" not in sys.modules:
        return  # this process serves no streams
    for name in settings.MIDDLEWARE:
        if rewrites(name):
            yield Warning(
                f"{name} may rewrite streaming responses: then an answer is held back or cut.",
                "Let it skip responses with a Content-Encoding (the relay server's say 'identity') "
                "or the paths of the mounted relay server.",
                id=_id("W", 5),
            )


def _named(error: ConfigurationError) -> str:
    """The message, with the settings' names as Django has them."""
    return re.sub(r"\bstream_(?=[a-z])(\w+)", lambda found: PREFIX + found[1].upper(), str(error))


def _id(kind: str, number: int) -> str:
    return f"streams.{kind}{number:03}"
