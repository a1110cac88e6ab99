"""Flask: `Streams(permission=...)` with `init_app`, `celery_init_app`, and `respond`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery, Task

from ..enqueue.handle import StreamHandle, StreamLink
from ..errors import ConfigurationError, MissingDependencyError
from ..runtime import Runtime
from ..server.own_routes.blocking import BlockingAnswer, request_of_environ
from .answers import (
    CLIENT_MODULE,
    FOREIGN,
    Answer,
    attempted,
    is_foreign,
    is_remembered,
    own_stream,
    resume_answer,
    stop_answer,
    token_answer,
)
from .answers import remember as _remember
from .hubs import asked

try:
    from flask import Blueprint, Flask, Response, jsonify, session, url_for
    from flask import request as current_request
    from markupsafe import Markup
except ImportError as error:
    raise MissingDependencyError("Flask", "flask") from error

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ..server.own_routes.options import Options

Permission = Callable[[str], bool]
CLIENT = Path(__file__).parents[1] / "static" / "streamstraight_celery"


def celery_init_app(app: Flask) -> Celery:
    """Make the Celery app of a Flask app, from `app.config["CELERY"]`.

    Tasks, stream tasks too, run in the app context. It is `app.extensions["celery"]`, and the
    process' default.
    """

    class FlaskTask(Task):  # type: ignore[misc]
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery = Celery(app.name, task_cls=FlaskTask)
    celery.config_from_object(app.config.get("CELERY") or {})
    celery.set_default()
    app.extensions["celery"] = celery
    return celery


def session_permission(stream_id: str) -> bool:
    """The default permission: the streams that the visitor's session remembers."""
    return is_remembered(session, stream_id)


def remember(stream: StreamLink) -> None:
    """Note in the visitor's session that this stream is theirs."""
    _remember(session, stream.id)


class Streams:
    """The Flask extension: routes for a fresh token and for stop, and the browser's client.

    Args:
        app: the Flask app; or call `init_app` later.
        permission: whether the visitor may have that stream; only `True` allows it.
        url_prefix: of the routes.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        permission: Permission = session_permission,
        url_prefix: str = "/streams",
    ) -> None:
        self._permission = permission
        self._url_prefix = url_prefix
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add the routes to `app`; makes its Celery app when there is none.

        Raises:
            ConfigurationError: the app has neither a Celery app nor a `CELERY` configuration, or
                a `stream_*` setting is wrong, or `stream_secret` is missing or easy to guess.
        """
        if "celery" not in app.extensions:
            if "CELERY" not in app.config:
                raise ConfigurationError(
                    'app.config["CELERY"] is not set: give Celery\'s settings there, or put your '
                    'Celery app in app.extensions["celery"] before Streams.init_app'
                )
            celery_init_app(app)
        Runtime.of(app.extensions["celery"]).check_tokens()  # a wrong setting is told now
        app.extensions["streams"] = self
        # The process' default is that of the app that was made last.
        app.before_request(app.extensions["celery"].set_current)
        app.register_blueprint(self._blueprint(), url_prefix=self._url_prefix)
        app.jinja_env.globals["stream_client"] = stream_client

    def get_own(self, stream_id: str) -> StreamHandle:
        """The stream's handle, if the permission allows it to the visitor.

        Raises:
            StreamNotFoundError: not allowed, or not there.
            RelayUnavailableError: the relay does not answer.
        """
        return own_stream(stream_id, self._permission(stream_id), this_celery())

    def _blueprint(self) -> Blueprint:
        streams = Blueprint("streams", __name__, static_folder=CLIENT, static_url_path="/client")

        @streams.get("/<stream_id>/token")
        def token(stream_id: str) -> Response:
            return as_response(attempted(lambda: token_answer(self.get_own(stream_id))))

        @streams.post("/<stream_id>/stop")
        def stop(stream_id: str) -> Response:
            origins = Runtime.of(this_celery()).settings.allowed_origins
            if is_foreign(dict(current_request.headers), origins):
                return as_response(FOREIGN)
            return as_response(attempted(lambda: stop_answer(self.get_own(stream_id))))

        return streams


def resume(key: str, *, have: str | None = None) -> Response:
    """Answer `GET /<chat>/stream` of `useChat`: a redirect to its latest stream, or 204.

    Whether the visitor may read that conversation is for the route to decide first.

    Args:
        key: the conversation's, as in `apply_stream(key=...)`.
        have: the id of the stream whose whole answer the page already shows: if that one is the
            latest, 204. Any other stream that has ended is replayed.
    """
    return as_response(attempted(lambda: resume_answer(key, have, this_celery())))


def respond(stream: StreamLink | str, request: Any = None, **options: Unpack[Options]) -> Response:
    """Answer with a stream, as server-sent events: `return respond(answer.stream(...), request)`.

    Whether the visitor may read the stream is for the route to decide first. The reader resumes by
    `Last-Event-ID`, or by `?offset=` with the id of the last event it has; a stream that has ended
    is replayed. The response has the stream's id as `X-Stream-Id`.

    Args:
        stream: a handle, or a stream's id.
        request: Flask's; default: the current one.
        **options: `event`, `envelope`, `headers`, `offset`, `ping`, `app`.

    Raises:
        ConfigurationError: an option or a setting is wrong.
        MalformedOffsetError: `offset` is not an offset.
        TypeError: `stream` is neither a handle nor an id.
    """
    app = None if isinstance(stream, StreamLink) or options.get("app") else this_celery()
    environ = (request or current_request).environ
    hubs, stream_id, wanted = asked(stream, options, app)
    answer = BlockingAnswer(hubs, stream_id, request_of_environ(environ), wanted)
    response = Response(answer, status=answer.status, direct_passthrough=True)
    del response.headers["Content-Type"]
    response.headers.update(answer.headers)
    return response


def stream_client(nonce: str = "") -> Markup:
    """An import map, in templates `{{ stream_client() }}`, before the first module script.

    Scripts of the page then `import { openStream } from "streamstraight-celery"`.
    """
    url = url_for("streams.static", filename="client.js")
    # `<` could end the script.
    text = json.dumps({"imports": {CLIENT_MODULE: url}}).replace("<", "\\u003c")
    attribute = Markup(' nonce="{}"').format(nonce) if nonce else ""
    return Markup('<script type="importmap"{}>{}</script>').format(attribute, Markup(text))


def this_celery() -> Celery:
    """The Celery app of the current Flask app."""
    from flask import current_app

    celery: Celery = current_app.extensions["celery"]
    return celery


def as_response(answer: Answer) -> Response:
    """As Flask's response."""
    status, body, headers = answer
    response: Any = Response(status=status) if body is None else jsonify(body)
    response.status_code = status
    response.headers.update(headers)
    if body is None:
        del response.headers["Content-Type"]
    found: Response = response
    return found
